// SPDX-License-Identifier: GPL-2.0-only
/* From sysfs to placement ids, see places.h. Once per broker; no state. */
#include "places.h"

#include <dirent.h>
#include <fcntl.h>
#include <pvsched/abi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define CACHES 10 /* index0.. that are looked at; x86 has four */

enum { CORE, LLC, NODE, KINDS };

static const unsigned int shift[KINDS] = { PVSCHED_PLACE_CORE_SHIFT, PVSCHED_PLACE_LLC_SHIFT,
					   PVSCHED_PLACE_NODE_SHIFT };

/* The number that a file begins with, of a list of CPUs its first; -1 = no such file. */
static long first_number(const char *cpus, unsigned int cpu, const char *file)
{
	char path[256], line[32], *end;
	ssize_t got = -1;
	long number;
	int fd;

	snprintf(path, sizeof(path), "%s/cpu%u/%s", cpus, cpu, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		got = read(fd, line, sizeof(line) - 1);
		close(fd);
	}
	if (got <= 0)
		return -1;
	line[got] = '\0';
	number = strtol(line, &end, 10);
	return end == line ? -1 : number;
}

/* First CPU of those that share the cache of the highest level. */
static long llc_of(const char *cpus, unsigned int cpu)
{
	long best = 0, first = -1, level;
	char file[64];

	for (unsigned int i = 0; i < CACHES; i++) {
		snprintf(file, sizeof(file), "cache/index%u/level", i);
		level = first_number(cpus, cpu, file);
		if (level <= best)
			continue;
		best = level;
		snprintf(file, sizeof(file), "cache/index%u/shared_cpu_list", i);
		first = first_number(cpus, cpu, file);
	}
	return first;
}

/* A CPU's directory links its node's, as node0. */
static long node_of(const char *cpus, unsigned int cpu)
{
	struct dirent *entry;
	char path[256];
	long node = -1;
	DIR *dir;
	int end;

	snprintf(path, sizeof(path), "%s/cpu%u", cpus, cpu);
	dir = opendir(path);
	while (dir && node < 0 && (entry = readdir(dir))) {
		end = 0;
		if (sscanf(entry->d_name, "node%ld%n", &node, &end) != 1 || entry->d_name[end])
			node = -1;
	}
	if (dir)
		closedir(dir);
	return node;
}

/* 1 to 65535, of no group of this kind yet; 0 = nothing random to be had: then nothing is told. */
static uint16_t draw(const uint16_t *ids, unsigned int n)
{
	uint16_t id = 0;
	unsigned int i;

	do {
		if (getrandom(&id, sizeof(id), 0) != sizeof(id))
			return 0;
		for (i = 0; i < n && ids[i] != id; i++)
			;
	} while (!id || i < n);
	return id;
}

void pvsched_places_read(const char *cpus, uint64_t *places, unsigned int n)
{
	/* by what a group is known by: its first CPU, or its node's number */
	uint16_t *ids = calloc(KINDS * n, sizeof(*ids));

	memset(places, 0, n * sizeof(*places));
	for (unsigned int cpu = 0; ids && cpu < n; cpu++) {
		const long group[KINDS] = {
			first_number(cpus, cpu, "topology/core_cpus_list"),
			llc_of(cpus, cpu),
			node_of(cpus, cpu),
		};

		for (unsigned int k = 0; k < KINDS; k++) {
			uint16_t *id = &ids[k * n];

			if (group[k] < 0 || group[k] >= (long)n)
				continue;
			if (!id[group[k]])
				id[group[k]] = draw(id, n);
			places[cpu] |= (uint64_t)id[group[k]] << shift[k];
		}
	}
	free(ids);
}
