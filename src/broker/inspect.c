// SPDX-License-Identifier: GPL-2.0-only
/* What the broker tells of itself to the process that it is in. */
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "instance.h"

int pvsched_broker__programs(struct pvsched_broker *b, struct pvsched_program_row *rows, int max)
{
	struct pvsched_program p[32];
	int n, total = 0;

	pthread_mutex_lock(&b->mutex);
	for (int s = 0; s < PVSCHED_POLICIES_MAX; s++) {
		if (!b->policies.set[s].programs)
			continue;
		n = pvsched_programs_rows(b->policies.set[s].programs, p, 32);
		for (int i = 0; i < n && i < 32; i++, total++) {
			struct pvsched_program_row *r = &rows[total];

			if (total >= max)
				continue;
			*r = (struct pvsched_program_row){ .runs = p[i].runs,
							   .run_ns = p[i].run_ns };
			snprintf(r->name, sizeof(r->name), "%s", p[i].name);
			snprintf(r->attached_to, sizeof(r->attached_to), "%s",
				 p[i].attached_to ? p[i].attached_to
						  : "called, by broker or agent");
		}
	}
	pthread_mutex_unlock(&b->mutex);
	return total;
}

int pvsched_broker__vcpu_report(struct pvsched_broker *b, pid_t tid,
				struct pvsched_vcpu_report *ret_report)
{
	struct pvsched_vcpu v = { 0 };
	int slot, err = 0;

	pthread_mutex_lock(&b->mutex);
	slot = pvsched_registry_find(&b->reg, tid);
	if (slot < 0 || pvsched_registry_read(&b->reg, slot, &v) ||
	    pvsched_registry_reach(&b->reg, slot, &ret_report->reach)) {
		err = -ENOENT;
	} else {
		const struct pvsched_shared *sh = &b->reg.act.shared[slot];
		const struct pvsched_slot *s = &b->reg.act.slots[slot];

		*ret_report = (struct pvsched_vcpu_report){
			.boosts = sh->boosts,
			.boosted_ns = v.boosted_ns,
			.run_ns = v.run_ns,
			.steal_ns = v.steal_ns,
			.sched_ins = v.sched_ins,
			.denied_throttle = v.denied_throttle,
			.denied_gap = v.denied_gap,
			.denied_rate = v.denied_rate,
			.expired = sh->expired,
			.refused = sh->refused,
			.failed = sh->failed,
			.bad_words = v.bad_words,
			.doorbells = s->doorbells,
			.external = sh->external,
			.apply = s->apply,
			.reach = ret_report->reach,
			.reached = v.reached,
			.reach_added = v.reach_added,
			.boost = s->boost,
		};
		for (int i = 0; i < PVSCHED_REASON_EXPIRED; i++)
			ret_report->granted[i] = s->granted[i];
	}
	pthread_mutex_unlock(&b->mutex);
	return err;
}

int pvsched_broker__counters(struct pvsched_broker *b, struct pvsched_broker_counters *ret)
{
	int n = libbpf_num_possible_cpus(), err = 0;
	struct pvsched_broker_counters out = { 0 };
	struct pvsched_cpu *per_cpu;
	uint32_t zero = 0;

	if (n < 0)
		return n;
	per_cpu = calloc(n, sizeof(*per_cpu));
	if (!per_cpu)
		return -ENOMEM;
	err = pvsched_programs_read(b->programs, PVSCHED_MAP_CPUS, &zero, per_cpu);
	if (err)
		goto out;
	for (int i = 0; i < n; i++) {
		const struct pvsched_counters *c = &per_cpu[i].count;

		for (int e = 0; e < 12; e++)
			out.events[e] += c->events[e];
		out.denied_throttle += c->denied_throttle;
		out.denied_gap += c->denied_gap;
		out.denied_rate += c->denied_rate;
		out.bad_words += c->bad_words;
		out.hints += c->hints;
		out.hints_lost += c->hints_lost;
		out.races += c->races;
		out.revoked += c->revoked;
		out.second_line += c->second_line;
		out.tsc_unknown += c->tsc_unknown;
	}
	out.clients_refused = b->server.refused;
	*ret = out;
out:
	free(per_cpu);
	return err;
}
