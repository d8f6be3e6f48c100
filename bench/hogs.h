/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * CPU hogs: child processes, SCHED_OTHER nice 0, pinned to one CPU, that burn it. They are made
 * once, before the tool has threads or guest memory, and stopped and continued for each cell.
 * They die with the thread that made them (PR_SET_PDEATHSIG). One thread drives them. They stay
 * in the session of the tool on purpose: with autogroup, nice acts inside one session only.
 */
#ifndef BENCH_HOGS_H
#define BENCH_HOGS_H

#include <stdint.h>
#include <sys/types.h>

#define BENCH_HOGS_MAX 64

struct bench_hogs {
	pid_t pid[BENCH_HOGS_MAX];
	unsigned int made; /* processes that exist */
	unsigned int running; /* the first so many run, the others are stopped */
};

/* Makes n stopped hogs. -EINVAL n above BENCH_HOGS_MAX; what fork and sched_setaffinity say.
 * Nothing is left behind on failure. */
int bench_hogs_start(struct bench_hogs *h, unsigned int n, int cpu);
/* Lets n of them run and stops the rest; returns when they are. -EINVAL n above made, -ECHILD
 * one has died. */
int bench_hogs_run(struct bench_hogs *h, unsigned int n);
/*
 * CPU time used by the hogs so far, ns: the kernel's sum of time stamps per process, not ticks.
 * What a hog used since it was last switched in or ticked is missing, so an interval is right to
 * one scheduler tick in all.
 */
int bench_hogs_cpu_ns(const struct bench_hogs *h, uint64_t *ret_ns);
void bench_hogs_stop(struct bench_hogs *h);

#endif
