/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whose thread is it? By a table of the low bits of thread ids, and a chain of those that share them:
 * two loads for any other thread. Compiled as decide.h is; includers bring slot_word(tid), vcpu_at()
 * and is_ours(). The chain leads through threads that have ended, too: their clients may be slow to say so.
 */
#ifndef PVSCHED_EVENTS_THREADS_H
#define PVSCHED_EVENTS_THREADS_H

#include "state.h"

static __always_inline bool is_here(const struct pvsched_vcpu *v)
{
	return (v->flags & (PVSCHED_V_USED | PVSCHED_V_GONE)) == PVSCHED_V_USED;
}

/* Is it a vCPU's, whatever its policy? */
static __always_inline bool is_registered(__u32 tid)
{
	__u32 at = slot_word(tid);
	struct pvsched_vcpu *v;

	for (int i = 0; i < PVSCHED_CHAIN && at; i++) {
		__u32 slot = at - 1;

		v = vcpu_at(slot);
		if (!v || v->tid == tid)
			return v && is_here(v);
		at = v->chain;
	}
	return false;
}

/* The slot of a registered thread, whatever its policy, or -1. tids are reused: start_time tells threads
 * apart. */
static __always_inline int slot_of_any(__u32 tid, __u64 task, __u64 start_time)
{
	__u32 at = slot_word(tid);
	struct pvsched_vcpu *v;

	for (int i = 0; i < PVSCHED_CHAIN && at; i++) {
		__u32 slot = at - 1;

		v = vcpu_at(slot);
		if (!v)
			return -1;
		if (v->tid == tid) {
			if (!is_here(v))
				return -1;
			if (!v->start_time && task) {
				v->task = task;
				v->start_time = start_time;
			}
			return !task || v->start_time == start_time ? (int)slot : -1;
		}
		at = v->chain;
	}
	return -1;
}

/* Is the slot's policy served here? */
static __always_inline bool serves(int slot)
{
	struct pvsched_vcpu *v = vcpu_at(slot);

	return v && is_ours(v);
}

/* The slot of a registered thread whose policy is served here, or -1. */
static __always_inline int slot_of_task(__u32 tid, __u64 task, __u64 start_time)
{
	int slot = slot_of_any(tid, task, start_time);

	return slot >= 0 && serves(slot) ? slot : -1;
}

#endif
