/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Between the module pvsched.ko and who uses it: the broker, by ioctl on /dev/pvsched-kmod, and its
 * BPF programs, which call pvsched_kmod_want() and are called by pvsched_kmod_done(). Compiles for
 * the kernel, user space and BPF.
 */
#ifndef PVSCHED_KMOD_UAPI_H
#define PVSCHED_KMOD_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define PVSCHED_KMOD_VERSION 1 /* of all of this: another one is refused */
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

/* What pvsched_kmod_done() tells beside the word that is in force now. */
#define PVSCHED_KMOD_FOREIGN_POLICY 1 /* somebody else set a policy or a real-time priority ... */
#define PVSCHED_KMOD_FOREIGN_NICE   2 /* ... or a nice: the bits of enum pvsched_foreign */
#define PVSCHED_KMOD_FOREIGN	    3
#define PVSCHED_KMOD_FAILED	    4 /* the kernel refused the change */
#define PVSCHED_KMOD_REFUSED	    8 /* the module did */
#define PVSCHED_KMOD_FAIR	    16 /* because real-time time of its cgroup is not known to it */
#define PVSCHED_KMOD_RANG	    32 /* nothing: the guest rings while it is boosted */

#endif
