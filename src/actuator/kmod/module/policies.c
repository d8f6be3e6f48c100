// SPDX-License-Identifier: GPL-2.0-only
/*
 * The built-in policies as the module's own functions: the very files of src/policy. No state.
 */
#include <pvsched/policy.h>

#include "engine.h"

/* instead of an object of its own for each, which a loader links */
#undef PVSCHED_POLICY
#define PVSCHED_POLICY(policy_name, policy_events)                                                 \
	static void ask_##policy_name(const struct pvsched_policy_in *in,                          \
				      struct pvsched_decision *out);                               \
	static const u32 events_##policy_name = (policy_events);                                   \
	static void ask_##policy_name(const struct pvsched_policy_in *in,                          \
				      struct pvsched_decision *out)

#include "policy/irq.c"
#include "policy/latency.c"
#include "policy/mirror.c"
#include "policy/off.c"
#include "policy/vmexit.c"

#define ROW(name)                                                                                  \
	{                                                                                          \
#name, events_##name, ask_##name                                                   \
	}

const struct policy *policy_find(const char *name)
{
	static const struct policy table[] = { ROW(off), ROW(latency), ROW(irq), ROW(mirror),
					       ROW(vmexit) };

	for (u32 i = 0; i < ARRAY_SIZE(table); i++)
		if (!strcmp(table[i].name, name))
			return &table[i];
	return NULL;
}
