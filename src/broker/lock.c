// SPDX-License-Identifier: GPL-2.0-only
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_DIR  "/run/pvsched"
#define LOCK_FILE LOCK_DIR "/broker.lock"

/* Of a broker that died, the guardian holds the lock until it has restored every thread: it is
 * waited for. -EWOULDBLOCK the lock's owner lives, or that took too long. */
static int wait_for(int fd)
{
	const struct timespec nap = { .tv_nsec = 5000000 };
	char pid[16] = "";

	for (int i = 0; i < 400; i++) {
		if (!flock(fd, LOCK_EX | LOCK_NB))
			return 0;
		if (errno != EWOULDBLOCK)
			return -errno;
		if (pread(fd, pid, sizeof(pid) - 1, 0) <= 0 || atoi(pid) <= 0 ||
		    !kill(atoi(pid), 0) || errno != ESRCH)
			break;
		nanosleep(&nap, NULL);
	}
	return -EWOULDBLOCK;
}

/* Whoever is refused reads here whom by. */
static int write_pid(int fd)
{
	char pid[16];
	ssize_t n = snprintf(pid, sizeof(pid), "%d\n", getpid());

	if (ftruncate(fd, 0) || pwrite(fd, pid, n, 0) != n)
		return -errno;
	return 0;
}

int pvsched_host_lock(pvsched_say_fn say, void *ctx, int *ret_fd)
{
	char line[160], pid[16] = "";
	int fd, err;
	ssize_t n;

	if (mkdir(LOCK_DIR, 0755) && errno != EEXIST) {
		err = -errno;
		snprintf(line, sizeof(line), LOCK_DIR ": %s: run as root", strerror(-err));
		say(ctx, line);
		return err;
	}
	/* who may read a file may lock it, and would keep every broker out */
	fd = open(LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) {
		err = -errno;
		snprintf(line, sizeof(line), LOCK_FILE ": %s: run as root", strerror(-err));
		say(ctx, line);
		return err;
	}
	fchmod(fd, 0600); /* it may be there from before */
	err = wait_for(fd);
	if (!err)
		err = write_pid(fd);
	if (!err) {
		*ret_fd = fd;
		return 0;
	}
	if (err == -EWOULDBLOCK) {
		n = pread(fd, pid, sizeof(pid) - 1, 0);
		pid[n > 0 ? strcspn(pid, "\n") : 0] = 0;
		snprintf(line, sizeof(line),
			 "a broker runs on this host already (pid %s): join it, or stop it first",
			 pid[0] ? pid : "unknown");
		err = -EEXIST;
	} else {
		snprintf(line, sizeof(line), LOCK_FILE ": %s", strerror(-err));
	}
	say(ctx, line);
	close(fd);
	return err;
}
