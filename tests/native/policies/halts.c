/* SPDX-License-Identifier: GPL-2.0-only */
/* Asks for what no built-in policy does, and shows by its boosts what it was told: real-time when the
 * vCPU left the guest by HLT, a nice when it enters it after that. */
#include <pvsched/policy.h>

PVSCHED_POLICY(halts, PVSCHED_EV_VMENTRY | PVSCHED_EV_HALT)
{
	if (in->exit_reason != PVSCHED_EXIT_HALT)
		return;
	pvsched_boost(out, PVSCHED_REASON_TASK, in->now_ns + in->cap_ns);
	if (in->event & PVSCHED_EV_HALT)
		return;
	out->level = PVSCHED_LEVEL_NICE;
	out->value = -10;
	out->reason = PVSCHED_REASON_PENDING;
}
