// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guests that break every rule there is, one kind at a time, beside a VM that keeps to them and a task
 * of the host. Whatever they do: their boosts stay within the budgets, the broker's memory does not
 * grow, it says nothing, its counters tell what happened, and the others are served.
 */
/* timeout: 240, soak: 2000 */
#include <helpers/crowd.h>
#include <helpers/host_bed.h>
#include <helpers/sleeper.h>

#include <malloc.h>

struct scene {
	struct pvsched_broker *broker;
	struct threads_bed victim;
	struct crowd_guest guest;
};

/* of a VM: src/lib/bar.c */
#define PAGE_REGISTERS_PER_S 50
#define PAGE_REGISTERS_BURST (2 * BED_VCPUS)

static struct scene scene;
static struct sleeper task;
static struct host_bound bound;
static unsigned int lines_said;
static uint64_t rings, ran_ns, beside, took_ns; /* while it was suffered */
static _Atomic uint64_t rung_beside;
static _Atomic bool ringing;
static bool as_threads; /* even where there is KVM */

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
	as_threads = false;
	if (bed_open_as(&scene.victim, "victim", NULL, false))
		return -1;
	bed_mode(&scene.victim.vcpu[0], BED_SECTIONS);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ringing = false; /* in whatever case failed */
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

/* Lets it happen and checks what must hold whatever happens. Returns what the guest's vCPU took. */
static struct pvsched_vcpu_report suffer(enum crowd_harm harm)
{
	struct bed_vcpu *victim = &scene.victim.vcpu[0];
	unsigned int ms = storm_long(1000, 60000);
	uint64_t sections, rounds, bells, end, rung, ran;
	struct pvsched_vcpu_report r, from;
	unsigned long rss;
	char name[64];
	size_t heap;

	assert_int_equal(crowd_start_as(&scene.guest, crowd_has_kvm() && !as_threads, harm,
					VMM_SCHED_OTHER, crowd_names[harm]),
			 0);
	assert_int_equal(sleeper_start(&task, bed_last_cpu(), 10), 0);
	HOST_AWAIT(crowd_rounds(&scene.guest) > 0);
	bed_sleep_ms(200); /* what is allocated once is */
	/* a boost that it had while it started may have ended with a ring */
	assert_int_equal(pvsched_broker__vcpu_report(scene.broker, crowd_tid(&scene.guest), &from),
			 0);
	bells = from.doorbells;
	rung = crowd_rings(&scene.guest);
	ran = crowd_ran_ns(crowd_tid(&scene.guest));
	beside = rung_beside;
	took_ns = bed_now();
	heap = mallinfo2().uordblks;
	rss = bed_rss_anon_kb(getpid());
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
	assert_true(bed_rss_anon_kb(getpid()) <= rss + 256);
	assert_int_equal(lines_said, 0);
	assert_int_equal(host_bound_excess(&bound, STORM_PERCENT, STORM_BURST_NS, r.boost.max), 0);
	assert_true(crowd_rounds(&scene.guest) > rounds);
	assert_true(__atomic_load_n(&victim->sections, __ATOMIC_RELAXED) > sections);
	assert_int_equal(bed_stats(victim).bad_words, 0);
	r.doorbells -= bells;
	/* what it was granted while it started was for other things */
	for (int i = 0; i < PVSCHED_REASON_EXPIRED; i++)
		r.granted[i] -= from.granted[i];
	rings = crowd_rings(&scene.guest) - rung;
	ran_ns = crowd_ran_ns(crowd_tid(&scene.guest)) - ran;
	beside = rung_beside - beside;
	took_ns = bed_now() - took_ns;
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

/* Rings as another vCPU does, on another CPU if there is one. */
static void *ring_beside(void *arg)
{
	struct pvsched_vm *vm;
	int fd = -1;

	(void)arg;
	while (ringing) {
		vm = __atomic_load_n(&scene.guest.bed.vm, __ATOMIC_ACQUIRE);
		if (fd < 0 && vm && crowd_rounds(&scene.guest))
			fd = pvsched_vm__doorbell_fd(vm, 0);
		if (fd < 0) {
			bed_sleep_ms(1);
			continue;
		}
		eventfd_write(fd, 1);
		rung_beside++;
	}
	return NULL;
}

/* What was rung and what of it was heard; least: rings in a second of its CPU time. */
static void listen_to(const char *who, double least)
{
	struct pvsched_vcpu_report r = suffer(CROWD_BELLS);
	double rate = rings * 1e9 / ran_ns;
	char name[64];

	assert_true(r.boosts > 0);
	assert_true(r.doorbells > 0);
	assert_true(r.doorbells <= 9 * (r.boosts + 1)); /* one, and eight more in each boost */
	snprintf(name, sizeof(name), "hostile_bells_of_%s_per_cpu_s", who);
	storm_figure(name, rate);
	snprintf(name, sizeof(name), "hostile_bells_of_%s_heard_per_cpu_s", who);
	storm_figure(name, r.doorbells * 1e9 / ran_ns);
	if (rate < 1e6)
		printf("# not a million a second: what a ring costs %s is %.2f us\n", who,
		       1e6 / rate);
	assert_true(rate > least);
}

/* Each is an exit that KVM answers itself: 100 to 250 us where that is emulated. */
static void hostile_bells_are_not_heard(void **state)
{
	(void)state;
	listen_to(crowd_has_kvm() ? "a_guest" : "a_thread", 1000);
}

/* Faster than a guest that leaves KVM for each: what the host hears is an eventfd, which two threads write,
 * more than a million times a second where they have a CPU each. */
static void hostile_bells_of_threads_are_not_heard(void **state)
{
	pthread_t thread;

	(void)state;
	as_threads = true;
	ringing = true;
	assert_int_equal(pthread_create(&thread, NULL, ring_beside, NULL), 0);
	listen_to("a_thread", 50000);
	ringing = false;
	pthread_join(thread, NULL);
	storm_figure("hostile_bells_of_threads_per_s", (rings + beside) * 1e9 / took_ns);
	assert_true(beside > 1000);
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

static struct pvsched_device_stats print_errors(void)
{
	struct pvsched_device_stats d = device_stats();

	for (unsigned int i = 1; i < PVSCHED_R_MAX; i++)
		if (d.errors[i])
			printf("# %s %llu\n", pvsched_result_str(i),
			       (unsigned long long)d.errors[i]);
	return d;
}

/* Refused were these, each of them at least once, and nothing else but what came too often; 0 = none. */
static void expect_errors(uint32_t a, uint32_t b)
{
	struct pvsched_device_stats d = print_errors();

	for (unsigned int i = 1; i < PVSCHED_R_MAX; i++)
		if (i == a || i == b)
			assert_true(d.errors[i] > 0);
		else if (i != PVSCHED_R_RATE)
			assert_int_equal(d.errors[i], 0);
}

static void hostile_registers_are_refused_and_counted(void **state)
{
	struct pvsched_device_stats d;
	unsigned int kinds = 0;

	(void)state;
	suffer(CROWD_REGISTERS);
	d = print_errors();
	for (unsigned int i = 1; i < PVSCHED_R_MAX; i++)
		kinds += d.errors[i] > 0;
	assert_true(kinds >= 8);
	assert_true(d.errors[PVSCHED_R_BAD_ACCESS] > 0);
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

/* Threads have no TSC that the host knows, and it counts that. */
static void expect_next_event(enum crowd_harm harm)
{
	struct pvsched_broker_counters before, after;
	struct pvsched_vcpu_report r;

	assert_int_equal(pvsched_broker__counters(scene.broker, &before), 0);
	r = suffer(harm);
	assert_int_equal(pvsched_broker__counters(scene.broker, &after), 0);
	if (scene.guest.kvm)
		assert_true(r.granted[PVSCHED_REASON_NEXT_EVENT] > 0);
	else
		assert_true(after.tsc_unknown > before.tsc_unknown);
	assert_int_equal(r.granted[PVSCHED_REASON_CRITICAL], 0);
	expect_errors(0, 0);
}

static void hostile_timer_always_soon_is_bounded_and_counted(void **state)
{
	(void)state;
	expect_next_event(CROWD_SOON);
}

static void hostile_timer_always_past_is_bounded_and_counted(void **state)
{
	(void)state;
	expect_next_event(CROWD_PAST);
}

static void hostile_tickets_unanswered_expire_and_are_counted(void **state)
{
	struct pvsched_vcpu_report r = suffer(CROWD_TICKETS);
	struct vmm_vcpu_info info;

	(void)state;
	expect_errors(0, 0);
	if (!scene.guest.kvm) { /* it takes no interrupt, and so gets nothing */
		assert_int_equal(r.granted[PVSCHED_REASON_INTR], 0);
		return;
	}
	info = vmm_bed_info(&scene.guest.vmm, 0);
	assert_true(r.granted[PVSCHED_REASON_INTR] > 0);
	assert_true(r.expired > 0);
	assert_true(info.interrupts > 0);
	assert_true(info.page.ticket > 1);
	assert_true(info.page.ticket != info.page.ack);
}

static void hostile_section_without_end_is_denied_and_counted(void **state)
{
	struct pvsched_vcpu_report r = suffer(CROWD_STUCK);

	(void)state;
	assert_true(r.granted[PVSCHED_REASON_CRITICAL] > 10);
	assert_true(r.denied_gap + r.denied_throttle > 0);
	assert_true(r.expired > 0);
	expect_errors(0, 0);
}

static void hostile_reserved_bits_gain_nothing_and_are_counted(void **state)
{
	struct pvsched_vcpu_report r = suffer(CROWD_RESERVED);

	(void)state;
	assert_true(r.bad_words > 0);
	assert_int_equal(r.granted[PVSCHED_REASON_CRITICAL], 0);
	assert_int_equal(r.granted[PVSCHED_REASON_TASK], 0);
	assert_int_equal(r.granted[PVSCHED_REASON_PENDING], 0);
	expect_errors(PVSCHED_R_BAD_HEADER,
		      PVSCHED_R_NOT_REGISTERED); /* nor is there any to take back */
}

static void hostile_header_rewritten_changes_nothing(void **state)
{
	struct pvsched_vcpu_report r = suffer(CROWD_HEADERS);

	(void)state;
	assert_true(r.granted[PVSCHED_REASON_CRITICAL] > 0);
	assert_int_equal(crowd_stats(&scene.guest).page, PVSCHED_PAGE_ENABLED);
	assert_int_equal(device_stats().epoch, scene.guest.kvm); /* its driver's own */
	expect_errors(0, 0);
}

static void hostile_register_order_is_refused_and_counted(void **state)
{
	(void)state;
	suffer(CROWD_ORDER);
	assert_true(device_stats().errors[PVSCHED_R_BAD_PROTOCOL] >
		    0); /* FEATURES_OK before a choice */
	assert_int_equal(device_stats().errors[PVSCHED_R_BAD_ACCESS], 0);
	assert_true(print_errors().errors[PVSCHED_R_BAD_STATUS] > 0);
}

/* As many as REGISTER's limit lets be looked at since then. */
static uint64_t registers_since(uint64_t from)
{
	return PAGE_REGISTERS_BURST + PAGE_REGISTERS_PER_S * (bed_now() - from) / 1000000000;
}

static void hostile_resets_are_bounded_and_counted(void **state)
{
	uint64_t from = bed_now(), most, reached;
	struct pvsched_device_stats d;

	(void)state;
	suffer(CROWD_RESETS);
	/* 16 a second where all of it is emulated, 900 else */
	HOST_AWAIT(device_stats().epoch > 100);
	reached = crowd_reached(&scene.guest);
	d = device_stats();
	most = registers_since(from);
	printf("# %u resets, %llu pages enabled\n", d.epoch, (unsigned long long)reached);
	assert_in_range(reached, 11, d.epoch);
	assert_in_range(reached, 11, most);
	/* an emulated guest may be slower than the limit */
	expect_errors(d.epoch > 2 * most ? PVSCHED_R_RATE : 0, 0);
}

static void hostile_gfns_are_refused_and_counted(void **state)
{
	struct pvsched_device_stats d;
	uint64_t from = bed_now();

	(void)state;
	suffer(CROWD_GFNS);
	d = print_errors();
	assert_true(d.errors[PVSCHED_R_BAD_GFN] > 0);
	assert_int_equal(d.errors[PVSCHED_R_IN_USE], 0); /* which is another case */
	/* memory that is no page: what came too often was refused unseen, where it did */
	assert_in_range(d.errors[PVSCHED_R_BAD_HEADER], 1, registers_since(from));
}

/* The second vCPU has no page: it is the frame that is in use. */
static void hostile_gfn_of_two_vcpus_is_refused_and_counted(void **state)
{
	(void)state;
	suffer(CROWD_TWICE);
	assert_true(crowd_reached(&scene.guest) > 0);
	assert_true(device_stats().errors[PVSCHED_R_IN_USE] >= crowd_reached(&scene.guest));
	assert_int_equal(crowd_stats_of(&scene.guest, 0).page, PVSCHED_PAGE_ENABLED);
	assert_int_equal(crowd_stats_of(&scene.guest, 1).page, PVSCHED_PAGE_OFF);
	assert_int_equal(device_stats().errors[PVSCHED_R_RATE], 0);
	expect_errors(PVSCHED_R_IN_USE, 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(hostile_greed_is_denied_and_counted),
		CASE(hostile_pages_are_bounded_and_counted),
		CASE(hostile_bells_are_not_heard),
		CASE(hostile_bells_of_threads_are_not_heard),
		CASE(hostile_timers_gain_nothing),
		CASE(hostile_registers_are_refused_and_counted),
		CASE(hostile_timer_always_soon_is_bounded_and_counted),
		CASE(hostile_timer_always_past_is_bounded_and_counted),
		CASE(hostile_tickets_unanswered_expire_and_are_counted),
		CASE(hostile_section_without_end_is_denied_and_counted),
		CASE(hostile_reserved_bits_gain_nothing_and_are_counted),
		CASE(hostile_header_rewritten_changes_nothing),
		CASE(hostile_register_order_is_refused_and_counted),
		CASE(hostile_resets_are_bounded_and_counted),
		CASE(hostile_gfns_are_refused_and_counted),
		CASE(hostile_gfn_of_two_vcpus_is_refused_and_counted),
	};

	return cmocka_run_group_tests(tests, group_start, group_stop);
}
