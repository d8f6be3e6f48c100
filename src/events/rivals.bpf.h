/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who else wants the vCPU's CPU. A request matters only when somebody does; those who rarely run
 * (kernel threads, a daemon that answers) will mostly be gone before an actuation is done.
 */
#ifndef PVSCHED_EVENTS_RIVALS_BPF_H
#define PVSCHED_EVENTS_RIVALS_BPF_H

#include "maps.bpf.h"
#include "reads.bpf.h"

static __always_inline __u32 rivals_of(__u32 others, __u64 util, __s64 above, __u32 prio)
{
#ifdef PVSCHED_IN_KERNEL
	/* no utilisation of fair tasks here, and nothing to save: a boost wakes nobody */
	if (others && config.actuator & PVSCHED_ACTS_BY_ORDER)
		return PVSCHED_RIVALS_MANY;
#endif
	return pvsched_rivals_of(others, util, above, prio);
}

/* The agent that helps is no rival. */
static __always_inline bool is_agent(__u32 tgid, int prio, __u32 cpu)
{
#ifdef PVSCHED_IN_KERNEL
	if (config.actuator & PVSCHED_ACTS_BY_WORKERS) {
		asm volatile("" : "+r"(cpu)); /* the bound is of what is used: 6.1's verifier */
		return prio == (int)config.agent_prio &&
		       tgid == worker_of_cpu[cpu & (PVSCHED_CPUS - 1)];
	}
#endif
	return tgid == config.agent_tgid && prio == (int)config.agent_prio;
}

/* In sched_switch: prev is the vCPU's thread, still counted in nr_running if it was preempted. */
static __always_inline __u32 rivals_at_switch(struct task_struct *prev, struct task_struct *next,
					      bool preempted, __u32 cpu)
{
	struct rq *rq;
	__s64 above;
	__u32 nr;

	if (!next->pid)
		return PVSCHED_RIVALS_NONE;
	rq = prev->se.cfs_rq->rq;
	nr = rq->nr_running;
	above = (__s64)rq->cfs.avg.util_avg - (__s64)prev->se.avg.util_avg;
	if (preempted && nr)
		nr--;
	if (is_agent(next->tgid, next->prio, cpu))
		return rivals_of(nr ? nr - 1 : 0, PVSCHED_BRIEF_UTIL, above, PVSCHED_PRIO_RT_MAX);
	return rivals_of(nr ? nr : 1, next->se.avg.util_avg, above, next->prio);
}

/* Elsewhere: through the run queue of this task_struct. The addresses were latched from the thread
 * itself and the reads cannot fault, so a stale answer is the worst that happens. Global for its stack,
 * which is then no part of its caller's. */
__noinline __u32 pvsched_rivals_anywhere(__u64 task, __u32 state)
{
	struct task_struct *t = AT(struct task_struct, task), *curr = NULL;
	struct rq *rq = NULL;
	__u64 util = 0, all = 0, own = 0;
	__u32 nr = 0;
	int pid = 0, tgid = 0, prio = 0, cpu = 0;

	if (!task)
		return PVSCHED_RIVALS_NONE;
	rq = FIELD_OF(t, se.cfs_rq, rq);
	if (!rq || READ(curr, rq, curr) || !curr)
		return PVSCHED_RIVALS_MANY;
	READ(pid, curr, pid);
	if (!pid || (__u64)curr == task)
		return PVSCHED_RIVALS_NONE;
	READ(nr, rq, nr_running);
	if (state == PVSCHED_STATE_PREEMPTED && nr > 1)
		nr--;
	READ(prio, curr, prio);
	READ(tgid, curr, tgid);
	READ(all, rq, cfs.avg.util_avg);
	READ(own, t, se.avg.util_avg);
#ifdef PVSCHED_IN_KERNEL
	READ(cpu, rq, cpu);
#endif
	if (is_agent(tgid, prio, cpu))
		return rivals_of(nr ? nr - 1 : 0, PVSCHED_BRIEF_UTIL, (__s64)(all - own),
				 PVSCHED_PRIO_RT_MAX);
	READ(util, curr, se.avg.util_avg);
	return rivals_of(nr, util, (__s64)(all - own), prio);
}

/* Has the task at that address, which had this tid and had run for exec_ns, had a turn since? Gone counts,
 * too. Three reads; the address may be stale, see above. */
__noinline int pvsched_had_turn(__u64 task, __u32 tid, __u64 exec_ns)
{
	struct task_struct *t = AT(struct task_struct, task);
	__u64 exec = 0;
	__u8 on_cpu = 0;
	int pid = 0;

	if (!task || READ(pid, t, pid) || pid != (int)tid || READ(exec, t, se.sum_exec_runtime) ||
	    exec != exec_ns)
		return 1;
	bpf_core_read(&on_cpu, sizeof(on_cpu), &t->on_cpu); /* the low byte: see kernel.h */
	return on_cpu;
}

#endif
