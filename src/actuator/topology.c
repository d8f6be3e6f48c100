// SPDX-License-Identifier: GPL-2.0-only
/* See topology.h. */
#include "topology.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CACHES 8 /* index0.. that are looked at; x86 has four */

/* The number that the file begins with; -1 = none. */
static int number(const char *root, int cpu, const char *file)
{
	char path[PATH_MAX];
	int n = -1;
	FILE *f;

	snprintf(path, sizeof(path), "%s/cpu%d/%s", root, cpu, file);
	f = fopen(path, "re");
	if (!f)
		return -1;
	if (fscanf(f, "%d", &n) != 1)
		n = -1;
	fclose(f);
	return n;
}

bool pvsched_topology_online(const char *root, int cpu)
{
	return number(root, cpu, "topology/core_cpus_list") >= 0;
}

/* A list of CPUs; empty where there is none. */
static void list(const char *root, const char *file, char *ret, size_t size)
{
	char path[PATH_MAX];
	FILE *f;

	ret[0] = 0;
	snprintf(path, sizeof(path), "%s/%s", root, file);
	f = fopen(path, "re");
	if (!f)
		return;
	if (fgets(ret, (int)size, f))
		ret[strcspn(ret, "\n")] = 0;
	fclose(f);
}

int pvsched_topology_possible(const char *root)
{
	char cpus[4096];
	size_t at;

	list(root, "possible", cpus, sizeof(cpus));
	for (at = strlen(cpus); at && cpus[at - 1] >= '0' && cpus[at - 1] <= '9'; at--)
		;
	return cpus[at] ? (int)strtol(cpus + at, NULL, 10) + 1 : 0;
}

bool pvsched_topology_isolated(const char *root, char *ret, size_t size)
{
	list(root, "isolated", ret, size);
	return ret[0];
}

int pvsched_topology_core(const char *root, int cpu)
{
	int first = number(root, cpu, "topology/core_cpus_list");

	return first < 0 ? cpu : first;
}

int pvsched_topology_llc(const char *root, int cpu)
{
	int best = 0, llc = 0, level, first;
	char file[64];

	for (int i = 0; i < CACHES; i++) {
		snprintf(file, sizeof(file), "cache/index%d/level", i);
		level = number(root, cpu, file);
		if (level <= best)
			continue;
		snprintf(file, sizeof(file), "cache/index%d/shared_cpu_list", i);
		first = number(root, cpu, file);
		if (first < 0)
			continue;
		best = level;
		llc = first;
	}
	return llc;
}
