// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bench's report as JSON. Reads the report, owns nothing. Latencies are in us with three
 * decimals, so no ns is lost; a cell's `hist` is [[upper bound in ns, samples], ...].
 */
#include "json/json.h"
#include "result.h"

static void put_us(struct json *j, const char *key, uint64_t ns)
{
	json_num(j, key, (double)ns / 1000, 3);
}

static void put_machine(struct json *j, const struct bench_report *r)
{
	const struct bench_machine *m = &r->machine;

	json_object(j, "machine");
	json_str(j, "kernel", m->kernel);
	json_str(j, "preempt", m->preempt);
	json_str(j, "cpu_model", m->cpu);
	json_u64(j, "cpus", m->cpus);
	json_i64(j, "cpu_measured", m->cpu_measured);
	json_str(j, "cpus_tool", m->cpus_tool);
	json_str(j, "clocksource", m->clocksource);
	json_str(j, "date", m->date);
	json_str(j, "loadavg", m->loadavg);
	json_str(j, "commit", m->commit);
	json_bool(j, "autogroup", m->autogroup);
	json_i64(j, "rt_runtime_us", m->rt_runtime_us);
	json_i64(j, "rt_period_us", m->rt_period_us);
	if (m->steal >= 0)
		json_num(j, "steal", m->steal, 4);
	else
		json_null(j, "steal");
	json_end(j, '}');
}

static void put_hist(struct json *j, const char *key, const struct pvsched_hist *h)
{
	unsigned int i;

	json_array_inline(j, key);
	for (i = 0; i < PVSCHED_HIST_N; i++) {
		if (!h->n[i])
			continue;
		json_array(j, NULL);
		json_u64(j, NULL, pvsched_hist_value(i));
		json_u64(j, NULL, h->n[i]);
		json_end(j, ']');
	}
	json_end(j, ']');
}

static void put_samples_hist(struct json *j, const char *key, const struct bench_samples *s)
{
	uint64_t upper, n = 0;
	size_t i;

	/* sorted: each bucket's samples stand together */
	json_array_inline(j, key);
	for (i = 0; i < s->n; i++) {
		n++;
		upper = pvsched_hist_value(pvsched_hist_bucket(s->v[i]));
		if (i + 1 < s->n && s->v[i + 1] <= upper)
			continue;
		json_array(j, NULL);
		json_u64(j, NULL, upper);
		json_u64(j, NULL, n);
		json_end(j, ']');
		n = 0;
	}
	json_end(j, ']');
}

static void put_host(struct json *j, const struct bench_cell *c)
{
	const struct bench_host *h = &c->pooled.host;

	json_u64(j, "boosts", h->boosts);
	json_num(j, "boosted_share", bench_boosted_share(c), 6);
	json_u64(j, "expired", h->expired);
	json_u64(j, "denied_throttle", h->denied_throttle);
	json_u64(j, "denied_gap", h->denied_gap);
	if (h->boost.count)
		put_us(j, "boost_p999_us", pvsched_hist_percentile(&h->boost, 999));
	else
		json_null(j, "boost_p999_us");
	if (h->apply.count) {
		put_us(j, "apply_p50_us", pvsched_hist_percentile(&h->apply, 500));
		put_us(j, "apply_p99_us", pvsched_hist_percentile(&h->apply, 990));
	} else {
		json_null(j, "apply_p50_us");
		json_null(j, "apply_p99_us");
	}
	/* from the event that boosts a vCPU which waits to its running; switches on the way */
	if (h->reach.count) {
		put_us(j, "reach_p50_us", pvsched_hist_percentile(&h->reach, 500));
		put_us(j, "reach_p99_us", pvsched_hist_percentile(&h->reach, 990));
	}
	if (h->reached)
		json_num(j, "reach_added_switches", (double)h->reach_added / (double)h->reached, 3);
	put_hist(j, "boost_hist", &h->boost);
	put_hist(j, "apply_hist", &h->apply);
}

/* A variant without pvsched took no boost: zero is measured, latencies of none are null. */
static void put_no_host(struct json *j)
{
	json_u64(j, "boosts", 0);
	json_num(j, "boosted_share", 0, 6);
	json_null(j, "boost_p999_us");
	json_null(j, "apply_p50_us");
	json_null(j, "apply_p99_us");
}

static void put_cell(struct json *j, const struct bench_cell *c)
{
	const struct bench_run *p = &c->pooled;
	uint64_t min, max;
	unsigned int i;

	bench_spread(c, &min, &max);
	json_object(j, NULL);
	json_str(j, "workload", bench_workload_names[c->workload]);
	json_str(j, "variant", bench_variant_names[c->variant]);
	json_u64(j, "hogs", c->hogs);
	json_u64(j, "samples", p->samples.n);
	json_u64(j, "samples_asked", p->asked);
	put_us(j, "p50_us", c->figures.p50);
	put_us(j, "p99_us", c->figures.p99);
	put_us(j, "p999_us", c->figures.p999);
	put_us(j, "max_us", c->figures.max);
	json_object_inline(j, "spread");
	json_str(j, "of", "p99_us by round");
	put_us(j, "min", min);
	put_us(j, "max", max);
	json_end(j, '}');
	json_array(j, "by_round");
	for (i = 0; i < c->runs; i++) {
		json_object_inline(j, NULL);
		json_u64(j, "samples", c->rounds[i].n);
		put_us(j, "p50_us", c->rounds[i].p50);
		put_us(j, "p99_us", c->rounds[i].p99);
		put_us(j, "p999_us", c->rounds[i].p999);
		put_us(j, "max_us", c->rounds[i].max);
		json_end(j, '}');
	}
	json_end(j, ']');
	json_num(j, "seconds", (double)p->wall_ns / 1e9, 3);
	json_num(j, "hogs_share", bench_hogs_share(c), 6);
	json_num(j, "vcpu_share", p->wall_ns ? (double)p->vcpu_ns / (double)p->wall_ns : 0, 6);
	json_num(j, "agent_share", p->wall_ns ? (double)p->agent_ns / (double)p->wall_ns : 0, 6);
	json_num(j, "foreign_share", bench_foreign_share(c), 6);
	json_u64(j, "sections", p->sections);
	json_u64(j, "interrupts", p->interrupts);
	json_u64(j, "missed", p->missed);
	json_u64(j, "doorbells", p->doorbells);
	json_u64(j, "acks", p->acks);
	if (p->has_host)
		put_host(j, c);
	else
		put_no_host(j);
	put_samples_hist(j, "hist", &p->samples);
	json_end(j, '}');
}

static void put_cost(struct json *j, const struct bench_cost *cost)
{
	if (!cost->measured)
		return;
	json_object(j, "cost");
	json_num(j, "empty_ns", cost->empty_ns, 1);
	json_num(j, "other_switch_ns", cost->other_ns, 1);
	json_num(j, "vcpu_switch_ns", cost->vcpu_ns, 1);
	json_num(j, "vcpu_acting_switch_ns", cost->acting_ns, 1);
	json_u64(j, "exit_programs", cost->exit_programs);
	json_end(j, '}');
}

void bench_print_json(const struct bench_report *r, FILE *f)
{
	unsigned int i;
	struct json j;

	json_init(&j, f);
	json_object(&j, NULL);
	put_machine(&j, r);
	json_str(&j, "command", r->command);
	json_u64(&j, "seed", r->seed);
	json_u64(&j, "rounds", r->rounds);
	json_u64(&j, "samples_per_round", r->samples);
	json_num(&j, "seconds", r->seconds, 1);
	json_str(&j, "percentiles", "nearest rank on the samples pooled over all rounds");
	if (r->cap_ns)
		put_us(&j, "cap_us", r->cap_ns);
	json_array(&j, "cells");
	for (i = 0; i < r->cell_count; i++)
		if (r->cells[i].runs)
			put_cell(&j, &r->cells[i]);
	json_end(&j, ']');
	json_array(&j, "programs");
	for (i = 0; i < r->program_count; i++) {
		json_object(&j, NULL);
		json_str(&j, "name", r->programs[i].name);
		json_str(&j, "attached_to", r->programs[i].attached_to);
		json_u64(&j, "runs", r->programs[i].runs);
		if (r->programs[i].runs)
			json_num(&j, "ns_per_run",
				 (double)r->programs[i].run_ns / (double)r->programs[i].runs, 1);
		else
			json_null(&j, "ns_per_run");
		json_end(&j, '}');
	}
	json_end(&j, ']');
	put_cost(&j, &r->cost);
	json_array(&j, "targets");
	for (i = 0; i < r->target_count; i++) {
		json_object(&j, NULL);
		json_str(&j, "line", r->targets[i].line);
		json_num(&j, "value", r->targets[i].value, 6);
		json_num(&j, "limit", r->targets[i].limit, 6);
		json_bool(&j, "met", r->targets[i].met);
		json_str(&j, "detail", r->targets[i].detail);
		json_end(&j, '}');
	}
	json_end(&j, ']');
	json_end(&j, '}');
}
