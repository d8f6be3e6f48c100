/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The scheduler's events: PREEMPTED, BLOCKED, SCHED_IN (sched_switch) and WOKEN (sched_waking),
 * and the charging of boosted time. sched_switch runs under the run queue lock, so for one vCPU
 * it is serial: everything that it alone writes needs no atomics.
 */
#ifndef PVSCHED_EVENTS_SCHED_BPF_H
#define PVSCHED_EVENTS_SCHED_BPF_H

#include "decide.bpf.h"
#include "rivals.bpf.h"

/* Of the time since SCHED_IN, the part that ran at better than baseline. Errs to the guest's
 * disadvantage when the scheduling changed more than once in between. */
static __always_inline __u64 boosted_part(struct pvsched_vcpu *v, struct pvsched_shared *s,
					  int prio, __u64 now)
{
	__u64 in = v->in_ns, on = MEMBER(s, stretch.on_ns), off = MEMBER(s, stretch.off_ns);

	if (prio < (int)v->base_prio) /* all along, or boosted on the way */
		return now - (on > in && on <= now ? on : in);
	return off > in && off <= now ? off - in : 0; /* the boost ended on the way */
}

/* What it ran below its baseline pays boosts back. */
static __always_inline void pay_back(struct pvsched_vcpu *v, struct pvsched_shared *s, int prio,
				     __u64 now)
{
	__u64 at = MEMBER(s, applied_ns);

	if (prio <= (int)v->base_prio)
		return;
	at = at > v->in_ns && at <= now ? at : v->in_ns;
	v->owed_ns = pvsched_owed_pay(v->owed_ns, pvsched_owed_paid(now - at));
}

static __always_inline void charge(struct pvsched_vcpu *v, struct pvsched_shared *s, int prio,
				   __u64 now, struct pvsched_cpu *c)
{
	__u64 ns = boosted_part(v, s, prio, now), reason, *vm, old;
	__u32 i = v->vm;

	if (!ns || ns > 1ull << 40)
		return;
	v->boosted_ns += ns;
	v->owed_ns = pvsched_owed_add(v->owed_ns, ns);
	reason = PVSCHED_WORD_REASON(MEMBER(s, applied));
	if (reason == PVSCHED_REASON_CRITICAL || reason == PVSCHED_REASON_INTR)
		v->cs_paid_at = pvsched_bucket_charge(v->cs_paid_at, now, ns, &config.cs);
	v->all_paid_at = pvsched_bucket_charge(v->all_paid_at, now, ns, &config.all);
	if (c)
		c->paid_at = pvsched_bucket_charge(c->paid_at, now, ns, &config.cpu);
	/* The VM's bucket is charged from several CPUs. A lost race is tried again; after four
	 * the cost is added without the "not before start" part, which can only overcharge. */
	vm = bpf_map_lookup_elem(&vms, &i);
	if (!vm)
		return;
	for (int n = 0; n < 4; n++) {
		old = *(volatile __u64 *)vm;
		if (__sync_val_compare_and_swap(
			    vm, old, pvsched_bucket_charge(old, now, ns, &config.vm)) == old)
			return;
	}
	__sync_fetch_and_add(vm, ns * config.vm.cost_q10 >> 10);
}

static __always_inline void sched_out(int slot, struct task_struct *prev, struct task_struct *next,
				      __u64 now)
{
	struct pvsched_vcpu *v = vcpu_of_slot(slot);
	struct pvsched_cpu *c = this_cpu();
	struct pvsched_shared *s;
	struct pvsched_page *page;
	__u32 key = slot, rivals;
	bool preempted;

	s = bpf_map_lookup_elem(&shared, &key);
	if (!v || !s)
		return;
	/* Not the tracepoint's `preempt`: KVM mostly yields voluntarily while it stays runnable.
	 * A delayed dequeue (6.12) leaves a sleeping task on the queue. */
	preempted = prev->on_rq != 0;
	if (bpf_core_field_exists(prev->se.sched_delayed) && prev->se.sched_delayed)
		preempted = false;
	if (v->in_ns) {
		v->run_ns += now - v->in_ns;
		charge(v, s, prev->prio, now, c);
		pay_back(v, s, prev->prio, now);
	}
	v->in_ns = 0;
	v->off_ns = now; /* model: switch.out */
	v->wait_ns = preempted ? now : 0;
	v->state = preempted ? PVSCHED_STATE_PREEMPTED : PVSCHED_STATE_BLOCKED;
	page = page_of_slot(v, slot);
	if (page)
		MEMBER(page, state) = v->state | v->sched_ins << 32;
	rivals = rivals_at_switch(prev, next, preempted);
	if (preempted) {
		count(c, events[0]);
		/* The agent that boosted it takes the CPU, most likely for its doorbell: it will
		 * look at the slot before it sleeps again. Saves an interrupt to itself.
		 * model: switch.by_agent */
		pvsched_decide(
			slot,
			PVSCHED_EV_PREEMPTED |
				(is_agent(next->tgid, next->prio) && MEMBER(s, owner) == v->cpu + 1
					 ? BY_AGENT
					 : 0),
			now, rivals);
	} else {
		count(c, events[1]);
		pvsched_decide(slot, PVSCHED_EV_BLOCKED, now, rivals);
	}
}

static __always_inline void sched_in(int slot, struct task_struct *next, __u64 now)
{
	struct pvsched_vcpu *v = vcpu_of_slot(slot);
	struct pvsched_cpu *c = this_cpu();
	struct pvsched_shared *s;
	struct pvsched_page *page;
	__u32 key = slot;
	__u64 stretch;

	s = bpf_map_lookup_elem(&shared, &key);
	if (!v || !s)
		return;
	if (v->wait_ns && now > v->wait_ns)
		v->steal_ns += now - v->wait_ns;
	if (v->owed_ns > 0 && v->off_ns) /* until it woke it slept */
		v->owed_ns =
			pvsched_owed_pay(v->owed_ns, (v->wait_ns ? v->wait_ns : now) - v->off_ns);
	if (v->asked_ns) {
		pvsched_lead_sample(&v->lead_avg, &v->lead_dev,
				    now > v->asked_ns ? now - v->asked_ns : 0);
		v->asked_ns = 0;
	}
	v->in_ns = now;
	v->off_ns = 0; /* model: switch.in */
	v->wait_ns = 0;
	v->cpu = bpf_get_smp_processor_id();
	v->state = PVSCHED_STATE_RUNNING;
	v->sched_ins++;
	count(c, events[2]);
	page = page_of_slot(v, slot);
	if (page) {
		MEMBER(page, state) = PVSCHED_STATE_RUNNING | v->sched_ins << 32;
		MEMBER(page, steal_ns) = v->steal_ns;
		MEMBER(page, budget_left_ns) = allowance(v, s, c, now, &stretch);
		if (v->placed != v->cpu + 1 && v->features & PVSCHED_F_PLACEMENT) {
			v->placed = v->cpu + 1;
			MEMBER(page, placement) =
				v->cpu < PVSCHED_CPUS ? places[v->cpu & (PVSCHED_CPUS - 1)] : 0;
		}
	}
	/* Only a boost has anything to end here; this is also where a vCPU that moved meets the
	 * budget of its new CPU. */
	if (next->prio < (int)v->base_prio ||
	    pvsched_word_boosts(MEMBER(s, desired), now, v->base_policy, v->base_nice))
		pvsched_decide(slot, PVSCHED_EV_SCHED_IN, now, PVSCHED_RIVALS_MANY);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(pvsched_sched_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	__u32 out = prev->pid, in = next->pid;
	int slot;
	__u64 now;

	/* The way of every foreign task: two loads from a table. */
	if (!(slot_of_tid[out & (PVSCHED_TIDS - 1)] | slot_of_tid[in & (PVSCHED_TIDS - 1)]))
		return 0;
	now = bpf_ktime_get_ns();
	slot = slot_of_task(out, (__u64)prev, prev->start_time);
	if (slot >= 0)
		sched_out(slot, prev, next, now);
	slot = slot_of_task(in, (__u64)next, next->start_time);
	if (slot >= 0)
		sched_in(slot, next, now);
	return 0;
}

SEC("tp_btf/sched_waking")
int BPF_PROG(pvsched_sched_waking, struct task_struct *p)
{
	__u32 tid = p->pid;
	struct pvsched_vcpu *v;
	struct pvsched_cpu *c;
	__u64 now;
	int slot;

	if (!slot_of_tid[tid & (PVSCHED_TIDS - 1)])
		return 0;
	slot = slot_of_task(tid, (__u64)p, p->start_time);
	if (slot < 0)
		return 0;
	v = vcpu_of_slot(slot);
	if (!v || v->state != PVSCHED_STATE_BLOCKED)
		return 0;
	now = bpf_ktime_get_ns();
	v->state = PVSCHED_STATE_PREEMPTED;
	v->wait_ns = now;
	c = this_cpu();
	count(c, events[3]);
	pvsched_decide(slot, PVSCHED_EV_WOKEN, now, RIVALS_ASK);
	return 0;
}

/* A registered thread ends: nothing of it may be looked at again. The broker hears of it from
 * the client's socket and frees the slot. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(pvsched_sched_exit, struct task_struct *p)
{
	__u32 tid = p->pid;
	struct pvsched_shared *s;
	struct pvsched_vcpu *v;
	int slot;

	if (!slot_of_tid[tid & (PVSCHED_TIDS - 1)])
		return 0;
	slot = slot_of_task(tid, (__u64)p, p->start_time);
	if (slot < 0)
		return 0;
	v = vcpu_of_slot(slot);
	s = bpf_map_lookup_elem(&shared, &slot);
	if (s)
		MEMBER(s, gone) = 1;
	if (v)
		__sync_fetch_and_or(&v->flags, PVSCHED_V_GONE);
	return 0;
}

#endif
