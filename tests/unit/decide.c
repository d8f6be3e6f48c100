// SPDX-License-Identifier: GPL-2.0-only
/* From events to desired words and charges: the sources of the programs, with a kernel of the test's. */
#include <helpers/unit.h>

#include <helpers/fake_kernel.h>

#include <broker/budget.h>

#define MS   1000000ull
#define US   1000ull
#define PRIO 120 /* of an ordinary task */
#define FIFO 98 /* of SCHED_FIFO 1 */

static struct task_struct vcpu[FAKE_SLOTS], hog = { .pid = 9, .prio = PRIO, .on_rq = 1 };

static int setup(void **state)
{
	struct pvsched_budget host, none = { 0 };

	(void)state;
	memset(&fake, 0, sizeof(fake));
	memset(slot_of_tid, 0, sizeof(slot_of_tid));
	memset(slot_on_cpu, 0, sizeof(slot_on_cpu));
	memset(boosted_at, 0, sizeof(boosted_at));
	fake.now = 1000 * MS;
	fake.serves = 1;
	fake.rivals = PVSCHED_RIVALS_MANY;
	config = (struct pvsched_config){ .min_ns = 50 * US,
					  .slack_ns = 3 * MS,
					  .boost_prio = FIFO };
	pvsched_budget_init(&host);
	for (__u32 slot = 0; slot < FAKE_SLOTS; slot++) {
		__u32 tid = 100 + slot;

		vcpu[slot] = (struct task_struct){ .pid = tid, .prio = PRIO, .on_rq = 1 };
		fake.vcpus[slot] =
			(struct pvsched_vcpu){ .tid = tid,
					       .flags = PVSCHED_V_USED | PVSCHED_V_ENABLED,
					       .base_prio = PRIO,
					       .policy = 1 };
		slot_of_tid[tid] = slot + 1;
		pvsched_budget_resolve(&host, &none, &none, FAKE_SLOTS, &fake.limits[slot].copy[0]);
	}
	return 0;
}

static void boost(__u8 reason, __u64 ns)
{
	fake.out = (struct pvsched_decision){
		.level = PVSCHED_LEVEL_RT, .value = 1, .reason = reason, .expiry_ns = fake.now + ns
	};
}

static void pass(__u64 ns)
{
	fake.now += ns;
}

/* As the actuator does, with what the thread then has. */
static void apply(__u32 slot, __u8 reason)
{
	fake.shared[slot].boosted_for = reason;
	fake.shared[slot].applied =
		pvsched_word(1, PVSCHED_LEVEL_RT, 1, reason, fake.now + 10 * MS);
	fake.shared[slot].applied_ns = fake.now;
	vcpu[slot].prio = FIFO;
	pvsched_wall_on(&fake.debts[slot], fake.now, limits_of(slot));
}

static void restore(__u32 slot)
{
	vcpu[slot].prio = PRIO;
	pvsched_wall_off(&fake.debts[slot], fake.now, limits_of(slot));
	fake.shared[slot].applied =
		pvsched_word(2, PVSCHED_LEVEL_BASE, 0, PVSCHED_REASON_EXPIRED, fake.now);
	fake.shared[slot].applied_ns = fake.now;
}

static void run(__u32 slot)
{
	on_switch(&hog, &vcpu[slot]);
}

static void leave(__u32 slot)
{
	on_switch(&vcpu[slot], &hog);
}

/* What a VM's bucket is owed, in ns of time to repay. */
static __u64 owed(__u64 paid_at)
{
	return paid_at > fake.now ? paid_at - fake.now : 0;
}

static bool boosted(__u32 slot)
{
	return pvsched_word_boosts(fake.shared[slot].desired, fake.now, 0, 0);
}

static void thread_that_ended_hides_nobody_behind_it(void **state)
{
	(void)state;
	/* both have the low bits of slot 1's, whose thread is not the head of the chain */
	fake.vcpus[0].tid = fake.vcpus[1].tid + PVSCHED_TIDS;
	slot_of_tid[fake.vcpus[1].tid] = 1;
	fake.vcpus[0].chain = 2;
	vcpu[0].pid = fake.vcpus[0].tid;
	assert_int_equal(slot_of_task(vcpu[0].pid, 0, 0), 0);
	assert_int_equal(slot_of_task(vcpu[1].pid, 0, 0), 1);
	fake.vcpus[0].flags |= PVSCHED_V_GONE;
	assert_int_equal(slot_of_task(vcpu[0].pid, 0, 0), -1);
	assert_int_equal(slot_of_task(vcpu[1].pid, 0, 0), 1);
	assert_true(is_registered(vcpu[1].pid));
}

static void run_of_another_policys_vcpu_is_charged_before_the_next_is_looked_at(void **state)
{
	(void)state;
	fake.vcpus[1].policy = 2;
	fake.serves = 2;
	run(1);
	apply(1, PVSCHED_REASON_CRITICAL);
	pass(MS / 2);
	/* the program of policy 1 sees the switch first: its vCPU follows that of policy 2 */
	fake.serves = 1;
	on_switch(&vcpu[1], &vcpu[0]);
	assert_int_equal(fake.vcpus[1].boosted_ns, MS / 2);
	assert_int_equal(slot_on_cpu[0], 1); /* slot 0 */
	fake.serves = 2;
	on_switch(&vcpu[1], &vcpu[0]);
	assert_int_equal(fake.vcpus[1].boosted_ns, MS / 2); /* once */
	assert_int_equal(fake.vcpus[1].run_ns, MS / 2);
	assert_int_equal(fake.vcpus[1].state, PVSCHED_STATE_PREEMPTED);
	assert_int_equal(slot_on_cpu[0], 1); /* and it is still slot 0 that runs */
}

/* It may sleep on a lock that lends what it has to whoever its process says. */
static void vcpu_that_sleeps_outside_kvm_is_not_boosted(void **state)
{
	static const __u32 events[] = { PVSCHED_EV_INTR_PENDING, PVSCHED_EV_TIMER,
					PVSCHED_EV_DOORBELL };

	for (int i = 0; i < 3; i++) {
		for (int in_kvm = 0; in_kvm < 2; in_kvm++) {
			setup(state);
			boost(PVSCHED_REASON_INTR, MS / 2);
			/* nor one of whom nothing was seen yet */
			pvsched_decide(0, events[i], fake.now, PVSCHED_RIVALS_MANY);
			assert_false(boosted(0));
			run(0);
			pass(MS);
			vcpu[0].on_rq = 0;
			vcpu[0].in_kvm = in_kvm;
			leave(0);
			pass(MS);
			boost(PVSCHED_REASON_INTR, MS / 2);
			pvsched_decide(0, events[i], fake.now, PVSCHED_RIVALS_MANY);
			assert_int_equal(boosted(0), in_kvm);
		}
	}
}

static void first_event_of_a_vcpu_clears_no_other_ones_cpu(void **state)
{
	(void)state;
	run(0);
	/* slot 1 was registered while it ran on CPU 1, and no event has said where */
	fake.cpu = 1;
	leave(1);
	assert_int_equal(slot_on_cpu[0], 1);
}

static void run_that_nobody_saw_leaves_its_cpu_all_the_same(void **state)
{
	(void)state;
	run(0);
	pvsched_unseen(&fake.vcpus[0]);
	pass(MS);
	leave(0);
	assert_int_equal(slot_on_cpu[0], 0);
	assert_int_equal(fake.vcpus[0].run_ns, 0);
}

static void real_time_work_with_the_number_of_an_ended_thread_takes_boosts_back(void **state)
{
	struct task_struct work = { .pid = vcpu[1].pid, .prio = FIFO, .start_time = 7 };

	(void)state;
	fake.vcpus[1].flags |= PVSCHED_V_GONE;
	run(0);
	apply(0, PVSCHED_REASON_CRITICAL);
	fake.shared[0].desired = fake.shared[0].applied;
	on_waking(&work);
	assert_int_equal(fake.cpus[0].count.revoked, 1);
}

static void boost_that_was_ended_from_another_cpu_is_charged_for_what_it_was_for(void **state)
{
	(void)state;
	run(0);
	apply(0, PVSCHED_REASON_CRITICAL);
	pass(MS / 2);
	restore(0); /* `applied` says EXPIRED from here on */
	pass(MS);
	leave(0);
	assert_int_equal(fake.vcpus[0].boosted_ns, MS / 2);
	assert_true(owed(fake.debts[0].cs_paid_at) > 0);
}

static void boost_that_ends_between_change_and_note_is_charged(void **state)
{
	(void)state;
	run(0);
	apply(0, PVSCHED_REASON_CRITICAL);
	pass(MS / 2);
	vcpu[0].prio = PRIO; /* and not yet noted */
	leave(0);
	assert_int_equal(fake.vcpus[0].boosted_ns, MS / 2);
}

static void agent_that_asks_of_what_is_far_away_leaves_it_to_the_timer(void **state)
{
	(void)state;
	run(0);
	leave(0);
	fake.timer_ns[0] = 0;
	fake.vcpus[0].timer_at = 0;
	fake.out = (struct pvsched_decision){ .again_ns = fake.now + 50 * MS };
	pvsched_decide(0, PVSCHED_EV_TIMER | BY_AGENT, fake.now, PVSCHED_RIVALS_MANY);
	assert_int_equal(fake.timer_ns[0], fake.now + 50 * MS);
	assert_int_equal(fake.hints, 0);
	/* it sleeps until a near one itself */
	fake.timer_ns[0] = 0;
	fake.vcpus[0].timer_at = 0;
	fake.out.again_ns = fake.now + 5 * MS;
	pvsched_decide(0, PVSCHED_EV_TIMER | BY_AGENT, fake.now, PVSCHED_RIVALS_MANY);
	assert_int_equal(fake.timer_ns[0], 0);
	assert_int_equal(fake.shared[0].again_ns, fake.now + 5 * MS);
}

static void interrupt_of_a_vcpu_that_has_not_run_since_is_not_answered(void **state)
{
	(void)state;
	fake.vcpus[0].features = PVSCHED_F_TICKET;
	run(0);
	pass(MS);
	leave(0);
	pass(MS);
	/* no boost for it now, so no ticket: all that were given are answered */
	pvsched_decide(0, PVSCHED_EV_INTR_PENDING, fake.now, PVSCHED_RIVALS_MANY);
	pass(MS);
	pvsched_decide(0, PVSCHED_EV_TIMER, fake.now, PVSCHED_RIVALS_MANY);
	assert_int_equal(fake.in.intr_since_ns, fake.now - MS);
	/* it runs: it takes it then */
	run(0);
	pass(MS);
	leave(0);
	assert_int_equal(fake.in.intr_since_ns, 0);
}

static void word_that_expired_long_ago_is_none_of_the_future(void **state)
{
	const __u64 wraps = 1024ull << 32;

	(void)state;
	run(0);
	leave(0);
	boost(PVSCHED_REASON_CRITICAL, MS / 2);
	pvsched_decide(0, PVSCHED_EV_PREEMPTED, fake.now, PVSCHED_RIVALS_MANY);
	assert_int_equal(PVSCHED_WORD_LEVEL(fake.shared[0].desired), PVSCHED_LEVEL_RT);
	fake.out = (struct pvsched_decision){ 0 };
	pass(MS); /* expired: who carries it out sees that by the word */
	pvsched_decide(0, PVSCHED_EV_BLOCKED, fake.now, PVSCHED_RIVALS_MANY);
	assert_int_equal(PVSCHED_WORD_LEVEL(fake.shared[0].desired), PVSCHED_LEVEL_RT);
	pass(2000 * MS);
	pvsched_decide(0, PVSCHED_EV_BLOCKED, fake.now, PVSCHED_RIVALS_MANY);
	assert_int_equal(PVSCHED_WORD_LEVEL(fake.shared[0].desired), PVSCHED_LEVEL_BASE);
	pass(wraps / 2);
	pvsched_decide(0, PVSCHED_EV_WOKEN, fake.now, PVSCHED_RIVALS_MANY);
	assert_false(fake.in.boosted);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
		CASE(thread_that_ended_hides_nobody_behind_it),
		CASE(run_of_another_policys_vcpu_is_charged_before_the_next_is_looked_at),
		CASE(vcpu_that_sleeps_outside_kvm_is_not_boosted),
		CASE(first_event_of_a_vcpu_clears_no_other_ones_cpu),
		CASE(run_that_nobody_saw_leaves_its_cpu_all_the_same),
		CASE(real_time_work_with_the_number_of_an_ended_thread_takes_boosts_back),
		CASE(boost_that_was_ended_from_another_cpu_is_charged_for_what_it_was_for),
		CASE(boost_that_ends_between_change_and_note_is_charged),
		CASE(agent_that_asks_of_what_is_far_away_leaves_it_to_the_timer),
		CASE(interrupt_of_a_vcpu_that_has_not_run_since_is_not_answered),
		CASE(word_that_expired_long_ago_is_none_of_the_future),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
