// SPDX-License-Identifier: GPL-2.0-only
/*
 * The operator's request to show or change budgets. Part of server.c's job, and under the same
 * mutex: nothing is changed unless all that was asked for is valid, and what is changed holds at
 * the next event of each vCPU.
 */
#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct target {
	struct pvsched_budget *level; /* what is shown or set */
	const struct pvsched_budget *above; /* what holds where it has nothing of its own */
	struct pvsched_client *c; /* NULL: the host */
	int slot; /* -1: not a vCPU */
};

static int find(struct pvsched_server *s, struct pvsched_msg *m, struct target *ret,
		struct pvsched_budget *vm)
{
	struct pvsched_registry *r = s->reg;

	*ret = (struct target){ &r->host, &r->host, NULL, -1 };
	if (m->index == PVSCHED_ALL_VMS)
		return 0;
	if (m->index >= PVSCHED_VMS || !s->client[m->index].hello) {
		snprintf(m->budget.error, sizeof(m->budget.error), "no such VM");
		return m->index >= PVSCHED_VMS ? -ERANGE : -ENOENT;
	}
	ret->c = &s->client[m->index];
	m->budget.vcpus = ret->c->vcpus;
	ret->level = &r->vm_budget[ret->c->vm];
	if (m->budget.vcpu == PVSCHED_ALL_VCPUS)
		return 0;
	if (m->budget.vcpu >= ret->c->vcpus || ret->c->slot[m->budget.vcpu] < 0) {
		snprintf(m->budget.error, sizeof(m->budget.error), "no such vCPU is registered");
		return -ENOENT;
	}
	ret->slot = ret->c->slot[m->budget.vcpu];
	for (unsigned int i = 0; i < PVSCHED_BUDGET_N; i++)
		vm->value[i] = pvsched_budget_value(i, ret->level, &r->host);
	ret->above = vm;
	ret->level = &r->budget[ret->slot];
	return 0;
}

/* Boosts that would not be allowed now end; the others at their next event or expiry. */
static void enforce_ceiling(struct pvsched_registry *r, uint32_t slot)
{
	uint64_t applied = __atomic_load_n(&r->act.shared[slot].applied, __ATOMIC_ACQUIRE);

	if (PVSCHED_WORD_LEVEL(applied) != PVSCHED_LEVEL_RT ||
	    (uint32_t)PVSCHED_WORD_VALUE(applied) <= pvsched_limits_now(&r->act, slot)->ceiling)
		return;
	pvsched_registry_settle(r, slot);
}

static unsigned int highest_ceiling(struct pvsched_registry *r)
{
	unsigned int most = r->host.value[PVSCHED_BUDGET_CEILING], one;

	/* of a VM also for the vCPUs that it has yet to register */
	for (uint32_t vm = 0; vm < PVSCHED_VMS; vm++) {
		one = pvsched_budget_value(PVSCHED_BUDGET_CEILING, &r->vm_budget[vm], &r->host);
		if (r->vm_used[vm] && one > most)
			most = one;
	}
	for (uint32_t slot = 0; slot < PVSCHED_SLOTS; slot++) {
		if (!r->act.slots[slot].used)
			continue;
		one = pvsched_limits_now(&r->act, slot)->ceiling;
		most = one > most ? one : most;
	}
	return most;
}

static int set(struct pvsched_server *s, struct pvsched_msg *m, const struct target *t)
{
	struct pvsched_registry *r = s->reg;
	const uint64_t *v = m->budget.value;
	unsigned int ceiling;
	int err = 0;

	if ((m->budget.set | m->budget.inherit) >> PVSCHED_BUDGET_N ||
	    m->budget.set & m->budget.inherit)
		return -EINVAL;
	for (unsigned int i = 0; i < PVSCHED_BUDGET_N; i++) {
		if (m->budget.set >> i & 1)
			err = pvsched_budget_check(i, v[i], m->budget.error,
						   sizeof(m->budget.error));
		if (err)
			return err;
	}
	ceiling = v[PVSCHED_BUDGET_CEILING];
	if (m->budget.set >> PVSCHED_BUDGET_CEILING & 1 && ceiling > s->ceiling) {
		err = s->set_ceiling(s->ctx, ceiling);
		if (err) {
			snprintf(m->budget.error, sizeof(m->budget.error),
				 "--ceiling: agents cannot run above it: %s", strerror(-err));
			return err;
		}
		s->ceiling = ceiling;
	}
	for (unsigned int i = 0; i < PVSCHED_BUDGET_N; i++) {
		if (m->budget.set >> i & 1)
			t->level->value[i] = v[i];
		/* the host has nobody to inherit from but the defaults */
		if (m->budget.inherit >> i & 1 && !t->c)
			t->level->value[i] = pvsched_budget_rows[i].initial;
	}
	t->level->own |= m->budget.set;
	if (t->c)
		t->level->own &= ~m->budget.inherit;
	for (uint32_t slot = 0; slot < PVSCHED_SLOTS; slot++) {
		if (!r->act.slots[slot].used || (t->slot >= 0 && (uint32_t)t->slot != slot) ||
		    (t->c && r->vm_of[slot] != t->c->vm))
			continue;
		pvsched_registry_limit(r, slot);
		enforce_ceiling(r, slot);
	}
	ceiling = highest_ceiling(r);
	if (ceiling < s->ceiling && !s->set_ceiling(s->ctx, ceiling))
		s->ceiling = ceiling;
	return 0;
}

int pvsched_server_give_budget(struct pvsched_server *s, struct pvsched_client *c,
			       const struct pvsched_budget *b)
{
	struct pvsched_budget *host = &s->reg->host;
	struct target t = { c ? &s->reg->vm_budget[c->vm] : host, host, c, -1 };
	struct pvsched_msg m = { .budget = { .set = b->own } };

	m.budget.inherit = ((1u << PVSCHED_BUDGET_N) - 1) & ~b->own;
	memcpy(m.budget.value, b->value, sizeof(m.budget.value));
	return set(s, &m, &t);
}

static void add_counts(struct pvsched_registry *r, int slot, struct pvsched_msg *m)
{
	struct pvsched_vcpu v;

	m->budget.registered++;
	m->budget.boosts += r->act.shared[slot].boosts;
	m->budget.refused += r->act.shared[slot].refused;
	m->budget.owed_ns += r->act.debts[slot].owed_ns > 0 ? r->act.debts[slot].owed_ns : 0;
	if (!pvsched_registry_read(r, slot, &v)) {
		m->budget.boosted_ns += v.boosted_ns;
		m->budget.refused += v.denied_gap + v.denied_throttle + v.denied_rate;
	}
}

static void show(struct pvsched_server *s, struct pvsched_msg *m, const struct target *t)
{
	static const struct pvsched_budget none;
	struct pvsched_registry *r = s->reg;
	const struct pvsched_debt *d = r->act.debts;
	struct pvsched_limits l;
	struct timespec ts;
	uint64_t now, left;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = ts.tv_sec * 1000000000ull + ts.tv_nsec;
	pvsched_budget_resolve(&r->host, t->c ? &r->vm_budget[t->c->vm] : &none,
			       t->slot >= 0 ? &r->budget[t->slot] : &none,
			       t->c ? pvsched_registry_vcpus(r, t->c->vm) : 1, &l);
	m->budget.own = t->level->own;
	for (unsigned int i = 0; i < PVSCHED_BUDGET_N; i++)
		m->budget.value[i] = pvsched_budget_value(i, t->level, t->above);
	for (uint32_t slot = 0; slot < PVSCHED_SLOTS; slot++)
		if (r->act.slots[slot].used && (t->slot >= 0 ? (uint32_t)t->slot == slot
							     : !t->c || r->vm_of[slot] == t->c->vm))
			add_counts(r, slot, m);
	if (t->slot >= 0) {
		m->budget.left_ns = pvsched_bucket_left(d[t->slot].paid_at, now, &l.all);
		m->budget.cs_left_ns = pvsched_bucket_left(d[t->slot].cs_paid_at, now, &l.cs);
	} else if (t->c) {
		m->budget.left_ns =
			pvsched_bucket_left(d[PVSCHED_DEBT_VM(t->c->vm)].paid_at, now, &l.vm);
	} else {
		m->budget.left_ns = ~0ull;
		for (uint32_t cpu = 0; cpu < PVSCHED_CPUS; cpu++) {
			left = pvsched_bucket_left(d[PVSCHED_DEBT_CPU(cpu)].paid_at, now, &l.cpu);
			if (left < m->budget.left_ns)
				m->budget.left_ns = left;
		}
	}
}

int pvsched_server_budget(struct pvsched_server *s, struct pvsched_msg *m)
{
	struct pvsched_budget vm = { 0 };
	struct target t;
	int err;

	m->budget.error[0] = 0;
	m->budget.boosts = m->budget.boosted_ns = m->budget.refused = 0;
	m->budget.left_ns = m->budget.cs_left_ns = 0;
	m->budget.owed_ns = 0;
	m->budget.vcpus = m->budget.registered = 0;
	err = find(s, m, &t, &vm);
	if (!err && (m->budget.set || m->budget.inherit))
		err = set(s, m, &t);
	if (!err)
		show(s, m, &t);
	return err;
}
