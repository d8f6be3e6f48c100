/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A thread's scheduling as one value: read, set, compared, restored exactly (policy, nice,
 * priority, slice, uclamp, timer slack). Stateless; any thread.
 */
#ifndef PVSCHED_ACTUATOR_ATTR_H
#define PVSCHED_ACTUATOR_ATTR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The kernel's struct sched_attr (uapi/linux/sched/types.h), absent from glibc before 2.41. */
struct pvsched_attr {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime; /* SCHED_OTHER: custom slice, 6.12 and later */
	uint64_t deadline;
	uint64_t period;
	uint32_t util_min;
	uint32_t util_max;
};

#define SCHED_FLAG_RESET_ON_FORK 1

#define PVSCHED_SLACK_DEFAULT_NS 50000 /* init's timer slack, inherited by everybody */

int pvsched_attr_get(pid_t tid, struct pvsched_attr *ret_attr);
int pvsched_attr_set(pid_t tid, const struct pvsched_attr *attr);
/* Back to base's fair policy from a real-time one, with the nice and the slice that the thread kept
 * under it: sched_setattr would lose what somebody set since they were read. */
int pvsched_attr_uncover(pid_t tid, const struct pvsched_attr *base);
bool pvsched_attr_is_fair(const struct pvsched_attr *attr);
/* Same policy, nice and priority: what boosts change. */
bool pvsched_attr_same(const struct pvsched_attr *a, const struct pvsched_attr *b);
/* Of a real-time thread too, whose nice sched_getattr does not tell. */
int pvsched_nice_get(pid_t tid, int *ret_nice);
/* Kernel priority, smaller is better: 0..98 real-time, 100..139 fair, -1 deadline. */
int pvsched_attr_prio(const struct pvsched_attr *attr);

int pvsched_slack_get(pid_t tid, uint64_t *ret_ns);
int pvsched_slack_set(pid_t tid, uint64_t ns);
/* /proc/TID/stat field 22, clock ticks since boot: tells two threads with one tid apart. */
int pvsched_starttime(pid_t tid, uint64_t *ret_ticks);
/* It is this process's thread of that time, and its end is still to be heard of. */
bool pvsched_thread_stays(pid_t tid, pid_t tgid, uint64_t ticks);

#endif
