/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * irq: the host alone, for a guest that knows nothing of pvsched. A vCPU for which an interrupt
 * became pending while it sleeps or waits for its CPU is boosted until it sleeps again, or for a short
 * time: what the interrupt is for is mostly a task that it wakes, and that is what the guest's user
 * waits for. Good for timers and devices of any guest that is idle in between; of one that always
 * computes, only what an interrupt starts at once. Two events per interrupt; nothing on the VM-exit path
 * but the guest's end of interrupt, after which the next one counts as new.
 */
#include <pvsched/policy.h>

#define WINDOW_NS 500000

PVSCHED_POLICY(irq, PVSCHED_EV_SWITCH | PVSCHED_EV_WOKEN | PVSCHED_EV_INTR_PENDING |
			    PVSCHED_EV_INTR_DONE | PVSCHED_EV_TIMER)
{
	if (in->event == PVSCHED_EV_BLOCKED)
		return;
	if (in->boosted) { /* one for an interrupt: the same reason never prolongs itself */
		pvsched_boost(out, PVSCHED_REASON_INTR, in->now_ns + WINDOW_NS);
		return;
	}
	if (!in->intr_since_ns || in->now_ns - in->intr_since_ns >= WINDOW_NS ||
	    in->state == PVSCHED_STATE_RUNNING || in->rivals == PVSCHED_RIVALS_NONE)
		return;
	pvsched_boost(out, PVSCHED_REASON_INTR, in->intr_since_ns + WINDOW_NS);
}
