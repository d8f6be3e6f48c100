/* SPDX-License-Identifier: GPL-2.0-only */
/* Built for a policy version that does not exist: refused before it is loaded. */
#include <pvsched/policy.h>
#undef PVSCHED_POLICY_ABI
#define PVSCHED_POLICY_ABI 99

PVSCHED_POLICY(wrong_abi, PVSCHED_EV_SWITCH)
{
	(void)in;
	(void)out;
}
