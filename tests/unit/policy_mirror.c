// SPDX-License-Identifier: GPL-2.0-only
/* The policy `mirror`: the guest's task rules the thread, upwards and downwards. */
#include "../../src/policy/mirror.c"

#include <helpers/policy.h>

/* An ordinary task of nice 0, preempted by rivals. Tests change one thing. */
static struct pvsched_policy_in ordinary(void)
{
	return (struct pvsched_policy_in){
		.event = PVSCHED_EV_PREEMPTED,
		.task = { .flags = PVSCHED_TASK_VALID },
		.now_ns = NOW,
		.cap_ns = MS,
		.state = PVSCHED_STATE_PREEMPTED,
		.rivals = PVSCHED_RIVALS_MANY,
		.page = 1,
	};
}

static void mirror_task_like_the_thread_stays_at_base(void **state)
{
	struct pvsched_policy_in in = ordinary();

	(void)state;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
	in.task.nice = in.base_nice = 3;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
}

static void mirror_real_time_task_is_real_time_until_the_cap(void **state)
{
	struct pvsched_policy_in in = ordinary();
	struct pvsched_decision out;

	(void)state;
	in.task.policy = PVSCHED_POLICY_FIFO;
	in.task.rt_priority = 42;
	out = decide(in);
	assert_int_equal(out.level, PVSCHED_LEVEL_RT);
	assert_int_equal(out.value, 42);
	assert_int_equal(out.reason, PVSCHED_REASON_MIRROR);
	assert_int_equal(out.expiry_ns, NOW + MS);
	in.task.policy = PVSCHED_POLICY_DEADLINE;
	in.task.rt_priority = 0;
	assert_int_equal(decide(in).value, 99);
}

static void mirror_nice_task_gives_way_as_long_as_may_be(void **state)
{
	struct pvsched_policy_in in = ordinary();
	struct pvsched_decision out;

	(void)state;
	in.task.nice = 10;
	out = decide(in);
	assert_int_equal(out.level, PVSCHED_LEVEL_NICE);
	assert_int_equal(out.value, 10);
	assert_int_equal(out.expiry_ns, 0);
}

static void mirror_task_better_than_the_thread_is_bounded_by_the_cap(void **state)
{
	struct pvsched_policy_in in = ordinary();
	struct pvsched_decision out;

	(void)state;
	in.task.nice = -10;
	out = decide(in);
	assert_int_equal(out.level, PVSCHED_LEVEL_NICE);
	assert_int_equal(out.value, -10);
	assert_int_equal(out.expiry_ns, NOW + MS);
}

static void mirror_idle_work_or_idle_guest_is_idle(void **state)
{
	struct pvsched_policy_in in = ordinary();

	(void)state;
	in.task.policy = PVSCHED_POLICY_IDLE;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_IDLE);
	assert_int_equal(decide(in).expiry_ns, 0);
	in = ordinary();
	in.context = PVSCHED_CTX_IDLE;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_IDLE);
}

/* Its page is from before it slept, in the guest's idle task. */
static void mirror_vcpu_that_wakes_does_not_give_way(void **state)
{
	struct pvsched_policy_in in = ordinary();

	(void)state;
	in.event = PVSCHED_EV_WOKEN;
	in.context = PVSCHED_CTX_IDLE;
	in.task.policy = PVSCHED_POLICY_IDLE;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
	in.base_nice = -5; /* the idle task's nice is no wish, either */
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
	in.base_nice = 0;
	in.context = 0;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
	/* what was woken for it is known */
	in.context = PVSCHED_CTX_IDLE;
	in.pending = (struct pvsched_task){ .flags = PVSCHED_TASK_VALID,
					    .policy = PVSCHED_POLICY_FIFO,
					    .rt_priority = 8 };
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_RT);
	/* what gave way while it ran does so when it loses its CPU, as before */
	in = ordinary();
	in.context = PVSCHED_CTX_IDLE;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_IDLE);
}

static void mirror_task_that_waits_for_an_idle_guest_counts(void **state)
{
	struct pvsched_policy_in in = ordinary();

	(void)state;
	in.context = PVSCHED_CTX_IDLE;
	in.task.policy = PVSCHED_POLICY_IDLE;
	in.pending = (struct pvsched_task){ .flags = PVSCHED_TASK_VALID };
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
	in.pending.nice = -3;
	assert_int_equal(decide(in).value, -3);
	in.pending.nice = 7;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_NICE);
	assert_int_equal(decide(in).value, 7);
}

static void mirror_waiting_task_counts_when_it_is_more_urgent(void **state)
{
	struct pvsched_policy_in in = ordinary();

	(void)state;
	in.task.nice = 5;
	in.pending = (struct pvsched_task){ .flags = PVSCHED_TASK_VALID, .nice = -3 };
	assert_int_equal(decide(in).value, -3);
	in.pending.nice = 7;
	assert_int_equal(decide(in).value, 5);
	in.pending = (struct pvsched_task){ .flags = PVSCHED_TASK_VALID,
					    .policy = PVSCHED_POLICY_FIFO,
					    .rt_priority = 8 };
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_RT);
	assert_int_equal(decide(in).value, 8);
	in.pending.flags = 0; /* no task at all */
	assert_int_equal(decide(in).value, 5);
	/* a real-time task that runs is not replaced by a nice value */
	in = ordinary();
	in.task.rt_priority = 2;
	in.pending = (struct pvsched_task){ .flags = PVSCHED_TASK_VALID, .nice = -20 };
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_RT);
}

static void mirror_without_rivals_or_running_or_asleep_or_pageless_stays_at_base(void **state)
{
	struct pvsched_policy_in in = ordinary();

	(void)state;
	in.task.rt_priority = 50;
	in.rivals = PVSCHED_RIVALS_NONE;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
	in.rivals = PVSCHED_RIVALS_MANY;
	in.state = PVSCHED_STATE_RUNNING;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
	in.boosted = 1;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_RT);
	in.state = PVSCHED_STATE_BLOCKED;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
	in.state = PVSCHED_STATE_PREEMPTED;
	in.page = 0;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mirror_task_like_the_thread_stays_at_base),
		cmocka_unit_test(mirror_real_time_task_is_real_time_until_the_cap),
		cmocka_unit_test(mirror_nice_task_gives_way_as_long_as_may_be),
		cmocka_unit_test(mirror_task_better_than_the_thread_is_bounded_by_the_cap),
		cmocka_unit_test(mirror_idle_work_or_idle_guest_is_idle),
		cmocka_unit_test(mirror_vcpu_that_wakes_does_not_give_way),
		cmocka_unit_test(mirror_task_that_waits_for_an_idle_guest_counts),
		cmocka_unit_test(mirror_waiting_task_counts_when_it_is_more_urgent),
		cmocka_unit_test(
			mirror_without_rivals_or_running_or_asleep_or_pageless_stays_at_base),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
