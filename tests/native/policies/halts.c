/* SPDX-License-Identifier: GPL-2.0-only */
/* Asks for what no built-in policy does, and shows by the reasons of its boosts what it was told: the
 * vCPU left the guest by HLT (TASK), or entered it after one (PENDING). */
#include <pvsched/policy.h>

PVSCHED_POLICY(halts, PVSCHED_EV_VMEXIT | PVSCHED_EV_VMENTRY | PVSCHED_EV_HALT)
{
	if (in->event & PVSCHED_EV_HALT && in->exit_reason == PVSCHED_EXIT_HALT)
		pvsched_boost(out, PVSCHED_REASON_TASK, in->now_ns + in->cap_ns);
	else if (in->event & PVSCHED_EV_VMENTRY && in->exit_reason == PVSCHED_EXIT_HALT)
		pvsched_boost(out, PVSCHED_REASON_PENDING, in->now_ns + in->cap_ns);
}
