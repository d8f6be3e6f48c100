/* SPDX-License-Identifier: GPL-2.0-only */
/* Whether pvsched-guest's programs can be loaded on this kernel. */
#ifndef PVSCHED_TESTS_NAMES_H
#define PVSCHED_TESTS_NAMES_H

#include <helpers/unit.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Where the kernel keeps no names of its variables (CONFIG_KALLSYMS_ALL), the programs cannot be loaded. */
static inline bool variables_have_names(void)
{
	FILE *f = fopen("/proc/kallsyms", "re");
	bool found = false;
	char line[512];

	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, " tick_cpu_device\n");
	if (f)
		fclose(f);
	return found;
}

static inline void need_names(void)
{
	if (variables_have_names())
		return;
	printf("# this kernel has no CONFIG_KALLSYMS_ALL, which pvsched-guest needs\n");
	skip();
}

#endif
