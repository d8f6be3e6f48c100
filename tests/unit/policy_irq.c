// SPDX-License-Identifier: GPL-2.0-only
/* The policy `irq`: interrupts of guests that know nothing of pvsched. */
#include "../../src/policy/irq.c"

#include <helpers/policy.h>

/* An interrupt became pending while the vCPU waits behind others. Tests change one thing. */
static struct pvsched_policy_in pending(void)
{
	return (struct pvsched_policy_in){
		.event = PVSCHED_EV_INTR_PENDING,
		.now_ns = NOW,
		.intr_since_ns = NOW,
		.cap_ns = MS,
		.state = PVSCHED_STATE_PREEMPTED,
		.rivals = PVSCHED_RIVALS_MANY,
	};
}

static void irq_pending_boosts_for_a_short_time_without_a_page(void **state)
{
	struct pvsched_decision out = decide(pending());

	(void)state;
	assert_int_equal(out.level, PVSCHED_LEVEL_RT);
	assert_int_equal(out.value, 1);
	assert_int_equal(out.reason, PVSCHED_REASON_INTR);
	assert_int_equal(out.expiry_ns, NOW + WINDOW_NS);
}

/* What the interrupt woke runs after it. */
static void irq_that_is_done_leaves_the_boost_to_its_expiry(void **state)
{
	struct pvsched_policy_in in = pending();
	struct pvsched_decision out;

	(void)state;
	in.event = PVSCHED_EV_INTR_DONE;
	in.intr_since_ns = 0;
	in.boosted = 1;
	in.state = PVSCHED_STATE_RUNNING;
	out = decide(in);
	assert_int_equal(out.level, PVSCHED_LEVEL_RT);
	assert_int_equal(out.reason, PVSCHED_REASON_INTR);
	in.event = PVSCHED_EV_PREEMPTED;
	in.state = PVSCHED_STATE_PREEMPTED;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_RT);
	in.boosted = 0; /* it expired */
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
}

static void irq_vcpu_that_sleeps_again_is_not_boosted_any_more(void **state)
{
	struct pvsched_policy_in in = pending();

	(void)state;
	in.event = PVSCHED_EV_BLOCKED;
	in.state = PVSCHED_STATE_BLOCKED;
	in.boosted = 1;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
	/* but one that sleeps is boosted for the next interrupt */
	in.event = PVSCHED_EV_INTR_PENDING;
	in.boosted = 0;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_RT);
}

static void irq_older_than_its_window_stays_at_base(void **state)
{
	struct pvsched_policy_in in = pending();

	(void)state;
	in.now_ns = NOW + WINDOW_NS - 1;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_RT);
	in.now_ns = NOW + WINDOW_NS;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
}

static void irq_vcpu_that_runs_or_has_no_rivals_stays_at_base(void **state)
{
	struct pvsched_policy_in in = pending();

	(void)state;
	in.state = PVSCHED_STATE_RUNNING;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
	in = pending();
	in.rivals = PVSCHED_RIVALS_NONE;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
}

static void irq_ignores_what_a_guest_publishes(void **state)
{
	struct pvsched_policy_in in = pending();

	(void)state;
	in.event = PVSCHED_EV_PREEMPTED;
	in.intr_since_ns = 0;
	in.page = 1;
	in.context = PVSCHED_CTX_CRITICAL;
	in.task.rt_priority = 99;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
}

static void irq_asks_for_nothing_on_the_exit_path_but_the_end_of_interrupt(void **state)
{
	(void)state;
	assert_int_equal(pvsched_policy_info.events &
				 (PVSCHED_EV_VMEXIT | PVSCHED_EV_VMENTRY | PVSCHED_EV_HALT |
				  PVSCHED_EV_INTR_INJECT | PVSCHED_EV_DOORBELL),
			 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(irq_pending_boosts_for_a_short_time_without_a_page),
		cmocka_unit_test(irq_that_is_done_leaves_the_boost_to_its_expiry),
		cmocka_unit_test(irq_vcpu_that_sleeps_again_is_not_boosted_any_more),
		cmocka_unit_test(irq_older_than_its_window_stays_at_base),
		cmocka_unit_test(irq_vcpu_that_runs_or_has_no_rivals_stays_at_base),
		cmocka_unit_test(irq_ignores_what_a_guest_publishes),
		cmocka_unit_test(irq_asks_for_nothing_on_the_exit_path_but_the_end_of_interrupt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
