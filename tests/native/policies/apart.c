/* SPDX-License-Identifier: GPL-2.0-only */
/* Boosts a critical section by nice, which the kernel does not spread over CPUs by itself as it
 * does real-time tasks, and wishes it on a core of its own. */
#include <pvsched/policy.h>

PVSCHED_POLICY(apart, PVSCHED_EV_SWITCH | PVSCHED_EV_WOKEN | PVSCHED_EV_TIMER | PVSCHED_EV_DOORBELL)
{
	if (!in->page || in->state == PVSCHED_STATE_BLOCKED || !(in->context & PVSCHED_CTX_URGENT))
		return;
	if (!in->boosted &&
	    (in->state == PVSCHED_STATE_RUNNING || in->rivals == PVSCHED_RIVALS_NONE))
		return;
	out->level = PVSCHED_LEVEL_NICE;
	out->value = -20;
	out->reason = PVSCHED_REASON_CRITICAL;
	out->expiry_ns = in->now_ns + in->cap_ns;
	out->wish = PVSCHED_WISH_APART;
}
