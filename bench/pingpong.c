// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two processes that only switch to each other: N times a byte there and back, through two pipes. On one CPU
 * each round trip is two context switches, and nothing is batched.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int echo(int in, int out)
{
	char byte;

	while (read(in, &byte, 1) == 1)
		if (write(out, &byte, 1) != 1)
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	long rounds = argc == 2 ? atol(argv[1]) : 0;
	int there[2], back[2], status;
	char byte = 0;
	pid_t child;

	if (rounds <= 0) {
		fprintf(stderr, "usage: pingpong ROUND-TRIPS\n");
		return 2;
	}
	if (pipe(there) || pipe(back) || (child = fork()) < 0) {
		perror("pingpong");
		return 1;
	}
	if (!child) {
		close(there[1]);
		_exit(echo(there[0], back[1]));
	}
	for (long i = 0; i < rounds; i++)
		if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) {
			perror("pingpong");
			return 1;
		}
	close(there[1]);
	return waitpid(child, &status, 0) == child ? status : 1;
}
