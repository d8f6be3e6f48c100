// SPDX-License-Identifier: GPL-2.0-only
/*
 * pvsched-guest latency: the administrator declares processes and cgroups latency-sensitive; their
 * tasks are then urgent to the host without being real-time here.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cmd.h"
#include "declared.h"
#include "publish.h"

struct values {
	uint64_t pid;
	const char *cgroup;
	bool clear;
};

static const struct option options[] = {
	{ "pid", OPTION_NUMBER, offsetof(struct values, pid), "N", NULL,
	  "a process, with all its threads", 1, PUBLISH_PID_MASK, NULL },
	{ "cgroup", OPTION_STRING, offsetof(struct values, cgroup), "PATH", NULL,
	  "a cgroup (v2) with what is below it: its directory", 0, 0, NULL },
	{ "clear", OPTION_FLAG, offsetof(struct values, clear), NULL, NULL,
	  "declare it no longer; alone: nothing at all", 0, 0, NULL },
	OPTIONS_END
};

static int show_all(struct cli_error *e)
{
	int fd = declared_open(DECLARED_TASKS, e);
	uint64_t id = 0, value, *last_id = NULL;
	uint32_t pid = 0, *last = NULL;

	while (fd >= 0 && !bpf_map_get_next_key(fd, last, &pid)) {
		last = &pid;
		if (!bpf_map_lookup_elem(fd, &pid, &value))
			printf("pid %" PRIu32 "%s\n", pid,
			       declared_start_of(pid) == value ? "" : " (has ended)");
	}
	if (fd >= 0)
		close(fd);
	if (!e->exit)
		fd = declared_open(DECLARED_CGROUPS, e);
	while (fd >= 0 && !bpf_map_get_next_key(fd, last_id, &id)) {
		last_id = &id;
		printf("cgroup %" PRIu64 "\n", id);
	}
	if (fd >= 0)
		close(fd);
	return e->exit;
}

static int empty(const char *name, struct cli_error *e)
{
	int fd = declared_open(name, e);
	uint64_t key[2];

	if (fd < 0)
		return e->exit;
	while (!bpf_map_get_next_key(fd, NULL, key) && !bpf_map_delete_elem(fd, key))
		;
	close(fd);
	return 0;
}

static int change(const char *map, const void *key, uint64_t value, bool clear, const char *on,
		  struct cli_error *e)
{
	int fd = declared_open(map, e), err;

	if (fd < 0)
		return e->exit;
	err = clear ? bpf_map_delete_elem(fd, key) : bpf_map_update_elem(fd, key, &value, BPF_ANY);
	err = err ? -errno : 0;
	close(fd);
	if (err)
		return cli_fail(e, CLI_FAILED, clear ? "clear" : "declare", on,
				err == -E2BIG ? "clear some first" : NULL, "%s",
				err == -ENOENT	? "it is not declared"
				: err == -E2BIG ? "there are too many"
						: strerror(-err));
	return 0;
}

static int change_pid(const struct values *v, struct cli_error *e)
{
	uint64_t start = declared_start_of(v->pid), process = declared_process_of(v->pid);
	uint32_t key = (uint32_t)v->pid;
	char on[32], next[64];

	snprintf(on, sizeof(on), "pid %" PRIu64, v->pid);
	if (!v->clear && (!start || !process))
		return cli_fail(e, CLI_FAILED, "declare", on, NULL, "no such process");
	if (!v->clear && process != v->pid) {
		snprintf(next, sizeof(next), "declare the process: --pid %" PRIu64, process);
		return cli_fail(e, CLI_FAILED, "declare", on, next,
				"it is one thread of process %" PRIu64, process);
	}
	return change(DECLARED_TASKS, &key, start, v->clear, on, e);
}

static int check_cgroup(const char *path, struct cli_error *e)
{
	char file[4096];
	struct statfs fs;

	snprintf(file, sizeof(file), "%s/cgroup.procs", path);
	if (access(file, F_OK) || statfs(path, &fs))
		return cli_fail(e, CLI_FAILED, "declare", path,
				"name a directory below /sys/fs/cgroup", "%s", strerror(errno));
	/* each hierarchy of v1 counts its own numbers: this one could be some other cgroup's */
	if (fs.f_type != CGROUP2_SUPER_MAGIC)
		return cli_fail(e, CLI_FAILED, "declare", path,
				"name a directory below the mount of type cgroup2",
				"it is no cgroup of v2");
	return 0;
}

static int change_cgroup(const struct values *v, struct cli_error *e)
{
	struct stat st;
	uint64_t id;

	if (stat(v->cgroup, &st))
		return cli_fail(e, CLI_FAILED, "declare", v->cgroup, NULL, "%s", strerror(errno));
	id = st.st_ino; /* on 64-bit kernels the id of a cgroup is its inode's number */
	return change(DECLARED_CGROUPS, &id, 1, v->clear, v->cgroup, e);
}

static int run(const void *values, const char **operands, unsigned int count, struct cli_error *e)
{
	const struct values *v = values;

	(void)operands, (void)count;
	if (v->pid && v->cgroup)
		return cli_fail(e, CLI_USAGE, "wrong option", "--cgroup", "say it twice",
				"a process and a cgroup at once");
	if (!v->pid && !v->cgroup && !v->clear)
		return show_all(e);
	if (v->cgroup && check_cgroup(v->cgroup, e))
		return e->exit;
	if (declared_forget_ended(e))
		return e->exit;
	if (v->pid)
		change_pid(v, e);
	else if (v->cgroup)
		change_cgroup(v, e);
	else if (!empty(DECLARED_TASKS, e))
		empty(DECLARED_CGROUPS, e);
	return e->exit ? e->exit : declared_recount(e);
}

const struct cmd cmd_guest_latency = {
	.name = "latency",
	.summary = "declare processes and cgroups latency-sensitive; without options: show them",
	.options = options,
	.size = sizeof(struct values),
	.run = run,
};
