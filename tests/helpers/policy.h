/* SPDX-License-Identifier: GPL-2.0-only */
/* Asks a policy, from the file that is compiled for BPF; include that file before this one. */
#ifndef TESTS_POLICY_H
#define TESTS_POLICY_H

#include "unit.h"

#define MS  1000000ull
#define NOW (1000 * MS)

static inline struct pvsched_decision decide(struct pvsched_policy_in in)
{
	struct pvsched_decision out = { 0 };

	assert_int_equal(pvsched_policy(&in, &out), 0);
	return out;
}

#endif
