// SPDX-License-Identifier: GPL-2.0-only
/* Placement ids from a sysfs made for it: equal means shared, and no number means anything else. */
#include <helpers/unit.h>

#include <broker/places.h>
#include <pvsched/abi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CPUS 6

static char root[] = "/tmp/placesXXXXXX";

static void put(unsigned int cpu, const char *file, const char *text)
{
	char path[160], *slash;
	FILE *f;

	snprintf(path, sizeof(path), "%s/cpu%u/%s", root, cpu, file);
	for (slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* Two cores of two threads with a cache over both, one core alone on another node; CPU 5 is off. */
static int setup(void **state)
{
	static const char *const core[] = { "0,2\n", "1,3\n", "0,2\n", "1,3\n", "4\n" };
	char node[16];

	(void)state;
	if (!mkdtemp(root))
		return -1;
	for (unsigned int cpu = 0; cpu < 5; cpu++) {
		put(cpu, "topology/core_cpus_list", core[cpu]);
		put(cpu, "cache/index0/level", "1\n");
		put(cpu, "cache/index0/shared_cpu_list", core[cpu]);
		put(cpu, "cache/index1/level", "3\n");
		put(cpu, "cache/index1/shared_cpu_list", cpu < 4 ? "0-3\n" : "4\n");
		put(cpu, "cache/index2/level", "2\n");
		put(cpu, "cache/index2/shared_cpu_list", core[cpu]);
		snprintf(node, sizeof(node), "node%u/x", cpu / 4);
		put(cpu, node, "");
	}
	return 0;
}

static int teardown(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

static unsigned int id(uint64_t place, unsigned int shift)
{
	return place >> shift & 0xffff;
}

static void places_equal_ids_mean_shared(void **state)
{
	static const unsigned int shifts[] = { PVSCHED_PLACE_CORE_SHIFT, PVSCHED_PLACE_LLC_SHIFT,
					       PVSCHED_PLACE_NODE_SHIFT };
	static const int group[3][5] = { { 0, 1, 0, 1, 4 }, { 0, 0, 0, 0, 4 }, { 0, 0, 0, 0, 1 } };
	uint64_t place[CPUS];

	(void)state;
	pvsched_places_read(root, place, CPUS);
	for (unsigned int k = 0; k < 3; k++)
		for (unsigned int a = 0; a < 5; a++) {
			assert_int_not_equal(id(place[a], shifts[k]), 0);
			for (unsigned int b = 0; b < 5; b++)
				assert_int_equal(id(place[a], shifts[k]) == id(place[b], shifts[k]),
						 group[k][a] == group[k][b]);
		}
}

static void places_what_is_not_known_is_not_told(void **state)
{
	uint64_t place[CPUS] = { [5] = ~0ull };

	(void)state;
	pvsched_places_read(root, place, CPUS);
	assert_int_equal(place[5], 0);
	assert_int_equal(place[0] >> 48, 0);
	pvsched_places_read("/nowhere", place, CPUS);
	assert_int_equal(place[0], 0);
}

/* Ids that counted the CPUs, or stayed the same, would name them. */
static void places_ids_are_drawn_anew(void **state)
{
	uint64_t first[CPUS], second[CPUS];

	(void)state;
	pvsched_places_read(root, first, CPUS);
	pvsched_places_read(root, second, CPUS);
	assert_memory_not_equal(first, second, sizeof(first));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places_equal_ids_mean_shared),
		cmocka_unit_test(places_what_is_not_known_is_not_told),
		cmocka_unit_test(places_ids_are_drawn_anew),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
