/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Runs a bench: rounds of cells, each a fresh VM (and for `pvsched` a fresh broker) whose vCPU
 * shares a CPU with hogs. One bench at a time in a process; it moves the calling thread away
 * from the measured CPU. The caller owns plan and report.
 */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include <signal.h>

#include "result.h"

#define BENCH_HOG_COUNTS_MAX 16

struct bench_progress {
	unsigned int run, runs; /* this one, and how many in all */
	unsigned int round;
	enum bench_workload workload;
	enum bench_variant variant;
	unsigned int hogs;
	uint64_t samples, asked;
	bool starts; /* first call of this run */
};

struct bench_plan {
	unsigned int rounds;
	uint64_t samples; /* per cell and round */
	uint64_t workloads, variants; /* bit i = enum value i */
	unsigned int hogs[BENCH_HOG_COUNTS_MAX];
	unsigned int hogs_n;
	uint64_t seed;
	const char *actuator; /* of the variant pvsched; NULL = auto */
	bool cost; /* measure what a context switch pays, too */
	const char *raw_dir; /* one file of samples per run; NULL = none */
	volatile sig_atomic_t *stop; /* set by a signal handler: end soon with -ECANCELED */
	void (*progress)(const struct bench_progress *p, void *ctx);
	void (*waits)(void *ctx); /* another bench runs on this host: told once; NULL = not */
	void *progress_ctx;
};

/*
 * Fills the report but for its command. On failure -errno and one line (what, on what, why, what
 * to do) in error; what was measured so far stays in the report.
 */
int bench_run(const struct bench_plan *plan, struct bench_report *r, char *error,
	      size_t error_size);

#endif
