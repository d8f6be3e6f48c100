/* SPDX-License-Identifier: GPL-2.0-only */
/* A cpu cgroup of a test's own, v1 or v2, with a quota, and one below it that has none; removed when
 * they are empty. */
#ifndef PVSCHED_TESTS_CGROUP_H
#define PVSCHED_TESTS_CGROUP_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct cgroup_bed {
	char root[64], dir[96];
	char child[112]; /* empty: there is none */
	bool v2;
};

static inline int cgroup_write(const char *dir, const char *file, const char *text)
{
	char path[160];
	int fd, err = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static inline int cgroup_read(const char *dir, const char *file, char *ret, size_t size)
{
	char path[160];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, ret, size - 1);
	close(fd);
	ret[n > 0 ? n : 0] = 0;
	return n < 0 ? -EIO : 0;
}

/* in: to the child, where there is one. */
static inline int cgroup_move(const struct cgroup_bed *c, pid_t tid, bool in)
{
	const char *dir = *c->child ? c->child : c->dir;
	char text[16];

	snprintf(text, sizeof(text), "%d", tid);
	return cgroup_write(in ? dir : c->root, c->v2 ? "cgroup.threads" : "tasks", text);
}

static inline int cgroup_realtime(const char *dir, const char *us)
{
	int err = cgroup_write(dir, "cpu.rt_runtime_us", us);

	return err == -ENOENT ? 0 : err; /* where groups have no real-time time of their own */
}

/* percent of a CPU, per 100 ms; of one process by name. -ENOENT: no cpu controller is mounted here. */
static inline int cgroup_open(struct cgroup_bed *c, const char *name, unsigned int percent)
{
	static const char *const roots[] = { "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct",
					     "/sys/fs/cgroup" };
	char text[32], path[160];
	int err = -ENOENT;

	*c->child = 0;
	for (unsigned int i = 0; i < 3 && err == -ENOENT; i++) {
		c->v2 = i == 2;
		snprintf(path, sizeof(path), "%s/%s", roots[i],
			 c->v2 ? "cgroup.controllers" : "cpu.cfs_quota_us");
		if (access(path, F_OK))
			continue;
		snprintf(c->root, sizeof(c->root), "%s", roots[i]);
		snprintf(c->dir, sizeof(c->dir), "%s/pvsched-%s-%d", roots[i], name, getpid());
		err = 0;
	}
	if (err)
		return err;
	if (c->v2)
		cgroup_write(c->root, "cgroup.subtree_control", "+cpu");
	if (mkdir(c->dir, 0755))
		return -errno;
	snprintf(text, sizeof(text), "%u 100000", percent * 1000);
	if (c->v2)
		err = cgroup_write(c->dir, "cgroup.type", "threaded");
	else
		*strchr(text, ' ') = 0;
	if (!err)
		err = cgroup_write(c->dir, c->v2 ? "cpu.max" : "cpu.cfs_quota_us", text);
	return err;
}

/* A group of its own, with the cpu controller and without a quota, below the one that has it. */
static inline int cgroup_nest(struct cgroup_bed *c)
{
	int err = c->v2 ? cgroup_write(c->dir, "cgroup.subtree_control", "+cpu") : 0;

	if (err)
		return err;
	snprintf(c->child, sizeof(c->child), "%s/child", c->dir);
	if (mkdir(c->child, 0755))
		return -errno;
	if (c->v2)
		err = cgroup_write(c->child, "cgroup.type", "threaded");
	if (!err)
		err = cgroup_realtime(c->child, "400000"); /* of its parent's */
	return err;
}

static inline void cgroup_close(const struct cgroup_bed *c)
{
	/* what it has is given back at once: the kernel frees a group later, and the next one needs it */
	if (*c->child) {
		cgroup_realtime(c->child, "0");
		rmdir(c->child);
	}
	cgroup_realtime(c->dir, "0");
	rmdir(c->dir);
}

#endif
