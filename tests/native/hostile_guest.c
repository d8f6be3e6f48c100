// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guests that break every rule there is, one kind at a time, beside a VM that keeps to them and a task
 * of the host. Whatever they do: their boosts stay within the budgets, the broker's memory does not
 * grow, it says nothing, its counters tell what happened, and the others are served.
 */
/* timeout: 120, soak: 900 */
#include <helpers/crowd.h>
#include <helpers/host_bed.h>
#include <helpers/sleeper.h>

#include <malloc.h>

struct scene {
	struct pvsched_broker *broker;
	struct threads_bed victim;
	struct crowd_guest guest;
};

static struct scene scene;
static struct sleeper task;
static struct host_bound bound;
static unsigned int lines_said;

static void count_line(enum pvsched_log_level level, const char *line, void *ctx)
{
	(void)ctx;
	__atomic_fetch_add(&lines_said, 1, __ATOMIC_RELAXED);
	bed_say(level, line, NULL);
}

static int group_start(void **state)
{
	struct pvsched_broker_opts o = { .print = count_line };

	(void)state;
	return bed_broker(&o, &scene.broker);
}

static int group_stop(void **state)
{
	(void)state;
	pvsched_broker__stop(scene.broker);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	lines_said = 0;
	bound.n = 0;
	if (bed_open_as(&scene.victim, "victim", NULL, false))
		return -1;
	bed_mode(&scene.victim.vcpu[0], BED_SECTIONS);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	crowd_stop(&scene.guest);
	bed_close(&scene.victim);
	return 0;
}

static struct pvsched_device_stats device_stats(void)
{
	struct pvsched_device_stats d = { .sz = sizeof(d) };

	pvsched_vm__device_stats(crowd_vm(&scene.guest), &d);
	return d;
}

static unsigned long rss_anon_kb(void)
{
	unsigned long kb = 0;
	char line[128];
	FILE *f = fopen("/proc/self/status", "re");

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "RssAnon: %lu kB", &kb) == 1)
			break;
	fclose(f);
	return kb;
}

/* Lets it happen and checks what must hold whatever happens. Returns what the guest's vCPU took. */
static struct pvsched_vcpu_report suffer(enum crowd_harm harm)
{
	struct bed_vcpu *victim = &scene.victim.vcpu[0];
	unsigned int ms = storm_long(1000, 60000);
	uint64_t sections, rounds, bells, end;
	struct pvsched_vcpu_report r;
	unsigned long rss;
	char name[64];
	size_t heap;

	assert_int_equal(crowd_start(&scene.guest, harm, VMM_SCHED_OTHER, crowd_names[harm]), 0);
	assert_int_equal(sleeper_start(&task, bed_last_cpu(), 10), 0);
	HOST_AWAIT(crowd_rounds(&scene.guest) > 0);
	bed_sleep_ms(200); /* what is allocated once is */
	/* a boost that it had while it started may have ended with a ring */
	assert_int_equal(pvsched_broker__vcpu_report(scene.broker, crowd_tid(&scene.guest), &r), 0);
	bells = r.doorbells;
	heap = mallinfo2().uordblks;
	rss = rss_anon_kb();
	sections = __atomic_load_n(&victim->sections, __ATOMIC_RELAXED);
	rounds = crowd_rounds(&scene.guest);
	end = bed_now() + ms * 1000000ull;
	while (bed_now() < end) {
		uint64_t before = bed_now();

		if (bound.n < HOST_SHOTS &&
		    !pvsched_broker__vcpu_report(scene.broker, crowd_tid(&scene.guest), &r)) {
			bound.shot[bound.n].before = before;
			bound.shot[bound.n].boosted_ns = r.boosted_ns;
			bound.shot[bound.n++].after = bed_now();
		}
		bed_sleep_ms(ms / 100);
	}
	assert_int_equal(pvsched_broker__vcpu_report(scene.broker, crowd_tid(&scene.guest), &r), 0);

	/* everybody's memory is this process's: guest's, library's, broker's */
	assert_true(mallinfo2().uordblks <= heap + 16384);
	assert_true(rss_anon_kb() <= rss + 256);
	assert_int_equal(lines_said, 0);
	assert_int_equal(host_bound_excess(&bound, STORM_PERCENT, STORM_BURST_NS, r.boost.max), 0);
	assert_true(crowd_rounds(&scene.guest) > rounds);
	assert_true(__atomic_load_n(&victim->sections, __ATOMIC_RELAXED) > sections);
	assert_int_equal(bed_stats(victim).bad_words, 0);
	r.doorbells -= bells;
	sleeper_stop(&task);
	assert_true(task.n > 0);
	snprintf(name, sizeof(name), "hostile_%s_rounds_per_s", crowd_names[harm]);
	storm_figure(name, (crowd_rounds(&scene.guest) - rounds) * 1e3 / ms);
	snprintf(name, sizeof(name), "hostile_%s_fifo10_p99_us", crowd_names[harm]);
	storm_figure(name, sleeper_percentile(&task, 99) / 1e3);
	snprintf(name, sizeof(name), "hostile_%s_longest_boost_us", crowd_names[harm]);
	storm_figure(name, r.boost.max / 1e3);
	return r;
}

static void hostile_greed_is_denied_and_counted(void **state)
{
	struct pvsched_vcpu_report r = suffer(CROWD_GREEDY);

	(void)state;
	assert_true(r.boosts > 10);
	assert_true(r.denied_gap + r.denied_throttle > 0);
	assert_true(r.expired > 0);
	assert_int_equal(r.doorbells, 0);
}

static void hostile_pages_are_bounded_and_counted(void **state)
{
	struct pvsched_vcpu_report r = suffer(CROWD_PAGES);

	(void)state;
	assert_true(r.bad_words > 0);
}

static void hostile_bells_are_not_heard(void **state)
{
	struct pvsched_vcpu_report r = suffer(CROWD_BELLS);

	(void)state;
	assert_true(r.boosts > 0);
	assert_true(r.doorbells <= 9 * (r.boosts + 1)); /* one, and eight more in each boost */
}

static void hostile_timers_gain_nothing(void **state)
{
	struct pvsched_broker_counters before, after;
	struct pvsched_vcpu_report r;

	(void)state;
	assert_int_equal(pvsched_broker__counters(scene.broker, &before), 0);
	r = suffer(CROWD_TIMERS);
	assert_int_equal(pvsched_broker__counters(scene.broker, &after), 0);
	if (scene.guest.kvm)
		assert_true(r.boosts > 0); /* it has timers, so it has boosts: within the bound */
	else
		assert_true(after.tsc_unknown > before.tsc_unknown);
}

static void hostile_registers_are_refused_and_counted(void **state)
{
	struct pvsched_device_stats d;
	unsigned int kinds = 0;

	(void)state;
	suffer(CROWD_REGISTERS);
	d = device_stats();
	for (unsigned int i = 1; i < PVSCHED_R_MAX; i++) {
		kinds += d.errors[i] > 0;
		if (d.errors[i])
			printf("# %s %llu\n", pvsched_result_str(i),
			       (unsigned long long)d.errors[i]);
	}
	assert_true(kinds >= 8);
	assert_true(d.errors[PVSCHED_R_BAD_ACCESS] > 0);
	assert_true(d.errors[PVSCHED_R_RATE] + d.errors[PVSCHED_R_IN_USE] > 0);
	assert_true(d.epoch > 0);
	/* and a driver that comes after it finds a device that works */
	if (scene.guest.kvm)
		return;
	for (int i = 0; i < BED_VCPUS; i++) {
		bed_mode(&scene.guest.bed.vcpu[i], BED_SLEEP);
		HOST_AWAIT(__atomic_load_n(&scene.guest.bed.vcpu[i].seen, __ATOMIC_ACQUIRE) ==
			   BED_SLEEP);
	}
	pvsched_vm__set_bus_master(scene.guest.bed.vm, true);
	assert_true(host_renegotiate(&scene.guest.bed, 0) & PVSCHED_S_FEATURES_OK);
	assert_int_equal(host_attach(&scene.guest.bed.vcpu[0]), PVSCHED_R_OK);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(hostile_greed_is_denied_and_counted),
		CASE(hostile_pages_are_bounded_and_counted),
		CASE(hostile_bells_are_not_heard),
		CASE(hostile_timers_gain_nothing),
		CASE(hostile_registers_are_refused_and_counted),
	};

	return cmocka_run_group_tests(tests, group_start, group_stop);
}
