// SPDX-License-Identifier: GPL-2.0-only
/* Who a process is, as `pvsched-guest latency` tells it: by its start, and not one of its threads. */
#include <helpers/unit.h>

#include <pthread.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/guest/linux/declared.h"
#include "../../src/guest/linux/publisher.h"

int publisher_tell_declared(unsigned int n, struct cli_error *e)
{
	(void)n, (void)e;
	return 0;
}

struct seen {
	uint64_t tid, process;
};

/* A thread looks at itself. */
static void *look(void *ret_seen)
{
	struct seen *s = ret_seen;

	s->tid = gettid();
	s->process = declared_process_of(s->tid);
	return NULL;
}

static void declared_thread_is_one_of_its_process(void **state)
{
	struct seen seen = { 0 };
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, look, &seen), 0);
	pthread_join(thread, NULL);
	assert_true(seen.tid != seen.process);
	assert_int_equal(seen.process, getpid());
	assert_int_equal(declared_process_of(getpid()), getpid());
}

static void declared_process_has_a_start_whatever_its_name(void **state)
{
	uint64_t start = declared_start_of(getpid());

	(void)state;
	assert_true(start > 0);
	assert_int_equal(prctl(PR_SET_NAME, ") 1 2 (x"), 0);
	assert_true(declared_start_of(getpid()) == start);
}

static void declared_process_that_ended_has_none(void **state)
{
	pid_t pid = fork();

	(void)state;
	if (!pid)
		_exit(0);
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(declared_start_of(pid), 0);
	assert_int_equal(declared_process_of(pid), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(declared_thread_is_one_of_its_process),
		cmocka_unit_test(declared_process_has_a_start_whatever_its_name),
		cmocka_unit_test(declared_process_that_ended_has_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
