// SPDX-License-Identifier: GPL-2.0-only
/* The policy `vmexit`: the talk's sample. Requests are seen at exits, and nowhere else. */
#include "../../src/policy/vmexit.c"

#include <helpers/policy.h>

/* An exit of a guest that is in a critical section. Nobody competes: the sample does not ask. */
static struct pvsched_policy_in at_exit(void)
{
	return (struct pvsched_policy_in){
		.event = PVSCHED_EV_VMEXIT,
		.exit_reason = PVSCHED_EXIT_INTR,
		.context = PVSCHED_CTX_CRITICAL,
		.now_ns = NOW,
		.cap_ns = MS,
		.state = PVSCHED_STATE_RUNNING,
		.rivals = PVSCHED_RIVALS_NONE,
		.page = 1,
	};
}

static void vmexit_with_a_request_boosts_until_the_cap(void **state)
{
	struct pvsched_decision out = decide(at_exit());

	(void)state;
	assert_int_equal(out.level, PVSCHED_LEVEL_RT);
	assert_int_equal(out.reason, PVSCHED_REASON_CRITICAL);
	assert_int_equal(out.expiry_ns, NOW + MS);
}

static void vmexit_without_a_request_takes_the_boost_back(void **state)
{
	struct pvsched_policy_in in = at_exit();

	(void)state;
	in.boosted = 1;
	in.context = 0;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
}

static void vmexit_of_an_urgent_task_boosts(void **state)
{
	struct pvsched_policy_in in = at_exit();

	(void)state;
	in.context = 0;
	in.task.rt_priority = 1;
	assert_int_equal(decide(in).reason, PVSCHED_REASON_TASK);
	in.task.rt_priority = 0;
	in.task.flags = PVSCHED_TASK_LATENCY;
	assert_int_equal(decide(in).reason, PVSCHED_REASON_TASK);
}

static void vmexit_injection_boosts_and_carries_a_ticket(void **state)
{
	struct pvsched_policy_in in = at_exit();
	struct pvsched_decision out;

	(void)state;
	in.context = 0;
	in.event = PVSCHED_EV_INTR_INJECT;
	in.intr_since_ns = NOW;
	out = decide(in);
	assert_int_equal(out.level, PVSCHED_LEVEL_RT);
	assert_int_equal(out.reason, PVSCHED_REASON_INTR);
	assert_int_equal(out.ticket, 1);
	assert_int_equal(out.expiry_ns, NOW + WINDOW_NS);
	/* at the exits that follow the boost stays, with the ticket that it has */
	in.event = PVSCHED_EV_VMEXIT;
	in.now_ns += WINDOW_NS - 1;
	out = decide(in);
	assert_int_equal(out.level, PVSCHED_LEVEL_RT);
	assert_int_equal(out.ticket, 0);
	in.now_ns++;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
}

static void vmexit_without_a_page_does_nothing(void **state)
{
	struct pvsched_policy_in in = at_exit();

	(void)state;
	in.page = 0;
	in.intr_since_ns = NOW;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vmexit_with_a_request_boosts_until_the_cap),
		cmocka_unit_test(vmexit_without_a_request_takes_the_boost_back),
		cmocka_unit_test(vmexit_of_an_urgent_task_boosts),
		cmocka_unit_test(vmexit_injection_boosts_and_carries_a_ticket),
		cmocka_unit_test(vmexit_without_a_page_does_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
