// SPDX-License-Identifier: GPL-2.0-only
/* Which CPUs share what, in a tree that looks like sysfs. */
#include <helpers/unit.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <actuator/topology.h>

static char root[] = "/tmp/pvsched-topology-XXXXXX";

/* Two cores of two CPUs; of one a third-level cache, whose index is not the last, is told. */
static const struct {
	const char *file, *text;
} tree[] = {
	{ "possible", "0-1023\n" },
	{ "isolated", "2-3,7\n" },
	{ "cpu0", NULL },
	{ "cpu0/topology", NULL },
	{ "cpu0/topology/core_cpus_list", "0-1\n" },
	{ "cpu0/cache", NULL },
	{ "cpu0/cache/index0", NULL },
	{ "cpu0/cache/index0/level", "1\n" },
	{ "cpu0/cache/index0/shared_cpu_list", "0-1\n" },
	{ "cpu1", NULL },
	{ "cpu2", NULL },
	{ "cpu2/topology", NULL },
	{ "cpu2/topology/core_cpus_list", "2-3\n" },
	{ "cpu2/cache", NULL },
	{ "cpu2/cache/index0", NULL },
	{ "cpu2/cache/index0/level", "2\n" },
	{ "cpu2/cache/index0/shared_cpu_list", "2-3\n" },
	{ "cpu2/cache/index1", NULL },
	{ "cpu2/cache/index1/level", "3\n" },
	{ "cpu2/cache/index1/shared_cpu_list", "1-3\n" },
	{ "cpu2/cache/index2", NULL },
	{ "cpu2/cache/index2/level", "1\n" },
	{ "cpu2/cache/index2/shared_cpu_list", "2\n" },
};
#define TREE (sizeof(tree) / sizeof(*tree))

static int make_tree(void **state)
{
	char path[128];
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(root));
	for (size_t i = 0; i < TREE; i++) {
		snprintf(path, sizeof(path), "%s/%s", root, tree[i].file);
		if (!tree[i].text) {
			assert_int_equal(mkdir(path, 0700), 0);
			continue;
		}
		f = fopen(path, "we");
		assert_non_null(f);
		fputs(tree[i].text, f);
		fclose(f);
	}
	return 0;
}

static int remove_tree(void **state)
{
	char path[128];

	(void)state;
	for (size_t i = TREE; i-- > 0;) {
		snprintf(path, sizeof(path), "%s/%s", root, tree[i].file);
		remove(path);
	}
	return remove(root);
}

static void topology_core_is_named_by_its_first_cpu(void **state)
{
	(void)state;
	assert_int_equal(pvsched_topology_core(root, 0), 0);
	assert_int_equal(pvsched_topology_core(root, 2), 2);
}

static void topology_llc_is_the_cache_of_the_highest_level(void **state)
{
	(void)state;
	assert_int_equal(pvsched_topology_llc(root, 0), 0);
	assert_int_equal(pvsched_topology_llc(root, 2), 1);
}

static void topology_of_a_cpu_that_tells_nothing_is_its_own_core(void **state)
{
	(void)state;
	assert_int_equal(pvsched_topology_core(root, 7), 7);
	assert_int_equal(pvsched_topology_llc(root, 7), 0);
}

/* Its directory stays when it goes off; what it shares does not. */
static void topology_cpu_that_tells_no_core_is_offline(void **state)
{
	(void)state;
	assert_true(pvsched_topology_online(root, 0));
	assert_true(pvsched_topology_online(root, 2));
	assert_false(pvsched_topology_online(root, 1));
	assert_false(pvsched_topology_online(root, 7));
}

static void topology_possible_cpus_end_with_the_last_of_their_list(void **state)
{
	(void)state;
	assert_int_equal(pvsched_topology_possible(root), 1024);
	assert_int_equal(pvsched_topology_possible("/nonexistent"), 0);
}

static void topology_isolated_cpus_are_told(void **state)
{
	char cpus[16];

	(void)state;
	assert_true(pvsched_topology_isolated(root, cpus, sizeof(cpus)));
	assert_string_equal(cpus, "2-3,7");
	assert_false(pvsched_topology_isolated("/nonexistent", cpus, sizeof(cpus)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(topology_cpu_that_tells_no_core_is_offline),
		cmocka_unit_test(topology_possible_cpus_end_with_the_last_of_their_list),
		cmocka_unit_test(topology_isolated_cpus_are_told),
		cmocka_unit_test(topology_core_is_named_by_its_first_cpu),
		cmocka_unit_test(topology_llc_is_the_cache_of_the_highest_level),
		cmocka_unit_test(topology_of_a_cpu_that_tells_nothing_is_its_own_core),
	};

	return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
