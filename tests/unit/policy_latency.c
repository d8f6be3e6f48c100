// SPDX-License-Identifier: GPL-2.0-only
/* The policy `latency`, from the file that is compiled for BPF: when it acts, and when not. */
#include "../../src/policy/latency.c"

#include <helpers/policy.h>

/* Preempted inside a critical section, with rivals: the clearest case. Tests change one thing. */
static struct pvsched_policy_in urgent(void)
{
	return (struct pvsched_policy_in){
		.event = PVSCHED_EV_PREEMPTED,
		.context = PVSCHED_CTX_CRITICAL,
		.now_ns = NOW,
		.wait_since_ns = NOW,
		.cap_ns = MS,
		.lead_ns = 150000,
		.grace_ns = 200000,
		.state = PVSCHED_STATE_PREEMPTED,
		.rivals = PVSCHED_RIVALS_MANY,
		.page = 1,
	};
}

static void latency_preempted_in_critical_section_boosts_until_the_cap(void **state)
{
	struct pvsched_decision out = decide(urgent());

	(void)state;
	assert_int_equal(out.level, PVSCHED_LEVEL_RT);
	assert_int_equal(out.value, 1);
	assert_int_equal(out.reason, PVSCHED_REASON_CRITICAL);
	assert_int_equal(out.expiry_ns, NOW + MS);
}

static void latency_every_urgent_context_boosts(void **state)
{
	static const __u32 flags[] = { PVSCHED_CTX_NMI, PVSCHED_CTX_HARDIRQ, PVSCHED_CTX_SOFTIRQ,
				       PVSCHED_CTX_CRITICAL };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(flags); i++) {
		struct pvsched_policy_in in = urgent();

		in.context = flags[i];
		assert_int_equal(decide(in).level, PVSCHED_LEVEL_RT);
	}
}

static void latency_idle_context_or_nothing_said_stays_at_base(void **state)
{
	struct pvsched_policy_in in = urgent();

	(void)state;
	in.context = PVSCHED_CTX_IDLE;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
	in.context = 0;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
}

static void latency_without_a_page_does_nothing(void **state)
{
	struct pvsched_policy_in in = urgent();

	(void)state;
	in.page = 0;
	in.intr_since_ns = NOW;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
}

static void latency_without_rivals_does_nothing(void **state)
{
	struct pvsched_policy_in in = urgent();

	(void)state;
	in.rivals = PVSCHED_RIVALS_NONE;
	in.next_event_ns = NOW + 5 * MS;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
	assert_int_equal(decide(in).again_ns, 0);
}

static void latency_brief_rival_is_given_its_grace_then_boosts(void **state)
{
	struct pvsched_policy_in in = urgent();

	(void)state;
	in.rivals = PVSCHED_RIVALS_BRIEF;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
	assert_int_equal(decide(in).again_ns, NOW + 200000);
	in.event = PVSCHED_EV_TIMER;
	in.now_ns = NOW + 200000;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_RT);
}

/* However long it has slept: it waits for nobody yet, and its wake-up is an event. */
static void latency_sleeping_vcpu_beside_a_brief_rival_is_left_alone(void **state)
{
	struct pvsched_policy_in in = urgent();

	(void)state;
	in.rivals = PVSCHED_RIVALS_BRIEF;
	in.state = PVSCHED_STATE_BLOCKED;
	in.now_ns = in.wait_since_ns = NOW + MS;
	in.next_event_ns = in.now_ns;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
	assert_int_equal(decide(in).again_ns, 0);
}

static void latency_running_unboosted_vcpu_needs_nothing(void **state)
{
	struct pvsched_policy_in in = urgent();

	(void)state;
	in.state = PVSCHED_STATE_RUNNING;
	in.wait_since_ns = in.now_ns;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
}

static void latency_boosted_and_urgent_stays_boosted(void **state)
{
	struct pvsched_policy_in in = urgent();

	(void)state;
	in.state = PVSCHED_STATE_RUNNING;
	in.boosted = 1;
	in.event = PVSCHED_EV_DOORBELL;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_RT);
}

static void latency_boosted_and_urgency_over_returns_to_base(void **state)
{
	struct pvsched_policy_in in = urgent();

	(void)state;
	in.state = PVSCHED_STATE_RUNNING;
	in.boosted = 1;
	in.context = 0;
	in.event = PVSCHED_EV_DOORBELL;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
}

static void latency_sleeping_vcpu_is_not_boosted_for_its_task(void **state)
{
	struct pvsched_policy_in in = urgent();

	(void)state;
	in.event = PVSCHED_EV_BLOCKED;
	in.state = PVSCHED_STATE_BLOCKED;
	in.task = (struct pvsched_task){ .policy = PVSCHED_POLICY_FIFO, .rt_priority = 50 };
	in.pending = (struct pvsched_task){ .flags = PVSCHED_TASK_VALID | PVSCHED_TASK_LATENCY };
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
}

static void latency_urgent_tasks_are_boosted_and_plain_ones_not(void **state)
{
	static const struct {
		struct pvsched_task task;
		int level;
	} cases[] = {
		{ { .policy = PVSCHED_POLICY_FIFO, .rt_priority = 1 }, PVSCHED_LEVEL_RT },
		{ { .policy = PVSCHED_POLICY_RR, .rt_priority = 99 }, PVSCHED_LEVEL_RT },
		{ { .policy = PVSCHED_POLICY_DEADLINE }, PVSCHED_LEVEL_RT },
		{ { .flags = PVSCHED_TASK_LATENCY }, PVSCHED_LEVEL_RT },
		{ { .policy = PVSCHED_POLICY_NORMAL, .nice = -20 }, PVSCHED_LEVEL_BASE },
		{ { .policy = PVSCHED_POLICY_BATCH }, PVSCHED_LEVEL_BASE },
		{ { .policy = PVSCHED_POLICY_IDLE }, PVSCHED_LEVEL_BASE },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pvsched_policy_in in = urgent();

		in.context = 0;
		in.task = cases[i].task;
		assert_int_equal(decide(in).level, cases[i].level);
		/* the same task, woken and waiting, counts only with VALID */
		in.task = (struct pvsched_task){ 0 };
		in.pending = cases[i].task;
		in.pending.flags &= ~PVSCHED_TASK_VALID;
		assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
		in.pending.flags |= PVSCHED_TASK_VALID;
		assert_int_equal(decide(in).level, cases[i].level);
	}
}

static void latency_pending_interrupt_boosts_with_a_ticket_for_its_window(void **state)
{
	struct pvsched_policy_in in = urgent();
	struct pvsched_decision out;

	(void)state;
	in.context = 0;
	in.event = PVSCHED_EV_INTR_PENDING;
	in.state = PVSCHED_STATE_BLOCKED;
	in.intr_since_ns = NOW;
	out = decide(in);
	assert_int_equal(out.level, PVSCHED_LEVEL_RT);
	assert_int_equal(out.reason, PVSCHED_REASON_INTR);
	assert_int_equal(out.ticket, 1);
	assert_int_equal(out.expiry_ns, NOW + INTR_WINDOW_NS);
	/* any later event of it carries no new ticket */
	in.event = PVSCHED_EV_WOKEN;
	assert_int_equal(decide(in).ticket, 0);
}

static void latency_unanswered_interrupt_counts_while_an_answer_can_come(void **state)
{
	struct pvsched_policy_in in = urgent();

	(void)state;
	in.context = 0;
	in.intr_since_ns = NOW - INTR_WINDOW_NS;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE); /* no tickets were agreed on */
	in.features = PVSCHED_F_TICKET;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_RT);
	in.intr_since_ns = NOW - INTR_PATIENCE_NS;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
	in.intr_since_ns = NOW - INTR_WINDOW_NS;
	in.state = PVSCHED_STATE_BLOCKED; /* it was woken, looked, and sleeps again */
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
}

static void latency_next_event_is_asked_for_again_then_boosted_ahead(void **state)
{
	struct pvsched_policy_in in = urgent();
	struct pvsched_decision out;

	(void)state;
	in.context = 0;
	in.next_event_ns = NOW + MS;
	out = decide(in);
	assert_int_equal(out.level, PVSCHED_LEVEL_BASE);
	assert_int_equal(out.again_ns, NOW + MS - 150000);
	in.event = PVSCHED_EV_TIMER;
	in.now_ns = out.again_ns;
	out = decide(in);
	assert_int_equal(out.level, PVSCHED_LEVEL_RT);
	assert_int_equal(out.reason, PVSCHED_REASON_NEXT_EVENT);
	assert_int_equal(out.expiry_ns, NOW + MS + NEXT_TAIL_NS);
}

static void latency_next_event_in_the_past_counts_until_the_guest_has_run(void **state)
{
	struct pvsched_policy_in in = urgent();

	(void)state;
	in.context = 0;
	in.next_event_ns = NOW - 7 * MS;
	assert_int_equal(decide(in).reason, PVSCHED_REASON_NEXT_EVENT);
	assert_int_equal(decide(in).expiry_ns, NOW + NEXT_TAIL_NS);
	/* asleep it would have been woken by it: the word is stale */
	in.state = PVSCHED_STATE_BLOCKED;
	assert_int_equal(decide(in).level, PVSCHED_LEVEL_BASE);
	assert_int_equal(decide(in).again_ns, 0);
}

static void latency_never_asks_for_more_than_the_budget_allows(void **state)
{
	struct pvsched_policy_in in = urgent();

	(void)state;
	in.cap_ns = 70000;
	assert_int_equal(decide(in).expiry_ns, NOW + 70000);
	in.context = 0;
	in.intr_since_ns = NOW;
	assert_int_equal(decide(in).expiry_ns, NOW + 70000);
	in.intr_since_ns = 0;
	in.next_event_ns = NOW + 1000;
	assert_int_equal(decide(in).expiry_ns, NOW + 70000);
}

static void latency_declares_events_of_the_scheduler_timer_and_lapic_only(void **state)
{
	(void)state;
	assert_int_equal(pvsched_policy_info.abi, PVSCHED_POLICY_ABI);
	assert_string_equal(pvsched_policy_info.name, "latency");
	assert_int_equal(pvsched_policy_info.events & (PVSCHED_EV_VMEXIT | PVSCHED_EV_VMENTRY |
						       PVSCHED_EV_HALT | PVSCHED_EV_INTR_INJECT),
			 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(latency_preempted_in_critical_section_boosts_until_the_cap),
		cmocka_unit_test(latency_every_urgent_context_boosts),
		cmocka_unit_test(latency_idle_context_or_nothing_said_stays_at_base),
		cmocka_unit_test(latency_without_a_page_does_nothing),
		cmocka_unit_test(latency_without_rivals_does_nothing),
		cmocka_unit_test(latency_brief_rival_is_given_its_grace_then_boosts),
		cmocka_unit_test(latency_sleeping_vcpu_beside_a_brief_rival_is_left_alone),
		cmocka_unit_test(latency_running_unboosted_vcpu_needs_nothing),
		cmocka_unit_test(latency_boosted_and_urgent_stays_boosted),
		cmocka_unit_test(latency_boosted_and_urgency_over_returns_to_base),
		cmocka_unit_test(latency_sleeping_vcpu_is_not_boosted_for_its_task),
		cmocka_unit_test(latency_urgent_tasks_are_boosted_and_plain_ones_not),
		cmocka_unit_test(latency_pending_interrupt_boosts_with_a_ticket_for_its_window),
		cmocka_unit_test(latency_unanswered_interrupt_counts_while_an_answer_can_come),
		cmocka_unit_test(latency_next_event_is_asked_for_again_then_boosted_ahead),
		cmocka_unit_test(latency_next_event_in_the_past_counts_until_the_guest_has_run),
		cmocka_unit_test(latency_never_asks_for_more_than_the_budget_allows),
		cmocka_unit_test(latency_declares_events_of_the_scheduler_timer_and_lapic_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
