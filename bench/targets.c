// SPDX-License-Identifier: GPL-2.0-only
/*
 * What pvsched must reach, computed from the cells of one run: ratios inside the run, so that
 * the machine and its noise count on both sides. A line whose cells did not run is left out.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "result.h"

enum figure { P50, P99, P999 };

static const char *const figure_names[] = { "p50", "p99", "p99.9" };

static uint64_t figure_of(const struct bench_cell *c, enum figure figure)
{
	return figure == P50 ? c->figures.p50 : figure == P99 ? c->figures.p99 : c->figures.p999;
}

/* pvsched's figure against another variant's, with hogs. */
struct latency_rule {
	enum bench_workload workload;
	enum figure figure;
	enum bench_variant against;
	double limit; /* largest ratio that is met */
	const char *text; /* the limit as people say it */
};

static const struct latency_rule latency_rules[] = {
	{ BENCH_BUSY, P999, BENCH_OTHER, 1.0 / 8, "<= 1/8 of" },
	{ BENCH_BUSY, P999, BENCH_FIFO, 1.0, "below" },
	{ BENCH_BUSY, P50, BENCH_OTHER, 1.5, "<= 1.5x" },
	{ BENCH_BUSY_RANDOM, P99, BENCH_OTHER, 1.0 / 8, "<= 1/8 of" },
	{ BENCH_CRITICAL, P999, BENCH_OTHER, 1.0 / 20, "<= 1/20 of" },
	{ BENCH_SLEEPING, P99, BENCH_OTHER, 1.0 / 8, "<= 1/8 of" },
	{ BENCH_SLEEPING, P999, BENCH_FIFO, 2.0, "<= 2x" },
};

/* The least share of their CPU time under `other` that the hogs keep under pvsched. */
static const struct {
	enum bench_workload workload;
	double least;
} hogs_rules[] = {
	{ BENCH_BUSY, 0.90 },
	{ BENCH_BUSY_RANDOM, 0.90 },
	{ BENCH_CRITICAL, 0.95 },
};

#define CRITICAL_BOOSTED_SHARE 0.05
#define CRITICAL_BOOST_CAP     1.2 /* times the contiguous cap */
#define IDLE_P50_WITHIN	       0.10
#define COST_VCPU_NS	       250.0
#define COST_OTHER_RATIO       1.5
#define APPLY_P50_NS	       60000.0
#define APPLY_P99_NS	       150000.0

#define TARGETS_MAX 64

static struct bench_target *add(struct bench_report *r, double value, double limit, bool met)
{
	struct bench_target *t = &r->targets[r->target_count++];

	t->value = value;
	t->limit = limit;
	t->met = met;
	return t;
}

static void latency_targets(struct bench_report *r, unsigned int hogs)
{
	const struct latency_rule *rule;
	const struct bench_cell *own, *base;
	struct bench_target *t;
	char a[24], b[24];
	double ratio;
	size_t i;
	bool met;

	for (i = 0; i < sizeof(latency_rules) / sizeof(*latency_rules); i++) {
		rule = &latency_rules[i];
		own = bench_find(r, rule->workload, BENCH_PVSCHED, hogs);
		base = bench_find(r, rule->workload, rule->against, hogs);
		if (!own || !base || !figure_of(base, rule->figure))
			continue;
		ratio = (double)figure_of(own, rule->figure) /
			(double)figure_of(base, rule->figure);
		/* "below" is strict */
		met = rule->against == BENCH_FIFO && rule->limit == 1.0 ? ratio < 1.0
									: ratio <= rule->limit;
		t = add(r, ratio, rule->limit, met);
		snprintf(t->line, sizeof(t->line), "%s: %s %s %s",
			 bench_workload_names[rule->workload], figure_names[rule->figure],
			 rule->text, bench_variant_names[rule->against]);
		snprintf(t->detail, sizeof(t->detail), "%s / %s us",
			 bench_us(figure_of(own, rule->figure), a, sizeof(a)),
			 bench_us(figure_of(base, rule->figure), b, sizeof(b)));
	}
}

static void hogs_targets(struct bench_report *r, unsigned int hogs)
{
	const struct bench_cell *own, *base;
	struct bench_target *t;
	double kept;
	size_t i;

	for (i = 0; hogs && i < sizeof(hogs_rules) / sizeof(*hogs_rules); i++) {
		own = bench_find(r, hogs_rules[i].workload, BENCH_PVSCHED, hogs);
		base = bench_find(r, hogs_rules[i].workload, BENCH_OTHER, hogs);
		if (!own || !base || bench_hogs_share(base) <= 0)
			continue;
		kept = bench_hogs_share(own) / bench_hogs_share(base);
		t = add(r, kept, hogs_rules[i].least, kept >= hogs_rules[i].least);
		snprintf(t->line, sizeof(t->line), "%s: hogs keep >= %.0f %% of their CPU",
			 bench_workload_names[hogs_rules[i].workload], hogs_rules[i].least * 100);
		snprintf(t->detail, sizeof(t->detail), "%.1f %% / %.1f %%",
			 bench_hogs_share(own) * 100, bench_hogs_share(base) * 100);
	}
}

static void critical_targets(struct bench_report *r, unsigned int hogs)
{
	const struct bench_cell *own = bench_find(r, BENCH_CRITICAL, BENCH_PVSCHED, hogs);
	struct bench_target *t;
	char a[24], b[24];
	uint64_t length;
	double value;

	if (!own || !own->pooled.has_host)
		return;
	value = bench_boosted_share(own);
	t = add(r, value, CRITICAL_BOOSTED_SHARE, value <= CRITICAL_BOOSTED_SHARE);
	snprintf(t->line, sizeof(t->line), "critical: boosted <= %.0f %% of the time",
		 CRITICAL_BOOSTED_SHARE * 100);
	snprintf(t->detail, sizeof(t->detail), "%.2f %%", value * 100);
	if (!r->cap_ns || !own->pooled.host.boost.count)
		return;
	length = pvsched_hist_percentile(&own->pooled.host.boost, 999);
	value = (double)length / (double)r->cap_ns;
	t = add(r, value, CRITICAL_BOOST_CAP, value <= CRITICAL_BOOST_CAP);
	snprintf(t->line, sizeof(t->line), "critical: a boost's p99.9 <= %.1fx the cap",
		 CRITICAL_BOOST_CAP);
	snprintf(t->detail, sizeof(t->detail), "%s / %s us", bench_us(length, a, sizeof(a)),
		 bench_us(r->cap_ns, b, sizeof(b)));
}

static void idle_targets(struct bench_report *r)
{
	const struct bench_cell *own, *base;
	struct bench_target *t;
	unsigned int workload;
	char a[24], b[24];
	double off;

	for (workload = 0; workload < BENCH_WORKLOADS; workload++) {
		own = bench_find(r, workload, BENCH_PVSCHED, 0);
		base = bench_find(r, workload, BENCH_OTHER, 0);
		if (!own)
			continue;
		if (base && base->figures.p50) {
			off = fabs((double)own->figures.p50 / (double)base->figures.p50 - 1);
			t = add(r, off, IDLE_P50_WITHIN, off <= IDLE_P50_WITHIN);
			snprintf(t->line, sizeof(t->line),
				 "%s, 0 hogs: p50 within %.0f %% of other",
				 bench_workload_names[workload], IDLE_P50_WITHIN * 100);
			snprintf(t->detail, sizeof(t->detail), "%s / %s us",
				 bench_us(own->figures.p50, a, sizeof(a)),
				 bench_us(base->figures.p50, b, sizeof(b)));
		}
		if (own->pooled.has_host) {
			t = add(r, (double)own->pooled.host.boosts, 0, !own->pooled.host.boosts);
			snprintf(t->line, sizeof(t->line), "%s, 0 hogs: no boost",
				 bench_workload_names[workload]);
			snprintf(t->detail, sizeof(t->detail), "%llu boosts in %.1f s",
				 (unsigned long long)own->pooled.host.boosts,
				 (double)own->pooled.wall_ns / 1e9);
		}
	}
}

/* Event to applied: the worst of the cells of pvsched with hogs. */
static void apply_targets(struct bench_report *r)
{
	static const struct {
		const char *name;
		unsigned int per_mille;
		double limit;
	} rules[] = { { "p50", 500, APPLY_P50_NS }, { "p99", 990, APPLY_P99_NS } };
	const struct bench_cell *c, *worst;
	struct bench_target *t;
	uint64_t ns, most;
	char a[24];

	for (unsigned int i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
		worst = NULL;
		most = 0;
		for (unsigned int k = 0; k < r->cell_count; k++) {
			c = &r->cells[k];
			if (!c->hogs || !c->pooled.has_host || !c->pooled.host.apply.count)
				continue;
			ns = pvsched_hist_percentile(&c->pooled.host.apply, rules[i].per_mille);
			if (worst && ns <= most)
				continue;
			worst = c;
			most = ns;
		}
		if (!worst)
			return;
		t = add(r, (double)most / 1000, rules[i].limit / 1000,
			(double)most <= rules[i].limit);
		snprintf(t->line, sizeof(t->line), "cost: event to applied, %s <= %.0f us",
			 rules[i].name, rules[i].limit / 1000);
		snprintf(t->detail, sizeof(t->detail), "%s us, %s", bench_us(most, a, sizeof(a)),
			 bench_workload_names[worst->workload]);
	}
}

static void cost_targets(struct bench_report *r)
{
	const struct bench_cost *cost = &r->cost;
	struct bench_target *t;
	double ratio;

	if (!cost->measured)
		return;
	t = add(r, cost->vcpu_ns, COST_VCPU_NS, cost->vcpu_ns <= COST_VCPU_NS);
	snprintf(t->line, sizeof(t->line), "cost: a vCPU's context switch <= %.0f ns",
		 COST_VCPU_NS);
	snprintf(t->detail, sizeof(t->detail), "%.0f ns", cost->vcpu_ns);
	t = add(r, cost->acting_ns, COST_VCPU_NS, cost->acting_ns <= COST_VCPU_NS);
	snprintf(t->line, sizeof(t->line), "cost: a boosted vCPU's <= %.0f ns", COST_VCPU_NS);
	snprintf(t->detail, sizeof(t->detail), "%.0f ns", cost->acting_ns);
	if (cost->empty_ns > 0) {
		ratio = cost->other_ns / cost->empty_ns;
		t = add(r, ratio, COST_OTHER_RATIO, ratio <= COST_OTHER_RATIO);
		snprintf(t->line, sizeof(t->line), "cost: any other's <= %.1fx an empty program",
			 COST_OTHER_RATIO);
		snprintf(t->detail, sizeof(t->detail), "%.0f / %.0f ns", cost->other_ns,
			 cost->empty_ns);
	}
	t = add(r, (double)cost->exit_programs, 0, !cost->exit_programs);
	snprintf(t->line, sizeof(t->line), "cost: no program on the VM-exit path");
	snprintf(t->detail, sizeof(t->detail), "%llu programs",
		 (unsigned long long)cost->exit_programs);
}

int bench_targets(struct bench_report *r)
{
	unsigned int hogs = bench_hogs_most(r);

	free(r->targets);
	r->target_count = 0;
	r->targets = calloc(TARGETS_MAX, sizeof(*r->targets));
	if (!r->targets)
		return -ENOMEM;
	if (hogs) {
		latency_targets(r, hogs);
		hogs_targets(r, hogs);
		critical_targets(r, hogs);
	}
	idle_targets(r);
	apply_targets(r);
	cost_targets(r);
	return 0;
}
