/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fields of kernel structures that the programs read, and only those: libbpf relocates each
 * access to the running kernel's BTF (CO-RE), so one object serves all kernels. A field that
 * some kernel lacks is guarded by bpf_core_field_exists() where it is read.
 */
#ifndef PVSCHED_EVENTS_KERNEL_H
#define PVSCHED_EVENTS_KERNEL_H

#include <linux/types.h>
#include <stdbool.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct task_struct;
struct rq;
struct mm_struct;
struct kvm;

struct hlist_node {
	struct hlist_node *next;
};

struct hlist_head {
	struct hlist_node *first;
};

struct sched_avg {
	unsigned long util_avg;
};

struct cfs_rq {
	struct rq *rq;
	struct sched_avg avg;
};

struct rt_rq {
	unsigned int rt_nr_running;
};

struct rq {
	int cpu;
	unsigned int nr_running;
	__u64 nr_switches;
	struct cfs_rq cfs;
	struct rt_rq rt;
	struct task_struct *curr;
};

struct sched_entity {
	struct cfs_rq *cfs_rq;
	unsigned char sched_delayed; /* 6.12: dequeue is put off; the task sleeps */
	__u64 sum_exec_runtime;
	struct sched_avg avg;
};

struct cfs_bandwidth {
	__u64 quota;
};

struct task_group { /* a cpu cgroup */
	struct task_group *parent;
	struct cfs_bandwidth cfs_bandwidth;
};

struct thread_info {
	__u32 cpu;
};

struct cpumask {
	unsigned long bits[1];
};

struct sched_ext_entity { /* CONFIG_SCHED_CLASS_EXT */
	__u32 flags;
	__u32 weight; /* 100 at nice 0 */
	__u64 slice;
	__u64 dsq_vtime;
	unsigned long runnable_at; /* jiffies, of who waits: since when */
};

#define TASK_DEAD   0x80 /* include/linux/sched.h: its last switch */
#define TASK_WAKING 0x200 /* who wakes it waits until it is off its CPU */

struct task_struct {
	struct thread_info thread_info;
	unsigned int __state;
	int on_cpu; /* it runs: 0 or 1. 7.3: one byte, and others follow */
	unsigned int on_rq; /* 7.3: one byte, which libbpf adjusts to if this is unsigned */
	int prio;
	unsigned int policy;
	unsigned int flags;
	int pid;
	int tgid;
	__u64 start_time;
	int nr_cpus_allowed;
	const struct cpumask *cpus_ptr;
	struct cpumask cpus_mask; /* not read: it makes clang describe the structure, which libbpf
				   * compares where a function takes one */
	struct sched_entity se;
	struct sched_ext_entity scx;
	struct task_group *sched_task_group;
	struct mm_struct *mm;
	struct hlist_node pid_links[1]; /* by enum pid_type: [0] is the thread's */
	struct hlist_head preempt_notifiers; /* KVM's, from vcpu_load() to vcpu_put() */
};

struct hrtimer {
	void *function; /* until 6.15: a public field; since then ACCESS_PRIVATE, same name */
};

struct upid {
	int nr;
};

struct pid {
	struct hlist_head tasks[1];
	struct upid numbers[1];
};

struct kvm_timer {
	struct hrtimer timer;
};

struct kvm_vcpu;

struct kvm_lapic {
	struct kvm_timer lapic_timer;
	struct kvm_vcpu *vcpu;
	void *regs;
};

struct kvm_vcpu_arch {
	struct kvm_lapic *apic;
	__u64 l1_tsc_offset;
	__u64 l1_tsc_scaling_ratio;
};

struct kvm_vcpu {
	struct kvm *kvm;
	int vcpu_id; /* its APIC id at creation */
	int vcpu_idx; /* 0.. inside its VM */
	struct pid *pid; /* of the thread that ran it last; NULL until it first runs */
	struct kvm_vcpu_arch arch;
};

struct vmcb_control_area {
	__u32 exit_code; /* 64 bits since 7.0; little-endian, and no code needs more than 32 */
};

struct vmcb {
	struct vmcb_control_area control;
};

struct vcpu_svm {
	struct vmcb *vmcb;
};

union vmx_exit_reason {
	__u32 full;
};

struct vcpu_vmx { /* to 6.14 */
	union vmx_exit_reason exit_reason;
};

struct vcpu_vt {
	union vmx_exit_reason exit_reason;
};

struct vcpu_vmx___vt {
	struct vcpu_vt vt;
};

#pragma clang attribute pop

#endif
