/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * audio: boosts a vCPU only for tasks that the guest's administrator declared latency-sensitive,
 * running or woken and waiting, and for at most half a millisecond at a time. Good for a desktop
 * guest whose sound server is the one thing that must not stutter; does nothing for interrupts,
 * critical sections or the guest's other real-time tasks.
 */
#include <pvsched/policy.h>

#define LONGEST_NS 500000

PVSCHED_POLICY(audio, PVSCHED_EV_SWITCH | PVSCHED_EV_WOKEN | PVSCHED_EV_DOORBELL)
{
	int running = in->task.flags & PVSCHED_TASK_LATENCY;
	int waiting = in->pending.flags & PVSCHED_TASK_VALID &&
		      in->pending.flags & PVSCHED_TASK_LATENCY;

	/* a sleeping vCPU runs nothing; without rivals nothing need be done */
	if (in->state == PVSCHED_STATE_BLOCKED || in->rivals == PVSCHED_RIVALS_NONE)
		return;
	if (!in->boosted && in->state == PVSCHED_STATE_RUNNING)
		return;
	if (running || waiting)
		pvsched_boost(out, running ? PVSCHED_REASON_TASK : PVSCHED_REASON_PENDING,
			      in->now_ns + LONGEST_NS);
}
