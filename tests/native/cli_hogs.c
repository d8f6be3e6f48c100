// SPDX-License-Identifier: GPL-2.0-only
/* The bench's hogs: they burn when they are let, stand still when not, and never outlive it. */
#include <helpers/unit.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <hogs.h>

static int last_cpu(void)
{
	cpu_set_t set;
	int cpu;

	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	for (cpu = CPU_SETSIZE - 1; !CPU_ISSET(cpu, &set); cpu--)
		;
	return cpu;
}

/* Waits until the hogs' CPU time has grown by ns; a stuck one ends in the runner's time limit. */
static void wait_for_growth(const struct bench_hogs *h, uint64_t ns)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	uint64_t from, now;

	assert_int_equal(bench_hogs_cpu_ns(h, &from), 0);
	do {
		nanosleep(&pause, NULL);
		assert_int_equal(bench_hogs_cpu_ns(h, &now), 0);
	} while (now - from < ns);
}

/* Until two reads agree: a stopped task's last turn is accounted for after the stop is reported. */
static uint64_t settled_cpu_ns(const struct bench_hogs *h)
{
	uint64_t before, now;

	assert_int_equal(bench_hogs_cpu_ns(h, &now), 0);
	do {
		before = now;
		usleep(5000);
		assert_int_equal(bench_hogs_cpu_ns(h, &now), 0);
	} while (now != before);
	return now;
}

static void hogs_let_run_burn_and_stopped_do_not(void **state)
{
	struct bench_hogs h;
	uint64_t a, b;

	(void)state;
	assert_int_equal(bench_hogs_start(&h, 3, last_cpu()), 0);
	assert_int_equal(h.made, 3);
	assert_int_equal(bench_hogs_run(&h, 2), 0);
	wait_for_growth(&h, 20000000);
	assert_int_equal(bench_hogs_run(&h, 3), 0);
	wait_for_growth(&h, 20000000);
	assert_int_equal(bench_hogs_run(&h, 0), 0);
	a = settled_cpu_ns(&h);
	usleep(30000);
	assert_int_equal(bench_hogs_cpu_ns(&h, &b), 0);
	assert_int_equal(a, b);
	bench_hogs_stop(&h);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void hogs_are_ordinary_and_pinned(void **state)
{
	struct bench_hogs h;
	cpu_set_t set;

	(void)state;
	assert_int_equal(bench_hogs_start(&h, 1, last_cpu()), 0);
	assert_int_equal(sched_getscheduler(h.pid[0]), SCHED_OTHER);
	assert_int_equal(sched_getaffinity(h.pid[0], sizeof(set), &set), 0);
	assert_int_equal(CPU_COUNT(&set), 1);
	assert_true(CPU_ISSET(last_cpu(), &set));
	assert_int_equal(getsid(h.pid[0]), getsid(0));
	bench_hogs_stop(&h);
}

static void hogs_too_many_are_refused(void **state)
{
	struct bench_hogs h;

	(void)state;
	assert_int_equal(bench_hogs_start(&h, BENCH_HOGS_MAX + 1, last_cpu()), -EINVAL);
	assert_int_equal(bench_hogs_start(&h, 1, last_cpu()), 0);
	assert_int_equal(bench_hogs_run(&h, 2), -EINVAL);
	bench_hogs_stop(&h);
}

static void hogs_on_a_cpu_that_is_none_fail(void **state)
{
	struct bench_hogs h;

	(void)state;
	assert_int_equal(bench_hogs_start(&h, 2, CPU_SETSIZE - 1), -EINVAL);
	assert_int_equal(h.made, 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void hogs_one_killed_is_noticed(void **state)
{
	struct bench_hogs h;

	(void)state;
	assert_int_equal(bench_hogs_start(&h, 2, last_cpu()), 0);
	assert_int_equal(kill(h.pid[0], SIGKILL), 0);
	assert_int_equal(bench_hogs_run(&h, 2), -ECHILD);
	bench_hogs_stop(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hogs_let_run_burn_and_stopped_do_not),
		cmocka_unit_test(hogs_are_ordinary_and_pinned),
		cmocka_unit_test(hogs_too_many_are_refused),
		cmocka_unit_test(hogs_on_a_cpu_that_is_none_fail),
		cmocka_unit_test(hogs_one_killed_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
