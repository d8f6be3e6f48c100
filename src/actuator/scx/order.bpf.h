/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who comes before whom: which tasks are vCPUs, what they weigh, and virtual time. A task's
 * virtual time is its own (scx.dsq_vtime), a CPU's words are of who runs there; both are written
 * under that CPU's run queue lock. `vnow` of an LLC is written by all of its CPUs, and may lose one.
 */
#ifndef PVSCHED_SCX_ORDER_BPF_H
#define PVSCHED_SCX_ORDER_BPF_H

#include "settle.bpf.h"

#define SLICE_NS   4000000ull /* one tick at 250 Hz: slices are looked at by ticks */
#define CREDIT_NS  2000000ull /* of who slept */
#define DEBT_NS	   20000000ull /* lag and lead at most, so also what a vCPU pays back after boosts */
#define PREEMPT_NS 1000000ull /* a woken task that is behind by more does not wait for a slice */
#define KEEP_NS	   700000ull /* ... unless who runs began just now: the kernel's base_slice */
#define WEIGHT_LOW 3u /* SCHED_IDLE, where 100 is nice 0 */

/* What a slot's page said when its vCPU woke last: of before it slept. */
struct scx_woke {
	__u64 context, task;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PVSCHED_SLOTS);
	__type(key, __u32);
	__type(value, struct scx_woke);
} scx_wokes SEC(".maps");

/* sched_prio_to_weight of the kernel * 100 / 1024, by nice + 20 */
static const __u32 weights[40] = {
	8668, 7009, 5516, 4538, 3640, 2844, 2303, 1825, 1489, 1160, 932, 747, 596, 483,
	384,  305,  244,  194,	155,  125,  100,  80,	64,   51,   41,	 33,  27,  21,
	17,   13,   11,	  9,	7,    6,    4,	  4,	3,    2,    2,	 1,
};

/* The slot of a registered thread, whichever policy serves it; -1 = an ordinary task. */
static __always_inline int slot_of(struct task_struct *p)
{
	__u32 tid = p->pid, at = slot_of_tid[tid & (PVSCHED_TIDS - 1)];
	struct pvsched_vcpu *v;

	for (int i = 0; i < PVSCHED_CHAIN && at; i++) {
		__u32 slot = at - 1;

		v = vcpu_at(slot);
		if (!v)
			return -1;
		if (v->tid == tid)
			return is_here(v) && (!v->start_time || v->start_time == p->start_time)
				       ? (int)slot
				       : -1;
		at = v->chain;
	}
	return -1;
}

/*
 * Its guest idles, or runs what may wait: it ranks below all. Only ever to its disadvantage, so any
 * word will do. But a vCPU sleeps in its guest's idle task: what its page says of that as it wakes
 * holds until the guest has said it anew.
 */
static __always_inline bool is_low(struct pvsched_vcpu *v, struct pvsched_shared *s, __u32 slot)
{
	struct pvsched_page *page;
	struct scx_woke *w;
	__u64 context, task;

	if (PVSCHED_WORD_LEVEL(MEMBER(s, applied)) == PVSCHED_LEVEL_IDLE)
		return true;
	page = v->woken ? NULL : page_of_slot(v, slot);
	if (!page)
		return false;
	context = MEMBER(page, context);
	task = MEMBER(page, current_task);
	if (context & PVSCHED_CTX_URGENT ||
	    (!(context & PVSCHED_CTX_IDLE) && (task & 0xff) != PVSCHED_POLICY_IDLE))
		return false;
	w = bpf_map_lookup_elem(&scx_wokes, &slot);
	return w && ((context & PVSCHED_CTX_IDLE && context != w->context) ||
		     ((task & 0xff) == PVSCHED_POLICY_IDLE && task != w->task));
}

/* It comes to run after a wake-up: its page cannot have changed since it slept. */
static __always_inline void note_wake(struct pvsched_vcpu *v, __u32 slot)
{
	struct pvsched_page *page = page_of_slot(v, slot);
	struct scx_woke *w = bpf_map_lookup_elem(&scx_wokes, &slot);

	if (!w)
		return;
	w->context = page ? MEMBER(page, context) : 0;
	w->task = page ? MEMBER(page, current_task) : 0;
}

static __always_inline __u64 weight_of(struct task_struct *p, struct pvsched_shared *s, bool low)
{
	__u64 word = s ? MEMBER(s, applied) : 0;
	__u32 w = p->scx.weight;
	__u64 nice;

	asm volatile("" : "+r"(w)); /* not one load for both kinds of pointer: the verifier */
	if (low)
		return WEIGHT_LOW;
	if (PVSCHED_WORD_LEVEL(word) == PVSCHED_LEVEL_NICE) {
		nice = (__u8)(PVSCHED_WORD_VALUE(word) + 20);
		asm volatile("" : "+r"(nice)); /* compare what is used, not a copy: the verifier */
		if (nice < 40)
			w = weights[nice];
	}
	return w ? w : 1;
}

/* Virtual time now, which is scx_bpf_now(), of who runs on a CPU. */
static __always_inline __u64 vtime_now(const struct scx_cpu *x, __u64 now)
{
	__u64 start = x->start_ns, w = x->weight;

	if (!start || now < start || !w)
		return x->vtime;
	return x->vtime + (now - start) * 100 / w;
}

/* Virtual times wrap: as the kernel's queues order them. */
static __always_inline bool before(__u64 a, __u64 b)
{
	return (__s64)(a - b) < 0;
}

/*
 * Neither lag nor debt is without end: a queue that falls behind an LLC's other CPUs would keep all that
 * wakes there from running, one that slept for long would keep a CPU. And who had a CPU alone, or comes
 * from an LLC that is ahead, would wait for as long as that took: vnow does not follow a task that nobody
 * competes with. A slice of a low weight is more than DEBT_NS, and ends at the second tick at the latest.
 */
static __always_inline __u64 bounded(const struct task_struct *p, __u64 vtime, __u64 vnow)
{
	__u64 w, most;

	if (before(vtime, vnow - DEBT_NS))
		return vnow - DEBT_NS;
	if (!before(vnow + DEBT_NS, vtime))
		return vtime;
	w = p->scx.weight;
	most = w ? 2 * SLICE_NS * 100 / w : 0;
	if (most < DEBT_NS)
		most = DEBT_NS;
	return before(vnow + most, vtime) ? vnow + most : vtime;
}

/* Of who woke: who slept long has no more credit than others, also where it did not wait in a queue. */
static __always_inline __u64 rested(__u64 vtime, __u64 vnow)
{
	return before(vtime, vnow - CREDIT_NS) ? vnow - CREDIT_NS : vtime;
}

/* Of who is about to wait. Who was preempted keeps its place: else others would pay for it what a boost
 * took. */
static __always_inline __u64 vtime_of(struct task_struct *p, const struct scx_llc *l, __u64 flags)
{
	__u64 vtime = p->scx.dsq_vtime;

	if (!l)
		return vtime;
	if (flags & SCX_ENQ_WAKEUP)
		vtime = rested(vtime, l->vnow);
	return bounded(p, vtime, l->vnow);
}

/* A task that goes to another LLC takes its lag along, not its time. */
static __always_inline void rebase(struct task_struct *p, __u32 from, __u32 to)
{
	struct scx_llc *a, *b;

	if (from == to)
		return;
	a = llc_at(from);
	b = llc_at(to);
	if (a && b)
		scx_bpf_task_set_dsq_vtime(p, p->scx.dsq_vtime - a->vnow + b->vnow);
}

static __always_inline bool is_boosted(__u32 slot)
{
	struct pvsched_debt *d = debt_at(slot);

	return d && MEMBER(d, stretch.on_ns);
}

/* A woken task is so far behind who runs on that CPU that it runs next, and now. */
static __always_inline bool preempts(const struct scx_cpu *x, __u64 vtime, __u64 flags)
{
	__u64 now = scx_bpf_now();

	return flags & SCX_ENQ_WAKEUP && x->start_ns && !MEMBER(x, urgent) &&
	       now > x->start_ns + KEEP_NS && before(vtime + PREEMPT_NS, vtime_now(x, now));
}

/* Who runs on that CPU is to give way to one who is about to wait for it. */
static __always_inline bool gives_way(const struct scx_cpu *x, __u64 vtime, __u64 flags)
{
	return x->low ? x->start_ns && !MEMBER(x, urgent) : preempts(x, vtime, flags);
}

#endif
