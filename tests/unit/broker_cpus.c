// SPDX-License-Identifier: GPL-2.0-only
/* Which CPUs get an agent, on hosts that set some apart: what the kernel tells is a directory's. */
#include <helpers/unit.h>

#include <broker/cpus.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char root[] = "/tmp/pvsched-cpus-XXXXXX";

FILE *__real_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode)
{
	static const char dir[] = "/sys/devices/system/cpu";
	char there[128];

	if (strncmp(path, dir, strlen(dir)))
		return __real_fopen64(path, mode);
	snprintf(there, sizeof(there), "%s%s", root, path + strlen(dir));
	return __real_fopen64(there, mode);
}

/* NULL = a kernel without the file. */
static void put(const char *name, const char *text)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	unlink(path);
	if (!text)
		return;
	f = __real_fopen64(path, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* How many of four CPUs, and which one is the first. */
static int shared(const char *isolated, const char *nohz_full, int *ret_first)
{
	cpu_set_t set;

	put("isolated", isolated);
	put("nohz_full", nohz_full);
	CPU_ZERO(&set);
	for (int cpu = 0; cpu < 4; cpu++)
		CPU_SET(cpu, &set);
	pvsched_cpus_shared(&set);
	for (*ret_first = 0; *ret_first < 4 && !CPU_ISSET(*ret_first, &set); ++*ret_first)
		;
	return CPU_COUNT(&set);
}

static void cpus_isolated_get_no_agent(void **state)
{
	int first;

	(void)state;
	assert_int_equal(shared("0-1\n", "(null)\n", &first), 2);
	assert_int_equal(first, 2);
	assert_int_equal(shared("\n", "0\n", &first), 3);
	assert_int_equal(first, 1);
	assert_int_equal(shared("0\n", "0,2\n", &first), 2);
	assert_int_equal(first, 1);
}

static void cpus_none_isolated_are_all_shared(void **state)
{
	int first;

	(void)state;
	assert_int_equal(shared("\n", "(null)\n", &first), 4);
	assert_int_equal(shared(NULL, NULL, &first), 4);
	assert_int_equal(shared("", "", &first), 4);
	assert_int_equal(shared("4-7\n", NULL, &first), 4);
}

/* Somebody has to act. */
static void cpus_all_isolated_are_all_shared(void **state)
{
	int first;

	(void)state;
	assert_int_equal(shared("0-3\n", NULL, &first), 4);
	assert_int_equal(shared("0-1\n", "2-3\n", &first), 4);
	assert_int_equal(first, 0);
}

static int setup(void **state)
{
	(void)state;
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	put("isolated", NULL);
	put("nohz_full", NULL);
	return rmdir(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cpus_isolated_get_no_agent),
		cmocka_unit_test(cpus_none_isolated_are_all_shared),
		cmocka_unit_test(cpus_all_isolated_are_all_shared),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
