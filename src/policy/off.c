/* SPDX-License-Identifier: GPL-2.0-only */
/* off: asks for no event and does nothing. The kill switch, and the baseline of every figure. */
#include <pvsched/policy.h>

PVSCHED_POLICY(off, 0)
{
	(void)in;
	(void)out;
}
