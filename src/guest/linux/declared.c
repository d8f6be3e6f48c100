// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "declared.h"
#include "publisher.h"

int declared_open(const char *name, struct cli_error *e)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), PUBLISH_PINS "/%s", name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		cli_fail(e, CLI_FAILED, "open what is declared", path,
			 errno == ENOENT ? "start 'pvsched-guest run'" : "run as root", "%s",
			 strerror(errno));
	return fd;
}

/* Field 22 of proc_pid_stat(5). */
uint64_t declared_start_of(uint64_t pid)
{
	char path[48], line[1024] = "", *at;
	unsigned long long start = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%" PRIu64 "/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	at = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	fclose(f);
	/* the name may hold anything; behind it come field 3, the state, and so on */
	for (unsigned int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (at)
		start = strtoull(at, NULL, 10);
	return start;
}

uint64_t declared_process_of(uint64_t tid)
{
	char path[48], line[256];
	uint64_t tgid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%" PRIu64 "/status", tid);
	f = fopen(path, "re");
	while (f && !tgid && fgets(line, sizeof(line), f))
		if (sscanf(line, "Tgid: %" SCNu64, &tgid) != 1)
			tgid = 0;
	if (f)
		fclose(f);
	return tgid;
}

int declared_forget_ended(struct cli_error *e)
{
	int fd = declared_open(DECLARED_TASKS, e);
	uint32_t pid, *last = NULL;
	uint64_t start;

	if (fd < 0)
		return e->exit;
	while (!bpf_map_get_next_key(fd, last, &pid)) {
		last = &pid;
		if (!bpf_map_lookup_elem(fd, &pid, &start) && declared_start_of(pid) != start &&
		    !bpf_map_delete_elem(fd, &pid))
			last = NULL; /* a key that is gone has no next one */
	}
	close(fd);
	return 0;
}

static int count(const char *name, unsigned int *n, struct cli_error *e)
{
	int fd = declared_open(name, e);
	uint64_t key[2];
	void *last = NULL;

	if (fd < 0)
		return e->exit;
	while (!bpf_map_get_next_key(fd, last, key)) {
		last = key;
		++*n;
	}
	close(fd);
	return 0;
}

int declared_recount(struct cli_error *e)
{
	int lock = open(PUBLISH_PINS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	unsigned int n = 0;

	if (lock < 0 || flock(lock, LOCK_EX))
		cli_fail(e, CLI_FAILED, "count what is declared", PUBLISH_PINS, NULL, "%s",
			 strerror(errno));
	else if (!count(DECLARED_TASKS, &n, e) && !count(DECLARED_CGROUPS, &n, e))
		publisher_tell_declared(n, e);
	if (lock >= 0)
		close(lock);
	return e->exit;
}
