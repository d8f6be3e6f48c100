/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * CPUs and last-level caches, as the scheduler's maps have them: user space fills them before it
 * starts, the scheduler writes the rest. Compiles for BPF and user space.
 */
#ifndef PVSCHED_SCX_CPUS_H
#define PVSCHED_SCX_CPUS_H

#include <linux/types.h>

#define LLCS_MAX     64 /* more share the last */
#define LLC_CPUS_MAX 64 /* of an LLC, that are looked through for a free one */

struct scx_cpu {
	__u32 llc; /* by user space, before the scheduler starts */
	__u32 sibling; /* another CPU of its core; itself if there is none */
	/* by the CPU itself, read by others: a stale one costs a preemption or saves none */
	__u32 urgent; /* slot + 1 of the boosted vCPU that it runs or is about to */
	__u32 low; /* who runs gives way to anybody */
	__u32 asks; /* who runs is a vCPU: a dispatch asks for it before it gives way */
	__u32 given; /* to a woken task that is about to run: to one at a time */
	__u32 vcpus; /* its LLC's queues of vCPUs have had one since it found them empty */
	__u32 taken; /* by real-time work, from one of ours, and none has run or looked since */
	__u64 looked_ns; /* when it dispatched last */
	__u64 start_ns; /* since when, by scx_bpf_now(); 0 = nobody of ours */
	__u64 vtime; /* of who runs, at start_ns */
	__u64 weight;
};

struct scx_llc {
	__u64 vnow; /* virtual time of its queue: of who began to run last, never back */
	__u32 vcpus; /* of its CPUs, how many have `vcpus`: while any has, a dispatch looks */
	__u32 wanted; /* a vCPU that waits in its queue was boosted */
	__u64 aged_ns; /* when its queues were last looked through for who waits too long: age() */
	__u64 aged_jiffies;
	__u32 n;
	__u16 cpu[LLC_CPUS_MAX];
};

#endif
