/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mirror: the guest's task rules the vCPU's thread. Real-time work runs as SCHED_FIFO (clamped to
 * the ceiling), nice becomes nice, SCHED_IDLE work and an idle guest give way. Good for hosts that
 * trust their guests' priorities and want background VMs to step back; bad where guests run
 * everything at one nice. Better than the baseline is bounded as any boost; giving way is not.
 */
#include <pvsched/policy.h>

PVSCHED_POLICY(mirror,
	       PVSCHED_EV_SWITCH | PVSCHED_EV_WOKEN | PVSCHED_EV_TIMER | PVSCHED_EV_DOORBELL)
{
	struct pvsched_task task = in->task;
	int idles = task.policy == PVSCHED_POLICY_IDLE || in->context & PVSCHED_CTX_IDLE;

	if (!in->page || in->state == PVSCHED_STATE_BLOCKED)
		return;
	if (!in->boosted &&
	    (in->state == PVSCHED_STATE_RUNNING || in->rivals == PVSCHED_RIVALS_NONE))
		return;
	/* what waits behind an ordinary task, or an idle one, counts as if it ran: the guest will
	 * switch to it */
	if (in->pending.flags & PVSCHED_TASK_VALID &&
	    (idles || in->pending.rt_priority > task.rt_priority ||
	     (!task.rt_priority && in->pending.nice < task.nice))) {
		task = in->pending;
		idles = task.policy == PVSCHED_POLICY_IDLE;
	}
	/* a vCPU sleeps in its guest's idle task: for what it wakes the page does not tell yet */
	if (idles && in->event == PVSCHED_EV_WOKEN)
		return;
	out->reason = PVSCHED_REASON_MIRROR;
	out->expiry_ns = in->now_ns + in->cap_ns;
	if (task.rt_priority || task.policy == PVSCHED_POLICY_DEADLINE) {
		out->level = PVSCHED_LEVEL_RT;
		out->value = task.rt_priority ? task.rt_priority : 99;
	} else if (idles) {
		out->level = PVSCHED_LEVEL_IDLE;
		out->expiry_ns = 0; /* as long as may be */
	} else if (task.nice != in->base_nice) {
		out->level = PVSCHED_LEVEL_NICE;
		out->value = task.nice;
		if (task.nice > in->base_nice)
			out->expiry_ns = 0;
	}
}
