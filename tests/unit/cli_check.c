// SPDX-License-Identifier: GPL-2.0-only
/*
 * What `pvsched check` says of the limits that a host sets, on hosts made for it: the files that it reads
 * are those of a directory, and whether the kernel allows real-time scheduling is this test's to say.
 */
#include <helpers/unit.h>

#include <check.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/pvsched-check-XXXXXX";
static int fifo_error; /* of a thread that asks for SCHED_FIFO */
static uid_t user;

FILE *__real_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode)
{
	char there[4096];

	if (strncmp(path, "/proc/", 6) && strncmp(path, "/sys/", 5))
		return __real_fopen64(path, mode);
	snprintf(there, sizeof(there), "%s%s", root, path);
	return __real_fopen64(there, mode);
}

int __wrap_sched_setscheduler(pid_t pid, int policy, const struct sched_param *param);
int __wrap_sched_setscheduler(pid_t pid, int policy, const struct sched_param *param)
{
	if (pid || policy != SCHED_FIFO || param->sched_priority != 1)
		abort();
	errno = fifo_error;
	return fifo_error ? -1 : 0;
}

uid_t __wrap_geteuid(void);
uid_t __wrap_geteuid(void)
{
	return user;
}

static void put(const char *file, const char *text)
{
	char path[4096], *slash;
	FILE *f;

	snprintf(path, sizeof(path), "%s%s", root, file);
	for (slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	f = __real_fopen64(path, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* A host of four CPUs and cgroup v2 that limits nothing. */
static int make_host(void **state)
{
	(void)state;
	strcpy(root + strlen(root) - 6, "XXXXXX");
	if (!mkdtemp(root))
		return -1;
	put("/sys/devices/system/cpu/online", "0-3\n");
	put("/sys/devices/system/cpu/isolated", "\n");
	put("/sys/devices/system/cpu/nohz_full", "(null)\n");
	put("/sys/fs/cgroup/a/cpu.max", "max 100000\n");
	put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
	put("/proc/self/status", "Name:\tunit\nCpus_allowed:\tf\nCpus_allowed_list:\t0-3\n");
	put("/proc/self/cgroup", "0::/a/b\n");
	put("/proc/sys/kernel/sched_rt_runtime_us", "950000\n");
	put("/proc/sys/kernel/sched_rt_period_us", "1000000\n");
	put("/proc/sys/kernel/sched_autogroup_enabled", "0\n");
	fifo_error = 0;
	user = 0;
	return 0;
}

static int remove_host(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

/* The same host with cgroup v1. */
static void make_v1(void)
{
	put("/proc/self/cgroup", "3:cpuset:/\n2:cpu,cpuacct:/a/b\n1:name=systemd:/a/b\n0::/a/b\n");
	put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
	put("/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "-1\n");
	put("/sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us", "-1\n");
}

static struct check_list said;

static unsigned int rows_of(const char *name)
{
	unsigned int n = 0;

	said.n = 0;
	check_limits(&said);
	for (unsigned int i = 0; i < said.n; i++) {
		assert_string_equal(said.row[i].section, "Limits");
		n += !strcmp(said.row[i].name, name);
	}
	return n;
}

/* One row of that name has this state and these words. */
static void expect(const char *name, enum check_state state, const char *words)
{
	const struct check_row *row = said.row;

	if (rows_of(name) != 1)
		fail_msg("%u rows '%s'", rows_of(name), name);
	while (strcmp(row->name, name))
		row++;
	if (row->state != state || !strstr(row->text, words))
		fail_msg("%s: state %d: %s", name, row->state, row->text);
}

static void expect_none(const char *name)
{
	assert_int_equal(rows_of(name), 0);
}

static void check_host_without_limits_says_ok(void **state)
{
	(void)state;
	expect("CPUs", CHECK_OK, "0-3, all allowed");
	expect_none("isolated CPUs");
	expect_none("nohz_full CPUs");
	expect("PREEMPT_RT", CHECK_OK, "off");
	expect("RT throttling", CHECK_OK, "950000 of 1000000 us");
	expect("RT group scheduling", CHECK_OK, "off, or this group has real-time time");
	expect("CPU quota", CHECK_OK, "none on this process");
	expect_none("cpu.max");
	expect_none("autogroup");
	make_v1();
	expect("RT group scheduling", CHECK_OK, "off");
	expect("CPU quota", CHECK_OK, "none on this process");
	expect_none("cpu.cfs_quota_us");
}

static void check_cpuset_says_where_agents_run(void **state)
{
	(void)state;
	put("/proc/self/status", "Cpus_allowed_list:\t0-1\n");
	expect("CPUs", CHECK_LIMIT, "0-1 of 0-3 are allowed here (cpuset, taskset): agents run on");
}

static void check_cpus_that_are_offline_are_no_limit(void **state)
{
	(void)state;
	put("/proc/self/status", "Cpus_allowed_list:\t0-127\n");
	expect("CPUs", CHECK_OK, "0-3, all allowed");
	put("/sys/devices/system/cpu/online", "0,2-3\n");
	expect("CPUs", CHECK_OK, "0,2-3, all allowed");
	put("/proc/self/status", "Cpus_allowed_list:\t1-127\n");
	expect("CPUs", CHECK_LIMIT, "1-127 of 0,2-3 are allowed here");
}

static void check_isolated_cpus_are_named(void **state)
{
	(void)state;
	put("/sys/devices/system/cpu/isolated", "2-3\n");
	expect("isolated CPUs", CHECK_NOTE, "2-3: no agent runs there");
	expect_none("nohz_full CPUs");
	put("/sys/devices/system/cpu/nohz_full", "1\n");
	expect("nohz_full CPUs", CHECK_NOTE, "1: no agent runs there, as on isolated ones");
}

static void check_v2_quota_of_any_group_above_is_named(void **state)
{
	(void)state;
	put("/sys/fs/cgroup/a/b/cpu.max", "50000 100000\n");
	expect("cpu.max", CHECK_LIMIT, "/sys/fs/cgroup/a/b/cpu.max: 50000 100000 us: ordinary");
	expect("cpu.max", CHECK_LIMIT, "boosted by nice, which it charges");
	expect_none("CPU quota");
	put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
	put("/sys/fs/cgroup/a/cpu.max", "20000 100000\n");
	expect("cpu.max", CHECK_LIMIT, "/sys/fs/cgroup/a/cpu.max: 20000 100000 us");
	put("/sys/fs/cgroup/a/b/cpu.max", "50000 100000\n");
	assert_int_equal(rows_of("cpu.max"), 2);
	/* one of a group beside it holds nobody here */
	put("/proc/self/cgroup", "0::/c\n");
	put("/sys/fs/cgroup/c/cpu.max", "max 100000\n");
	expect("CPU quota", CHECK_OK, "none");
}

static void check_v1_quota_of_any_group_above_is_named(void **state)
{
	(void)state;
	make_v1();
	put("/sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us", "50000\n");
	expect("cpu.cfs_quota_us", CHECK_LIMIT,
	       "/sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us: 50000 us: ordinary");
	expect("cpu.cfs_quota_us", CHECK_LIMIT, "boosted by nice, which it charges");
	expect_none("CPU quota");
	put("/sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us", "-1\n");
	put("/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "20000\n");
	expect("cpu.cfs_quota_us", CHECK_LIMIT, "/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us: 20000 us");
	expect_none("CPU quota");
}

/* Its own group is / to it, and what is mounted there is that. */
static void check_quota_of_a_container_is_named(void **state)
{
	(void)state;
	put("/proc/self/cgroup", "0::/\n");
	put("/sys/fs/cgroup/cpu.max", "50000 100000\n");
	expect("cpu.max", CHECK_LIMIT, "/sys/fs/cgroup/cpu.max: 50000 100000 us");
	expect_none("CPU quota");
	put("/proc/self/cgroup", "1:cpu:/\n");
	put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
	expect("cpu.cfs_quota_us", CHECK_LIMIT, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us: 50000 us");
}

static void check_v1_group_without_realtime_says_where_to_give_it(void **state)
{
	(void)state;
	make_v1();
	put("/sys/fs/cgroup/cpu/a/b/cpu.rt_runtime_us", "0\n");
	expect("RT group scheduling", CHECK_NO,
	       "this group has 0 us: give it some in "
	       "cpu.rt_runtime_us");
	put("/sys/fs/cgroup/cpu/a/b/cpu.rt_runtime_us", "950000\n");
	expect("RT group scheduling", CHECK_NOTE,
	       "on, this group has 950000 us; a vCPU whose group "
	       "has 0 is boosted by nice instead");
}

static void check_v2_group_without_realtime_says_what_becomes_of_boosts(void **state)
{
	(void)state;
	fifo_error = EPERM;
	expect("RT group scheduling", CHECK_NOTE,
	       "Operation not permitted: this group has no time for it");
	expect("RT group scheduling", CHECK_NOTE, "is boosted by nice instead");
	/* so it is where v1 has no such controller */
	put("/proc/self/cgroup", "2:memory:/a\n1:cpuset:/\n0::/a/b\n");
	expect("RT group scheduling", CHECK_NOTE, "this group has no time for it");
	/* a user may not ask at all, which tells nothing of the group */
	user = 65534;
	expect("RT group scheduling", CHECK_NOTE, "not known: Operation not permitted: not root");
}

static void check_realtime_settings_say_what_to_do(void **state)
{
	(void)state;
	put("/proc/sys/kernel/sched_rt_runtime_us", "0\n");
	expect("RT throttling", CHECK_NO, "set it to 950000");
	put("/proc/sys/kernel/sched_rt_runtime_us", "-1\n");
	expect("RT throttling", CHECK_NOTE, "nothing but pvsched's own budget bounds a boost");
	put("/sys/kernel/realtime", "1\n");
	expect("PREEMPT_RT", CHECK_LIMIT, "not tested");
	put("/proc/sys/kernel/sched_autogroup_enabled", "1\n");
	expect("autogroup", CHECK_NOTE, "boosts do not care");
}

static void check_host_that_tells_nothing_is_no_failure(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s/proc %s/sys", root, root);
	assert_int_equal(system(command), 0);
	expect("RT throttling", CHECK_NOTE, "cannot be read");
	expect("RT group scheduling", CHECK_OK, "off");
	expect("CPU quota", CHECK_OK, "none");
	expect_none("isolated CPUs");
	for (unsigned int i = 0; i < said.n; i++)
		assert_int_not_equal(said.row[i].state, CHECK_NO);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, make_host, remove_host)
	const struct CMUnitTest tests[] = {
		CASE(check_host_without_limits_says_ok),
		CASE(check_cpuset_says_where_agents_run),
		CASE(check_cpus_that_are_offline_are_no_limit),
		CASE(check_isolated_cpus_are_named),
		CASE(check_v2_quota_of_any_group_above_is_named),
		CASE(check_v1_quota_of_any_group_above_is_named),
		CASE(check_quota_of_a_container_is_named),
		CASE(check_v1_group_without_realtime_says_where_to_give_it),
		CASE(check_v2_group_without_realtime_says_what_becomes_of_boosts),
		CASE(check_realtime_settings_say_what_to_do),
		CASE(check_host_that_tells_nothing_is_no_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
