/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One run of one cell: boot, wait until ready, let the hogs run, measure, take everything down.
 */
#ifndef BENCH_CELL_H
#define BENCH_CELL_H

#include <sched.h>

#include "broker/broker.h"
#include "hogs.h"
#include "run.h"
#include "said.h"
#include "vmm/vmm.h"

/* What runs share: made once by bench_run(). */
struct bench_context {
	const struct bench_plan *plan;
	struct bench_report *report;
	struct bench_hogs hogs;
	cpu_set_t allowed; /* as the tool was started */
	cpu_set_t elsewhere; /* allowed but the measured CPU */
	int cpu; /* the measured CPU */
	bool had_broker; /* one was started before */
	struct said said;
};

/*
 * A broker in this process, its agents on all CPUs the tool was given. stats: the kernel times each run of its
 * programs, which costs every one two readings of the clock: not where latency is measured.
 */
int bench_broker_start(struct bench_context *x, bool stats, struct pvsched_broker **ret_broker);
/* Adds the program statistics of a broker that has them to the report's. */
int bench_broker_programs(struct bench_context *x, struct pvsched_broker *b);

/* Runs the cell once and fills the run (freed by the caller, also on failure). */
int bench_cell_run(struct bench_context *x, const struct bench_progress *p, struct bench_run *run);

#endif
