// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bench's report for a terminal: at most 80 columns. Reads the report, owns nothing.
 */
#include <inttypes.h>
#include <string.h>

#include "result.h"

static void print_cell(const struct bench_cell *c, FILE *f)
{
	char p50[24], p99[24], p999[24], max[24], low[24], high[24], spread[64];
	const struct bench_run *p = &c->pooled;
	uint64_t min, most;

	bench_spread(c, &min, &most);
	snprintf(spread, sizeof(spread), "%s-%s", bench_us(min, low, sizeof(low)),
		 bench_us(most, high, sizeof(high)));
	fprintf(f, " %-7s %8s %8s %8s %9s %15s", bench_variant_names[c->variant],
		bench_us(c->figures.p50, p50, sizeof(p50)),
		bench_us(c->figures.p99, p99, sizeof(p99)),
		bench_us(c->figures.p999, p999, sizeof(p999)),
		bench_us(c->figures.max, max, sizeof(max)), c->runs > 1 ? spread : "");
	if (c->hogs)
		fprintf(f, " %3.0f %%", bench_hogs_share(c) * 100);
	if (p->has_host) {
		if (!c->hogs)
			fprintf(f, "      ");
		fprintf(f, " %6" PRIu64 " %4.1f%%", p->host.boosts, bench_boosted_share(c) * 100);
	}
	fputc('\n', f);
	if (p->samples.n < p->asked)
		fprintf(f, "         only %zu of %" PRIu64 " samples: the time limit came first\n",
			p->samples.n, p->asked);
}

static void warn_foreign(const struct bench_report *r, FILE *f)
{
	unsigned int cells;
	double worst = bench_foreign_worst(r, &cells);

	if (cells)
		fprintf(f,
			"\nOther work ran on the measured CPU: more than %.0f %% of the time in %u cell%s,\n"
			"%.0f %% in the worst. Do not trust these figures.\n",
			BENCH_FOREIGN_LIMIT * 100, cells, cells == 1 ? "" : "s", worst * 100);
}

static void print_group(const struct bench_report *r, unsigned int workload, unsigned int hogs,
			FILE *f)
{
	const struct bench_cell *c;
	unsigned int variant;
	bool head = false;

	for (variant = 0; variant < BENCH_VARIANTS; variant++) {
		c = bench_find(r, workload, variant, hogs);
		if (!c)
			continue;
		if (!head)
			fprintf(f, "\n%s, %u hog%s\n %-7s %8s %8s %8s %9s %15s %5s %6s %5s\n",
				bench_workload_names[workload], hogs, hogs == 1 ? "" : "s", "us",
				"p50", "p99", "p99.9", "max", c->runs > 1 ? "p99 by round" : "",
				hogs ? "hogs" : "", "boosts", "time");
		head = true;
		print_cell(c, f);
	}
}

static void print_programs(const struct bench_report *r, FILE *f)
{
	unsigned int i;

	if (!r->program_count)
		return;
	fprintf(f, "\nBPF programs\n %-24s %-32s %10s %8s\n", "name", "attached to", "runs",
		"ns/run");
	for (i = 0; i < r->program_count; i++)
		fprintf(f, " %-24.24s %-32.32s %10" PRIu64 " %8.0f\n", r->programs[i].name,
			r->programs[i].attached_to, r->programs[i].runs,
			r->programs[i].runs
				? (double)r->programs[i].run_ns / (double)r->programs[i].runs
				: 0);
}

static void print_targets(const struct bench_report *r, FILE *f)
{
	unsigned int i, met = 0;

	if (!r->target_count)
		return;
	fprintf(f, "\nWhat pvsched must reach\n");
	for (i = 0; i < r->target_count; i++) {
		met += r->targets[i].met;
		fprintf(f, " %-6s %-46.46s %.26s\n", r->targets[i].met ? "met" : "MISSED",
			r->targets[i].line, r->targets[i].detail);
	}
	fprintf(f, " %u of %u met\n", met, r->target_count);
}

void bench_print_table(const struct bench_report *r, FILE *f)
{
	unsigned int workload, hogs;

	fprintf(f, "%.40s, %.36s\n", r->machine.kernel, r->machine.cpu);
	fprintf(f, "vCPU and hogs on CPU %d, all else on CPU %s; %u round%s\n",
		r->machine.cpu_measured, r->machine.cpus_tool, r->rounds,
		r->rounds == 1 ? "" : "s");
	for (hogs = bench_hogs_most(r) + 1; hogs-- > 0;)
		for (workload = 0; workload < BENCH_WORKLOADS; workload++)
			print_group(r, workload, hogs, f);
	fputs("\nhogs: the share of the CPU that they got; boosts, time: how often, and for what\n"
	      "share of the time, the vCPU ran at better than its own priority\n",
	      f);
	warn_foreign(r, f);
	print_programs(r, f);
	print_targets(r, f);
}
