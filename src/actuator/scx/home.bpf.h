/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which CPU: those of its VM's last-level cache for a vCPU, a free one for whoever waits. An idle CPU
 * is taken by clearing the kernel's bit of it, so nobody else takes it. What is written here is the home
 * of a VM: two CPUs that do so at once leave one of two that are right.
 */
#ifndef PVSCHED_SCX_HOME_BPF_H
#define PVSCHED_SCX_HOME_BPF_H

#include "order.bpf.h"

/* Set before the scheduler starts. */
__u32 scx_llcs_n;

/* LLC + 1 of each VM. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PVSCHED_VMS);
	__type(key, __u32);
	__type(value, __u64[2]); /* LLC + 1; when it was chosen */
} scx_homes SEC(".maps");

static __always_inline __u32 llc_of(__u32 cpu)
{
	struct scx_cpu *x = cpu_at(cpu);

	return x ? x->llc : 0;
}

/* An idle CPU of that LLC for the task, which is its from then on; or -1. core: only one whose core runs
 * no boosted vCPU. */
static __always_inline __s32 idle_of(struct task_struct *p, struct scx_llc *l, bool core)
{
	__s32 cpu;

	for (__u32 i = 0; i < LLC_CPUS_MAX; i++) {
		if (i >= l->n)
			break;
		cpu = l->cpu[i];
		if (bpf_cpumask_test_cpu(cpu, p->cpus_ptr) && (!core || is_calm(cpu, true)) &&
		    scx_bpf_test_and_clear_cpu_idle(cpu))
			return cpu;
	}
	return -1;
}

/* An idle CPU of its VM's LLC, or -1; for a boosted one a core without another boosted one, if any is
 * idle. The VM moves to another LLC when its own has none and the other has, at most every 100 ms, at
 * the wake-up of its first vCPU. */
#define HOME_NS 100000000ull
static __always_inline __s32 idle_at_home(struct task_struct *p, struct pvsched_vcpu *v, __u32 slot,
					  __s32 prev, __u64 flags, __u64 now)
{
	__u32 vm = v->vm, home;
	__u64(*h)[2] = bpf_map_lookup_elem(&scx_homes, &vm);
	bool idle = false, core = is_boosted(slot);
	struct scx_llc *l;
	__s32 cpu;

	if (!h)
		return -1;
	if (!(*h)[0])
		(*h)[0] = llc_of(prev) + 1;
	home = (*h)[0] - 1;
	if (llc_of(prev) == home && bpf_cpumask_test_cpu(prev, p->cpus_ptr) &&
	    (!core || is_calm(prev, true)) && scx_bpf_test_and_clear_cpu_idle(prev))
		return prev;
	l = p->nr_cpus_allowed > 1 ? llc_at(home) : NULL;
	if (!l)
		return -1;
	cpu = idle_of(p, l, core);
	if (cpu < 0 && core)
		cpu = idle_of(p, l, false);
	if (cpu >= 0)
		return cpu;
	if (v->index || scx_llcs_n < 2 || now - (*h)[1] < HOME_NS)
		return -1;
	cpu = scx_bpf_select_cpu_dfl(p, prev, flags, &idle);
	if (!idle)
		return -1;
	(*h)[0] = llc_of(cpu) + 1;
	(*h)[1] = now;
	return cpu;
}

/* A CPU of its VM's LLC for a vCPU that found none idle there: where it ran, if that is one. */
static __always_inline __s32 busy_at_home(struct task_struct *p, struct pvsched_vcpu *v, __s32 prev)
{
	__u32 vm = v->vm, home;
	__u64(*h)[2] = bpf_map_lookup_elem(&scx_homes, &vm);
	struct scx_llc *l;

	if (!h || !(*h)[0])
		return prev;
	home = (*h)[0] - 1;
	if (llc_of(prev) == home && bpf_cpumask_test_cpu(prev, p->cpus_ptr))
		return prev;
	l = llc_at(home);
	if (!l)
		return prev;
	for (__u32 i = 0; i < LLC_CPUS_MAX; i++) {
		if (i >= l->n)
			break;
		if (bpf_cpumask_test_cpu(l->cpu[i], p->cpus_ptr))
			return l->cpu[i];
	}
	return prev;
}

#endif
