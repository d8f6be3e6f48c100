// SPDX-License-Identifier: GPL-2.0-only
/*
 * Publishes what this guest's scheduler does, into the page of each vCPU. Typed tracepoints only;
 * one object for all kernels (CO-RE). Programs of one CPU nest (task < softirq < hard interrupt)
 * and each leaves the counters as it found them, so plain loads and stores do for everything
 * but `pending`, which any CPU may write: by compare-and-swap.
 *
 * Not told by stock kernels, and so not published: regions with preemption or interrupts off.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "../../core/page.h"
#include "publish.h"

char LICENSE[] SEC("license") = "GPL";

#define READ_ONCE(x)	 (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct thread_info {
	__u32 cpu;
};
struct kernfs_node {
	__u64 id;
};
struct cgroup;
struct cgroup_subsys_state {
	struct cgroup_subsys_state *parent;
};
struct cgroup {
	struct cgroup_subsys_state self; /* first: a css of a cgroup is the cgroup */
	struct kernfs_node *kn;
};
struct css_set {
	struct cgroup *dfl_cgrp;
};
struct signal_struct {
	struct {
		int counter;
	} live; /* threads that have not ended */
};
struct task_struct {
	struct thread_info thread_info;
	int prio, static_prio;
	unsigned int policy;
	int pid, tgid;
	struct task_struct *group_leader;
	__u64 start_boottime;
	struct css_set *cgroups;
	struct signal_struct *signal;
};
struct clock_event_device {
	__s64 next_event;
};
struct tick_device {
	struct clock_event_device *evtdev;
};
struct hrtimer_cpu_base {
	bool deferred_rearm; /* since 7.1 */
	__s64 deferred_expires_next;
};
#pragma clang attribute pop

/* The CPU's clock event device: what the kernel arms, after all coalescing. */
extern struct tick_device tick_cpu_device __ksym __weak;
extern struct hrtimer_cpu_base hrtimer_bases __ksym __weak;

/* max_entries: the CPUs, set before loading */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pvsched_page);
} pages SEC(".maps");

/* A map of its own, for the daemon to map and to pin; the programs need not look it up. */
struct publish_state state SEC(PUBLISH_STATE);

/* Declared latency-sensitive: a process by its id, with its start in clock ticks since boot, which
 * tells a reused id apart; a cgroup by its id. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} declared_tasks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u64);
	__type(value, __u64);
} declared_cgroups SEC(".maps");

/* A doorbell is a store to the device, which a program cannot do: the daemon does it. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} bells SEC(".maps");

struct here {
	struct publish_cpu *c;
	struct pvsched_page *page;
};

/* Where cpu publishes. False: its page is not enabled. */
static __always_inline bool where(__u32 cpu, struct here *h)
{
	__u32 at = cpu;

	if (cpu >= PVSCHED_VCPUS_MAX)
		return false;
	/* 6.1's verifier forgets what was compared when the value comes from the stack again */
	asm volatile("" : "+r"(at));
	h->c = &state.cpu[at & (PVSCHED_VCPUS_MAX - 1)];
	asm volatile("" : "+r"(h->c)); /* found once, not at each use */
	if (!READ_ONCE(h->c->on))
		return false;
	h->page = bpf_map_lookup_elem(&pages, &cpu);
	return h->page != NULL;
}

#define CGROUP_DEPTH 32 /* a task's cgroup and what is above it, as far as is looked */
#define TICK_NS	     10000000ull /* 1 / USER_HZ, in which /proc tells a start */

/* Only asked while something is declared. */
static __always_inline bool is_declared(struct task_struct *t)
{
	__u32 tgid = t->tgid;
	__u64 *start = bpf_map_lookup_elem(&declared_tasks, &tgid);
	struct cgroup *cg;

	if (start && BPF_CORE_READ(t, group_leader, start_boottime) / TICK_NS == *start)
		return true;
	cg = BPF_CORE_READ(t, cgroups, dfl_cgrp);
	for (int i = 0; i < CGROUP_DEPTH && cg; i++) {
		__u64 id = BPF_CORE_READ(cg, kn, id);

		if (bpf_map_lookup_elem(&declared_cgroups, &id))
			return true;
		cg = (struct cgroup *)BPF_CORE_READ(cg, self.parent);
	}
	return false;
}

#define MAX_RT_PRIO  100
#define DEFAULT_PRIO 120

/* The task as it is scheduled now: with what priority inheritance lends it. No generation. */
static __always_inline __u64 word_of(struct task_struct *t)
{
	__u8 policy = t->policy, rt = 0, flags = 0;
	int prio = t->prio;

	/* work of the background is nobody's latency, whoever declared it (spec GUEST-6) */
	if (READ_ONCE(state.declared) && policy != PVSCHED_POLICY_BATCH &&
	    policy != PVSCHED_POLICY_IDLE && is_declared(t))
		flags = PVSCHED_TASK_LATENCY;
	if (prio < 0)
		policy = PVSCHED_POLICY_DEADLINE; /* its own, or that of who waits for its lock */
	if (prio >= 0 && prio < MAX_RT_PRIO && policy != PVSCHED_POLICY_DEADLINE) {
		rt = MAX_RT_PRIO - 1 - prio;
		if (policy != PVSCHED_POLICY_FIFO && policy != PVSCHED_POLICY_RR)
			policy = PVSCHED_POLICY_FIFO;
		if (!rt)
			rt = 1; /* stop and the like */
	} else if (policy == PVSCHED_POLICY_FIFO || policy == PVSCHED_POLICY_RR) {
		policy = PVSCHED_POLICY_NORMAL;
	}
	return pvsched_task_word(policy, t->static_prio - DEFAULT_PRIO, rt, flags, 0);
}

/* Most are: nothing of theirs is urgent, whatever else they are. */
static __always_inline bool is_plain(struct task_struct *t)
{
	return t->prio >= MAX_RT_PRIO && !READ_ONCE(state.declared);
}

static __always_inline __u32 urgency(__u64 word)
{
	__u8 rt = word >> PVSCHED_TASK_PRIO_SHIFT;

	if ((__u8)(word >> PVSCHED_TASK_POLICY_SHIFT) == PVSCHED_POLICY_DEADLINE)
		return 101;
	if (rt)
		return 1 + rt;
	return word >> PVSCHED_TASK_FLAGS_SHIFT & PVSCHED_TASK_LATENCY ? 1 : 0;
}

#define TASK_BITS 0xffffffffull

static __always_inline void put_context(struct here *h)
{
	struct publish_cpu *c = h->c;
	__u8 flags = (c->hardirq ? PVSCHED_CTX_HARDIRQ : 0) |
		     (c->softirq ? PVSCHED_CTX_SOFTIRQ : 0) | (c->idle ? PVSCHED_CTX_IDLE : 0);

	if ((__u8)READ_ONCE(h->page->context) == flags)
		return;
	WRITE_ONCE(h->page->context, pvsched_context_word(flags, ++c->gen));
	c->stores++;
}

/* The guest's words speak for what the interrupt started. True: there was one. */
static __always_inline bool acknowledge(struct here *h)
{
	__u64 ticket = READ_ONCE(h->page->ticket);

	if (READ_ONCE(h->page->ack) == ticket)
		return false;
	WRITE_ONCE(h->page->ack, ticket);
	h->c->stores++;
	return true;
}

/* Urgency may have ended: rings once for a grant that says BOOSTED. The atomic is the barrier
 * between the words above and the look at grant (spec BELL-1). An idle CPU is about to halt, or to
 * switch to another task: either is seen without waking the daemon for it. */
static __always_inline void ring_if_over(struct here *h)
{
	struct publish_cpu *c = h->c;
	__u64 grant, pending;
	__u32 *record;

	if (c->idle || c->hardirq || c->softirq || urgency(READ_ONCE(h->page->current_task)))
		return;
	pending = __sync_fetch_and_add(&h->page->pending, 0);
	if (pending >> PVSCHED_TASK_FLAGS_SHIFT & PVSCHED_TASK_VALID)
		return;
	grant = READ_ONCE(h->page->grant);
	if (!(grant >> PVSCHED_TASK_FLAGS_SHIFT & PVSCHED_GRANT_BOOSTED) || grant == c->rung)
		return;
	c->rung = grant;
	record = bpf_ringbuf_reserve(&bells, sizeof(*record), 0);
	if (!record)
		return;
	*record = bpf_get_smp_processor_id();
	bpf_ringbuf_submit(record, 0);
	c->rings++;
}

/*
 * When the device will fire, ns. Since 7.1 (CONFIG_HRTIMER_REARM_DEFERRED) a timer interrupt leaves it
 * unarmed, and what it is to be armed with in the CPU's base, until the way out of the interrupt: behind
 * local_timer_exit, and perhaps behind a switch. False: this kernel does not tell.
 */
static __always_inline bool find_next_event(__s64 *next)
{
	struct hrtimer_cpu_base *base;
	struct clock_event_device *dev;
	struct tick_device *tick;

	if (bpf_core_field_exists(struct hrtimer_cpu_base, deferred_rearm) && &hrtimer_bases) {
		base = bpf_this_cpu_ptr(&hrtimer_bases);
		if (base->deferred_rearm) {
			*next = base->deferred_expires_next;
			return true;
		}
	}
	if (!&tick_cpu_device)
		return false;
	tick = bpf_this_cpu_ptr(&tick_cpu_device);
	dev = tick->evtdev;
	if (!dev)
		return false;
	*next = dev->next_event;
	return true;
}

/* Out of line, like tell_switch(): what nearly every switch does is short then, in registers too. */
static __noinline int tell_next_event(struct here *h, __s64 next)
{
	struct publish_clock *clock = &state.clock;
	__u64 mono, tsc, at = 0;
	__u32 seq, mult;

	seq = READ_ONCE(clock->seq);
	mult = READ_ONCE(clock->mult);
	mono = READ_ONCE(clock->mono_ns);
	tsc = READ_ONCE(clock->tsc);
	if (!mult || seq & 1 || READ_ONCE(clock->seq) != seq)
		return 0;
	/* KTIME_MAX: nothing is armed. Further away than the host looks is as good as nothing. */
	if (next > (__s64)mono && next - (__s64)mono < 1ll << 40)
		at = tsc + ((__u64)(next - mono) * mult >> PUBLISH_SHIFT);
	if (READ_ONCE(h->page->next_event) == at)
		return 0;
	WRITE_ONCE(h->page->next_event, at);
	h->c->event = next;
	h->c->stores++;
	return 0;
}

/* The next clock event, as guest TSC. */
static __always_inline void put_next_event(struct here *h)
{
	__s64 next;

	if (find_next_event(&next) && (next != h->c->event || !READ_ONCE(h->page->next_event)))
		tell_next_event(h, next);
}

static __always_inline __u32 pid_of(__u64 pending)
{
	return (__u32)(pending >> PVSCHED_TASK_GEN_SHIFT) & PUBLISH_PID_MASK;
}

/* Withdraws what waits, if it is this task. True: it was. */
static __always_inline bool withdraw(struct pvsched_page *page, __u32 pid)
{
	__u64 old = READ_ONCE(page->pending);

	if (!(old >> PVSCHED_TASK_FLAGS_SHIFT & PVSCHED_TASK_VALID) ||
	    pid_of(old) != (pid & PUBLISH_PID_MASK))
		return false;
	__sync_val_compare_and_swap(&page->pending, old, 0);
	return true;
}

#define OFFER_TRIES                                                                                \
	4 /* others who offer at the same time win three times, then this one gives up */

/* Says on cpu's page that an urgent task waits there. From any CPU. */
static __always_inline void offer(__u32 cpu, __u64 word, __u32 pid)
{
	__u32 self = bpf_get_smp_processor_id(), count = 0;
	struct here h;
	__u64 old, new;

	if (!where(cpu, &h))
		return;
	if (self < PVSCHED_VCPUS_MAX)
		count = ++state.cpu[self].offers;
	new = (word & TASK_BITS) | (__u64)PVSCHED_TASK_VALID << PVSCHED_TASK_FLAGS_SHIFT |
	      (__u64)(count << PUBLISH_PID_BITS | (pid & PUBLISH_PID_MASK))
		      << PVSCHED_TASK_GEN_SHIFT;
	for (int i = 0; i < OFFER_TRIES; i++) {
		old = READ_ONCE(h.page->pending);
		if (old >> PVSCHED_TASK_FLAGS_SHIFT & PVSCHED_TASK_VALID &&
		    urgency(old) >= urgency(word))
			return;
		if (__sync_val_compare_and_swap(&h.page->pending, old, new) == old)
			return;
	}
}

/*
 * An ordinary task follows one that looks the same to the host, and nobody says anything: the words stand
 * already. What a switch costs nearly always: with publish_waking ~110 instructions more than two empty
 * programs do on 6.12, and ~150 less than if it were told (docs/costs.md).
 */
static __always_inline bool stands_already(struct here *h, struct task_struct *next)
{
	struct publish_cpu *c = h->c;

	return c->plain == (__u32)next->static_prio && next->policy == PVSCHED_POLICY_NORMAL &&
	       is_plain(next) && next->pid && !(c->hardirq | c->softirq) &&
	       !READ_ONCE(h->page->pending) &&
	       READ_ONCE(h->page->ack) == READ_ONCE(h->page->ticket);
}

static __noinline int tell_switch(struct here *h, struct task_struct *prev,
				  struct task_struct *next)
{
	struct publish_cpu *c = h->c;
	__u64 word;
	bool over;

	over = c->hardirq | c->softirq || urgency(READ_ONCE(h->page->current_task));
	/* no interrupt is being handled where tasks are switched: heals what was missed */
	c->hardirq = c->softirq = 0;
	c->idle = next->pid == 0;
	c->plain = !c->idle && next->policy == PVSCHED_POLICY_NORMAL && is_plain(next)
			   ? next->static_prio
			   : 0;
	word = c->idle ? pvsched_task_word(PVSCHED_POLICY_IDLE, 0, 0, 0, 0) : word_of(next);
	WRITE_ONCE(h->page->current_task, word | (__u64)++c->gen << PVSCHED_TASK_GEN_SHIFT);
	c->stores++;
	put_context(h);
	over |= withdraw(h->page, next->pid);
	over |= withdraw(h->page, prev->pid);
	over |= acknowledge(h);
	if (!c->idle) /* an idle CPU arms its timer later: publish_idle */
		put_next_event(h);
	if (over) /* the barrier is dear: only where something urgent ended */
		ring_if_over(h);
	return 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(publish_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	struct here h;

	if (!where(bpf_get_smp_processor_id(), &h))
		return 0;
	if (!stands_already(&h, next))
		return tell_switch(&h, prev, next);
	put_next_event(&h);
	return 0;
}

/* On the waker's side, before any interrupt is sent: the target may be off its CPU. */
SEC("tp_btf/sched_waking")
int BPF_PROG(publish_waking, struct task_struct *p)
{
	__u64 word;

	if (is_plain(p) || (__u32)p->pid == (__u32)bpf_get_current_pid_tgid())
		return 0;
	word = word_of(p);
	if (urgency(word))
		offer(p->thread_info.cpu, word, p->pid);
	return 0;
}

SEC("tp_btf/sched_migrate_task")
int BPF_PROG(publish_migrate, struct task_struct *p, int cpu)
{
	struct here h;
	__u64 word;

	/* whatever it is now: it may have been urgent when it was woken */
	if (where(p->thread_info.cpu, &h))
		withdraw(h.page, p->pid);
	if (is_plain(p))
		return 0;
	word = word_of(p);
	if (urgency(word))
		offer(cpu, word, p->pid);
	return 0;
}

/* A process that ends is declared no longer: its entry would fill the map, and cost every look-up. The
 * daemon counts what is left. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(publish_exit, struct task_struct *p)
{
	__u32 tgid = p->tgid;

	if (READ_ONCE(state.declared) && BPF_CORE_READ(p, signal, live.counter) <= 0)
		bpf_map_delete_elem(&declared_tasks, &tgid);
	return 0;
}

/* A task that was given another priority, or was declared, while it runs: seen at the next tick. */
static __always_inline void refresh_current(struct here *h)
{
	struct task_struct *t = bpf_get_current_task_btf();
	__u64 word;

	if (h->c->idle)
		return;
	/* who was woken on its way to sleep, and went on, was offered: no switch takes that back */
	withdraw(h->page, t->pid);
	word = word_of(t);
	if (!((word ^ READ_ONCE(h->page->current_task)) & TASK_BITS))
		return;
	h->c->plain = 0;
	WRITE_ONCE(h->page->current_task, word | (__u64)++h->c->gen << PVSCHED_TASK_GEN_SHIFT);
}

static __always_inline int hardirq_entry(void)
{
	struct here h;

	if (!where(bpf_get_smp_processor_id(), &h))
		return 0;
	if (!h.c->hardirq++)
		put_context(&h);
	acknowledge(&h);
	return 0;
}

static __always_inline int hardirq_exit(bool timer)
{
	struct here h;

	if (!where(bpf_get_smp_processor_id(), &h))
		return 0;
	if (timer) {
		refresh_current(&h);
		put_next_event(&h);
	}
	if (!h.c->hardirq || --h.c->hardirq)
		return 0;
	put_context(&h);
	ring_if_over(&h);
	return 0;
}

#define HARDIRQ(vector, timer)                                                                     \
	SEC("tp_btf/" #vector "_entry")                                                            \
	int BPF_PROG(publish_##vector##_entry)                                                     \
	{                                                                                          \
		return hardirq_entry();                                                            \
	}                                                                                          \
	SEC("tp_btf/" #vector "_exit")                                                             \
	int BPF_PROG(publish_##vector##_exit)                                                      \
	{                                                                                          \
		return hardirq_exit(timer);                                                        \
	}

HARDIRQ(irq_handler, false)
HARDIRQ(local_timer, true)
HARDIRQ(reschedule, false)
HARDIRQ(call_function, false)
HARDIRQ(call_function_single, false)

SEC("tp_btf/softirq_entry")
int BPF_PROG(publish_softirq_entry)
{
	struct here h;

	if (!where(bpf_get_smp_processor_id(), &h))
		return 0;
	if (!h.c->softirq++)
		put_context(&h);
	return 0;
}

SEC("tp_btf/softirq_exit")
int BPF_PROG(publish_softirq_exit)
{
	struct here h;

	if (!where(bpf_get_smp_processor_id(), &h))
		return 0;
	if (!h.c->softirq || --h.c->softirq)
		return 0;
	put_context(&h);
	ring_if_over(&h);
	return 0;
}

#define PWR_EVENT_EXIT 0xffffffffu

/* The tick is stopped, or not, by now: what is armed is what will wake this CPU. */
SEC("tp_btf/cpu_idle")
int BPF_PROG(publish_idle, unsigned int idle_state, unsigned int cpu)
{
	struct here h;

	if (idle_state == PWR_EVENT_EXIT || !where(bpf_get_smp_processor_id(), &h))
		return 0;
	put_next_event(&h);
	return 0;
}
