/* SPDX-License-Identifier: GPL-2.0-only */
/* An object without a policy in it: cannot be linked. */
int pvsched_not_a_policy(void);
int pvsched_not_a_policy(void)
{
	return 0;
}
