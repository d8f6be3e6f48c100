// SPDX-License-Identifier: GPL-2.0-only
/* What is boosted, what is not, and how it ends: broker in this process, threads for vCPUs. */
/* timeout: 120 */
#include <helpers/host_bed.h>

#include <sys/syscall.h>

#include <actuator/attr.h>
#include <core/account.h>

static struct pvsched_broker *broker;

static int group_start(void **state)
{
	struct pvsched_broker_opts o = { .print = bed_say };

	(void)state;
	return bed_broker(&o, &broker);
}

static int group_stop(void **state)
{
	(void)state;
	pvsched_broker__stop(broker);
	return 0;
}

static int bed_setup(void **state)
{
	static struct threads_bed bed;

	*state = &bed;
	return host_bed_open(&bed);
}

static int bed_teardown(void **state)
{
	host_bed_close(*state);
	return 0;
}

static void vcpu_preempted_in_critical_section_is_boosted_and_told(void **state)
{
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[0];
	uint64_t end = bed_now() + 5000000000ull, word = 0;
	bool told = false;

	bed_mode(v, BED_CRITICAL);
	while (!told && bed_now() < end) {
		word = __atomic_load_n(&v->page->grant, __ATOMIC_ACQUIRE);
		told = word >> PVSCHED_TASK_FLAGS_SHIFT & PVSCHED_GRANT_BOOSTED;
	}
	assert_true(told);
	assert_int_equal(word & 0xff, SCHED_FIFO);
	assert_int_equal(word >> PVSCHED_TASK_PRIO_SHIFT & 0xff, 1);
	assert_int_equal(word >> PVSCHED_TASK_FLAGS_SHIFT & PVSCHED_GRANT_REASON,
			 PVSCHED_REASON_CRITICAL);
	bed_sleep_ms(200);
	assert_true(bed_stats(v).boosts > 0);
	assert_true(bed_stats(v).boosted_ns > 0);
	assert_true(__atomic_load_n(&v->page->steal_ns, __ATOMIC_ACQUIRE) > 0);
}

static void vcpu_preempted_outside_a_section_is_not_boosted(void **state)
{
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[0];

	bed_mode(v, BED_SPIN);
	bed_sleep_ms(500);
	assert_true(bed_stats(v).steal_ns > 0); /* it was preempted, and waited */
	assert_int_equal(bed_stats(v).boosts, 0);
}

static void vcpu_that_sleeps_is_not_boosted_whatever_its_page_says(void **state)
{
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[1];

	bed_publish(v, PVSCHED_CTX_CRITICAL);
	bed_sleep_ms(50);
	bed_publish(v, 0);
	bed_sleep_ms(200);
	assert_false(bed_is_boosted(v));
}

static void section_that_ends_rings_and_is_restored_before_expiry(void **state)
{
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[0];
	struct pvsched_vcpu_report r;

	bed_mode(v, BED_SECTIONS);
	for (int i = 0; i < 300; i++) { /* on a slow machine most rings come after the expiry */
		assert_int_equal(pvsched_broker__vcpu_report(broker, v->tid, &r), 0);
		if (r.doorbells >= 3 && r.expired < r.boosts)
			break;
		bed_sleep_ms(100);
	}
	assert_true(v->rings > 0);
	assert_true(r.doorbells > 0);
	assert_true(r.boosts >= r.expired);
	assert_true(r.expired < r.boosts);
}

static void boosted_time_is_paid_back_and_then_the_thread_is_as_it_was(void **state)
{
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[0];
	uint64_t end = bed_now() + 10000000000ull, word = 0;
	struct pvsched_attr attr;
	bool pays = false;

	bed_mode(v, BED_SECTIONS);
	while (!pays && bed_now() < end) {
		word = __atomic_load_n(&v->page->grant, __ATOMIC_ACQUIRE);
		pays = (word >> PVSCHED_TASK_FLAGS_SHIFT & PVSCHED_GRANT_REASON) ==
		       PVSCHED_REASON_PAYBACK;
	}
	assert_true(pays);
	assert_false(word >> PVSCHED_TASK_FLAGS_SHIFT & PVSCHED_GRANT_BOOSTED);
	assert_int_equal(word & 0xff, SCHED_OTHER);
	assert_int_equal(word >> PVSCHED_TASK_NICE_SHIFT & 0xff, PVSCHED_PAYBACK_STEPS);
	bed_mode(v, BED_SPIN);
	bed_sleep_ms(200);
	assert_int_equal(pvsched_attr_get(v->tid, &attr), 0);
	assert_int_equal(attr.policy, SCHED_OTHER);
	assert_int_equal(attr.nice, 0);
}

/* rate * W + burst, plus what one boost may overshoot: spec/accounting.md */
static void guest_that_asks_for_everything_stays_within_its_budget(void **state)
{
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[0];
	struct pvsched_vcpu_report r;
	uint64_t start, took;

	start = bed_now();
	bed_mode(v, BED_CRITICAL);
	bed_sleep_ms(3000);
	assert_int_equal(pvsched_broker__vcpu_report(broker, v->tid, &r), 0);
	took = bed_now() - start;
	printf("# boosted %.1f of %.1f ms in %llu boosts, longest %.2f ms, gaps %llu, throttled %llu\n",
	       r.boosted_ns / 1e6, took / 1e6, (unsigned long long)r.boosts, r.boost.max / 1e6,
	       (unsigned long long)r.denied_gap, (unsigned long long)r.denied_throttle);
	assert_true(r.boosts > 100);
	assert_true(r.boosted_ns <= took * 4 / 10 + 10000000 + r.boost.max);
	assert_true(r.denied_gap + r.denied_throttle > 0);
	assert_true(pvsched_hist_percentile(&r.boost, 500) <= 1500000);
}

static void reset_in_mid_boost_restores_thread_and_page(void **state)
{
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[0];

	bed_mode(v, BED_CRITICAL);
	assert_true(bed_await_boosted(v, true, 5000));
	pvsched_vm__reset(b->vm);
	assert_false(bed_is_boosted(v));
	assert_int_equal(v->page->status, PVSCHED_PAGE_OFF);
	bed_sleep_ms(200);
	assert_false(bed_is_boosted(v)); /* critical for ever, but nobody looks any more */
}

static void bus_master_cleared_in_mid_boost_restores_the_thread(void **state)
{
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[0];

	bed_mode(v, BED_CRITICAL);
	assert_true(bed_await_boosted(v, true, 5000));
	pvsched_vm__set_bus_master(b->vm, false);
	assert_false(bed_is_boosted(v));
}

static void boosts_restore_exactly_what_the_thread_had(void **state)
{
	struct pvsched_attr before = { 0 }, after = { 0 };
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[0];
	cpu_set_t set_before, set_after;
	uint64_t slack = 0, end;

	/* registered anew with a scheduling of its own: nice, a custom slice, a timer slack */
	assert_int_equal(pvsched_vm__remove_vcpu(b->vm, 0), 0);
	assert_int_equal(pvsched_attr_get(v->tid, &before), 0);
	before.nice = 3;
	before.runtime = 2000000;
	assert_int_equal(pvsched_attr_set(v->tid, &before), 0);
	assert_int_equal(pvsched_attr_get(v->tid, &before), 0);
	assert_int_equal(pvsched_slack_set(v->tid, 12345), 0);
	sched_getaffinity(v->tid, sizeof(set_before), &set_before);
	assert_int_equal(pvsched_vm__add_vcpu(b->vm, 0, v->tid, 0, STDOUT_FILENO), 0);
	guest_prepare(b->vm, v->page, 0);
	assert_int_equal(guest_register(b->vm, 0, 16), PVSCHED_R_OK);
	assert_int_equal(guest_enable(b->vm, 0, v->page), PVSCHED_R_OK);
	bed_mode(v, BED_CRITICAL);
	assert_true(bed_await_boosted(v, true, 5000));
	bed_mode(v, BED_SPIN);
	bed_publish(v, 0);
	end = bed_now() + 5000000000ull;
	assert_true(bed_await_boosted(v, false, 5000));
	/* it may pay the boost back first, at a worse nice; the slack is the last to come back */
	do {
		assert_int_equal(pvsched_slack_get(v->tid, &slack), 0);
		assert_int_equal(pvsched_attr_get(v->tid, &after), 0);
	} while ((!pvsched_attr_same(&before, &after) || slack != 12345) && bed_now() < end);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(slack, 12345);
	sched_getaffinity(v->tid, sizeof(set_after), &set_after);
	assert_memory_equal(&set_before, &set_after, sizeof(set_before));
}

static void thread_changed_by_somebody_else_is_left_alone(void **state)
{
	struct pvsched_attr other = { .policy = SCHED_BATCH, .nice = 7 }, now = { 0 };
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[0];

	bed_mode(v, BED_SPIN);
	assert_int_equal(pvsched_attr_set(v->tid, &other), 0);
	bed_mode(v, BED_CRITICAL);
	bed_sleep_ms(500);
	assert_int_equal(pvsched_attr_get(v->tid, &now), 0);
	assert_int_equal(now.policy, SCHED_BATCH);
	assert_int_equal(now.nice, 7);
	assert_int_equal(bed_stats(v).boosts, 0);
}

static void garbage_in_the_page_is_counted_and_harmless(void **state)
{
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[0];

	v->page->current_task = ~0ull;
	v->page->pending = ~0ull;
	v->page->next_event = ~0ull;
	v->page->ack = ~0ull;
	bed_mode(v, BED_SPIN);
	bed_sleep_ms(300);
	assert_true(bed_stats(v).bad_words > 0);
	assert_int_equal(bed_stats(v).boosts, 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		CASE(vcpu_preempted_in_critical_section_is_boosted_and_told),
		CASE(vcpu_preempted_outside_a_section_is_not_boosted),
		CASE(vcpu_that_sleeps_is_not_boosted_whatever_its_page_says),
		CASE(section_that_ends_rings_and_is_restored_before_expiry),
		CASE(boosted_time_is_paid_back_and_then_the_thread_is_as_it_was),
		CASE(guest_that_asks_for_everything_stays_within_its_budget),
		CASE(reset_in_mid_boost_restores_thread_and_page),
		CASE(bus_master_cleared_in_mid_boost_restores_the_thread),
		CASE(boosts_restore_exactly_what_the_thread_had),
		CASE(thread_changed_by_somebody_else_is_left_alone),
		CASE(garbage_in_the_page_is_counted_and_harmless),
	};

	return cmocka_run_group_tests(tests, group_start, group_stop);
}
