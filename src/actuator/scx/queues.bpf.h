/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The queues of a last-level cache, and who is made to look at them. The kernel locks each; whether
 * any vCPU waits is counted beside them, per CPU under its run queue lock and atomically per LLC.
 */
#ifndef PVSCHED_SCX_QUEUES_BPF_H
#define PVSCHED_SCX_QUEUES_BPF_H

#include "home.bpf.h"

#define DSQ_TASKS(llc)	(0x1000ull + (llc)) /* ordinary tasks, by virtual time */
#define DSQ_VCPUS(llc)	(0x2000ull + (llc)) /* vCPUs, by virtual time: they do not leave their LLC */
#define DSQ_URGENT(llc) (0x3000ull + (llc)) /* boosted ones that found no CPU, in their order */

#define WALK_MOST 64 /* who waits for an LLC and is looked at, in one look at a queue */
#define AGE_NS	  2000000000ull /* between two looks at all that wait: who did at both comes first */

/*
 * A vCPU waits in its LLC's queues. Each look at a queue costs a hash, so where none waits it is saved;
 * but what nobody looks for starves, and the kernel inserts only after ops.enqueue has returned: under
 * this CPU's run queue lock, which its own dispatch has, too. So a CPU's word is taken back by that CPU
 * alone, after a look that found both queues empty; never by time.
 */
static __always_inline void vcpu_waits(struct scx_cpu *x, struct scx_llc *l)
{
	if (MEMBER(x, vcpus))
		return;
	MEMBER(x, vcpus) = 1;
	__sync_fetch_and_add(&l->vcpus, 1);
}

static __always_inline void no_vcpu_waits(struct scx_cpu *x, struct scx_llc *l)
{
	if (!MEMBER(x, vcpus))
		return;
	MEMBER(x, vcpus) = 0;
	__sync_fetch_and_add(&l->vcpus, -1);
}

/* Somebody waits in a queue of that LLC: an idle CPU shall look, or one whose task gives way. Those of
 * other LLCs look for ordinary tasks only. */
static __always_inline void look_for_cpu(struct task_struct *p, __u32 cpu, struct scx_cpu *x,
					 struct scx_llc *l, __u64 vtime, __u64 flags, bool vcpu,
					 bool low)
{
	__s32 idle;

	/* one of ours runs: it does not idle */
	if (!(x && x->start_ns) && scx_bpf_test_and_clear_cpu_idle(cpu)) {
		scx_bpf_kick_cpu(cpu, SCX_KICK_IDLE);
		return;
	}
	if (!(flags & SCX_ENQ_CPU_SELECTED) && p->nr_cpus_allowed > 1) {
		idle = scx_llcs_n > 1 && l ? idle_of(p, l, false) : -1;
		if (idle < 0 && !(vcpu && scx_llcs_n > 1))
			idle = scx_bpf_pick_idle_cpu(p->cpus_ptr, 0);
		if (idle >= 0) {
			scx_bpf_kick_cpu(idle, SCX_KICK_IDLE);
			return;
		}
	}
	if (!x || low || x->given)
		return;
	if (gives_way(x, vtime, flags))
		scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
}

/* Waiting vCPUs that were boosted meanwhile go to the urgent ones. The CPU that was asked to look may have done so
 * before one was there, as this one took `wanted`: for whom this CPU has nothing, which it has for one at most and for
 * nobody if it is `taken` by a boosted vCPU or others are before him, their own look again. Not inline: dispatch has
 * no room for the iterator on its stack. */
static __noinline int promote(__u32 llc, __u32 cpu, bool taken)
{
	struct bpf_iter_scx_dsq it;
	struct pvsched_vcpu *v;
	struct task_struct *p;
	bool here = taken || scx_bpf_dsq_nr_queued(DSQ_URGENT(llc)) > 0;
	int slot;

	if (bpf_iter_scx_dsq_new(&it, DSQ_VCPUS(llc), 0))
		goto out;
	for (int i = 0; i < WALK_MOST; i++) {
		p = bpf_iter_scx_dsq_next(&it);
		if (!p)
			break;
		slot = slot_of(p);
		if (slot < 0 || !is_boosted(slot) || !scx_bpf_dsq_move(&it, p, DSQ_URGENT(llc), 0))
			continue;
		if (!here && bpf_cpumask_test_cpu(cpu, p->cpus_ptr)) {
			here = true;
			continue;
		}
		v = vcpu_of_slot(slot);
		if (v)
			pvsched_kick_for(scx_bpf_task_cpu(p), v->task);
	}
out:
	bpf_iter_scx_dsq_destroy(&it);
	return 0;
}

/* Whether a boosted vCPU waits that may run on this CPU. Those before it whose boost is over go back to
 * the others, where they have the place that their time gives them. Global: verified once. */
__noinline int pvsched_urgent(__u32 llc, __u32 cpu)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;
	int slot, i, found = 0;

	if (bpf_iter_scx_dsq_new(&it, DSQ_URGENT(llc), 0))
		goto out;
	for (i = 0; i < WALK_MOST && !found; i++) {
		p = bpf_iter_scx_dsq_next(&it);
		if (!p)
			break;
		slot = slot_of(p);
		if (slot >= 0 && pvsched_settle(slot, bpf_ktime_get_ns()))
			found = bpf_cpumask_test_cpu(cpu, p->cpus_ptr);
		else
			scx_bpf_dsq_move_vtime(&it, p, DSQ_VCPUS(llc), 0);
	}
	if (i == WALK_MOST) /* the kernel looks on */
		found = 1;
out:
	bpf_iter_scx_dsq_destroy(&it);
	return found;
}

/* first_of() where the head may not run here. Where WALK_MOST may not, the head stands for who comes behind
 * them: the kernel looks on. Global as well. */
__noinline __u64 pvsched_first(__u64 dsq, __u32 cpu)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;
	__u64 head = 0, vtime = 0;

	if (bpf_iter_scx_dsq_new(&it, dsq, 0))
		goto out;
	for (int i = 0; i < WALK_MOST; i++) {
		p = bpf_iter_scx_dsq_next(&it);
		if (!p) {
			head = 0;
			break;
		}
		vtime = p->scx.dsq_vtime | 1;
		if (bpf_cpumask_test_cpu(cpu, p->cpus_ptr)) {
			head = vtime;
			break;
		}
		if (!head)
			head = vtime;
	}
out:
	bpf_iter_scx_dsq_destroy(&it);
	return head;
}

/* Virtual time of whom the kernel would take from that queue, whose head is p: the first that may run
 * on this CPU; 0 = nobody, which no time is: to the ns it is odd. */
static __always_inline __u64 first_of(const struct task_struct *p, __u64 dsq, __u32 cpu)
{
	return bpf_cpumask_test_cpu(cpu, p->cpus_ptr) ? p->scx.dsq_vtime | 1
						      : pvsched_first(dsq, cpu);
}

/*
 * By virtual time alone, a low weight would wait for as long as all rivals together take to catch up with
 * one slice of it, or a high one with anybody; and the kernel ends a scheduler under which a task waits for
 * timeout_ms. So who waited at the last look (runnable_at, in jiffies) comes before all that come from now
 * on. Between two looks everybody is reached: some 50 ns each. Not inline: as promote().
 */
static __noinline int age_queue(__u64 dsq, __u64 vtime, __u64 since)
{
	struct bpf_iter_scx_dsq it;
	struct task_struct *p;

	if (bpf_iter_scx_dsq_new(&it, dsq, 0))
		goto out;
	while ((p = bpf_iter_scx_dsq_next(&it))) {
		if (!before(p->scx.runnable_at, since) || !before(vtime, p->scx.dsq_vtime))
			continue;
		scx_bpf_dsq_move_set_vtime(&it, vtime);
		scx_bpf_dsq_move_vtime(&it, p, dsq, 0);
	}
out:
	bpf_iter_scx_dsq_destroy(&it);
	return 0;
}

static __always_inline void age(struct scx_llc *l, __u32 llc, __u64 now)
{
	__u64 last = MEMBER(l, aged_ns), since = l->aged_jiffies;

	if (before(now, last + AGE_NS) ||
	    __sync_val_compare_and_swap(&l->aged_ns, last, now) != last)
		return;
	l->aged_jiffies = bpf_jiffies64();
	if (!last)
		return;
	age_queue(DSQ_TASKS(llc), l->vnow - DEBT_NS, since);
	age_queue(DSQ_VCPUS(llc), l->vnow - DEBT_NS, since);
}

/* This CPU would idle: take what waits elsewhere, but no vCPU. */
static __always_inline void steal(__u32 llc)
{
	struct task_struct *p;
	__u32 from;

	for (__u32 i = 1; i < LLCS_MAX; i++) {
		if (i >= scx_llcs_n)
			break;
		from = llc + i < scx_llcs_n ? llc + i : llc + i - scx_llcs_n;
		p = scx_bpf_dsq_peek(DSQ_TASKS(from));
		if (!p)
			continue;
		if (scx_bpf_dsq_move_to_local(DSQ_TASKS(from)))
			return;
	}
}

#endif
