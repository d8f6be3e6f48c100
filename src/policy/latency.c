/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * latency: the default. Helps a vCPU that is urgent by the guest's own word, and only while it
 * is off its CPU and somebody competes for it; nothing is attached to the VM-exit path. Good for
 * audio, calls, packet work, soft real time. Costs its rivals at most the budgets. Does
 * nothing for a guest without a page.
 */
#include <pvsched/policy.h>

/* One boost for an interrupt. A guest that takes tickets and has not answered yet, though it wants
 * to run, has not had its interrupt: it stays urgent for a while, within its budget. From any other guest no
 * answer can come: this is all it gets. */
#define INTR_WINDOW_NS	 500000
#define INTR_PATIENCE_NS 10000000 /* a ticket that is not answered by then was lost */
/* After next_event: the time the interrupt takes to arrive and to be worked on. A vCPU that wants
 * to run and still has not said what comes next has not got its interrupt: it stays urgent. One
 * that sleeps would have been woken by it: its word is stale. */
#define NEXT_TAIL_NS 400000

static inline __attribute__((always_inline)) int urgent_task(const struct pvsched_task *t)
{
	return t->rt_priority || t->policy == PVSCHED_POLICY_DEADLINE ||
	       t->flags & PVSCHED_TASK_LATENCY;
}

static inline __attribute__((always_inline)) void boost_until(struct pvsched_decision *out,
							      __u8 reason, __u64 expiry_ns,
							      const struct pvsched_policy_in *in)
{
	__u64 cap = in->now_ns + in->cap_ns;

	pvsched_boost(out, reason, expiry_ns < cap ? expiry_ns : cap);
}

PVSCHED_POLICY(latency, PVSCHED_EV_SWITCH | PVSCHED_EV_WOKEN | PVSCHED_EV_INTR_PENDING |
				PVSCHED_EV_TIMER | PVSCHED_EV_DOORBELL)
{
	__u64 now = in->now_ns, next = in->next_event_ns;
	/* a sleeping vCPU runs nothing: what its page says of its task is history */
	int runs = in->state != PVSCHED_STATE_BLOCKED;
	__u64 patience = runs && in->features & PVSCHED_F_TICKET ? INTR_PATIENCE_NS
								 : INTR_WINDOW_NS;
	int intr = in->intr_since_ns && now - in->intr_since_ns < patience;
	int due = next && now + in->lead_ns >= next && (runs || now < next + NEXT_TAIL_NS);
	__u64 tail = next > now ? next + NEXT_TAIL_NS : now + NEXT_TAIL_NS;

	if (!in->page)
		return;
	if (!in->boosted) {
		if (in->state == PVSCHED_STATE_RUNNING || in->rivals == PVSCHED_RIVALS_NONE)
			return;
		if (next > now + in->lead_ns)
			out->again_ns = next - in->lead_ns;
		if (in->rivals == PVSCHED_RIVALS_BRIEF && now - in->wait_since_ns < in->grace_ns) {
			__u64 grace = in->wait_since_ns + in->grace_ns;

			/* one that sleeps says itself when it wakes and has to wait */
			if (runs && (!out->again_ns || grace < out->again_ns))
				out->again_ns = grace;
			return;
		}
	}
	if (runs && in->context & PVSCHED_CTX_URGENT) {
		boost_until(out, PVSCHED_REASON_CRITICAL, now + in->cap_ns, in);
	} else if (intr) {
		boost_until(out, PVSCHED_REASON_INTR, now + INTR_WINDOW_NS, in);
		out->ticket = in->event == PVSCHED_EV_INTR_PENDING;
	} else if (runs && urgent_task(&in->task)) {
		boost_until(out, PVSCHED_REASON_TASK, now + in->cap_ns, in);
	} else if (runs && in->pending.flags & PVSCHED_TASK_VALID && urgent_task(&in->pending)) {
		boost_until(out, PVSCHED_REASON_PENDING, now + in->cap_ns, in);
	} else if (due) {
		boost_until(out, PVSCHED_REASON_NEXT_EVENT, tail, in);
	}
	if (out->level == PVSCHED_LEVEL_BASE && !out->again_ns && next > now + in->lead_ns)
		out->again_ns = next - in->lead_ns;
}
