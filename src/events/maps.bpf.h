/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Maps and global words of the event programs, and how a program finds a vCPU. Created once per
 * host by the broker. No program creates storage or initialises a timer on a hot path.
 */
#ifndef PVSCHED_EVENTS_MAPS_BPF_H
#define PVSCHED_EVENTS_MAPS_BPF_H

#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "state.h"

/* linux/bpf.h declares task_struct-free UAPI only; the two map types are its numbers. */
struct vcpu {
	struct bpf_timer timer;
	/* set by the broker at registration, constant while flags has USED */
	__u32 tid;
	__u32 tgid;
	__u32 vm; /* index of its VM */
	__u32 index; /* vCPU number inside the VM */
	__u32 apic_id;
	__u32 chain; /* slot + 1 of the next thread with the same low tid bits */
	__u32 flags; /* PVSCHED_V_* */
	__u32 base_prio; /* kernel priority before any boost: smaller is better */
	__u32 base_policy;
	__s32 base_nice;
	__u64 features; /* negotiated PVSCHED_F_* */
	/* identity, latched at the thread's first event */
	__u64 task;
	__u64 start_time;
	__u64 kvm_vcpu; /* struct kvm_vcpu *, learnt from its LAPIC timer */
	/* written under the thread's run queue lock (sched_switch) */
	__u64 in_ns; /* last SCHED_IN */
	__u64 off_ns; /* since when off the CPU; 0 = runs */
	__u64 wait_ns; /* since when runnable and waiting */
	__u64 run_ns;
	__u64 boosted_ns;
	__u64 steal_ns;
	__u64 cs_paid_at; /* buckets */
	__u64 all_paid_at;
	__u64 sched_ins;
	__u32 cpu; /* where it runs, or ran last */
	__u32 state; /* PVSCHED_STATE_* */
	/* written by whoever takes a decision; a lost race costs one stale word */
	__u64 timer_at;
	__u64 ticket;
	__u64 intr_ns; /* when the newest ticket was given; 0 = answered */
	__u64 bad_words;
	__u64 denied_throttle;
	__u64 denied_gap;
	__u64 doorbells;
	__u32 throttled; /* latch: stays until half of the burst is repaid */
	__u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PVSCHED_SLOTS);
	__type(key, __u32);
	__type(value, struct vcpu);
} vcpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PVSCHED_SLOTS);
	__type(key, __u32);
	__type(value, struct pvsched_shared);
} shared SEC(".maps");

struct page_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, PVSCHED_PAGE_SIZE);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, PVSCHED_SLOTS);
	__type(key, __u32);
	__array(values, struct page_map);
} pages SEC(".maps");

struct ring_map {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
};

/* Entry c: the ring whose agent serves CPU c; entry PVSCHED_CPUS: the guardian's. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, PVSCHED_CPUS + 1);
	__type(key, __u32);
	__array(values, struct ring_map);
} rings SEC(".maps");

struct cpu_state {
	__u64 paid_at; /* bucket of this CPU; only its own sched_switch charges it */
	struct pvsched_counters count;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cpu_state);
} cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PVSCHED_VMS);
	__type(key, __u32);
	__type(value, __u64); /* bucket: paid_at */
} vms SEC(".maps");

/* {tgid, vCPU id} -> slot + 1: whom an interrupt is for, when a thread of that VMM raises it. */
struct apic_key {
	__u32 tgid;
	__u32 apic_id;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PVSCHED_SLOTS);
	__type(key, struct apic_key);
	__type(value, __u32);
} apics SEC(".maps");

/* The broker maps .bss and writes these. */
__u16 slot_of_tid[PVSCHED_TIDS]; /* low 16 bits of tid -> slot + 1: 2 ns for a foreign task */
struct pvsched_config config;
struct pvsched_clock clocks[2];
__u32 clock_idx;

#define MEMBER(p, f) (*(volatile typeof((p)->f) *)&(p)->f)

static __always_inline struct vcpu *vcpu_of_slot(__u32 slot)
{
	struct vcpu *v = bpf_map_lookup_elem(&vcpus, &slot);

	if (!v || (v->flags & (PVSCHED_V_USED | PVSCHED_V_GONE)) != PVSCHED_V_USED)
		return NULL;
	return v;
}

static __always_inline struct pvsched_page *page_of_slot(struct vcpu *v, __u32 slot)
{
	__u32 zero = 0;
	void *inner;

	if (!(v->flags & PVSCHED_V_ENABLED))
		return NULL;
	inner = bpf_map_lookup_elem(&pages, &slot);
	return inner ? bpf_map_lookup_elem(inner, &zero) : NULL;
}

static __always_inline struct cpu_state *this_cpu(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&cpus, &zero);
}

/* The slot of a registered thread, or -1. tids are reused: start_time tells threads apart. */
static __always_inline int slot_of_task(__u32 tid, __u64 task, __u64 start_time)
{
	__u32 at = slot_of_tid[tid & (PVSCHED_TIDS - 1)];
	struct vcpu *v;

	for (int i = 0; i < PVSCHED_CHAIN && at; i++) {
		__u32 slot = at - 1;

		v = vcpu_of_slot(slot);
		if (!v)
			return -1;
		if (v->tid == tid) {
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
