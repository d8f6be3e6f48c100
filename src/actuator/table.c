// SPDX-License-Identifier: GPL-2.0-only
/* The actuators: a directory and a row each. See actuator.h. */
#include "actuator.h"

#include <string.h>

static const struct pvsched_actuator *const table[] = {
	&pvsched_actuator_scx,
	&pvsched_actuator_kmod,
	&pvsched_actuator_kmod_policy,
	&pvsched_actuator_agent,
	NULL,
};

const struct pvsched_actuator *const *pvsched_actuators(void)
{
	return table;
}

const struct pvsched_actuator *pvsched_actuator_find(const char *name)
{
	for (int i = 0; table[i]; i++)
		if (!strcmp(table[i]->name, name))
			return table[i];
	return NULL;
}

bool pvsched_actuator_has_bpf(const struct pvsched_actuator *a)
{
	return !a || !a->programs || !a->programs->engine;
}

const struct pvsched_actuator *pvsched_actuator_first(const struct pvsched_actuator *const *rows)
{
	char why[PVSCHED_ACTUATOR_WHY];

	for (int i = 0; rows[i]; i++)
		if (rows[i]->automatic && !rows[i]->usable(why, sizeof(why)))
			return rows[i];
	return &pvsched_actuator_agent; /* its start says what is missing */
}

const struct pvsched_actuator *pvsched_actuator_choose(void)
{
	return pvsched_actuator_first(table);
}
