/* SPDX-License-Identifier: GPL-2.0-only */
/* A process that does something, and then nothing until it is killed. */
#ifndef PVSCHED_TESTS_CHILD_H
#define PVSCHED_TESTS_CHILD_H

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "unit.h"

/* Returns when begin() has. It ends with this one at the latest. */
static inline pid_t child_start(void (*begin)(void *arg), void *arg)
{
	int ready[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(ready), 0);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		begin(arg);
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* another user begins without */
		if (write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return pid;
}

#endif
