/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Codec and validator of the page's words. Pure, branch-light, used by BPF (inlined) and user
 * space. Input words were written by a guest: each field is bounded here, unknown bits ignored.
 */
#ifndef PVSCHED_CORE_PAGE_H
#define PVSCHED_CORE_PAGE_H

#include <pvsched/policy.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

static __always_inline __u64 pvsched_task_word(__u8 policy, __s8 nice, __u8 prio, __u8 flags,
					       __u32 gen)
{
	return (__u64)policy << PVSCHED_TASK_POLICY_SHIFT |
	       (__u64)(__u8)nice << PVSCHED_TASK_NICE_SHIFT |
	       (__u64)prio << PVSCHED_TASK_PRIO_SHIFT | (__u64)flags << PVSCHED_TASK_FLAGS_SHIFT |
	       (__u64)gen << PVSCHED_TASK_GEN_SHIFT;
}

static __always_inline __u64 pvsched_context_word(__u8 flags, __u32 gen)
{
	return flags | (__u64)gen << PVSCHED_CTX_GEN_SHIFT;
}

/* Returns the number of fields that were out of range; *ret is always valid. A word that lies
 * about anything is worth nothing: it decodes as SCHED_OTHER, nice 0, no flags. */
static __always_inline int pvsched_task_decode(__u64 word, __u8 known_flags,
					       struct pvsched_task *ret)
{
	__u8 policy = word >> PVSCHED_TASK_POLICY_SHIFT;
	__s8 nice = (__s8)(word >> PVSCHED_TASK_NICE_SHIFT);
	__u8 prio = word >> PVSCHED_TASK_PRIO_SHIFT;
	int rt = policy == PVSCHED_POLICY_FIFO || policy == PVSCHED_POLICY_RR;
	int bad = 0;

	/* 0,1,2,3,5,6,7: the SCHED_* numbers that exist */
	bad += policy > PVSCHED_POLICY_EXT || policy == 4;
	bad += nice < -20 || nice > 19;
	bad += rt ? (prio < 1 || prio > 99) : prio != 0;
	ret->gen = word >> PVSCHED_TASK_GEN_SHIFT;
	ret->policy = bad ? PVSCHED_POLICY_NORMAL : policy;
	ret->nice = bad ? 0 : nice;
	ret->rt_priority = bad ? 0 : prio;
	ret->flags = bad ? 0 : (__u8)(word >> PVSCHED_TASK_FLAGS_SHIFT) & known_flags;
	return bad;
}

#define PVSCHED_CTX_KNOWN (PVSCHED_CTX_URGENT | PVSCHED_CTX_IDLE)

/* Checks line 0 as copied by the host. Returns PVSCHED_R_OK, R_BAD_HEADER, R_BAD_PROTOCOL,
 * R_BAD_VCPU or R_BAD_FEATURES. */
__u32 pvsched_header_check(const struct pvsched_page *line0, __u32 vcpu, __u32 protocol,
			   __u32 protocol_version, __u64 features);

#endif
