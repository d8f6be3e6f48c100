// SPDX-License-Identifier: GPL-2.0-only
/* Which cgroup has a CPU quota, in a tree that looks like cgroupfs. */
#include <helpers/unit.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <actuator/scx/quota.h>

static char root[] = "/tmp/pvsched-quota-XXXXXX";

static void put(const char *file, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root, file);
	f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int make_tree(void **state)
{
	static const char *const dirs[] = { "a", "a/b", "a/b/c", "d" };
	char path[128];

	(void)state;
	assert_non_null(mkdtemp(root));
	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++) {
		snprintf(path, sizeof(path), "%s/%s", root, dirs[i]);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	return 0;
}

static int remove_tree(void **state)
{
	static const char *const all[] = {
		"a/b/c/cpu.max", "a/cpu.max", "d/cpu.cfs_quota_us", "a/b/c", "a/b", "a", "d", ""
	};
	char path[128];

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		snprintf(path, sizeof(path), "%s/%s", root, all[i]);
		remove(path);
	}
	return 0;
}

static void quota_none_is_not_found(void **state)
{
	char path[128] = "untouched";

	(void)state;
	put("a/cpu.max", "max 100000\n");
	put("a/b/c/cpu.max", "max 100000\n");
	put("d/cpu.cfs_quota_us", "-1\n");
	assert_false(pvsched_quota_find(root, path, sizeof(path)));
	assert_string_equal(path, "untouched");
	assert_false(pvsched_quota_find("/nonexistent", path, sizeof(path)));
}

static void quota_deep_in_the_tree_is_named(void **state)
{
	char path[128], wanted[128];

	(void)state;
	put("a/b/c/cpu.max", "50000 100000\n");
	assert_true(pvsched_quota_find(root, path, sizeof(path)));
	snprintf(wanted, sizeof(wanted), "%s/a/b/c", root);
	assert_string_equal(path, wanted);
	put("a/b/c/cpu.max", "max 100000\n");
}

static void quota_of_version_1_is_found(void **state)
{
	char path[128], wanted[128];

	(void)state;
	put("d/cpu.cfs_quota_us", "20000\n");
	assert_true(pvsched_quota_find(root, path, sizeof(path)));
	snprintf(wanted, sizeof(wanted), "%s/d", root);
	assert_string_equal(path, wanted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quota_none_is_not_found),
		cmocka_unit_test(quota_deep_in_the_tree_is_named),
		cmocka_unit_test(quota_of_version_1_is_found),
	};

	return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
