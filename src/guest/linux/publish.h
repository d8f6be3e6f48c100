/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What pvsched-guest and its BPF programs share, beside the pages: a variable of theirs, mapped by
 * both and pinned, so that it outlives the daemon. A struct publish_cpu belongs to its CPU's
 * programs, but for `on`, which the daemon writes.
 */
#ifndef PVSCHED_GUEST_PUBLISH_H
#define PVSCHED_GUEST_PUBLISH_H

#include <pvsched/abi.h>

/* /sys/fs/bpf is the guest administrator's: only root gets here. */
#define PUBLISH_PINS "/sys/fs/bpf/pvsched"

struct publish_cpu {
	__u32 on; /* its page is enabled: publish */
	__u32 gen; /* of current and context */
	__u32 hardirq, softirq; /* nesting */
	__u32 idle;
	__u32 plain; /* static priority of the ordinary task that `current` stands for; 0 = another one */
	__u32 offers; /* made by this CPU for any: the upper bits of their sequence */
	__u64 rung; /* grant for which the doorbell was asked for */
	__u64 stores; /* by its programs to line 1 of its page */
	__u64 rings;
	__s64 event; /* ns of the clock event that next_event stands for */
} __attribute__((aligned(64)));

/* tsc(ns) = tsc + ((ns - mono_ns) * mult >> PUBLISH_SHIFT), ns of the guest's CLOCK_MONOTONIC.
 * Written by the daemon between two increments of seq. */
#define PUBLISH_SHIFT 20
struct publish_clock {
	__u32 seq;
	__u32 mult; /* 0 = not known: no next_event */
	__u64 mono_ns, tsc;
};

#define PUBLISH_STATE ".data.state" /* section, and map, of the one there is */
struct publish_state {
	struct publish_clock clock;
	__u32 declared; /* entries of both maps of declared tasks: 0 spares the look-up */
	__u32 reserved[15];
	struct publish_cpu cpu[PVSCHED_VCPUS_MAX];
};

/* pending's sequence: who waits, and a count that makes each offer another word. */
#define PUBLISH_PID_BITS 22 /* PID_MAX_LIMIT is 2^22 */
#define PUBLISH_PID_MASK ((1u << PUBLISH_PID_BITS) - 1)

#endif
