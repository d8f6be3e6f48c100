/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Between the module pvsched.ko and who uses it: the broker, by ioctl on /dev/pvsched-kmod, and its
 * BPF programs, which call pvsched_kmod_want() and are called by pvsched_kmod_done(); or without
 * programs, where the module takes the decisions. Compiles for the kernel, user space and BPF.
 */
#ifndef PVSCHED_KMOD_UAPI_H
#define PVSCHED_KMOD_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define PVSCHED_KMOD_VERSION 4 /* of all of this: another one is refused */
#define PVSCHED_KMOD_SLOTS   1024

struct pvsched_kmod_begin {
	__u32 version;
	__u32 priority; /* SCHED_FIFO of the module's threads; boosts stay below it */
};

struct pvsched_kmod_thread {
	__u32 slot;
	__s32 tid; /* as the caller sees it */
};

struct pvsched_kmod_bell {
	__u32 slot;
	__s32 fd; /* an eventfd that the slot's guest rings */
};

/* What the module puts back when a boost ends: what it found, or somebody else set since. */
struct pvsched_kmod_base {
	__u32 slot;
	__u32 policy;
	__s32 nice;
	__u32 priority;
};

#define PVSCHED_KMOD_BEGIN _IOW('v', 0xe0, struct pvsched_kmod_begin) /* first, once */
#define PVSCHED_KMOD_ADD   _IOW('v', 0xe1, struct pvsched_kmod_thread)
#define PVSCHED_KMOD_REST  _IOW('v', 0xe2, __u32) /* the slot's thread has its baseline then */
#define PVSCHED_KMOD_DROP  _IOW('v', 0xe3, __u32) /* the same, and it is nobody's any more */
#define PVSCHED_KMOD_FIFO  _IOW('v', 0xe4, __u32) /* another priority of the module's threads */
#define PVSCHED_KMOD_BASE  _IOWR('v', 0xe5, struct pvsched_kmod_base)
#define PVSCHED_KMOD_BELL  _IOW('v', 0xe6, struct pvsched_kmod_bell) /* until DROP, or another one */

/*
 * The module takes the decisions (--actuator kmod-policy). LAYOUT comes first, before BEGIN: where the
 * running kernel has what its headers do not show, as its BTF says. The module proves each offset on
 * what it knows otherwise, and refuses all of them if one is wrong.
 */
struct pvsched_kmod_layout {
	__u32 version;
	__u32 cfs_rq_rq; /* struct cfs_rq */
	__u32 cfs_rq_util; /* .avg.util_avg */
	__u32 rq_cpu; /* struct rq */
	__u32 rq_curr;
	__u32 rq_nr_running;
	__u32 rq_nr_switches;
	__u32 rq_cfs;
	__u32 rq_rt_running; /* .rt.rt_nr_running */
	__u32 group_parent; /* struct task_group */
	__u32 group_quota; /* .cfs_bandwidth.quota */
	__u32 apic_vcpu; /* struct kvm_lapic */
	__u32 apic_timer; /* .lapic_timer.timer */
	__u32 reserved;
};

struct pvsched_kmod_policy {
	__u32 id; /* of the vCPUs that it serves; 0 is none */
	__u32 events; /* told by the module */
	char name[24];
};

struct pvsched_kmod_attach {
	__u32 id;
	__u32 on;
	char missing[24]; /* told with -ENOENT: the tracepoint that this kernel lacks */
};

struct pvsched_kmod_slot {
	__u32 slot;
	__u32 op; /* enum pvsched_slot_op */
	__u64 value;
};

/* One element of what the broker does not map, by enum pvsched_map and PVSCHED_KMOD_TOOK. */
struct pvsched_kmod_cell {
	__u32 map;
	__u32 op;
	__u64 key; /* address of the key */
	__u64 value; /* address of the value, where there is one */
};
#define PVSCHED_KMOD_TOOK   100
#define PVSCHED_KMOD_READ   0
#define PVSCHED_KMOD_WRITE  1
#define PVSCHED_KMOD_DELETE 2

/* The page at addr of the caller's, writable, is the slot's from now on; 0 = it has none. When it
 * returns, nothing looks at the one before. */
struct pvsched_kmod_page {
	__u32 slot;
	__u32 reserved;
	__u64 addr;
};

#define PVSCHED_KMOD_DECIDES 0xf0 /* ioctls from this number on */
#define PVSCHED_KMOD_LAYOUT  _IOW('v', 0xf0, struct pvsched_kmod_layout)
#define PVSCHED_KMOD_POLICY  _IOWR('v', 0xf1, struct pvsched_kmod_policy)
#define PVSCHED_KMOD_FREE    _IOW('v', 0xf2, __u32) /* a policy's id */
#define PVSCHED_KMOD_ATTACH  _IOWR('v', 0xf3, struct pvsched_kmod_attach)
#define PVSCHED_KMOD_SLOT    _IOW('v', 0xf4, struct pvsched_kmod_slot)
#define PVSCHED_KMOD_CELL    _IOW('v', 0xf5, struct pvsched_kmod_cell)
#define PVSCHED_KMOD_PAGE    _IOW('v', 0xf6, struct pvsched_kmod_page)

/* mmap of the device: which memory, by the offset. */
#define PVSCHED_KMOD_AREA(n) ((__u64)(n) << 24)
#define PVSCHED_KMOD_SHARED  1
#define PVSCHED_KMOD_DEBTS   2
#define PVSCHED_KMOD_LIMITS  3
#define PVSCHED_KMOD_WORDS   4

/* What pvsched_kmod_done() tells beside the word that is in force now. */
#define PVSCHED_KMOD_FOREIGN_POLICY 1 /* somebody else set a policy or a real-time priority ... */
#define PVSCHED_KMOD_FOREIGN_NICE   2 /* ... or a nice: the bits of enum pvsched_foreign */
#define PVSCHED_KMOD_FOREIGN	    3
#define PVSCHED_KMOD_FAILED	    4 /* the kernel refused the change */
#define PVSCHED_KMOD_REFUSED	    8 /* the module did */
#define PVSCHED_KMOD_FAIR	    16 /* because real-time time of its cgroup is not known to it */
#define PVSCHED_KMOD_RANG	    32 /* nothing: the guest rings while it is boosted */
#define PVSCHED_KMOD_BROKER	    64 /* the change was the broker's: not by a thread of the module */

#endif
