/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a decision (decide.h) needs of BPF: the policy as another object's function, the agents'
 * rings, and reads through the kernel's pointers that CO-RE relocates.
 */
#ifndef PVSCHED_EVENTS_DECIDE_BPF_H
#define PVSCHED_EVENTS_DECIDE_BPF_H

#include "maps.bpf.h"
#include "rivals.bpf.h"

/* Linked in from the policy's object. A global function: verified by itself. */
extern int pvsched_policy(struct pvsched_policy_in *in, struct pvsched_decision *out);

#define ask_policy(v, in, out) pvsched_policy(in, out)

/* c is looked at once: before 6.13 each look-up of a map may be NULL to the verifier. */
#define count(c, field)                                                                            \
	do {                                                                                       \
		struct pvsched_cpu *counted_ = (c);                                                \
                                                                                                   \
		if (counted_)                                                                      \
			counted_->count.field++;                                                   \
	} while (0)

static __always_inline void hint(__u32 ring, __u32 slot, __u64 now, struct pvsched_cpu *c)
{
	struct pvsched_hint h = { .slot = slot, .event_ns = now };
	void *r = bpf_map_lookup_elem(&rings, &ring);

	/* Default wake-up rule of the ring: one only when the agent has read everything, i.e.
	 * sleeps. irq_work, so it is allowed under the run queue lock. model: decide.hint */
	if (!r || bpf_ringbuf_output(r, &h, sizeof(h), 0))
		count(c, hints_lost);
	else
		count(c, hints);
}

#define start_timer(v, ns) bpf_timer_start(&(v)->timer, ns, 0)

/* Global, so that the verifier looks at its branches once and not once per path to it: 6.12 gives
 * up after a million instructions. */
__noinline __u64 host_tsc(__u64 guest, __u64 offset, __u64 ratio, __u64 tsc)
{
	return pvsched_host_tsc(guest, offset, ratio, tsc);
}

/*
 * Guest TSC to host time; 0 = none, or not convertible. Bounds: pvsched_host_tsc(),
 * pvsched_tsc_to_ns().
 */
static __always_inline __u64 next_event_ns(struct pvsched_vcpu *v, __u64 guest_tsc, __u64 now,
					   struct pvsched_cpu *c)
{
	struct pvsched_clock *k = &clocks[*(volatile __u32 *)&clock_idx & 1];
	struct kvm_vcpu *kv = AT_ANY(struct kvm_vcpu, v->kvm_vcpu);
	__u64 offset = 0, ratio = 0;

	if (!guest_tsc)
		return 0;
	if (!v->kvm_vcpu || !k->mult || READ(offset, kv, arch.l1_tsc_offset)) {
		count(c, tsc_unknown);
		return 0;
	}
	READ(ratio, kv, arch.l1_tsc_scaling_ratio);
	guest_tsc = host_tsc(guest_tsc, offset, ratio, k->tsc);
	return pvsched_tsc_to_ns(guest_tsc, k->tsc, k->ns, k->mult, now);
}

#define GROUPS_MAX 8 /* cgroups below each other that are looked at */

/* Does a quota (cpu.max, cpu.cfs_quota_us) bound the cgroup of this task_struct, or one above it?
 * ~15 ns a cgroup; asked only when a boost is about to be. Deeper ones than are looked at count as
 * bound. Global, so that the verifier looks at it once and not in every state of its callers. */
__noinline int pvsched_has_quota(__u64 task)
{
	struct task_struct *t = AT(struct task_struct, task);
	struct task_group *g = NULL;

	if (!task || !bpf_core_field_exists(t->sched_task_group) ||
	    !bpf_core_field_exists(g->cfs_bandwidth))
		return 0;
	g = FIELD(t, sched_task_group);
	for (int i = 0; i < GROUPS_MAX; i++) {
		if (!g)
			return 0;
		if (FIELD(g, cfs_bandwidth.quota) != ~0ull)
			return 1;
		g = FIELD(g, parent);
	}
	return g != NULL;
}

/* A vCPU that waits is about to be boosted: how long until it runs, and over how many context
 * switches, shows at its SCHED_IN. */
static __always_inline void reach_from(struct pvsched_vcpu *v, __u64 now)
{
	struct task_struct *t = AT(struct task_struct, v->task);
	struct rq *rq;

	if (!v->task || v->reach_ns)
		return;
	rq = FIELD_OF(t, se.cfs_rq, rq);
	v->reach_rq = (__u64)rq;
	v->reach_switches = rq ? FIELD(rq, nr_switches) : 0;
	v->reach_ns = now;
}

#include "decide.h"

#endif
