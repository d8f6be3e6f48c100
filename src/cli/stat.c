// SPDX-License-Identifier: GPL-2.0-only
/* Numbers of the broker's vCPUs, see stat.h. */
#include "stat.h"

#include <errno.h>
#include <pvsched/pvsched.h>
#include <stdlib.h>
#include <string.h>

#include "core/plain.h"

const char *const stat_reasons[STAT_REASONS] = { "critical",   "task",	 "pending", "interrupt",
						 "next_event", "mirror", "policy" };

/* The counters that are one number each, by their names. */
static const struct counter {
	const char *name;
	size_t offset;
} counters[] = {
#define COUNTER(f)                                                                                 \
	{                                                                                          \
#f, offsetof(struct stat_numbers, f)                                               \
	}
	COUNTER(run_ns),    COUNTER(delay_ns), COUNTER(boosted_ns), COUNTER(harm_ns),
	COUNTER(sched_ins), COUNTER(boosts),   COUNTER(expired),    COUNTER(refused),
	COUNTER(failed),    COUNTER(external), COUNTER(bad_words),  COUNTER(missed),
	COUNTER(doorbells),
};
#define N_COUNTERS (sizeof(counters) / sizeof(counters[0]))

static uint64_t *counter(struct stat_numbers *n, size_t i)
{
	return (uint64_t *)((char *)n + counters[i].offset);
}

static uint64_t counted(const struct stat_numbers *n, size_t i)
{
	return *counter((struct stat_numbers *)n, i);
}

static void read_reasons(const struct json_value *v, uint64_t *to)
{
	for (int i = 0; i < STAT_REASONS; i++)
		to[i] = json_number(json_get(v, stat_reasons[i]));
}

static void read_hist(const struct json_value *v, struct pvsched_hist *h)
{
	const struct json_value *b = json_at(json_get(v, "buckets"), 0);
	uint64_t ns;

	h->max = json_number(json_get(v, "max_ns"));
	for (; b; b = json_next(b)) {
		ns = json_number(json_at(b, 0));
		h->n[pvsched_hist_bucket(ns)] += json_number(json_at(b, 1));
		h->count += json_number(json_at(b, 1));
	}
}

static void read_port(const struct json_value *v, struct stat_vcpu *to)
{
	const struct json_value *refused = json_get(v, "refused");

	to->has_port = v != NULL;
	for (unsigned int i = 0; i < PVSCHED_R_MAX; i++)
		to->port.refused[i] = json_number(json_get(refused, pvsched_result_str(i)));
	to->port.skipped = json_number(json_get(v, "skipped"));
	to->port.resets = json_number(json_get(v, "resets"));
	to->port.held = json_number(json_get(v, "held"));
	to->port.ports = json_number(json_get(v, "ports"));
}

static void read_vcpu(const struct json_value *vm, const struct json_value *c, struct stat_vcpu *to)
{
	const char *name = json_text(json_get(vm, "name"));

	to->vm = json_number(json_get(vm, "vm"));
	to->pid = json_number(json_get(vm, "pid"));
	to->vcpu = json_number(json_get(c, "vcpu"));
	to->tid = json_number(json_get(c, "tid"));
	snprintf(to->name, sizeof(to->name), "%s", name ? name : "");
	for (size_t i = 0; i < N_COUNTERS; i++)
		*counter(&to->n, i) = json_number(json_get(c, counters[i].name));
	read_reasons(json_get(c, "granted"), to->n.granted);
	read_reasons(json_get(c, "throttled"), to->n.throttled);
	read_reasons(json_get(c, "gaps"), to->n.gaps);
	read_reasons(json_get(c, "rates"), to->n.rates);
	read_hist(json_get(c, "wake"), &to->n.wake);
	read_port(json_get(vm, "port"), to);
}

int stat_read(const struct json_value *answer, struct stat_sample *ret)
{
	const struct json_value *vms = json_at(json_get(answer, "vms"), 0), *vm, *c;
	struct stat_sample s = { .now_ns = json_number(json_get(answer, "now_ns")) };
	size_t count = 0;

	for (vm = vms; vm; vm = json_next(vm))
		count += json_len(json_get(vm, "vcpu"));
	s.vcpu = calloc(count + 1, sizeof(*s.vcpu));
	if (!s.vcpu)
		return -ENOMEM;
	for (vm = vms; vm; vm = json_next(vm))
		for (c = json_at(json_get(vm, "vcpu"), 0); c; c = json_next(c))
			read_vcpu(vm, c, &s.vcpu[s.count++]);
	*ret = s;
	return 0;
}

void stat_free(struct stat_sample *s)
{
	free(s->vcpu);
	*s = (struct stat_sample){ 0 };
}

/* The largest sample of an interval is known to its bucket only. */
static void subtract_hist(struct pvsched_hist *h, const struct pvsched_hist *old)
{
	uint64_t max = 0;

	h->count -= old->count;
	for (unsigned int i = 0; i < PVSCHED_HIST_N; i++) {
		h->n[i] -= old->n[i];
		if (h->n[i])
			max = pvsched_hist_value(i);
	}
	if (max < h->max)
		h->max = max;
}

static void subtract_port(struct stat_port *p, const struct stat_port *old)
{
	for (unsigned int i = 0; i < PVSCHED_R_MAX; i++)
		p->refused[i] -= old->refused[i];
	p->skipped -= old->skipped;
	p->resets -= old->resets;
	p->held -= old->held;
	p->ports -= old->ports;
}

void stat_subtract(struct stat_sample *newer, const struct stat_sample *old)
{
	for (size_t i = 0; i < newer->count; i++) {
		struct stat_vcpu *a = &newer->vcpu[i];
		const struct stat_vcpu *b = NULL;

		/* mostly at the same place */
		for (size_t k = 0; k < old->count && !b; k++) {
			const struct stat_vcpu *c = &old->vcpu[(i + k) % old->count];

			if (c->vm == a->vm && c->pid == a->pid && c->tid == a->tid)
				b = c;
		}
		if (!b || b->n.sched_ins > a->n.sched_ins) /* registered again meanwhile */
			continue;
		for (size_t n = 0; n < N_COUNTERS; n++)
			*counter(&a->n, n) -= counted(&b->n, n);
		for (int r = 0; r < STAT_REASONS; r++) {
			a->n.granted[r] -= b->n.granted[r];
			a->n.throttled[r] -= b->n.throttled[r];
			a->n.gaps[r] -= b->n.gaps[r];
			a->n.rates[r] -= b->n.rates[r];
		}
		subtract_hist(&a->n.wake, &b->n.wake);
		subtract_port(&a->port, &b->port);
	}
}

void stat_add(struct stat_numbers *sum, const struct stat_numbers *n)
{
	for (size_t i = 0; i < N_COUNTERS; i++)
		*counter(sum, i) += counted(n, i);
	for (int r = 0; r < STAT_REASONS; r++) {
		sum->granted[r] += n->granted[r];
		sum->throttled[r] += n->throttled[r];
		sum->gaps[r] += n->gaps[r];
		sum->rates[r] += n->rates[r];
	}
	for (unsigned int i = 0; i < PVSCHED_HIST_N; i++)
		sum->wake.n[i] += n->wake.n[i];
	sum->wake.count += n->wake.count;
	if (n->wake.max > sum->wake.max)
		sum->wake.max = n->wake.max;
}

static uint64_t all(const uint64_t *by_reason)
{
	uint64_t sum = 0;

	for (int i = 0; i < STAT_REASONS; i++)
		sum += by_reason[i];
	return sum;
}

/* How many from here on are of the same VM. */
static size_t of_vm(const struct stat_sample *s, size_t from)
{
	size_t n = 0;

	while (from + n < s->count && s->vcpu[from + n].vm == s->vcpu[from].vm)
		n++;
	return n;
}

void stat_print_head(FILE *f)
{
	fprintf(f, "%-24s %8s %8s %8s %8s %8s %9s %9s %7s %7s %7s\n", "", "wake p50", "p99 us",
		"max us", "run s", "delay s", "boosted s", "harm s", "boosts", "thrott.", "gaps");
}

static void print_line(const char *what, const struct stat_numbers *n, FILE *f)
{
	fprintf(f, "%-24.24s %8.0f %8.0f %8.0f %8.3f %8.3f %9.4f %9.4f %7llu %7llu %7llu\n", what,
		pvsched_hist_percentile(&n->wake, 500) / 1e3,
		pvsched_hist_percentile(&n->wake, 990) / 1e3, n->wake.max / 1e3, n->run_ns / 1e9,
		n->delay_ns / 1e9, n->boosted_ns / 1e9, n->harm_ns / 1e9,
		(unsigned long long)n->boosts,
		(unsigned long long)(all(n->throttled) + all(n->rates)),
		(unsigned long long)all(n->gaps));
}

/* A name is the VMM's to choose: what a terminal would obey is not printed. */
static void vm_label(const struct stat_vcpu *v, char *buf, size_t size)
{
	snprintf(buf, size, "%lld %s", (long long)v->vm, v->name);
	pvsched_plain(buf);
}

void stat_print(const struct stat_sample *s, bool vcpus, FILE *f)
{
	struct stat_numbers sum;
	char label[96];

	for (size_t i = 0, n; i < s->count; i += n) {
		n = of_vm(s, i);
		memset(&sum, 0, sizeof(sum));
		for (size_t k = i; k < i + n; k++)
			stat_add(&sum, &s->vcpu[k].n);
		vm_label(&s->vcpu[i], label, sizeof(label));
		print_line(label, &sum, f);
		for (size_t k = i; vcpus && k < i + n; k++) {
			snprintf(label, sizeof(label), "    vCPU %lld", (long long)s->vcpu[k].vcpu);
			print_line(label, &s->vcpu[k].n, f);
		}
	}
}

static void put_reasons(struct json *j, const char *key, const uint64_t *by_reason)
{
	json_object(j, key);
	for (int i = 0; i < STAT_REASONS; i++)
		if (by_reason[i])
			json_u64(j, stat_reasons[i], by_reason[i]);
	json_end(j, '}');
}

static void put_numbers(struct json *j, const struct stat_numbers *n)
{
	static const struct {
		const char *name;
		unsigned int per_mille;
	} percentiles[] = {
		{ "p50_us", 500 }, { "p90_us", 900 }, { "p99_us", 990 }, { "p999_us", 999 }
	};

	json_object(j, "wake");
	json_u64(j, "count", n->wake.count);
	for (size_t i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++)
		json_num(j, percentiles[i].name,
			 pvsched_hist_percentile(&n->wake, percentiles[i].per_mille) / 1e3, 3);
	json_num(j, "max_us", n->wake.max / 1e3, 3);
	json_end(j, '}');
	for (size_t i = 0; i < N_COUNTERS; i++)
		json_u64(j, counters[i].name, counted(n, i));
	put_reasons(j, "granted", n->granted);
	put_reasons(j, "throttled", n->throttled);
	put_reasons(j, "gaps", n->gaps);
	put_reasons(j, "rates", n->rates);
}

static void put_port(struct json *j, const struct stat_port *p)
{
	json_object(j, "port");
	json_object(j, "refused");
	for (unsigned int i = 0; i < PVSCHED_R_MAX; i++)
		if (p->refused[i])
			json_u64(j, pvsched_result_str(i), p->refused[i]);
	json_end(j, '}');
	json_u64(j, "skipped", p->skipped);
	json_u64(j, "resets", p->resets);
	json_u64(j, "held", p->held);
	json_u64(j, "ports", p->ports);
	json_end(j, '}');
}

void stat_print_json(const struct stat_sample *s, double seconds, struct json *j)
{
	struct stat_numbers sum;

	json_object_inline(j, NULL);
	if (seconds >= 0)
		json_num(j, "seconds", seconds, 6);
	json_array(j, "vms");
	for (size_t i = 0, n; i < s->count; i += n) {
		n = of_vm(s, i);
		memset(&sum, 0, sizeof(sum));
		for (size_t k = i; k < i + n; k++)
			stat_add(&sum, &s->vcpu[k].n);
		json_object(j, NULL);
		json_i64(j, "vm", s->vcpu[i].vm);
		json_str(j, "name", s->vcpu[i].name);
		json_i64(j, "pid", s->vcpu[i].pid);
		if (s->vcpu[i].has_port)
			put_port(j, &s->vcpu[i].port);
		put_numbers(j, &sum);
		json_array(j, "vcpu");
		for (size_t k = i; k < i + n; k++) {
			json_object(j, NULL);
			json_i64(j, "vcpu", s->vcpu[k].vcpu);
			json_i64(j, "tid", s->vcpu[k].tid);
			put_numbers(j, &s->vcpu[k].n);
			json_end(j, '}');
		}
		json_end(j, ']');
		json_end(j, '}');
	}
	json_end(j, ']');
	json_end(j, '}');
}
