// SPDX-License-Identifier: GPL-2.0-only
/* Registry and counters as JSON, see report.h. */
#include "report.h"

#include "../core/names.h"
#include "port.h"

#include <errno.h>

static const char *const reasons[PVSCHED_REASONS] = {
	[PVSCHED_REASON_NONE] = "none",	     [PVSCHED_REASON_CRITICAL] = "critical",
	[PVSCHED_REASON_TASK] = "task",	     [PVSCHED_REASON_PENDING] = "pending",
	[PVSCHED_REASON_INTR] = "interrupt", [PVSCHED_REASON_NEXT_EVENT] = "next_event",
	[PVSCHED_REASON_MIRROR] = "mirror",  [PVSCHED_REASON_POLICY] = "policy",
};

static const char *state_name(uint32_t state)
{
	switch (state) {
	case PVSCHED_STATE_RUNNING:
		return "running";
	case PVSCHED_STATE_PREEMPTED:
		return "waiting";
	case PVSCHED_STATE_BLOCKED:
		return "sleeping";
	default:
		return "unknown";
	}
}

/* Host only: the guest says nothing. Stream: it does, by way of a port. Offered: it could, and has not enabled a page. */
static const char *protocol(const struct pvsched_client *c, unsigned int enabled)
{
	if (c->kvm)
		return enabled ? "stream" : "host-only";
	return enabled ? "BASE 1" : "offered";
}

static void put_vcpu(struct pvsched_server *s, uint32_t slot, struct json *j)
{
	const struct pvsched_shared *sh = &s->reg->act.shared[slot];
	const struct pvsched_slot *sl = &s->reg->act.slots[slot];
	struct pvsched_vcpu v;

	if (pvsched_registry_read(s->reg, slot, &v))
		return;
	json_object(j, NULL);
	json_u64(j, "vcpu", v.index);
	json_i64(j, "tid", v.tid);
	json_u64(j, "apic_id", v.apic_id);
	json_i64(j, "cpu", v.sched_ins ? (int64_t)v.cpu : -1);
	json_str(j, "state", state_name(v.state));
	json_bool(j, "page", sl->page != NULL);
	json_bool(j, "boosted", s->reg->act.debts[slot].stretch.on_ns != 0);
	json_u64(j, "boosts", sh->boosts);
	json_num(j, "boosted_s", v.boosted_ns / 1e9, 6);
	json_num(j, "run_s", v.run_ns / 1e9, 6);
	json_num(j, "delay_s", v.steal_ns / 1e9, 6);
	json_end(j, '}');
}

static void put_list(struct pvsched_server *s, int place, struct json *j)
{
	const struct pvsched_client *c = &s->client[place];
	uint64_t boosts = 0, boosted = 0, delay = 0;
	unsigned int vcpus = 0, enabled = 0;
	struct pvsched_vcpu v;

	for (int i = 0; i < PVSCHED_VCPUS_MAX; i++) {
		if (c->slot[i] < 0 || pvsched_registry_read(s->reg, c->slot[i], &v))
			continue;
		vcpus++;
		enabled += s->reg->act.slots[c->slot[i]].page != NULL;
		boosts += s->reg->act.shared[c->slot[i]].boosts;
		boosted += v.boosted_ns;
		delay += v.steal_ns;
	}
	json_object(j, NULL);
	json_u64(j, "vm", place);
	json_str(j, "name", c->name);
	json_str(j, "vmm", c->vmm);
	json_bool(j, "found", c->kvm != 0);
	json_i64(j, "pid", c->pid);
	json_u64(j, "uid", c->uid);
	json_u64(j, "vcpus", vcpus);
	json_u64(j, "enabled", enabled);
	json_str(j, "protocol", protocol(c, enabled));
	json_str(j, "policy", pvsched_programs_policy(s->policies->set[c->policy].programs)->name);
	json_u64(j, "boosts", boosts);
	json_num(j, "boosted_s", boosted / 1e9, 6);
	json_num(j, "delay_s", delay / 1e9, 6);
	json_array(j, "vcpu");
	for (int i = 0; i < PVSCHED_VCPUS_MAX; i++)
		if (c->slot[i] >= 0)
			put_vcpu(s, c->slot[i], j);
	json_end(j, ']');
	json_end(j, '}');
}

static void put_reasons(struct json *j, const char *key, const struct pvsched_slot *sl,
			const struct pvsched_vcpu *v, enum pvsched_denial kind)
{
	uint64_t n;

	json_object(j, key);
	for (int i = 0; i < PVSCHED_REASONS; i++) {
		n = sl ? sl->granted[i] : v->denied[i][kind];
		if (n && reasons[i])
			json_u64(j, reasons[i], n);
	}
	json_end(j, '}');
}

/* Buckets that hold something: [largest value, how many]. */
static void put_hist(struct json *j, const char *key, const struct pvsched_hist *h)
{
	json_object(j, key);
	json_u64(j, "count", h->count);
	json_u64(j, "max_ns", h->max);
	json_array(j, "buckets");
	for (unsigned int i = 0; i < PVSCHED_HIST_N; i++) {
		if (!h->n[i])
			continue;
		json_array(j, NULL);
		json_u64(j, NULL, pvsched_hist_value(i));
		json_u64(j, NULL, h->n[i]);
		json_end(j, ']');
	}
	json_end(j, ']');
	json_end(j, '}');
}

static void put_numbers(struct pvsched_server *s, uint32_t slot, struct json *j)
{
	const struct pvsched_shared *sh = &s->reg->act.shared[slot];
	const struct pvsched_slot *sl = &s->reg->act.slots[slot];
	struct pvsched_hist wake;
	struct pvsched_vcpu v;

	if (pvsched_registry_read(s->reg, slot, &v) ||
	    pvsched_programs_read(s->reg->programs, PVSCHED_MAP_DELAYS, &slot, &wake))
		return;
	json_object(j, NULL);
	json_u64(j, "vcpu", v.index);
	json_i64(j, "tid", v.tid);
	json_u64(j, "run_ns", v.run_ns);
	json_u64(j, "delay_ns", v.steal_ns);
	json_u64(j, "sched_ins", v.sched_ins);
	json_u64(j, "boosts", sh->boosts);
	json_u64(j, "boosted_ns", v.boosted_ns);
	json_u64(j, "harm_ns", v.harm_ns);
	json_u64(j, "expired", sh->expired);
	json_u64(j, "refused", sh->refused);
	json_u64(j, "failed", sh->failed);
	json_u64(j, "external", sh->external);
	json_u64(j, "bad_words", v.bad_words);
	json_u64(j, "missed", v.missed);
	json_u64(j, "doorbells", sl->doorbells);
	put_reasons(j, "granted", sl, NULL, 0);
	put_reasons(j, "throttled", NULL, &v, PVSCHED_DENIED_THROTTLE);
	put_reasons(j, "gaps", NULL, &v, PVSCHED_DENIED_GAP);
	put_reasons(j, "rates", NULL, &v, PVSCHED_DENIED_RATE);
	put_hist(j, "wake", &wake);
	json_end(j, '}');
}

/* Of a VM whose guest has spoken over one. */
static void put_port(const struct pvsched_client *c, struct json *j)
{
	struct pvsched_said said;

	pvsched_port_said(c, &said);
	if (!said.ports)
		return;
	json_object(j, "port");
	json_object(j, "refused");
	for (int i = PVSCHED_R_OK + 1; i < PVSCHED_R_MAX; i++)
		if (said.refused[i])
			json_u64(j, pvsched_result_names[i], said.refused[i]);
	json_end(j, '}');
	json_u64(j, "skipped", said.skipped);
	json_u64(j, "resets", said.resets);
	json_u64(j, "held", said.held);
	json_u64(j, "ports", said.ports);
	json_end(j, '}');
}

static void put_stat(struct pvsched_server *s, int place, struct json *j)
{
	const struct pvsched_client *c = &s->client[place];

	json_object(j, NULL);
	json_u64(j, "vm", place);
	json_str(j, "name", c->name);
	json_i64(j, "pid", c->pid);
	put_port(c, j);
	json_array(j, "vcpu");
	for (int i = 0; i < PVSCHED_VCPUS_MAX; i++)
		if (c->slot[i] >= 0)
			put_numbers(s, c->slot[i], j);
	json_end(j, ']');
	json_end(j, '}');
}

static void put_all(struct pvsched_server *s, uid_t uid, struct json *j,
		    void (*put)(struct pvsched_server *, int, struct json *))
{
	json_array(j, "vms");
	for (int place = 0; place < PVSCHED_VMS; place++)
		if (s->client[place].hello && (!uid || s->client[place].uid == uid))
			put(s, place, j);
	json_end(j, ']');
}

void pvsched_report_list(struct pvsched_server *s, uid_t uid, struct json *j)
{
	put_all(s, uid, j, put_list);
}

void pvsched_report_stat(struct pvsched_server *s, uid_t uid, struct json *j)
{
	put_all(s, uid, j, put_stat);
}
