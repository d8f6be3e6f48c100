/* SPDX-License-Identifier: GPL-2.0-only */
/* A cpu cgroup of a test's own, v1 or v2, with a quota; removed when it is empty. */
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

static inline int cgroup_move(const struct cgroup_bed *c, pid_t tid, bool in)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", tid);
	return cgroup_write(in ? c->dir : c->root, c->v2 ? "cgroup.threads" : "tasks", text);
}

/* percent of a CPU, per 100 ms. -ENOENT: no cpu controller is mounted here. */
static inline int cgroup_open(struct cgroup_bed *c, unsigned int percent)
{
	static const char *const roots[] = { "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct",
					     "/sys/fs/cgroup" };
	char text[32], path[160];
	int err = -ENOENT;

	for (unsigned int i = 0; i < 3 && err == -ENOENT; i++) {
		c->v2 = i == 2;
		snprintf(path, sizeof(path), "%s/%s", roots[i],
			 c->v2 ? "cgroup.controllers" : "cpu.cfs_quota_us");
		if (access(path, F_OK))
			continue;
		snprintf(c->root, sizeof(c->root), "%s", roots[i]);
		snprintf(c->dir, sizeof(c->dir), "%s/pvsched-test-%d", roots[i], getpid());
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
	/* where real-time groups are scheduled, a new one has none: let nothing but the quota
	 * be in a boost's way */
	cgroup_write(c->dir, "cpu.rt_runtime_us", "500000");
	return err;
}

static inline void cgroup_close(const struct cgroup_bed *c)
{
	rmdir(c->dir);
}

#endif
