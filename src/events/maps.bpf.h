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

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PVSCHED_SLOTS);
	__type(key, __u32);
	__type(value, struct pvsched_vcpu);
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

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pvsched_cpu);
} cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PVSCHED_DEBTS);
	__type(key, __u32);
	__type(value, struct pvsched_debt);
} debts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, PVSCHED_SLOTS);
	__type(key, __u32);
	__type(value, struct pvsched_slot_limits);
} limits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PVSCHED_SLOTS);
	__type(key, struct pvsched_apic_key);
	__type(value, __u32);
} apics SEC(".maps");

/* From wake-up to running, ns; written under the thread's run queue lock. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PVSCHED_SLOTS);
	__type(key, __u32);
	__type(value, struct pvsched_hist);
} delays SEC(".maps");

/* By slot: ns from an event that boosts a vCPU which waits to its SCHED_IN. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PVSCHED_SLOTS);
	__type(key, __u32);
	__type(value, struct pvsched_hist);
} reach SEC(".maps");

/* The broker maps .bss and writes these. */
__u16 slot_of_tid[PVSCHED_TIDS]; /* low 16 bits of tid -> slot + 1: 2 ns for a foreign task */
struct pvsched_config config;
struct pvsched_clock clocks[2];
__u64 places[PVSCHED_CPUS]; /* CPU -> PVSCHED_PLACE_* ids; 0 = not told */
__u32 clock_idx;
/* By CPU: the last real-time task of the host that woke there at a priority that boosts may have. */
__u64 host_rt_ns[PVSCHED_CPUS];
__u8 host_rt_prio[PVSCHED_CPUS];
__u16 slot_on_cpu[PVSCHED_CPUS]; /* slot + 1 of the vCPU that runs there; 0 = none does */
struct pvsched_waiter waiters[PVSCHED_CPUS];
__u64 boosted_at[PVSCHED_CPUS]; /* when a boost last ran there; 0 = not for long */

#ifdef PVSCHED_IN_KERNEL
__u32 worker_of_cpu[PVSCHED_CPUS]; /* tid of the kernel's thread that acts there; 0 = not known */
#endif

/* Set before loading: which vCPUs are this object's, and what its policy asked for. */
const volatile __u32 policy_id;
const volatile __u32 policy_events;

#define MEMBER(p, f) (*(volatile typeof((p)->f) *)&(p)->f)

/* What the sources that are compiled into the module, too, ask for (decide.h). Macros: where a key is
 * on the stack is theirs to say. */
#define shared_of(slot) bpf_map_lookup_elem(&shared, &(slot))
#define vcpu_at(slot)	bpf_map_lookup_elem(&vcpus, &(slot))
#define delays_of(slot) bpf_map_lookup_elem(&delays, &(slot))
#define time_ns()	bpf_ktime_get_ns()
#define this_cpu_id()	bpf_get_smp_processor_id()
#define this_tgid()	(bpf_get_current_pid_tgid() >> 32)
#define cpu_of(p)	((p)->thread_info.cpu)
#define is_ours(v)	((v)->policy == policy_id)
#define events_of(v)	policy_events

static __always_inline struct pvsched_vcpu *vcpu_of_slot(__u32 slot)
{
	struct pvsched_vcpu *v = bpf_map_lookup_elem(&vcpus, &slot);

	if (!v || (v->flags & (PVSCHED_V_USED | PVSCHED_V_GONE)) != PVSCHED_V_USED)
		return NULL;
	return v;
}

static __always_inline struct pvsched_page *page_of_slot(struct pvsched_vcpu *v, __u32 slot)
{
	__u32 zero = 0;
	void *inner;

	if (!(v->flags & PVSCHED_V_ENABLED))
		return NULL;
	inner = bpf_map_lookup_elem(&pages, &slot);
	return inner ? bpf_map_lookup_elem(inner, &zero) : NULL;
}

static __always_inline struct pvsched_debt *debt_at(__u32 place)
{
	return bpf_map_lookup_elem(&debts, &place);
}

static __always_inline const struct pvsched_limits *limits_of(__u32 slot)
{
	struct pvsched_slot_limits *l = bpf_map_lookup_elem(&limits, &slot);

	return l ? &l->copy[MEMBER(l, idx) & 1] : NULL;
}

static __always_inline struct pvsched_cpu *this_cpu(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&cpus, &zero);
}

#define slot_word(tid) slot_of_tid[(tid) & (PVSCHED_TIDS - 1)]

#include "threads.h"

#endif
