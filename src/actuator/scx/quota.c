// SPDX-License-Identifier: GPL-2.0-only
/* See quota.h. */
#include "quota.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEPTH_MAX 16 /* hierarchies are less deep; a loop of mounts would not end */

/* "max 100000" and "-1" are no quota. */
static bool has_quota(const char *cgroup)
{
	static const char *const files[] = { "cpu.max", "cpu.cfs_quota_us" };
	char path[PATH_MAX], text[32];
	bool found = false;
	ssize_t n;
	int fd;

	for (int i = 0; i < 2 && !found; i++) {
		if (snprintf(path, sizeof(path), "%s/%s", cgroup, files[i]) >= (int)sizeof(path))
			return false;
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
		found = n > 0 && text[0] != 'm' && text[0] != '-';
	}
	return found;
}

static bool find(const char *cgroup, int depth, char *ret_path, size_t size)
{
	char path[PATH_MAX];
	struct dirent *e;
	bool found = has_quota(cgroup);
	DIR *d;

	if (found)
		snprintf(ret_path, size, "%s", cgroup);
	if (found || depth >= DEPTH_MAX)
		return found;
	d = opendir(cgroup);
	if (!d)
		return false;
	while (!found && (e = readdir(d))) {
		if (e->d_type != DT_DIR || e->d_name[0] == '.' ||
		    snprintf(path, sizeof(path), "%s/%s", cgroup, e->d_name) >= (int)sizeof(path))
			continue;
		found = find(path, depth + 1, ret_path, size);
	}
	closedir(d);
	return found;
}

bool pvsched_quota_find(const char *root, char *ret_path, size_t size)
{
	return find(root, 0, ret_path, size);
}
