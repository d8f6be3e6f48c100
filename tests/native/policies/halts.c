/* SPDX-License-Identifier: GPL-2.0-only */
/* Asks for what no built-in policy does: boosts a vCPU that left the guest by HLT, until it enters it
 * again. By what is so, not by the event alone: it is also asked when the vCPU blocks. */
#include <pvsched/policy.h>

PVSCHED_POLICY(halts, PVSCHED_EV_VMENTRY | PVSCHED_EV_HALT)
{
	if (in->exit_reason == PVSCHED_EXIT_HALT && in->event != PVSCHED_EV_VMENTRY)
		pvsched_boost(out, PVSCHED_REASON_TASK, in->now_ns + in->cap_ns);
}
