// SPDX-License-Identifier: GPL-2.0-only
/* The finder on this machine: what it must not take for a VM, and what it tells. */
/* timeout: 60 */
#include <fcntl.h>
#include <poll.h>
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
	int n = pvsched_finder_scan(f, pid, &rows);

	free(rows);
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

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(found_files_that_are_named_like_a_vcpu_are_none),
		CASE(found_process_that_is_gone_has_no_rows),
		CASE(found_end_of_a_known_thread_is_told),
		CASE(found_awaited_process_is_new_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
