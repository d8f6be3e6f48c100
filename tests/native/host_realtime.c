// SPDX-License-Identifier: GPL-2.0-only
/*
 * Real-time work of the host comes before boosts: what is above them preempts, what has their
 * priority takes them back. A thread for the vCPU, boosted beside a hog, and one of the host's.
 */
/* timeout: 120 */
#include <helpers/host_bed.h>

#include <semaphore.h>

#define ROUNDS 300
#define CAP_NS 10000000ull /* a boost that is not taken back lasts so long */
#define ENOUGH 5

static struct pvsched_broker *broker;
static struct threads_bed bed;

static struct {
	pthread_t thread;
	sem_t go;
	int priority;
	bool end;
	uint64_t woken_ns, ran_ns;
	bool boosted; /* was the vCPU, when this ran? */
	unsigned int runs;
} rt;

/* On the vCPU's CPU: runs only when nothing better or equal that came first does. */
static void *host_thread(void *arg)
{
	const struct sched_param p = { .sched_priority = rt.priority };

	(void)arg;
	bed_pin(bed.cpu);
	sched_setscheduler(0, SCHED_FIFO, &p);
	for (;;) {
		__atomic_add_fetch(&rt.runs, 1, __ATOMIC_RELEASE);
		while (sem_wait(&rt.go))
			;
		if (rt.end)
			return NULL;
		rt.ran_ns = bed_now();
		rt.boosted = bed_is_boosted(&bed.vcpu[0]);
	}
}

static int setup(void **state)
{
	const struct pvsched_broker_opts o = { .print = bed_say,
					       .cap_ns = CAP_NS,
					       .budget_percent = 90 };
	int err = host_open(&o, &broker, &bed);

	if (err)
		return err;
	memset(&rt, 0, sizeof(rt));
	rt.priority = *(const int *)*state;
	sem_init(&rt.go, 0, 0);
	pthread_create(&rt.thread, NULL, host_thread, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rt.end = true;
	sem_post(&rt.go);
	pthread_join(rt.thread, NULL);
	host_close(broker, &bed);
	return 0;
}

static uint64_t revoked(void)
{
	struct pvsched_broker_counters c;

	assert_int_equal(pvsched_broker__counters(broker, &c), 0);
	return c.revoked;
}

/* Wakes the host's thread in the middle of a boost, and waits until it ran. Returns whether the
 * vCPU was boosted all the time from the wake-up: a boost that ran out meanwhile tells nothing. */
static bool wake_in_a_boost(uint32_t gen)
{
	struct bed_vcpu *v = &bed.vcpu[0];
	uint64_t expired, boosts;
	unsigned int runs;
	bool was;

	HOST_AWAIT(__atomic_load_n(&rt.runs, __ATOMIC_ACQUIRE) == gen);
	HOST_AWAIT(!bed_is_boosted(v));
	host_say_context(v->page, PVSCHED_CTX_CRITICAL, 2 * gen + 1);
	HOST_AWAIT(bed_is_boosted(v));
	expired = bed_stats(v).expired;
	boosts = bed_stats(v).boosts;
	runs = rt.runs;
	rt.woken_ns = bed_now();
	was = bed_is_boosted(v);
	sem_post(&rt.go);
	HOST_AWAIT(__atomic_load_n(&rt.runs, __ATOMIC_ACQUIRE) != runs);
	host_say_context(v->page, 0, 2 * gen + 2);
	return was && bed_stats(v).expired == expired && bed_stats(v).boosts == boosts;
}

static void host_realtime_at_the_boosts_priority_takes_it_back(void **state)
{
	unsigned int told = 0, i;
	uint64_t before = revoked(), worst = 0;

	(void)state;
	for (i = 1; i <= ROUNDS && told < ENOUGH; i++) {
		/* without the rule it would wait for the expiry, and this would be counted as expired */
		if (!wake_in_a_boost(i) || rt.boosted)
			continue;
		told++;
		if (rt.ran_ns - rt.woken_ns > worst)
			worst = rt.ran_ns - rt.woken_ns;
	}
	printf("# %u of %u boosts taken back; the thread ran %.0f us after it was woken at worst\n",
	       told, i - 1, worst / 1e3);
	assert_int_equal(told, ENOUGH);
	assert_true(revoked() >= before + ENOUGH);
}

static void host_realtime_above_the_ceiling_never_waits_for_a_boost(void **state)
{
	unsigned int told = 0, i;
	uint64_t worst = 0;

	(void)state;
	/* it ran while the boost was in force: it did not wait for its end */
	for (i = 1; i <= ROUNDS && told < ENOUGH; i++) {
		if (!wake_in_a_boost(i) || !rt.boosted)
			continue;
		told++;
		if (rt.ran_ns - rt.woken_ns > worst)
			worst = rt.ran_ns - rt.woken_ns;
	}
	printf("# ran %u times within a boost, %.0f us after it was woken at worst\n", told,
	       worst / 1e3);
	assert_int_equal(told, ENOUGH);
}

static void host_realtime_that_waits_keeps_queued_boosts_from_running(void **state)
{
	struct bed_vcpu *v = &bed.vcpu[0];
	uint64_t before = revoked();
	unsigned int round;
	cpu_set_t set;

	(void)state;
	/* The host's thread at 1 and a boosted vCPU are both queued behind one of the host's at 50:
	 * whoever of the two came first, the host's is not behind the other when 50 sleeps. */
	if (CPU_COUNT(&host_cpus) < 2) {
		print_message("needs two CPUs\n");
		skip();
	}
	CPU_ZERO(&set);
	CPU_SET(bed.cpu, &set);
	for (round = 1; round <= ROUNDS && revoked() < before + ENOUGH; round++) {
		const struct sched_param high = { .sched_priority = 50 }, low = { 0 };
		unsigned int runs = __atomic_load_n(&rt.runs, __ATOMIC_ACQUIRE);
		cpu_set_t aside;

		host_say_context(v->page, PVSCHED_CTX_CRITICAL, 2 * round + 1);
		HOST_AWAIT(bed_is_boosted(v));
		sched_getaffinity(0, sizeof(aside), &aside);
		sched_setscheduler(0, SCHED_FIFO, &high);
		sched_setaffinity(0, sizeof(set), &set); /* takes the CPU from the vCPU */
		sem_post(&rt.go);
		sched_setaffinity(0, sizeof(aside), &aside);
		sched_setscheduler(0, SCHED_OTHER, &low);
		HOST_AWAIT(__atomic_load_n(&rt.runs, __ATOMIC_ACQUIRE) != runs);
		host_say_context(v->page, 0, 2 * round + 2);
		HOST_AWAIT(!bed_is_boosted(v));
	}
	printf("# %llu boosts taken back as they came to run, in %u rounds\n",
	       (unsigned long long)(revoked() - before), round - 1);
	assert_true(revoked() >= before + ENOUGH);
}

int main(void)
{
	static const int same = 1, above = 10;
#define CASE(f, priority)                                                                          \
	cmocka_unit_test_prestate_setup_teardown(f, setup, teardown, (void *)&(priority))
	const struct CMUnitTest tests[] = {
		CASE(host_realtime_at_the_boosts_priority_takes_it_back, same),
		CASE(host_realtime_above_the_ceiling_never_waits_for_a_boost, above),
		CASE(host_realtime_that_waits_keeps_queued_boosts_from_running, same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
