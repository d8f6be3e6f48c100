// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPU hogs as child processes. The struct is the caller's; the children hold no descriptor and
 * none of the tool's state.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hogs.h"

static int become_hog(int cpu, pid_t parent)
{
	struct sched_param param = { 0 };
	cpu_set_t set;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return errno;
	/* the parent may have died before the prctl */
	if (getppid() != parent)
		return ESRCH;
	/* these reach the whole foreground group; the tool ends its hogs itself */
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	if (sched_setscheduler(0, SCHED_OTHER, &param) < 0)
		return errno;
	if (setpriority(PRIO_PROCESS, 0, 0) < 0)
		return errno;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		return errno;
	/* standard streams too: a pipe's reader must not wait for a hog */
	if (close_range(0, ~0u, 0) < 0)
		return errno;
	return 0;
}

static void hog(int cpu, pid_t parent)
{
	volatile uint64_t work = 0;
	int err = become_hog(cpu, parent);

	if (err)
		_exit(err < 255 ? err : 255);
	raise(SIGSTOP);
	for (;;)
		work++;
}

/* Waits until the child changed to the state asked for. */
static int await(pid_t pid, int options)
{
	int status;
	pid_t got;

	do {
		got = waitpid(pid, &status, options);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	if (WIFEXITED(status))
		return -(WEXITSTATUS(status) ? WEXITSTATUS(status) : ECHILD);
	if (WIFSIGNALED(status))
		return -ECHILD;
	return 0;
}

int bench_hogs_start(struct bench_hogs *h, unsigned int n, int cpu)
{
	pid_t self = getpid(), pid;
	int err = 0;

	memset(h, 0, sizeof(*h));
	if (n > BENCH_HOGS_MAX)
		return -EINVAL;
	while (h->made < n) {
		pid = fork();
		if (pid < 0) {
			err = -errno;
			goto out;
		}
		if (!pid)
			hog(cpu, self);
		err = await(pid, WUNTRACED);
		if (err)
			goto out; /* it is gone and reaped */
		h->pid[h->made++] = pid;
	}
out:
	if (err)
		bench_hogs_stop(h);
	return err;
}

/* One that has died is reaped and forgotten: its number may be another process's soon. */
static int send_hog(struct bench_hogs *h, unsigned int i, int signal, int until)
{
	int err;

	if (!h->pid[i])
		return -ECHILD;
	if (kill(h->pid[i], signal) < 0)
		return -errno;
	err = await(h->pid[i], until);
	if (err)
		h->pid[i] = 0;
	return err;
}

int bench_hogs_run(struct bench_hogs *h, unsigned int n)
{
	int err;

	if (n > h->made)
		return -EINVAL;
	for (; h->running < n; h->running++) {
		err = send_hog(h, h->running, SIGCONT, WCONTINUED);
		if (err)
			return err;
	}
	for (; h->running > n; h->running--) {
		err = send_hog(h, h->running - 1, SIGSTOP, WUNTRACED);
		if (err)
			return err;
	}
	return 0;
}

int bench_hogs_cpu_ns(const struct bench_hogs *h, uint64_t *ret_ns)
{
	struct timespec ts;
	uint64_t sum = 0;
	unsigned int i;
	clockid_t clock;
	int err;

	for (i = 0; i < h->made; i++) {
		err = h->pid[i] ? clock_getcpuclockid(h->pid[i], &clock) : ESRCH;
		if (err)
			return -err;
		if (clock_gettime(clock, &ts) < 0)
			return -errno;
		sum += (uint64_t)ts.tv_sec * 1000000000u + ts.tv_nsec;
	}
	*ret_ns = sum;
	return 0;
}

void bench_hogs_stop(struct bench_hogs *h)
{
	unsigned int i;

	for (i = 0; i < h->made; i++)
		if (h->pid[i])
			kill(h->pid[i], SIGKILL);
	for (i = 0; i < h->made; i++)
		if (h->pid[i])
			await(h->pid[i], 0);
	memset(h, 0, sizeof(*h));
}
