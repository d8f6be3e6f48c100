// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guardian's process. It is forked from a process that may have threads, so between fork and
 * exit it only makes system calls and uses memory made before: no allocation, no stdio.
 */
#include "guardian.h"

#include "../privilege/caps.h"
#include "table.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAKER_DIED SIGUSR1
#define TRIES	   100 /* to restore a thread, 10 ms apart */

struct guard {
	struct pvsched_actuation act;
	struct ring_buffer *ring;
	int pipe, ep;
	int ring_fd, lock_fd;
	unsigned int priority;
	int maker_died; /* signalfd */
	int ready; /* a pipe's end: closed when nothing of the broker's is open any more; or takes -errno */
};

/* The thread that makes the guardian, and what it tells who waits for that. */
struct maker {
	struct guard *guard;
	int end;
	sem_t made;
	pid_t pid; /* or -errno */
};

static int on_hint(void *ctx, void *data, size_t size)
{
	struct guard *g = ctx;
	const struct pvsched_hint *h = data;
	struct pvsched_applied done;
	struct timespec ts;
	uint64_t now;

	if (size < sizeof(*h) || h->slot >= PVSCHED_SLOTS)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = ts.tv_sec * 1000000000ull + ts.tv_nsec;
	if (!pvsched_word_active(__atomic_load_n(&g->act.shared[h->slot].desired, __ATOMIC_ACQUIRE),
				 now))
		pvsched_apply(&g->act, h->slot, h->event_ns, true,
			      &done); /* model: guardian.restore */
	return 0;
}

/* Nobody comes after this: what fails is tried again. */
static void restore_all(struct guard *g)
{
	const struct timespec nap = { .tv_nsec = 10000000 };
	struct pvsched_applied done;
	bool failed = true;

	for (int i = 0; i < TRIES && failed; i++) {
		if (i)
			nanosleep(&nap, NULL);
		failed = false;
		for (uint32_t slot = 0; slot < PVSCHED_SLOTS; slot++)
			if (__atomic_load_n(&g->act.slots[slot].used, __ATOMIC_ACQUIRE) ||
			    PVSCHED_WORD_LEVEL(__atomic_load_n(&g->act.shared[slot].applied,
							       __ATOMIC_ACQUIRE)) !=
				    PVSCHED_LEVEL_BASE)
				failed |= pvsched_apply(&g->act, slot, 0, true, &done) != 0;
	}
}

static void __attribute__((noreturn)) run(struct guard *g)
{
	struct signalfd_siginfo died;
	struct epoll_event ev[3];
	int n;

	for (;;) {
		n = epoll_wait(g->ep, ev, 3, -1);
		if (n < 0 && errno != EINTR)
			break;
		for (int i = 0; i < n; i++) {
			if (ev[i].data.fd == g->pipe)
				goto gone;
			if (ev[i].data.fd == g->maker_died) {
				if (read(g->maker_died, &died, sizeof(died)) == sizeof(died))
					restore_all(g);
				continue;
			}
			ring_buffer__consume(g->ring);
		}
	}
gone:
	restore_all(g);
	_exit(0);
}

static void __attribute__((noreturn)) child(struct guard *g)
{
	struct sched_param param = { .sched_priority = g->priority };
	int keep[] = { g->pipe, g->ep, g->ring_fd, g->lock_fd, g->ready };
	struct epoll_event ev = { .events = EPOLLIN };
	sigset_t all, died;
	int err;

	/* Not the terminal's signals and not the broker's service: it ends when the broker does. */
	setsid();
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_NAME, "pvsched-guard");
	sched_setscheduler(0, SCHED_FIFO, &param);
	err = pvsched_caps_keep(PVSCHED_CAPS_ACTUATE, 0);
	if (err) {
		(void)!write(g->ready, &err, sizeof(err));
		_exit(1);
	}
	/* The links must die with the broker, and only it may hold its end of the pipe. */
	pvsched_table_keep(keep, sizeof(keep) / sizeof(keep[0]));
	close(g->ready);
	sigemptyset(&died);
	sigaddset(&died, MAKER_DIED);
	g->maker_died = signalfd(-1, &died, SFD_CLOEXEC | SFD_NONBLOCK);
	ev.data.fd = g->maker_died;
	/* The signal comes when the thread that forked ends (kernel: exit_notify()). A child begins
	 * without one; then the pipe still tells, later. */
	if (g->maker_died >= 0 && !epoll_ctl(g->ep, EPOLL_CTL_ADD, g->maker_died, &ev))
		prctl(PR_SET_PDEATHSIG, MAKER_DIED);
	g->act.guardian = true;
	run(g);
}

static void reap(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static void stop_maker(struct pvsched_guardian *g)
{
	eventfd_write(g->end, 1);
	pthread_join(g->maker, NULL);
	close(g->end);
	g->end = -1;
}

/*
 * While a process is copied its threads wait for its memory, the agents among them; and the copying
 * thread must not be kept off the CPU: a boost would last as long. So it goes before all that is boosted,
 * and stays there, asleep, to die at once when the process is killed: the other threads, ordinary ones,
 * may have to wait for a CPU to die on.
 */
static void *make(void *arg)
{
	struct maker *m = arg;
	struct sched_param param = { .sched_priority = m->guard->priority };
	eventfd_t end;
	int fd = m->end, err;
	pid_t pid;

	prctl(PR_SET_NAME, "pvsched-maker");
	sched_setscheduler(0, SCHED_FIFO, &param); /* refused: slower, and no worse */
	pid = fork();
	if (!pid)
		child(m->guard);
	m->pid = pid < 0 ? -errno : pid;
	err = pvsched_caps_keep(0, 0);
	if (err && pid > 0) {
		kill(pid, SIGKILL);
		reap(pid);
		m->pid = err;
	}
	sem_post(&m->made); /* m is gone from here on */
	while (eventfd_read(fd, &end) && errno == EINTR)
		;
	return NULL;
}

/* Starts the thread and waits for what it made: a process id, or -errno. The table is held until the
 * process has closed what is not its own. */
static pid_t start_maker(struct guard *g, struct pvsched_guardian *ret)
{
	struct maker m = { .guard = g, .end = ret->end };
	sigset_t all, old;
	int err, ready[2], said = 0;

	if (pipe2(ready, O_CLOEXEC))
		return -errno;
	g->ready = ready[1];
	sem_init(&m.made, 0, 0);
	pvsched_table_hold();
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the process's, not its */
	err = pthread_create(&ret->maker, NULL, make, &m);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	while (!err && sem_wait(&m.made) && errno == EINTR)
		;
	close(ready[1]);
	while (!err && read(ready[0], &said, sizeof(said)) < 0 && errno == EINTR)
		;
	pvsched_table_release();
	close(ready[0]);
	sem_destroy(&m.made);
	if (!err && m.pid > 0 && said) {
		reap(m.pid);
		m.pid = said;
	}
	if (!err && m.pid < 0)
		stop_maker(ret);
	return err ? -err : m.pid;
}

int pvsched_guardian_start(const struct pvsched_actuation *act, int ring_fd, int lock_fd,
			   unsigned int priority, struct pvsched_guardian *ret)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct guard g = {
		.act = *act, .ep = -1, .ring_fd = ring_fd, .lock_fd = lock_fd, .priority = priority
	};
	int fds[2] = { -1, -1 }, err = 0;
	pid_t pid;

	/* Made before the fork: the child must not allocate. */
	g.ring = ring_buffer__new(ring_fd, on_hint, &g, NULL);
	g.ep = epoll_create1(EPOLL_CLOEXEC);
	ret->end = eventfd(0, EFD_CLOEXEC);
	if (!g.ring || g.ep < 0 || ret->end < 0 || pipe2(fds, O_CLOEXEC)) {
		err = -errno;
		goto out;
	}
	g.pipe = fds[0];
	ev.data.fd = g.pipe;
	err = epoll_ctl(g.ep, EPOLL_CTL_ADD, g.pipe, &ev) ? -errno : 0;
	ev.data.fd = ring_fd;
	if (!err)
		err = epoll_ctl(g.ep, EPOLL_CTL_ADD, ring_fd, &ev) ? -errno : 0;
	if (err)
		goto out;
	pid = start_maker(&g, ret);
	if (pid < 0) {
		err = pid;
		goto out;
	}
	ret->pid = pid;
	ret->pidfd = syscall(SYS_pidfd_open, pid, 0);
	ret->pipe = fds[1];
	fds[1] = -1;
	if (ret->pidfd < 0) { /* one whose end nobody would see */
		err = -errno;
		pvsched_guardian_stop(ret);
	}
out:
	ring_buffer__free(g.ring);
	if (g.ep >= 0)
		close(g.ep);
	if (fds[0] >= 0)
		close(fds[0]);
	if (fds[1] >= 0)
		close(fds[1]);
	if (err && ret->end >= 0) {
		close(ret->end);
		ret->end = -1;
	}
	return err;
}

void pvsched_guardian_stop(struct pvsched_guardian *g)
{
	if (g->pid <= 0)
		return;
	close(g->pipe);
	reap(g->pid);
	stop_maker(g);
	if (g->pidfd >= 0)
		close(g->pidfd);
	g->pid = 0;
}
