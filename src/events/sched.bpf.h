/* SPDX-License-Identifier: GPL-2.0-only */
/* The scheduler's events (sched.h) as programs on its tracepoints. */
#ifndef PVSCHED_EVENTS_SCHED_BPF_H
#define PVSCHED_EVENTS_SCHED_BPF_H

#include "decide.bpf.h"

/* Who wants the CPU of this task besides it, whether it is on the run queue or has just left it. */
static __always_inline __u32 others_of(struct task_struct *t, bool queued)
{
	__u32 nr = t->se.cfs_rq->rq->nr_running;

	return nr && queued ? nr - 1 : nr;
}

#define COPY(v, page, word)                                                                        \
	bpf_probe_read_user(&(page)->word, sizeof((page)->word),                                   \
			    (void *)((v)->hva + __builtin_offsetof(struct pvsched_page, word)))

/* By a delayed dequeue, since 6.12. */
static __always_inline bool sleeps_queued(struct task_struct *p)
{
	return bpf_core_field_exists(p->se.sched_delayed) && p->se.sched_delayed;
}

static __always_inline bool in_kvm(struct task_struct *p)
{
	return bpf_core_field_exists(p->preempt_notifiers) && p->preempt_notifiers.first;
}

static __always_inline __u32 rt_queued(struct task_struct *p)
{
	return p->se.cfs_rq->rq->rt.rt_nr_running;
}

/* sched_switch counts itself before it calls. */
static __always_inline void reach_to(struct pvsched_vcpu *v, __u32 slot, struct task_struct *next,
				     __u64 now)
{
	struct pvsched_hist *h = bpf_map_lookup_elem(&reach, &slot);
	struct rq *rq = next->se.cfs_rq->rq;

	if (h && now > v->reach_ns)
		pvsched_hist_add(h, now - v->reach_ns);
	if ((__u64)rq == v->reach_rq) {
		v->reached++;
		v->reach_added += rq->nr_switches - v->reach_switches - 1;
	}
	v->reach_ns = 0;
}

#include "sched.h"

SEC("tp_btf/sched_switch")
int BPF_PROG(pvsched_sched_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	on_switch(prev, next);
	return 0;
}

SEC("tp_btf/sched_waking")
int BPF_PROG(pvsched_sched_waking, struct task_struct *p)
{
	on_waking(p);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(pvsched_sched_exit, struct task_struct *p)
{
	on_exit(p);
	return 0;
}

#endif
