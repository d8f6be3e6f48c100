/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vmexit: the sample of "Paravirt Scheduling with BPF", to the letter. The guest writes its request
 * and runs on; at the next VMEXIT the host sees it and boosts the vCPU, whether or not anybody
 * competes, and at an exit without a request takes the boost back; an injected interrupt boosts
 * too. Good as a yardstick for `latency`; bad as a default: every exit of every VM on the host
 * pays for a program, and a vCPU is boosted that nobody was about to preempt.
 */
#include <pvsched/policy.h>

#define WINDOW_NS 500000

PVSCHED_POLICY(vmexit, PVSCHED_EV_VMEXIT | PVSCHED_EV_INTR_INJECT | PVSCHED_EV_DOORBELL)
{
	if (!in->page)
		return;
	if (in->context & PVSCHED_CTX_URGENT)
		pvsched_boost(out, PVSCHED_REASON_CRITICAL, in->now_ns + in->cap_ns);
	else if (in->task.rt_priority || in->task.flags & PVSCHED_TASK_LATENCY)
		pvsched_boost(out, PVSCHED_REASON_TASK, in->now_ns + in->cap_ns);
	else if (in->intr_since_ns && in->now_ns - in->intr_since_ns < WINDOW_NS) {
		pvsched_boost(out, PVSCHED_REASON_INTR, in->intr_since_ns + WINDOW_NS);
		out->ticket = in->event == PVSCHED_EV_INTR_INJECT;
	}
}
