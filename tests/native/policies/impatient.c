/* SPDX-License-Identifier: GPL-2.0-only */
/* Wants to be asked again at once, always, as a guest can bring a policy to that announces its next
 * event anew each time. */
#include <pvsched/policy.h>

PVSCHED_POLICY(impatient, PVSCHED_EV_SWITCH | PVSCHED_EV_TIMER)
{
	out->again_ns = in->now_ns + 1;
}
