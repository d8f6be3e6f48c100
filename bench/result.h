/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a bench measured: the boundary between the runner, which fills it, and the reports, which
 * only read it. Times are ns unless a name says otherwise. No locking: filled, then read.
 */
#ifndef BENCH_RESULT_H
#define BENCH_RESULT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/hist.h"
#include "stats.h"

enum bench_workload {
	BENCH_BUSY,
	BENCH_BUSY_RANDOM,
	BENCH_CRITICAL,
	BENCH_SLEEPING,
	BENCH_WORKLOADS
};

enum bench_variant { BENCH_OTHER, BENCH_NICE, BENCH_FIFO, BENCH_PVSCHED, BENCH_VARIANTS };

/* NULL-terminated, in the order of the enums: as typed, printed and written to JSON. */
extern const char *const bench_workload_names[BENCH_WORKLOADS + 1];
extern const char *const bench_variant_names[BENCH_VARIANTS + 1];
/* One line each for people. */
extern const char *const bench_workload_texts[BENCH_WORKLOADS];
extern const char *const bench_variant_texts[BENCH_VARIANTS];

struct bench_figures {
	uint64_t n, p50, p99, p999, max;
};

/* What pvsched did in one sampling interval, or in all of a cell's. */
struct bench_host {
	uint64_t boosts; /* applied */
	uint64_t boosted_ns; /* time run at better than the baseline */
	uint64_t expired, denied_throttle, denied_gap;
	uint64_t reached, reach_added; /* see broker.h */
	struct pvsched_hist boost; /* ns a boost lasted */
	struct pvsched_hist apply; /* ns from the event to the changed scheduling */
	struct pvsched_hist reach; /* ns from the event to running, of a vCPU that had to wait */
};

/* One run of one cell: what a round adds. */
struct bench_run {
	struct bench_samples samples;
	uint64_t asked;
	uint64_t wall_ns; /* the sampling interval */
	uint64_t hogs_ns; /* CPU time of the hogs in it */
	uint64_t vcpu_ns; /* CPU time of the vCPU thread in it */
	uint64_t agent_ns; /* of this process's other threads that are pinned to the same CPU */
	uint64_t sections, interrupts, missed, doorbells, acks;
	bool has_host;
	struct bench_host host;
};

struct bench_cell {
	enum bench_workload workload;
	enum bench_variant variant;
	unsigned int hogs;
	unsigned int runs; /* rounds that were measured */
	struct bench_run pooled;
	struct bench_figures figures; /* of the pooled samples */
	struct bench_figures *rounds; /* [runs], each over its own samples */
};

struct bench_machine {
	char kernel[128];
	char cpu[128];
	char clocksource[32];
	char date[32]; /* ISO 8601, UTC */
	char commit[64];
	char loadavg[32];
	char preempt[64]; /* the kernel's own words, from its version string */
	unsigned int cpus; /* online */
	int cpu_measured;
	char cpus_tool[64]; /* a list as the kernel writes it: "0-2" */
	bool autogroup;
	long rt_runtime_us, rt_period_us; /* -1 = unlimited */
	double steal; /* share of the run's CPU time that a hypervisor above took; < 0 unknown */
};

struct bench_program {
	char name[64];
	char attached_to[64];
	uint64_t runs;
	uint64_t run_ns;
};

/* What the host pays on every context switch, by the kernel's BPF run-time statistics. */
struct bench_cost {
	bool measured;
	double empty_ns; /* an empty program on sched_switch */
	double other_ns; /* pvsched's, any task but a registered vCPU */
	double vcpu_ns; /* pvsched's, a registered vCPU that needs nothing */
	double acting_ns; /* one that is boosted each period: timer armed, agent woken */
	uint64_t exit_programs; /* attached to kvm_exit or kvm_entry */
};

struct bench_target {
	char line[80]; /* what must be reached */
	char detail[80]; /* the figures it was computed from */
	double value, limit;
	bool met;
};

struct bench_report {
	struct bench_machine machine;
	char command[256]; /* reproduces the run */
	uint64_t seed, period_ns, cap_ns; /* cap_ns 0: pvsched did not run */
	unsigned int rounds;
	uint64_t samples; /* asked for: per cell and round */
	double seconds;
	struct bench_cell *cells;
	unsigned int cell_count;
	struct bench_program *programs;
	unsigned int program_count;
	struct bench_cost cost;
	struct bench_target *targets;
	unsigned int target_count;
};

/* Adds a run to a cell; takes nothing over. -ENOMEM leaves the cell as it was. */
int bench_cell_add(struct bench_cell *c, const struct bench_run *run);
/* Computes the pooled figures; call once after the last run. */
void bench_cell_finish(struct bench_cell *c);
void bench_cell_free(struct bench_cell *c);
void bench_run_free(struct bench_run *run);
void bench_report_free(struct bench_report *r);

/* Sorts. */
struct bench_figures bench_figures_of(struct bench_samples *s);

void bench_hist_merge(struct pvsched_hist *to, const struct pvsched_hist *from);

/* NULL when it was not measured. */
const struct bench_cell *bench_find(const struct bench_report *r, enum bench_workload workload,
				    enum bench_variant variant, unsigned int hogs);
/* Smallest and largest of the rounds' p99. */
void bench_spread(const struct bench_cell *c, uint64_t *ret_min, uint64_t *ret_max);
double bench_hogs_share(const struct bench_cell *c); /* of one CPU, 0..1 */
/* What neither hogs nor vCPU nor agent got of a CPU that hogs never leave idle: work that does
 * not belong to the bench, and a hypervisor's above. 0 without hogs. */
double bench_foreign_share(const struct bench_cell *c);
/* Above this a cell's figures speak of something else, too. */
#define BENCH_FOREIGN_LIMIT 0.10
/* The largest of all cells; *ret_cells: how many are above the limit. */
double bench_foreign_worst(const struct bench_report *r, unsigned int *ret_cells);
double bench_boosted_share(const struct bench_cell *c);
/* The largest number of hogs of any cell: what the targets speak of. */
unsigned int bench_hogs_most(const struct bench_report *r);

/* Fills targets from the cells that exist; a line whose cells did not run is left out. */
int bench_targets(struct bench_report *r);

/* Reports. Errors of the stream stay in it (ferror). */
void bench_print_table(const struct bench_report *r, FILE *f);
void bench_print_json(const struct bench_report *r, FILE *f);
void bench_print_html(const struct bench_report *r, FILE *f);

/* "1,234.5" with as many decimals as make three digits, never more than `decimals`. */
const char *bench_us(uint64_t ns, char *buf, size_t size);

#endif
