/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a decision reads of the kernel: run queues, groups, KVM's vCPUs. What src/events/rivals.bpf.h
 * and decide.bpf.h read by CO-RE is at proven offsets here (PVSCHED_KMOD_LAYOUT). Part of engine.c.
 */
#ifndef PVSCHED_KMOD_LOOK_H
#define PVSCHED_KMOD_LOOK_H

/* Of a run queue whose lock is held; 0 where nothing is mapped: what was proven of the root group's
 * queue need not hold for another's. */
#define FIELD(type, base, offset)                                                                  \
	({                                                                                         \
		type field_ = 0;                                                                   \
                                                                                                   \
		copy_from_kernel_nofault(&field_, (char *)(base) + engine.layout.offset,           \
					 sizeof(field_));                                          \
		field_;                                                                            \
	})
/* Of what may be gone: false, and `to` as it was, where nothing is mapped. */
#define PEEK(to, base, offset)                                                                     \
	(!copy_from_kernel_nofault(&(to), (char *)(base) + engine.layout.offset, sizeof(to)))

#define GROUPS_MAX 8 /* as in decide.bpf.h */

static __always_inline void *timer_fn(const struct hrtimer *timer)
{
	return ACCESS_PRIVATE(timer, function); /* public until 6.15 */
}

static __always_inline struct rq *rq_locked(struct task_struct *t)
{
	return FIELD(struct rq *, t->se.cfs_rq, cfs_rq_rq);
}

static __always_inline struct rq *rq_anywhere(struct task_struct *t)
{
	struct cfs_rq *cfs = NULL;
	struct rq *rq = NULL;

	if (copy_from_kernel_nofault(&cfs, &t->se.cfs_rq, sizeof(cfs)) || !cfs ||
	    !PEEK(rq, cfs, cfs_rq_rq))
		return NULL;
	return rq;
}

static __always_inline u64 util_of(struct rq *rq)
{
	unsigned long util = 0;

	copy_from_kernel_nofault(
		&util, (char *)rq + engine.layout.rq_cfs + engine.layout.cfs_rq_util, sizeof(util));
	return util;
}

/* The module's thread that helps is no rival. */
static __always_inline bool is_agent(u32 tgid, int prio, u32 cpu)
{
	return prio == (int)config.agent_prio && cpu < PVSCHED_CPUS && tgid == worker_of_cpu[cpu];
}

static __always_inline u32 rivals_at_switch(struct task_struct *prev, struct task_struct *next,
					    bool preempted, u32 cpu)
{
	struct rq *rq;
	s64 above;
	u32 nr;

	if (!next->pid)
		return PVSCHED_RIVALS_NONE;
	rq = rq_locked(prev);
	nr = FIELD(u32, rq, rq_nr_running);
	above = (s64)util_of(rq) - (s64)prev->se.avg.util_avg;
	if (preempted && nr)
		nr--;
	if (is_agent(next->tgid, next->prio, cpu))
		return pvsched_rivals_of(nr ? nr - 1 : 0, PVSCHED_BRIEF_UTIL, above,
					 PVSCHED_PRIO_RT_MAX);
	return pvsched_rivals_of(nr ? nr : 1, next->se.avg.util_avg, above, next->prio);
}

static noinline u32 pvsched_rivals_anywhere(u64 task, u32 state)
{
	struct task_struct *t = (void *)task, *curr = NULL;
	struct rq *rq = t ? rq_anywhere(t) : NULL;
	int pid = 0, tgid = 0, prio = 0, cpu = 0;
	unsigned long own = 0, util = 0;
	u32 nr = 0;
	s64 above;

	if (!t)
		return PVSCHED_RIVALS_NONE;
	if (!rq || !PEEK(curr, rq, rq_curr) || !curr)
		return PVSCHED_RIVALS_MANY;
	get_kernel_nofault(pid, &curr->pid);
	if (!pid || curr == t)
		return PVSCHED_RIVALS_NONE;
	if (!PEEK(nr, rq, rq_nr_running) || !PEEK(cpu, rq, rq_cpu))
		return PVSCHED_RIVALS_MANY;
	if (state == PVSCHED_STATE_PREEMPTED && nr > 1)
		nr--;
	get_kernel_nofault(prio, &curr->prio);
	get_kernel_nofault(tgid, &curr->tgid);
	get_kernel_nofault(own, &t->se.avg.util_avg);
	above = (s64)util_of(rq) - (s64)own;
	if (is_agent(tgid, prio, cpu))
		return pvsched_rivals_of(nr ? nr - 1 : 0, PVSCHED_BRIEF_UTIL, above,
					 PVSCHED_PRIO_RT_MAX);
	get_kernel_nofault(util, &curr->se.avg.util_avg);
	return pvsched_rivals_of(nr, util, above, prio);
}

static noinline int pvsched_had_turn(u64 task, u32 tid, u64 exec_ns)
{
	struct task_struct *t = (void *)task;
	u64 exec = 0;
	u8 on_cpu = 0;
	int pid = 0;

	if (!t || get_kernel_nofault(pid, &t->pid) || pid != (int)tid ||
	    get_kernel_nofault(exec, &t->se.sum_exec_runtime) || exec != exec_ns)
		return 1;
	get_kernel_nofault(on_cpu, (u8 *)&t->on_cpu); /* the low byte: 7.3 has no other */
	return on_cpu;
}

static noinline int pvsched_has_quota(u64 task)
{
	struct task_struct *t = (void *)task;
	void *group = NULL;
	u64 quota;

	if (!t)
		return 0;
	get_kernel_nofault(group, (void **)&t->sched_task_group);
	for (int i = 0; i < GROUPS_MAX; i++) {
		if (!group)
			return 0;
		if (!PEEK(quota, group, group_quota))
			return 1;
		if (quota != ~0ull)
			return 1;
		if (!PEEK(group, group, group_parent))
			return 1;
	}
	return group != NULL;
}

static __always_inline void reach_from(struct pvsched_vcpu *v, u64 now)
{
	struct task_struct *t = (void *)v->task;
	u64 switches = 0;
	struct rq *rq;

	if (!t || v->reach_ns)
		return;
	rq = rq_anywhere(t);
	if (rq)
		(void)PEEK(switches, rq, rq_nr_switches);
	v->reach_rq = (u64)rq;
	v->reach_switches = switches;
	v->reach_ns = now;
}

static __always_inline void reach_to(struct pvsched_vcpu *v, u32 slot, struct task_struct *next,
				     u64 now)
{
	struct rq *rq = rq_locked(next);

	if (now > v->reach_ns)
		pvsched_hist_add(&engine.reach[slot], now - v->reach_ns);
	if ((u64)rq == v->reach_rq) {
		v->reached++;
		v->reach_added += FIELD(u64, rq, rq_nr_switches) - v->reach_switches - 1;
	}
	v->reach_ns = 0;
}

static __always_inline u32 others_of(struct task_struct *t, bool queued)
{
	u32 nr = FIELD(u32, rq_locked(t), rq_nr_running);

	return nr && queued ? nr - 1 : nr;
}

static __always_inline bool sleeps_queued(struct task_struct *p)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	return p->se.sched_delayed;
#else
	return false;
#endif
}

static __always_inline bool in_kvm(struct task_struct *p)
{
#ifdef CONFIG_PREEMPT_NOTIFIERS
	return !hlist_empty(&p->preempt_notifiers);
#else
	return false;
#endif
}

static __always_inline u32 rt_queued(struct task_struct *p)
{
	return FIELD(u32, rq_locked(p), rq_rt_running);
}

/* The guest's page is pinned here: nothing is copied (sched.h), and v->hva is 0. */
#define COPY(v, page, word) ((void)(v), (void)(page), 0)

/* KVM's interrupt controller of a vCPU: its timer's function is told by the first that is seen. */
static __always_inline void learn_timer(struct kvm_vcpu *kv)
{
	void *back = NULL, *fn = NULL;
	struct hrtimer *timer;
	char *apic = NULL;

	if (engine.apic_timer_fn || get_kernel_nofault(apic, (char **)&kv->arch.apic) || !apic ||
	    !PEEK(back, apic, apic_vcpu) || back != kv)
		return;
	timer = (void *)(apic + engine.layout.apic_timer);
	if (!copy_from_kernel_nofault(&fn, &ACCESS_PRIVATE(timer, function), sizeof(fn)))
		WRITE_ONCE(engine.apic_timer_fn, fn);
}

/*
 * A thread that loses its CPU: which vCPU of KVM's it runs. KVM asks to be told of just that, while it
 * runs one, by a notifier which is a part of it; nobody else does in the kernel.
 */
static __always_inline void learn(struct task_struct *prev)
{
	int slot = slot_of_task(prev->pid, (u64)prev, prev->start_time);
	struct preempt_notifier *n;
	struct pid *pid = NULL;
	struct kvm_vcpu *kv;
	pid_t nr = 0;

	if (slot < 0 || hlist_empty(&prev->preempt_notifiers))
		return;
	n = hlist_entry(prev->preempt_notifiers.first, struct preempt_notifier, link);
	kv = container_of(n, struct kvm_vcpu, preempt_notifier);
	if (get_kernel_nofault(pid, (struct pid **)&kv->pid) || !pid ||
	    get_kernel_nofault(nr, &pid->numbers[0].nr) || nr != prev->pid)
		return;
	engine.vcpus[slot].kvm_vcpu = (u64)kv;
	learn_timer(kv);
}

static __always_inline int slot_of_apic(void *apic)
{
	struct hlist_node *task = NULL;
	struct kvm_vcpu *kv = NULL;
	struct pid *pid = NULL;
	u32 tid = 0;
	int slot;

	if (!PEEK(kv, apic, apic_vcpu) || !kv || get_kernel_nofault(pid, (struct pid **)&kv->pid) ||
	    !pid || get_kernel_nofault(tid, &pid->numbers[0].nr))
		return -1;
	slot = slot_of_task(tid, 0, 0);
	/* KVM's struct pid outlives its thread, and so its number, which may be another's by now */
	if (slot >= 0 && (get_kernel_nofault(task, &pid->tasks[PIDTYPE_PID].first) || !task))
		return -1;
	if (slot >= 0)
		engine.vcpus[slot].kvm_vcpu = (u64)kv;
	return slot;
}

/* Guest TSC to host time; 0 = none, or not convertible: see decide.bpf.h. */
static __always_inline u64 next_event_ns(struct pvsched_vcpu *v, u64 guest_tsc, u64 now,
					 struct pvsched_cpu *c)
{
	struct pvsched_clock *k = &clocks[READ_ONCE(clock_idx) & 1];
	struct kvm_vcpu *kv = (void *)v->kvm_vcpu;
	u64 offset = 0, ratio = 0;

	if (!guest_tsc)
		return 0;
	if (!kv || !k->mult || get_kernel_nofault(offset, &kv->arch.l1_tsc_offset)) {
		count(c, tsc_unknown);
		return 0;
	}
	get_kernel_nofault(ratio, &kv->arch.l1_tsc_scaling_ratio);
	guest_tsc = pvsched_host_tsc(guest_tsc, offset, ratio, k->tsc);
	return pvsched_tsc_to_ns(guest_tsc, k->tsc, k->ns, k->mult, now);
}

#endif
