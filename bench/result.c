// SPDX-License-Identifier: GPL-2.0-only
/*
 * Names, pooling and look-up of what a bench measured. Memory belongs to the report.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "result.h"

const char *const bench_workload_names[] = {
	[BENCH_BUSY] = "busy",	       [BENCH_BUSY_RANDOM] = "busy-random",
	[BENCH_CRITICAL] = "critical", [BENCH_SLEEPING] = "sleeping",
	[BENCH_WORKLOADS] = NULL,
};

const char *const bench_workload_texts[] = {
	[BENCH_BUSY] = "timer interrupts into a vCPU that computes: from the deadline to the "
		       "handler's first instruction",
	[BENCH_BUSY_RANDOM] = "device interrupts at random times into a vCPU that computes: from "
			      "the injection to the handler's first instruction",
	[BENCH_CRITICAL] = "50 us critical sections in a vCPU that computes: how long each took",
	[BENCH_SLEEPING] = "timer interrupts into a vCPU that sleeps: from the deadline to its "
			   "first instruction",
};

const char *const bench_variant_names[] = {
	[BENCH_OTHER] = "other",     [BENCH_NICE] = "nice",   [BENCH_FIFO] = "fifo",
	[BENCH_PVSCHED] = "pvsched", [BENCH_VARIANTS] = NULL,
};

const char *const bench_variant_texts[] = {
	[BENCH_OTHER] = "SCHED_OTHER, nice 0: an ordinary vCPU",
	[BENCH_NICE] = "SCHED_OTHER, nice -20",
	[BENCH_FIFO] = "static SCHED_FIFO 1",
	[BENCH_PVSCHED] = "SCHED_OTHER, nice 0, boosted by pvsched when it matters",
};

struct bench_figures bench_figures_of(struct bench_samples *s)
{
	bench_samples_sort(s);
	return (struct bench_figures){
		.n = s->n,
		.p50 = bench_percentile(s->v, s->n, BENCH_P50),
		.p99 = bench_percentile(s->v, s->n, BENCH_P99),
		.p999 = bench_percentile(s->v, s->n, BENCH_P999),
		.max = s->n ? s->v[s->n - 1] : 0,
	};
}

void bench_hist_merge(struct pvsched_hist *to, const struct pvsched_hist *from)
{
	unsigned int i;

	for (i = 0; i < PVSCHED_HIST_N; i++)
		to->n[i] += from->n[i];
	to->count += from->count;
	if (from->max > to->max)
		to->max = from->max;
}

int bench_cell_add(struct bench_cell *c, const struct bench_run *run)
{
	struct bench_samples own = { 0 };
	struct bench_figures *rounds;
	struct bench_run *p = &c->pooled;
	int err;

	rounds = realloc(c->rounds, (c->runs + 1) * sizeof(*rounds));
	if (!rounds)
		return -ENOMEM;
	c->rounds = rounds;
	err = bench_samples_append(&own, run->samples.v, run->samples.n);
	if (!err)
		err = bench_samples_append(&p->samples, run->samples.v, run->samples.n);
	if (err)
		goto out;
	rounds[c->runs++] = bench_figures_of(&own);
	p->asked += run->asked;
	p->wall_ns += run->wall_ns;
	p->hogs_ns += run->hogs_ns;
	p->vcpu_ns += run->vcpu_ns;
	p->agent_ns += run->agent_ns;
	p->sections += run->sections;
	p->interrupts += run->interrupts;
	p->missed += run->missed;
	p->doorbells += run->doorbells;
	p->acks += run->acks;
	if (run->has_host) {
		p->has_host = true;
		p->host.boosts += run->host.boosts;
		p->host.boosted_ns += run->host.boosted_ns;
		p->host.expired += run->host.expired;
		p->host.denied_throttle += run->host.denied_throttle;
		p->host.denied_gap += run->host.denied_gap;
		p->host.reached += run->host.reached;
		p->host.reach_added += run->host.reach_added;
		bench_hist_merge(&p->host.reach, &run->host.reach);
		bench_hist_merge(&p->host.boost, &run->host.boost);
		bench_hist_merge(&p->host.apply, &run->host.apply);
	}
out:
	bench_samples_free(&own);
	return err;
}

void bench_cell_finish(struct bench_cell *c)
{
	c->figures = bench_figures_of(&c->pooled.samples);
}

void bench_run_free(struct bench_run *run)
{
	bench_samples_free(&run->samples);
}

void bench_cell_free(struct bench_cell *c)
{
	bench_run_free(&c->pooled);
	free(c->rounds);
	memset(c, 0, sizeof(*c));
}

void bench_report_free(struct bench_report *r)
{
	unsigned int i;

	for (i = 0; i < r->cell_count; i++)
		bench_cell_free(&r->cells[i]);
	free(r->cells);
	free(r->programs);
	free(r->targets);
	memset(r, 0, sizeof(*r));
}

const struct bench_cell *bench_find(const struct bench_report *r, enum bench_workload workload,
				    enum bench_variant variant, unsigned int hogs)
{
	unsigned int i;

	for (i = 0; i < r->cell_count; i++)
		if (r->cells[i].workload == workload && r->cells[i].variant == variant &&
		    r->cells[i].hogs == hogs && r->cells[i].figures.n)
			return &r->cells[i];
	return NULL;
}

void bench_spread(const struct bench_cell *c, uint64_t *ret_min, uint64_t *ret_max)
{
	uint64_t min = UINT64_MAX, max = 0;
	unsigned int i;

	for (i = 0; i < c->runs; i++) {
		if (c->rounds[i].p99 < min)
			min = c->rounds[i].p99;
		if (c->rounds[i].p99 > max)
			max = c->rounds[i].p99;
	}
	*ret_min = c->runs ? min : 0;
	*ret_max = max;
}

double bench_hogs_share(const struct bench_cell *c)
{
	return c->pooled.wall_ns ? (double)c->pooled.hogs_ns / (double)c->pooled.wall_ns : 0;
}

double bench_foreign_share(const struct bench_cell *c)
{
	uint64_t own = c->pooled.hogs_ns + c->pooled.vcpu_ns + c->pooled.agent_ns;

	if (!c->hogs || !c->pooled.wall_ns || own >= c->pooled.wall_ns)
		return 0;
	return 1 - (double)own / (double)c->pooled.wall_ns;
}

double bench_foreign_worst(const struct bench_report *r, unsigned int *ret_cells)
{
	double share, worst = 0;
	unsigned int i;

	*ret_cells = 0;
	for (i = 0; i < r->cell_count; i++) {
		share = bench_foreign_share(&r->cells[i]);
		*ret_cells += share > BENCH_FOREIGN_LIMIT;
		if (share > worst)
			worst = share;
	}
	return worst;
}

double bench_boosted_share(const struct bench_cell *c)
{
	return c->pooled.wall_ns ? (double)c->pooled.host.boosted_ns / (double)c->pooled.wall_ns
				 : 0;
}

unsigned int bench_hogs_most(const struct bench_report *r)
{
	unsigned int i, most = 0;

	for (i = 0; i < r->cell_count; i++)
		if (r->cells[i].hogs > most)
			most = r->cells[i].hogs;
	return most;
}

const char *bench_us(uint64_t ns, char *buf, size_t size)
{
	uint64_t us = (ns + 500) / 1000;

	if (ns < 99950)
		snprintf(buf, size, "%.1f", (double)ns / 1000);
	else if (us < 1000)
		snprintf(buf, size, "%" PRIu64, us);
	else if (us < 1000000)
		snprintf(buf, size, "%" PRIu64 ",%03" PRIu64, us / 1000, us % 1000);
	else
		snprintf(buf, size, "%" PRIu64 ",%03" PRIu64 ",%03" PRIu64, us / 1000000,
			 us / 1000 % 1000, us % 1000);
	return buf;
}
