// SPDX-License-Identifier: GPL-2.0-only
/* Scheduling attributes through sched_getattr/sched_setattr and /proc. See attr.h. */
#include "attr.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SCHED_FLAG_UTIL_CLAMP_MIN 0x20
#define SCHED_FLAG_UTIL_CLAMP_MAX 0x40

int pvsched_attr_get(pid_t tid, struct pvsched_attr *ret_attr)
{
	struct pvsched_attr a = { .size = sizeof(a) };

	if (syscall(SYS_sched_getattr, tid, &a, sizeof(a), 0))
		return -errno;
	*ret_attr = a;
	return 0;
}

int pvsched_attr_set(pid_t tid, const struct pvsched_attr *attr)
{
	struct pvsched_attr a = *attr;

	a.size = sizeof(a);
	/* Clamps are not touched by a change of policy; asking for them needs their flag. */
	a.flags &= ~(uint64_t)(SCHED_FLAG_UTIL_CLAMP_MIN | SCHED_FLAG_UTIL_CLAMP_MAX);
	return syscall(SYS_sched_setattr, tid, &a, 0) ? -errno : 0;
}

int pvsched_attr_uncover(pid_t tid, const struct pvsched_attr *base)
{
	const struct sched_param none = { 0 };
	int policy = base->policy;

	if (base->flags & SCHED_FLAG_RESET_ON_FORK)
		policy |= SCHED_RESET_ON_FORK;
	return sched_setscheduler(tid, policy, &none) ? -errno : 0;
}

static bool is_rt(const struct pvsched_attr *a)
{
	return a->policy == SCHED_FIFO || a->policy == SCHED_RR;
}

bool pvsched_attr_is_fair(const struct pvsched_attr *a)
{
	return a->policy == SCHED_OTHER || a->policy == SCHED_BATCH || a->policy == SCHED_IDLE;
}

bool pvsched_attr_same(const struct pvsched_attr *a, const struct pvsched_attr *b)
{
	if (a->policy != b->policy)
		return false;
	return is_rt(a) ? a->priority == b->priority : a->nice == b->nice;
}

int pvsched_nice_get(pid_t tid, int *ret_nice)
{
	int nice;

	errno = 0;
	nice = getpriority(PRIO_PROCESS, tid);
	if (nice == -1 && errno)
		return -errno;
	*ret_nice = nice;
	return 0;
}

int pvsched_attr_prio(const struct pvsched_attr *attr)
{
	if (attr->policy == 6 /* SCHED_DEADLINE */)
		return -1;
	return is_rt(attr) ? 99 - (int)attr->priority : 120 + attr->nice;
}

/* /proc/TID/timerslack_ns works for any thread, though it is listed for processes only. */
static int slack_open(pid_t tid, int flags)
{
	char path[48];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/timerslack_ns", tid);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int pvsched_slack_get(pid_t tid, uint64_t *ret_ns)
{
	int fd = slack_open(tid, O_RDONLY);
	char buf[32] = "";
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n <= 0)
		return n < 0 ? -errno : -EIO;
	*ret_ns = strtoull(buf, NULL, 10);
	return 0;
}

int pvsched_slack_set(pid_t tid, uint64_t ns)
{
	int fd = slack_open(tid, O_WRONLY), err = 0;
	char buf[32];
	int len = snprintf(buf, sizeof(buf), "%llu", (unsigned long long)ns);

	if (fd < 0)
		return fd;
	if (write(fd, buf, len) != len)
		err = -errno;
	close(fd);
	return err;
}

#define PF_EXITING 4 /* kernel: set before anybody is told that the thread exits */

static int read_stat(const char *path, unsigned long *ret_flags, uint64_t *ret_ticks)
{
	char buf[1024], *p;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n <= 0)
		return n < 0 ? -errno : -ESRCH;
	buf[n] = 0;
	/* the name may hold anything, blanks and parentheses too: field 3 follows the last one */
	p = strrchr(buf, ')');
	for (int field = 2; p && field < 22; field++) {
		p = strchr(p + 1, ' ');
		if (p && field == 8)
			*ret_flags = strtoul(p + 1, NULL, 10);
	}
	if (!p)
		return -EINVAL;
	*ret_ticks = strtoull(p + 1, NULL, 10);
	return 0;
}

int pvsched_starttime(pid_t tid, uint64_t *ret_ticks)
{
	unsigned long flags;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	return read_stat(path, &flags, ret_ticks);
}

bool pvsched_thread_stays(pid_t tid, pid_t tgid, uint64_t ticks)
{
	unsigned long flags = 0;
	uint64_t start;
	char path[64];

	/* found there only if it is that process's */
	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", tgid, tid);
	return !read_stat(path, &flags, &start) && start == ticks && !(flags & PF_EXITING);
}
