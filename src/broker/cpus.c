// SPDX-License-Identifier: GPL-2.0-only
/* CPUs for agents, see cpus.h. */
#include "cpus.h"

#include <stdio.h>
#include <stdlib.h>

void pvsched_cpus_remove(cpu_set_t *set, const char *list)
{
	unsigned long from, to;
	char *end;

	while (*list >= '0' && *list <= '9') {
		from = to = strtoul(list, &end, 10);
		if (*end == '-')
			to = strtoul(end + 1, &end, 10);
		for (; from <= to && from < CPU_SETSIZE; from++)
			CPU_CLR(from, set);
		list = *end == ',' ? end + 1 : end;
	}
}

void pvsched_cpus_shared(cpu_set_t *set)
{
	static const char *const files[] = { "/sys/devices/system/cpu/isolated",
					     "/sys/devices/system/cpu/nohz_full" };
	cpu_set_t left = *set;
	char line[1024];
	FILE *f;

	for (unsigned int i = 0; i < 2; i++) {
		f = fopen(files[i], "re");
		if (f && fgets(line, sizeof(line), f))
			pvsched_cpus_remove(&left, line);
		if (f)
			fclose(f);
	}
	if (CPU_COUNT(&left))
		*set = left;
}
