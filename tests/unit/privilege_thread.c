// SPDX-License-Identifier: GPL-2.0-only
/* Threads that begin with less than their maker has; as root and as anybody else. */
#include <helpers/unit.h>

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <privilege/caps.h>
#include <privilege/thread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEPT PVSCHED_CAP(CAP_SYS_NICE)

static uint64_t effective(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	assert_int_equal(syscall(SYS_capget, &head, d), 0);
	return d[0].effective | (uint64_t)d[1].effective << 32;
}

struct seen {
	uint64_t caps;
	bool ran, no_new_privs;
};

static void *look(void *arg)
{
	struct seen *s = arg;

	s->ran = true;
	s->caps = effective();
	s->no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
	return s;
}

static void thread_begins_with_what_it_is_given_and_its_maker_keeps_all(void **state)
{
	uint64_t before = effective();
	struct seen seen = { 0 };
	pthread_t thread;
	void *ret;

	(void)state;
	assert_int_equal(pvsched_thread_start(&thread, NULL, KEPT, 0, look, &seen), 0);
	assert_int_equal(pthread_join(thread, &ret), 0);
	assert_ptr_equal(ret, &seen);
	assert_int_equal(seen.caps, before & KEPT);
	assert_true(seen.no_new_privs);
	assert_int_equal(effective(), before);
}

static void thread_of_a_size_that_cannot_be_is_refused_with_the_reason(void **state)
{
	struct seen seen = { 0 };
	pthread_attr_t attr;
	pthread_t thread;

	(void)state;
	pthread_attr_init(&attr);
	assert_int_equal(pthread_attr_setstacksize(&attr, 1ul << 62), 0);
	assert_int_equal(pvsched_thread_start(&thread, &attr, KEPT, 0, look, &seen), -EAGAIN);
	pthread_attr_destroy(&attr);
	assert_false(seen.ran);
}

/* As under a service's system call filter. */
static int refuse_capset(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_capset, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = sizeof(filter) / sizeof(*filter), .filter = filter };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

static void thread_that_could_not_give_its_rights_away_is_not_there(void **state)
{
	struct seen seen = { 0 };
	pthread_t thread;
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	if (!pid)
		_exit(refuse_capset() ||
		      pvsched_thread_start(&thread, NULL, KEPT, 0, look, &seen) != -EPERM ||
		      seen.ran);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(thread_begins_with_what_it_is_given_and_its_maker_keeps_all),
		cmocka_unit_test(thread_of_a_size_that_cannot_be_is_refused_with_the_reason),
		cmocka_unit_test(thread_that_could_not_give_its_rights_away_is_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
