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
	if (x->low ? x->start_ns && !MEMBER(x, urgent) : preempts(x, vtime, flags))
		scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
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
