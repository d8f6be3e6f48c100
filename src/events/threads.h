/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whose thread is it? By a table of the low bits of thread ids, and a chain of those that share them:
 * two loads for any other thread. Compiled as decide.h is; includers bring slot_word(tid), vcpu_of_slot()
 * and is_ours().
 */
#ifndef PVSCHED_EVENTS_THREADS_H
#define PVSCHED_EVENTS_THREADS_H

#include "state.h"

/* Is it a vCPU's, whatever its policy? */
static __always_inline bool is_registered(__u32 tid)
{
	__u32 at = slot_word(tid);
	struct pvsched_vcpu *v;

	for (int i = 0; i < PVSCHED_CHAIN && at; i++) {
		v = vcpu_of_slot(at - 1);
		if (!v || v->tid == tid)
			return v != NULL;
		at = v->chain;
	}
	return false;
}

/* The slot of a registered thread whose policy is served here, or -1. tids are reused: start_time tells
 * threads apart. */
static __always_inline int slot_of_task(__u32 tid, __u64 task, __u64 start_time)
{
	__u32 at = slot_word(tid);
	struct pvsched_vcpu *v;

	for (int i = 0; i < PVSCHED_CHAIN && at; i++) {
		__u32 slot = at - 1;

		v = vcpu_of_slot(slot);
		if (!v)
			return -1;
		if (v->tid == tid) {
			if (!is_ours(v))
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

#endif
