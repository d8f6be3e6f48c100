/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The scheduler's events: PREEMPTED, BLOCKED, SCHED_IN (sched_switch) and WOKEN (sched_waking),
 * and the charging of boosted time. sched_switch runs under the run queue lock, so for one vCPU
 * it is serial: everything that it alone writes needs no atomics. Compiled as decide.h is.
 */
#ifndef PVSCHED_EVENTS_SCHED_H
#define PVSCHED_EVENTS_SCHED_H

#include "decide.h"

/* Of the time since SCHED_IN, the part that ran at better than baseline. Errs to the guest's
 * disadvantage when the scheduling changed more than once in between, which takes another CPU's agent. */
static __always_inline __u64 boosted_part(struct pvsched_vcpu *v, struct pvsched_debt *d, int prio,
					  __u64 in, __u64 now)
{
	__u64 on = MEMBER(d, stretch.on_ns), off = MEMBER(d, stretch.off_ns);

	/* all along, or boosted on the way; or twice; or just ended, which is not noted yet */
	if (prio < (int)v->base_prio || on)
		return now - (on > in && on <= now && off <= in ? on : in);
	return off > in && off <= now ? off - in : 0; /* the boost ended on the way */
}

/* The priority at which it ran, as far as boosts go. A scheduler of ours boosts without changing
 * the kernel's number. */
static __always_inline int run_prio(struct pvsched_vcpu *v, struct pvsched_debt *d, int prio)
{
#ifdef PVSCHED_IN_KERNEL
	if (config.actuator & PVSCHED_ACTS_BY_ORDER)
		return (int)v->base_prio - (MEMBER(d, stretch.on_ns) != 0);
#endif
	return prio;
}

/* What it ran below its baseline pays boosts back. */
static __always_inline void pay_back(struct pvsched_vcpu *v, struct pvsched_shared *s,
				     struct pvsched_debt *d, int prio, __u64 in, __u64 now)
{
	__u64 at = MEMBER(s, applied_ns);

	if (prio <= (int)v->base_prio)
		return;
	at = at > in && at <= now ? at : in;
	d->owed_ns = pvsched_owed_pay(d->owed_ns, pvsched_owed_paid(now - at));
}

#define OTHERS_UNKNOWN (~0u) /* the boost began while it ran */

/*
 * What the boosted time that just ended cost others: each that wanted the CPU waited for all of it.
 * How many they were is the mean of both ends; who came and went in between is not seen. ~5 ns, of
 * boosted runs only.
 */
static __always_inline void harm(struct pvsched_vcpu *v, struct task_struct *prev,
				 struct task_struct *next, bool preempted, __u64 ns)
{
	__u32 others = others_of(prev, preempted);

	if (others && is_agent(next->tgid, next->prio, v->cpu))
		others--;
	v->harm_ns += ns * (others + (v->others == OTHERS_UNKNOWN ? others : v->others)) / 2;
}

static __always_inline void boosts_here(__u32 cpu, __u64 now)
{
	if (cpu < PVSCHED_CPUS)
		boosted_at[cpu] = now;
}

/* Returns the boosted ns that were charged. Under the run queue lock of the CPU where it ran: only the VM's bucket has other writers. */
static __always_inline __u64 charge(struct pvsched_vcpu *v, struct pvsched_shared *s,
				    struct pvsched_debt *d, const struct pvsched_limits *l,
				    int prio, __u64 in, __u64 now)
{
	__u64 ns = boosted_part(v, d, prio, in, now), old;
	__u8 reason = MEMBER(s, boosted_for); /* `applied` may say already why it ended */
	struct pvsched_debt *vm, *cpu;

	/* a priority of somebody else's is no boost */
	if (!ns || ns > 1ull << 40 || MEMBER(s, foreign) & PVSCHED_FOREIGN_POLICY)
		return 0;
	v->boosted_ns += ns;
	pvsched_debt_charge(d, now, ns,
			    reason == PVSCHED_REASON_CRITICAL || reason == PVSCHED_REASON_INTR, l);
	cpu = debt_at(PVSCHED_DEBT_CPU(this_cpu_id()));
	if (cpu)
		pvsched_cpu_charge(cpu, now, ns, config.act_ns, l);
	boosts_here(this_cpu_id(), now);
	/* The VM's bucket is charged from several CPUs. A lost race is tried again; after four the cost
	 * is added to what others have just made of the word. */
	vm = debt_at(PVSCHED_DEBT_VM(v->vm));
	if (!vm)
		return ns;
	for (int n = 0; n < 4; n++) {
		old = MEMBER(vm, paid_at);
		if (__sync_val_compare_and_swap(&vm->paid_at, old,
						pvsched_bucket_charge(old, now, ns, &l->vm)) == old)
			return ns;
	}
	__sync_fetch_and_add(&vm->paid_at, (ns * l->vm.cost_q10 + 1023) >> 10);
	return ns;
}

/* From wake-up to running: ~15 ns. */
static __always_inline void delayed(__u32 slot, __u64 ns)
{
	struct pvsched_hist *h = delays_of(slot);
	__u32 bucket = pvsched_hist_bucket(ns);

	asm volatile("" : "+r"(bucket)); /* the verifier forgets what was known of it */
	if (!h || bucket >= PVSCHED_HIST_N)
		return;
	h->n[bucket]++;
	h->count++;
	if (ns > h->max)
		h->max = ns;
}

/*
 * The guest's words, of a page that is not shared: copied while its memory is that of the task that
 * runs. Each is read by itself, in one access. A page that is not there now is a miss: nothing waits
 * for it under the run queue lock. ~160 ns; none where the page is mapped, but a load of v->hva.
 */
static __always_inline void copy_words(struct pvsched_vcpu *v, struct pvsched_page *page)
{
	if (COPY(v, page, current_task) | COPY(v, page, context) | COPY(v, page, next_event) |
	    COPY(v, page, ack) | COPY(v, page, pending))
		v->missed++;
}

/* Not the tracepoint's `preempt`: KVM mostly yields voluntarily while it stays runnable.
 * A delayed dequeue (6.12) leaves a sleeping task on the queue. */
static __always_inline bool is_preempted(struct task_struct *prev)
{
	return prev->on_rq && !sleeps_queued(prev);
}

/*
 * The end of a run is charged by the first program that sees it, whichever policy's: what may be taken here
 * must be known before the next vCPU is decided for, and that may be this policy's while the last was not.
 */
static __always_inline void settle_run(int slot, struct task_struct *prev, struct task_struct *next,
				       __u64 now)
{
	const struct pvsched_limits *l = limits_of(slot);
	struct pvsched_vcpu *v = vcpu_of_slot(slot);
	struct pvsched_debt *d = debt_at(slot);
	struct pvsched_shared *s;
	__u32 key = slot;
	__u64 boosted, in;

	s = shared_of(key);
	if (!v || !s || !l || !d)
		return;
	if (v->cpu < PVSCHED_CPUS && slot_on_cpu[v->cpu] == slot + 1)
		slot_on_cpu[v->cpu] = 0;
	in = MEMBER(v, in_ns); /* once: pvsched_unseen() of another CPU */
	if (!in)
		return;
	v->run_ns += now - in;
	boosted = charge(v, s, d, l, run_prio(v, d, prev->prio), in, now);
	if (boosted)
		harm(v, prev, next, is_preempted(prev), boosted);
	pay_back(v, s, d, prev->prio, in, now);
	v->in_ns = 0;
}

static __always_inline void sched_out(int slot, struct task_struct *prev, struct task_struct *next,
				      __u64 now)
{
	struct pvsched_vcpu *v = vcpu_of_slot(slot);
	const struct pvsched_limits *l = limits_of(slot);
	struct pvsched_debt *d = debt_at(slot);
	struct pvsched_cpu *c = this_cpu();
	struct pvsched_shared *s;
	struct pvsched_page *page;
	__u32 key = slot, rivals;
	bool preempted, woken;

	s = shared_of(key);
	if (!v || !s || !l || !d)
		return;
	preempted = is_preempted(prev);
	/* From another CPU, as it was on its way out: sched_waking came while it ran, and nothing follows.
	 * (Where its dequeue is delayed, who wakes it is not that far yet: docs/limits.md.) */
	woken = !preempted && prev->__state == TASK_WAKING;
	v->reach_ns = 0;
	v->off_ns = now; /* model: switch.out */
	v->wait_ns = preempted || woken ? now : 0;
	v->woken = woken;
	v->elsewhere = !v->wait_ns && !in_kvm(prev); /* before the state, which makes it count */
	v->state = v->wait_ns ? PVSCHED_STATE_PREEMPTED : PVSCHED_STATE_BLOCKED;
	/* charged to the end, and looked at no more: the broker hears of it from the client's socket and
	 * frees the slot */
	if (prev->__state & TASK_DEAD) {
		__sync_fetch_and_or(&v->flags, PVSCHED_V_GONE);
		return;
	}
	page = page_of_slot(v, slot);
	if (page) {
		if (v->hva)
			copy_words(v, page);
		MEMBER(page, state) = v->state | v->sched_ins << 32;
	}
	rivals = rivals_at_switch(prev, next, preempted, v->cpu);
	if (preempted) {
		count(c, events[0]);
		/* The agent that boosted it takes the CPU, most likely for its doorbell: it will
		 * look at the slot before it sleeps again. Saves an interrupt to itself.
		 * model: switch.by_agent */
		pvsched_decide(slot,
			       PVSCHED_EV_PREEMPTED |
				       (is_agent(next->tgid, next->prio, v->cpu) &&
							MEMBER(s, owner) == v->cpu + 1
						? BY_AGENT
						: 0),
			       now, rivals);
	} else if (woken && events_of(v) & PVSCHED_EV_WOKEN) {
		count(c, events[3]);
		pvsched_decide(slot, PVSCHED_EV_WOKEN, now, rivals);
	} else {
		count(c, events[1]);
		pvsched_decide(slot, PVSCHED_EV_BLOCKED, now, rivals);
	}
}

/* Did a real-time task of the host wake here, at the priority of boosts, since this vCPU was boosted,
 * and is anything real-time still queued? */
static __always_inline bool host_rt_waits(struct pvsched_vcpu *v, struct pvsched_shared *s,
					  struct task_struct *next)
{
	__u32 cpu = v->cpu;

	if (cpu >= PVSCHED_CPUS || host_rt_prio[cpu] != next->prio ||
	    host_rt_ns[cpu] < MEMBER(s, applied_ns))
		return false;
	return rt_queued(next) > 1;
}

static __always_inline void sched_in(int slot, struct task_struct *next, __u64 now)
{
	struct pvsched_vcpu *v = vcpu_of_slot(slot);
	const struct pvsched_limits *l = limits_of(slot);
	struct pvsched_debt *d = debt_at(slot);
	struct pvsched_cpu *c = this_cpu();
	struct pvsched_shared *s;
	struct pvsched_page *page;
	__u32 key = slot;
	__u64 stretch;

	s = shared_of(key);
	if (!v || !s || !l || !d)
		return;
	if (v->wait_ns && now > v->wait_ns) {
		v->steal_ns += now - v->wait_ns;
		if (v->woken)
			delayed(slot, now - v->wait_ns);
	}
	v->woken = 0;
	v->others = next->prio < (int)v->base_prio ? others_of(next, true) : OTHERS_UNKNOWN;
	if (d->owed_ns > 0 && v->off_ns) /* until it woke it slept */
		d->owed_ns =
			pvsched_owed_pay(d->owed_ns, (v->wait_ns ? v->wait_ns : now) - v->off_ns);
	if (v->asked_ns) {
		pvsched_lead_sample(
			&v->lead_avg, &v->lead_dev,
			pvsched_lead_took(v->asked_ns, v->wait_ns, MEMBER(s, applied_ns), now));
		v->asked_ns = 0;
	}
	if (v->reach_ns)
		reach_to(v, slot, next, now);
	v->in_ns = now;
	v->off_ns = 0; /* model: switch.in */
	v->wait_ns = 0;
	v->cpu = this_cpu_id();
	v->state = PVSCHED_STATE_RUNNING;
	v->sched_ins++;
	if (v->cpu < PVSCHED_CPUS)
		slot_on_cpu[v->cpu] = slot + 1;
	count(c, events[2]);
	page = page_of_slot(v, slot);
	if (page) {
		MEMBER(page, state) = PVSCHED_STATE_RUNNING | v->sched_ins << 32;
		MEMBER(page, steal_ns) = v->steal_ns;
		MEMBER(page, budget_left_ns) = allowance(v, d, l, now, &stretch);
		if (v->placed != v->cpu + 1 && v->features & PVSCHED_F_PLACEMENT) {
			v->placed = v->cpu + 1;
			MEMBER(page, placement) =
				v->cpu < PVSCHED_CPUS ? places[v->cpu & (PVSCHED_CPUS - 1)] : 0;
		}
	}
	if (next->prio < (int)v->base_prio && host_rt_waits(v, s, next)) {
		revoke(v, s, slot, now);
		return;
	}
	/* Only a boost has anything to end here; this is also where a vCPU that moved meets the
	 * budget of its new CPU. */
	if (next->prio < (int)v->base_prio ||
	    pvsched_word_boosts(MEMBER(s, desired), now, v->base_policy, v->base_nice)) {
		boosts_here(v->cpu, now);
		pvsched_decide(slot, PVSCHED_EV_SCHED_IN, now, PVSCHED_RIVALS_MANY);
	}
}

static __always_inline void on_switch(struct task_struct *prev, struct task_struct *next)
{
	__u32 out = prev->pid, in = next->pid;
	int slot;
	__u64 now;

	/* The way of every foreign task: two loads from a table. */
	if (!(slot_of_tid[out & (PVSCHED_TIDS - 1)] | slot_of_tid[in & (PVSCHED_TIDS - 1)]))
		return;
	now = time_ns();
	slot = slot_of_any(out, (__u64)prev, prev->start_time);
	if (slot >= 0) {
		settle_run(slot, prev, next, now);
		if (serves(slot))
			sched_out(slot, prev, next, now);
	}
	slot = slot_of_task(in, (__u64)next, next->start_time);
	if (slot >= 0)
		sched_in(slot, next, now);
}

/*
 * The host's real-time work comes before boosts. What is above their priority preempts them by
 * itself; a task at the same one would wait behind them, so it takes them back: the boost that runs
 * where it wakes, now, and those that are queued there when they come to run (sched_in). Its CPU is
 * the one where it slept; the kernel moves it elsewhere only to where nothing real-time runs.
 */
static __always_inline void host_rt_wakes(struct task_struct *p, int prio)
{
	__u32 cpu = cpu_of(p), slot;
	struct pvsched_shared *s;
	struct pvsched_vcpu *v;
	__u64 now, word;

	if (cpu >= PVSCHED_CPUS)
		return;
#ifdef PVSCHED_IN_KERNEL
	/* a boosted thread is no real-time one there: every one of the host's preempts it by itself */
	if (config.actuator & PVSCHED_ACTS_BY_ORDER)
		return;
#endif
	now = time_ns();
	host_rt_prio[cpu] = prio;
	host_rt_ns[cpu] = now;
	slot = slot_on_cpu[cpu];
	if (!slot--)
		return;
	v = vcpu_of_slot(slot);
	s = shared_of(slot);
	if (!v || !s || !is_ours(v) || v->cpu != cpu || v->off_ns)
		return;
	word = MEMBER(s, desired);
	if (PVSCHED_WORD_LEVEL(word) == PVSCHED_LEVEL_RT && 99 - PVSCHED_WORD_VALUE(word) == prio &&
	    pvsched_word_active(word, now))
		revoke(v, s, slot, now);
}

/* Boosted ns of who runs on that CPU that are not charged yet. */
static __always_inline __u64 running_boosted(__u32 cpu, __u64 now)
{
	__u32 slot = slot_on_cpu[cpu];
	struct pvsched_debt *d;
	struct pvsched_vcpu *v;
	__u64 since, on;

	if (!slot--)
		return 0;
	v = vcpu_of_slot(slot);
	d = debt_at(slot);
	on = d ? MEMBER(d, stretch.on_ns) : 0;
	if (!v || !on || v->cpu != cpu)
		return 0;
	since = v->in_ns > on ? v->in_ns : on;
	return now > since ? now - since : 0;
}

/*
 * An ordinary task of the host wakes, where boosts have run lately: what they take of its wait is counted from
 * here on (pvsched_waiter_left). One with a worse nice, or of a policy for work in the background, has said that
 * it can wait. Its CPU is the one where it slept; one that the kernel moves elsewhere has its turn there. Two loads
 * where no boost has run.
 */
#define NICE_0_PRIO 120 /* DEFAULT_PRIO of the kernel */
static __always_inline void ordinary_wakes(struct task_struct *p)
{
	__u32 cpu = cpu_of(p);
	struct pvsched_waiter *w;
	struct pvsched_debt *d;
	__u64 now;

	if (cpu >= PVSCHED_CPUS || !boosted_at[cpu] || p->policy != PVSCHED_POLICY_NORMAL ||
	    p->prio > NICE_0_PRIO || is_registered(p->pid))
		return;
	now = time_ns();
	if (now > boosted_at[cpu] + PVSCHED_WAIT_NS) {
		boosted_at[cpu] = 0;
		return;
	}
	d = debt_at(PVSCHED_DEBT_CPU(cpu));
	if (!d || waiter_of(cpu, now))
		return;
	w = &waiters[cpu];
	MEMBER(w, tid) = p->pid;
	MEMBER(w, exec_ns) = p->se.sum_exec_runtime;
	MEMBER(w, since_ns) = now;
	MEMBER(w, taken_ns) = MEMBER(d, taken_ns) + running_boosted(cpu, now);
	MEMBER(w, task) = (__u64)p;
}

static __always_inline void on_waking(struct task_struct *p)
{
	__u32 tid = p->pid;
	struct pvsched_page *page;
	struct pvsched_vcpu *v;
	struct pvsched_cpu *c;
	int prio = p->prio;
	__u64 now;
	int slot;

	/* The way of every foreign task: a load from a table, one from itself. */
	slot = slot_of_tid[tid & (PVSCHED_TIDS - 1)];
	if (slot)
		slot = slot_of_task(tid, (__u64)p, p->start_time);
	else
		slot = -1;
	if (slot < 0) {
		if (prio >= PVSCHED_PRIO_RT_MAX)
			ordinary_wakes(p);
		else if (prio >= (int)config.boost_prio && !is_registered(tid))
			host_rt_wakes(p, prio);
		return;
	}
	v = vcpu_of_slot(slot);
	if (!v || v->state != PVSCHED_STATE_BLOCKED)
		return;
	now = time_ns();
	v->state = PVSCHED_STATE_PREEMPTED;
	v->wait_ns = now;
	v->woken = 1;
	/* what woke it may have told it, too: another of its vCPUs can be asked */
	if (v->hva && this_tgid() == v->tgid) {
		page = page_of_slot(v, slot);
		if (page && COPY(v, page, pending))
			v->missed++;
	}
	c = this_cpu();
	count(c, events[3]);
	if (events_of(v) & PVSCHED_EV_WOKEN)
		pvsched_decide(slot, PVSCHED_EV_WOKEN, now, RIVALS_ASK);
}

/* A registered thread begins to end, which may take it long: as what it is, and not boosted. */
static __always_inline void on_exit(struct task_struct *p)
{
	__u32 tid = p->pid;
	struct pvsched_shared *s;
	struct pvsched_vcpu *v;
	int slot;

	if (!slot_of_tid[tid & (PVSCHED_TIDS - 1)])
		return;
	slot = slot_of_task(tid, (__u64)p, p->start_time);
	if (slot < 0)
		return;
	v = vcpu_of_slot(slot);
	s = shared_of(slot);
	if (!v || !s)
		return;
	MEMBER(s, gone) = 1; /* before: who decides later sees it */
	if (is_ours(v) && PVSCHED_WORD_LEVEL(MEMBER(s, desired)) != PVSCHED_LEVEL_BASE)
		take_back(v, s, slot, PVSCHED_REASON_NONE, time_ns());
}

#endif
