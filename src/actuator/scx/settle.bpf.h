/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From desired to applied without a thread: under this scheduler a thread's place in the queues is
 * its priority, so a boost is in force as soon as its words say so. What apply.c does for agents:
 * its own count of ceiling, cap, rate and share, `applied`, `grant`. In any context; one at a time
 * per slot (`settling`), a second one leaves it to the first, which looks again when it is done.
 */
#ifndef PVSCHED_SCX_SETTLE_BPF_H
#define PVSCHED_SCX_SETTLE_BPF_H

#include "../../events/decide.bpf.h"
#include "../grant.h"
#include "cpus.h"
#include "kfuncs.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PVSCHED_CPUS);
	__type(key, __u32);
	__type(value, struct scx_cpu);
} scx_cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LLCS_MAX);
	__type(key, __u32);
	__type(value, struct scx_llc);
} scx_llcs SEC(".maps");

static __always_inline struct scx_cpu *cpu_at(__u32 cpu)
{
	return bpf_map_lookup_elem(&scx_cpus, &cpu);
}

static __always_inline struct scx_llc *llc_at(__u32 llc)
{
	return bpf_map_lookup_elem(&scx_llcs, &llc);
}

/* Nobody boosted runs on that CPU, nor (if `core`) on its sibling; nor what took it from one of ours. */
static __always_inline bool is_calm(__u32 cpu, bool core)
{
	struct scx_cpu *x = cpu_at(cpu);

	if (!x || MEMBER(x, urgent) || MEMBER(x, taken))
		return false;
	if (!core || x->sibling == cpu)
		return true;
	x = cpu_at(x->sibling);
	return !x || !MEMBER(x, urgent);
}

/* May this task_struct, which the caller has only the address of, run there? */
static __always_inline bool may_use(__u64 task, __u32 cpu)
{
	struct task_struct *t = AT(struct task_struct, task);
	const unsigned long *mask = (void *)FIELD(t, cpus_ptr);
	unsigned long word = 0;

	bpf_probe_read_kernel(&word, sizeof(word), mask + cpu / 64);
	return word >> (cpu & 63) & 1;
}

/* The CPU that a boosted vCPU shall take: its own, else one of its LLC whose core runs no boosted
 * one, else one that runs none, else its own; of those that it may use: by `allowed`, else by the
 * task_struct at `task`. ~5 ns a CPU that is looked at. */
static __always_inline __u32 choose_victim(__u32 cpu, const struct cpumask *allowed, __u64 task)
{
	struct scx_cpu *x = cpu_at(cpu);
	struct scx_llc *l;
	__u32 other, best = cpu;

	if (!x || is_calm(cpu, true))
		return cpu;
	l = llc_at(x->llc);
	if (!l)
		return cpu;
	for (__u32 i = 0; i < LLC_CPUS_MAX; i++) {
		if (i >= l->n)
			break;
		other = l->cpu[i];
		if (allowed ? !bpf_cpumask_test_cpu(other, allowed) : !may_use(task, other))
			continue;
		if (is_calm(other, true))
			return other;
		if (is_calm(other, false) && !is_calm(best, false))
			best = other;
	}
	return best;
}

/* The CPU that a boosted vCPU shall take, which was on cpu and has this task_struct, looks at the queues. Global:
 * verified once. */
__noinline int pvsched_kick_for(__u32 cpu, __u64 task)
{
	scx_bpf_kick_cpu(choose_victim(cpu, NULL, task), SCX_KICK_PREEMPT);
	return 0;
}

/* Returns whether the vCPU is boosted then. Under `settling`. */
static __always_inline int settle_once(struct pvsched_vcpu *v, struct pvsched_shared *s,
				       struct pvsched_debt *d, const struct pvsched_limits *l,
				       __u32 slot, __u64 desired, __u64 now)
{
	__u64 applied = MEMBER(s, applied), was = 0;
	int on = MEMBER(d, stretch.on_ns) != 0, want, boost;
	__u8 level = PVSCHED_WORD_LEVEL(desired), reason;
	__s8 value = PVSCHED_WORD_VALUE(desired);

	want = pvsched_word_active(desired, now) && config.actuator == PVSCHED_ACTUATOR_SCX;
	boost = want && pvsched_is_boost(level, value, v->base_policy, v->base_nice);
	if (boost && ((level == PVSCHED_LEVEL_RT && (value < 1 || (__u32)value > l->ceiling)) ||
		      pvsched_wall_until(d, now, l) <= now + (on ? 0 : config.min_ns / 2))) {
		s->refused++;
		boost = want = 0;
	}
	if (boost)
		MEMBER(s, boosted_for) = PVSCHED_WORD_REASON(desired);
	if (boost && !on) {
		pvsched_wall_on(d, now, l);
		s->boosts++;
	} else if (!boost && on) {
		s->boosted_wall_ns += pvsched_wall_off(d, now, l);
	}
	if (!want)
		level = PVSCHED_LEVEL_BASE;
	if (level == PVSCHED_WORD_LEVEL(applied) &&
	    (!want || value == PVSCHED_WORD_VALUE(applied)) && boost == on)
		return boost;
	reason = PVSCHED_WORD_REASON(desired);
	if (!want && PVSCHED_WORD_LEVEL(desired) != PVSCHED_LEVEL_BASE) {
		reason = PVSCHED_REASON_EXPIRED;
		s->expired++;
	}
	if (want)
		was = desired;
	/* accounting reads the times when it sees the level change: they come first */
	MEMBER(s, applied_ns) = now;
	MEMBER(s, applied) = want ? desired
				  : pvsched_word(PVSCHED_WORD_SEQ(desired), level, 0, reason, now);
	/* No barrier: the guest's vCPU is off its CPU, or in the kernel, whenever a boost begins, so
	 * it cannot be between clearing its urgency and reading this. */
	grant(v, s, slot, was, boost, reason);
	return boost;
}

/* Returns whether the vCPU is boosted now. ~70 ns; ~25 when nothing changed. Global: verified once. */
__noinline int pvsched_settle(__u32 slot, __u64 now)
{
	struct pvsched_shared *s = bpf_map_lookup_elem(&shared, &slot);
	/* also one that is being taken out of service */
	struct pvsched_vcpu *v = bpf_map_lookup_elem(&vcpus, &slot);
	const struct pvsched_limits *l = limits_of(slot);
	struct pvsched_debt *d = debt_at(slot);
	__u64 desired;
	int boost = 0;

	if (!v || !s || !l || !d)
		return 0;
	for (int i = 0; i < 3; i++) {
		/* who holds it may have lost its CPU: what has expired is over all the same */
		if (__sync_val_compare_and_swap(&s->settling, 0, 1))
			return MEMBER(d, stretch.on_ns) &&
			       pvsched_word_active(MEMBER(s, applied), now);
		desired = MEMBER(s, desired);
		boost = settle_once(v, s, d, l, slot, desired, now);
		__sync_lock_test_and_set(&s->settling, 0);
		/* who came meanwhile changed it before he saw `settling` */
		if (MEMBER(s, desired) == desired)
			break;
	}
	return boost;
}

static __always_inline void arm_if_active(struct pvsched_vcpu *v, __u32 slot, __u64 now)
{
	struct pvsched_shared *s = bpf_map_lookup_elem(&shared, &slot);
	__u64 word = s ? MEMBER(s, desired) : 0;

	if (pvsched_word_active(word, now))
		arm_second(v, word, now);
}

/* A slot's desired word has changed. A wake-up is followed by its enqueue, which looks at it; in
 * all other cases a CPU has to look. The timer waits for that: to program it is dear, in a VM most of
 * all. Nothing comes between the boost and its timer, not even who was just asked to run here. */
static __always_inline int tell_scx(struct pvsched_vcpu *v, __u32 slot, __u32 event, __u64 now)
{
	struct task_struct *t = AT(struct task_struct, v->task);
	__u32 cpu = v->cpu;
	struct scx_cpu *x;
	struct scx_llc *l;
	int boosted;

	bpf_preempt_disable();
	boosted = pvsched_settle(slot, now);
	if (event == PVSCHED_EV_WOKEN) {
		arm_if_active(v, slot, now);
		bpf_preempt_enable();
		return boosted;
	}
	if (boosted && v->state == PVSCHED_STATE_PREEMPTED) {
		cpu = FIELD(t, thread_info.cpu); /* it may have moved as it woke */
		x = cpu_at(cpu);
		l = x ? llc_at(x->llc) : NULL;
		if (l)
			MEMBER(l, wanted) = 1;
		pvsched_kick_for(cpu, v->task);
	} else if (!boosted && v->state == PVSCHED_STATE_RUNNING) {
		scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
	}
	arm_if_active(v, slot, now);
	bpf_preempt_enable();
	return boosted;
}

#endif
