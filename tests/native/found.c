// SPDX-License-Identifier: GPL-2.0-only
/* The finder on this machine: what it must not take for a VM, and what it tells. */
/* timeout: 60 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <events/find.h>
#include <helpers/threads.h>
#include <helpers/unit.h>

#define PATIENCE_MS 20000

static char said[256];

static void say(void *ctx, const char *line)
{
	(void)ctx;
	snprintf(said, sizeof(said), "%s", line);
}

static int setup(void **state)
{
	struct pvsched_finder *f = NULL;

	if (pvsched_finder_open(say, NULL, &f)) {
		printf("%s\n", said);
		*state = NULL;
		return 0;
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	pvsched_finder_free(*state);
	return 0;
}

/* A host without KVM finds nothing, and says so: the reason is printed before the skip. */
#define FINDER(state)                                                                              \
	({                                                                                         \
		if (!*(state)) {                                                                   \
			printf("%s\n", said);                                                      \
			skip();                                                                    \
		}                                                                                  \
		*(state);                                                                          \
	})

static int rows_of(struct pvsched_finder *f, pid_t pid)
{
	struct pvsched_found *rows = NULL;
	bool cut = false;
	int n = pvsched_finder_scan(f, pid, &rows, &cut);

	free(rows);
	assert_false(cut);
	return n;
}

static void found_files_that_are_named_like_a_vcpu_are_none(void **state)
{
	struct pvsched_finder *f = FINDER(state);
	int fd[3];

	fd[0] = memfd_create("kvm-vcpu:0", 0);
	fd[1] = open("/tmp/kvm-vm", O_CREAT | O_RDWR, 0600);
	fd[2] = eventfd(0, 0);
	for (int i = 0; i < 3; i++)
		assert_true(fd[i] >= 0);
	assert_int_equal(rows_of(f, getpid()), 0);
	for (int i = 0; i < 3; i++)
		close(fd[i]);
	unlink("/tmp/kvm-vm");
}

static void found_process_that_is_gone_has_no_rows(void **state)
{
	struct pvsched_finder *f = FINDER(state);
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	assert_int_equal(rows_of(f, pid), 0);
}

struct waiting {
	int pipe[2];
	_Atomic pid_t tid;
};

static void *wait_for_end(void *arg)
{
	struct waiting *w = arg;
	char c;

	w->tid = gettid();
	return read(w->pipe[0], &c, 1) < 0 ? NULL : w;
}

static void start_thread(struct waiting *w, pthread_t *thread)
{
	w->tid = 0;
	assert_int_equal(pipe(w->pipe), 0);
	assert_int_equal(pthread_create(thread, NULL, wait_for_end, w), 0);
	while (!w->tid)
		usleep(100);
}

static void end_thread(struct waiting *w, pthread_t thread)
{
	close(w->pipe[1]);
	pthread_join(thread, NULL);
	close(w->pipe[0]);
}

static void keep_exit(void *ctx, const struct pvsched_news *news)
{
	if (news->type == PVSCHED_NEWS_EXIT)
		*(struct pvsched_news *)ctx = *news;
}

static void found_end_of_a_known_thread_is_told(void **state)
{
	struct pvsched_finder *f = FINDER(state);
	struct pollfd fd = { .fd = pvsched_finder_poll_fd(f), .events = POLLIN };
	struct pvsched_news news = { 0 };
	struct waiting known, other;
	pthread_t thread[2];

	start_thread(&known, &thread[0]);
	start_thread(&other, &thread[1]);
	assert_int_equal(pvsched_finder_know(f, known.tid, true), 0);
	end_thread(&other, thread[1]);
	end_thread(&known, thread[0]);
	assert_int_equal(poll(&fd, 1, PATIENCE_MS), 1);
	assert_int_equal(pvsched_finder_news(f, keep_exit, &news), 0);
	assert_int_equal(news.tid, known.tid); /* and not the other's, which came first */
	assert_int_equal(news.tgid, getpid());
	assert_int_equal(poll(&fd, 1, 0), 0);
	assert_int_equal(pvsched_finder_know(f, known.tid, false), 0);
}

static void found_awaited_process_is_new_once(void **state)
{
	struct pvsched_finder *f = FINDER(state);

	assert_int_equal(pvsched_finder_await(f, getpid(), true), 1);
	assert_int_equal(pvsched_finder_await(f, getpid(), true), 0);
	assert_int_equal(pvsched_finder_await(f, getpid(), false), 0);
	assert_int_equal(pvsched_finder_await(f, getpid(), false), 0);
	assert_int_equal(pvsched_finder_await(f, getpid(), true), 1);
	assert_int_equal(pvsched_finder_await(f, getpid(), false), 0);
}

/* --- processes that make much to look at */

#define SHARERS 250
#define DUPS	18000

struct other {
	pid_t pid;
	int ready, end; /* pipes */
};

/* A VM with one vCPU; the vCPU's file. */
static int make_vm(void)
{
	int kvm = open("/dev/kvm", O_RDWR), vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);

	return vm < 0 ? -1 : ioctl(vm, KVM_CREATE_VCPU, 0);
}

static void *share(void *arg)
{
	for (;;)
		pause();
	return arg;
}

/* For this process and those that it starts. */
static int raise_files(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files))
		return -1;
	files.rlim_cur = DUPS + 100;
	if (files.rlim_max < files.rlim_cur)
		files.rlim_max = files.rlim_cur;
	return setrlimit(RLIMIT_NOFILE, &files);
}

/* Threads share a table full of a vCPU's file, and their leader has another, with the VM's alone. */
static int be_many(void)
{
	int vcpu = make_vm(), last = vcpu;
	pthread_t thread;

	if (vcpu < 0)
		return -1;
	for (int i = 0; i < DUPS && last >= 0; i++)
		last = dup(vcpu);
	for (int i = 0; i < SHARERS && last >= 0; i++)
		last = pthread_create(&thread, NULL, share, NULL) ? -1 : last;
	return last < 0 || unshare(CLONE_FILES) ? -1 : close_range(vcpu, last, 0);
}

static int be_few(void)
{
	return make_vm();
}

static int be_full(void)
{
	int vcpu = make_vm(), last = vcpu;

	for (int i = 0; i < 3 * PVSCHED_FOUND_ROWS && last >= 0; i++)
		last = dup(vcpu);
	return last;
}

static int be_high(void)
{
	int vcpu = make_vm();

	if (vcpu < 0 || dup2(vcpu, PVSCHED_FOUND_FILES - 1) < 0 ||
	    dup2(vcpu, PVSCHED_FOUND_FILES) < 0)
		return -1;
	return close(vcpu);
}

/* It is there when this returns. */
static struct other start_other(int (*be)(void))
{
	struct other o;
	int ready[2], end[2];
	char c = 0;

	assert_int_equal(pipe(ready) | pipe(end), 0);
	o = (struct other){ .ready = ready[0], .end = end[1], .pid = fork() };
	if (!o.pid) {
		close(end[1]);
		close(ready[0]);
		c = be() < 0 ? 0 : 1;
		if (write(ready[1], &c, 1) == 1)
			_exit(read(end[0], &c, 1) < 0);
		_exit(1);
	}
	close(ready[1]);
	close(end[0]);
	assert_true(o.pid > 0);
	assert_int_equal(read(o.ready, &c, 1), 1);
	assert_true(c);
	return o;
}

static void end_other(struct other *o)
{
	close(o->end);
	close(o->ready);
	kill(o->pid, SIGKILL);
	waitpid(o->pid, NULL, 0);
}

/* Of this process, by itself. */
static int look_at(struct pvsched_finder *f, const struct other *o, bool *ret_cut)
{
	struct pvsched_found *rows = NULL;
	int n = pvsched_finder_scan(f, o->pid, &rows, ret_cut);

	for (int i = 0; i < n; i++)
		assert_int_equal(rows[i].tgid, o->pid);
	free(rows);
	return n;
}

#define NEEDS_KVM_AND_FILES()                                                                      \
	do {                                                                                       \
		if (access("/dev/kvm", R_OK | W_OK) || raise_files()) {                            \
			printf("no /dev/kvm, or not as many as %d open files allowed\n",           \
			       DUPS + 100);                                                        \
			skip();                                                                    \
		}                                                                                  \
	} while (0)

/* 250 times 18,000 rows would be 4.5 million. */
static void found_files_that_threads_share_are_not_read_for_each(void **state)
{
	struct pvsched_finder *f = FINDER(state);
	struct other many, few;
	int told_many = 0, told_few = 0;
	bool cut = false;
	pid_t pid;

	NEEDS_KVM_AND_FILES();
	many = start_other(be_many);
	few = start_other(be_few);
	assert_int_equal(look_at(f, &many, &cut), 1);
	assert_false(cut);
	assert_int_equal(look_at(f, &few, &cut), 2);
	assert_int_equal(pvsched_finder_rewind(f), 0);
	while ((pid = pvsched_finder_next(f)) > 0) {
		told_many += pid == many.pid;
		told_few += pid == few.pid;
	}
	assert_int_equal(pid, 0);
	assert_int_equal(told_many, 1);
	assert_int_equal(told_few, 1);
	assert_int_equal(pvsched_finder_next(f), 0);
	end_other(&many);
	end_other(&few);
}

static void found_rows_of_one_process_are_bounded(void **state)
{
	struct pvsched_finder *f = FINDER(state);
	struct other full;
	bool cut = false;

	NEEDS_KVM_AND_FILES();
	full = start_other(be_full);
	assert_int_equal(look_at(f, &full, &cut), PVSCHED_FOUND_ROWS);
	assert_true(cut);
	end_other(&full);
}

static void found_files_beyond_the_bound_are_not_read(void **state)
{
	struct pvsched_finder *f = FINDER(state);
	struct other high;
	bool cut = false;

	NEEDS_KVM_AND_FILES();
	high = start_other(be_high);
	assert_int_equal(look_at(f, &high, &cut), 2);
	assert_true(cut);
	end_other(&high);
}

/* Who has no VM is not looked at: this process, and what has no memory of its own. */
static void found_process_without_a_vm_is_not_told(void **state)
{
	struct pvsched_finder *f = FINDER(state);
	pid_t pid;

	assert_int_equal(pvsched_finder_rewind(f), 0);
	while ((pid = pvsched_finder_next(f)) > 0) {
		assert_int_not_equal(pid, getpid());
		assert_int_not_equal(pid, 2); /* kthreadd */
	}
	assert_int_equal(pid, 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(found_files_that_are_named_like_a_vcpu_are_none),
		CASE(found_process_that_is_gone_has_no_rows),
		CASE(found_end_of_a_known_thread_is_told),
		CASE(found_awaited_process_is_new_once),
		CASE(found_files_that_threads_share_are_not_read_for_each),
		CASE(found_rows_of_one_process_are_bounded),
		CASE(found_files_beyond_the_bound_are_not_read),
		CASE(found_process_without_a_vm_is_not_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
