/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * irq: the host alone, for a guest that knows nothing of pvsched. A vCPU for which an interrupt
 * became pending while it waits for its CPU is boosted until the end of that interrupt, or for a
 * short time. Good for timers and devices of any guest; blind to what the interrupt starts, so
 * the woken task's own latency is helped only as far as the boost reaches. Two events per
 * interrupt; nothing on the VM-exit path but the guest's end of interrupt.
 */
#include <pvsched/policy.h>

#define WINDOW_NS 500000

PVSCHED_POLICY(irq, PVSCHED_EV_SWITCH | PVSCHED_EV_WOKEN | PVSCHED_EV_INTR_PENDING |
			    PVSCHED_EV_INTR_DONE | PVSCHED_EV_TIMER)
{
	if (!in->intr_since_ns || in->now_ns - in->intr_since_ns >= WINDOW_NS)
		return;
	if (!in->boosted &&
	    (in->state == PVSCHED_STATE_RUNNING || in->rivals == PVSCHED_RIVALS_NONE))
		return;
	pvsched_boost(out, PVSCHED_REASON_INTR, in->intr_since_ns + WINDOW_NS);
}
