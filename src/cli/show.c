// SPDX-License-Identifier: GPL-2.0-only
/*
 * Words of the page for people and programs. Everything a guest wrote goes through the
 * validator of src/core first. No state.
 */
#include <inttypes.h>
#include <string.h>

#include "core/page.h"
#include "show.h"

static const char *show_features(uint64_t features, char *buf, size_t size)
{
	static const struct {
		uint64_t bit;
		const char *name;
	} bits[] = {
		{ PVSCHED_F_TICKET, "ticket" },
		{ PVSCHED_F_NEXT_EVENT, "next_event" },
		{ PVSCHED_F_PENDING, "pending" },
		{ PVSCHED_F_PLACEMENT, "placement" },
	};
	size_t used = 0;
	unsigned int i;

	snprintf(buf, size, "none");
	for (i = 0; i < sizeof(bits) / sizeof(*bits) && used < size; i++)
		if (features & bits[i].bit)
			used += snprintf(buf + used, size - used, "%s%s", used ? ", " : "",
					 bits[i].name);
	return buf;
}

void show_handshake(const struct vmm_guest_info *g, unsigned int vcpus, FILE *f)
{
	char buf[80];

	fprintf(f,
		"handshake: protocol BASE %u, features %s\n"
		"           device at 0x%" PRIx64 ", %u page%s registered, nonce echoed\n",
		PVSCHED_PROTO_BASE_VERSION, show_features(g->features, buf, sizeof(buf)), g->bar,
		vcpus, vcpus == 1 ? "" : "s");
}

void show_handshake_json(struct json *j, const struct vmm_guest_info *g)
{
	char buf[80];

	json_object(j, "handshake");
	json_str(j, "result", pvsched_result_str(g->result));
	json_str(j, "protocol", "BASE");
	json_u64(j, "protocol_version", PVSCHED_PROTO_BASE_VERSION);
	json_str(j, "features", show_features(g->features, buf, sizeof(buf)));
	json_u64(j, "bar", g->bar);
	json_end(j, '}');
}

static double share(uint64_t part, uint64_t whole)
{
	return whole ? (double)part / (double)whole * 100 : 0;
}

/* The guest's timer, relative to now; anything not within ten seconds is only said to be set. */
static void put_timer(uint64_t next, uint64_t now, uint32_t khz, char *buf, size_t size)
{
	double ms = khz ? (double)(int64_t)(next - now) / khz : 1e9;

	if (!next)
		snprintf(buf, size, "no timer");
	else if (ms > -10000 && ms < 10000)
		snprintf(buf, size, "timer in %.1f ms", ms);
	else
		snprintf(buf, size, "timer set");
}

static const char *phase_name(const struct show_vcpu *v)
{
	const char *name = vmm_workload_str(v->info.phase);

	return name ? name : "?";
}

void show_vcpu(unsigned int index, const struct show_vcpu *v, uint64_t now_tsc, uint32_t tsc_khz,
	       const char *end, FILE *f)
{
	const struct pvsched_page *p = &v->info.page;
	char task[48], context[64], grant[64], timer[32], pending[48] = "";
	const struct pvsched_vcpu_stats *s = &v->stats;
	struct pvsched_task t;

	put_timer(p->next_event, now_tsc, tsc_khz, timer, sizeof(timer));
	show_context(p->context, context, sizeof(context));
	if (!pvsched_task_decode(p->pending, PVSCHED_TASK_VALID, &t) &&
	    t.flags & PVSCHED_TASK_VALID)
		show_task(p->pending, pending, sizeof(pending));
	fprintf(f, "vCPU %u  plays %-12.12s publishes %s; %s; %s%s%s%s", index, phase_name(v),
		show_task(p->current_task, task, sizeof(task)),
		*context ? context : "nothing urgent", timer, *pending ? "; waiting: " : "",
		pending, end);
	fprintf(f, "        thread %-7d %-9s granted %s%s", v->info.tid, show_state(p->state),
		show_grant(p->grant, grant, sizeof(grant)), end);
	fprintf(f,
		"        boosts %llu, %.2f %% of its run time; steal %.0f %%; ticket %llu ack %llu; "
		"refused %llu%s",
		(unsigned long long)s->boosts, share(s->boosted_ns, s->run_ns),
		share(s->steal_ns, s->run_ns + s->steal_ns), (unsigned long long)p->ticket,
		(unsigned long long)p->ack,
		(unsigned long long)(s->denied_throttle + s->denied_gap), end);
}

void show_vcpu_line(double seconds, unsigned int index, const struct show_vcpu *v, FILE *f)
{
	const struct pvsched_page *p = &v->info.page;
	char task[48], context[64], grant[64];

	fprintf(f,
		"%6.1f s  vCPU %u  plays %s  publishes %s%s%s  granted %s  boosts %" PRIu64
		"  steal %.0f %%\n",
		seconds, index, phase_name(v), show_task(p->current_task, task, sizeof(task)),
		show_context(p->context, context, sizeof(context))[0] ? "; " : "", context,
		show_grant(p->grant, grant, sizeof(grant)), v->stats.boosts,
		share(v->stats.steal_ns, v->stats.run_ns + v->stats.steal_ns));
}

static void put_task_json(struct json *j, const char *key, uint64_t word)
{
	struct pvsched_task t;
	int bad = pvsched_task_decode(word, PVSCHED_TASK_LATENCY, &t);

	json_object(j, key);
	json_str(j, "policy", show_policy(t.policy));
	json_i64(j, "nice", t.nice);
	json_u64(j, "rt_priority", t.rt_priority);
	json_bool(j, "latency", t.flags & PVSCHED_TASK_LATENCY);
	json_u64(j, "gen", t.gen);
	json_bool(j, "valid", !bad);
	json_end(j, '}');
}

void show_vcpu_json(struct json *j, unsigned int index, const struct show_vcpu *v)
{
	const struct pvsched_page *p = &v->info.page;
	const struct pvsched_vcpu_stats *s = &v->stats;
	unsigned int flags = p->grant >> PVSCHED_TASK_FLAGS_SHIFT & 0xff;
	char buf[64];

	json_object_inline(j, NULL);
	json_u64(j, "vcpu", index);
	json_i64(j, "tid", v->info.tid);
	json_str(j, "plays", phase_name(v));
	put_task_json(j, "current", p->current_task);
	json_str(j, "context", show_context(p->context, buf, sizeof(buf)));
	json_u64(j, "next_event", p->next_event);
	json_u64(j, "ticket", p->ticket);
	json_u64(j, "ack", p->ack);
	json_u64(j, "status", p->status);
	json_str(j, "state", show_state(p->state));
	put_task_json(j, "grant", p->grant & ~(0xffull << PVSCHED_TASK_FLAGS_SHIFT));
	json_bool(j, "boosted", flags & PVSCHED_GRANT_BOOSTED);
	json_str(j, "reason", pvsched_reason_str(flags & PVSCHED_GRANT_REASON));
	json_u64(j, "boosts", s->boosts);
	json_u64(j, "boosted_ns", s->boosted_ns);
	json_u64(j, "run_ns", s->run_ns);
	json_u64(j, "steal_ns", s->steal_ns);
	json_u64(j, "denied_throttle", s->denied_throttle);
	json_u64(j, "denied_gap", s->denied_gap);
	json_u64(j, "expired", s->expired);
	json_u64(j, "bad_words", s->bad_words);
	json_u64(j, "doorbells", v->info.doorbells);
	json_u64(j, "budget_left_ns", p->budget_left_ns);
	show_placement_json(j, p->placement);
	if (v->has_report && v->report.apply.count) {
		json_num(j, "apply_p50_us",
			 (double)pvsched_hist_percentile(&v->report.apply, 500) / 1000, 3);
		json_num(j, "apply_p99_us",
			 (double)pvsched_hist_percentile(&v->report.apply, 990) / 1000, 3);
	}
	json_end(j, '}');
}
