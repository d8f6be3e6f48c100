/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the programs' sources (events/decide.h, sched.h) ask of who compiles them, for a test in user space: one
 * policy that says what the test says, a kernel of two CPUs whose clock and tasks are the test's.
 */
#ifndef HELPERS_FAKE_KERNEL_H
#define HELPERS_FAKE_KERNEL_H

#include <events/state.h>
#include <events/word.h>
#include <stdbool.h>
#include <string.h>

#define FAKE_SLOTS 4

#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif
#define MEMBER(p, f)	(*(volatile typeof((p)->f) *)&(p)->f)
#define count(c, field) ((c)->count.field++)

#define TASK_DEAD	    0x80
#define TASK_WAKING	    0x200
#define PVSCHED_PRIO_RT_MAX 100

struct task_struct {
	__u32 pid, tgid;
	int prio;
	int on_rq, policy, cpu;
	unsigned int __state;
	bool in_kvm;
	__u64 start_time;
	struct {
		__u64 sum_exec_runtime;
	} se;
};

static struct fake {
	__u64 now;
	__u32 cpu;
	__u32 serves; /* the policy whose program runs now */
	struct pvsched_vcpu vcpus[FAKE_SLOTS];
	struct pvsched_shared shared[FAKE_SLOTS];
	struct pvsched_slot_limits limits[FAKE_SLOTS];
	struct pvsched_debt debts[PVSCHED_DEBTS];
	struct pvsched_page pages[FAKE_SLOTS];
	struct pvsched_hist delays[FAKE_SLOTS];
	struct pvsched_cpu cpus[2];
	__u64 timer_ns[FAKE_SLOTS]; /* armed for; 0 = not */
	__u32 hints;
	__u32 rivals;
	struct pvsched_policy_in in; /* what the policy was asked last */
	struct pvsched_decision out; /* and what it answers */
} fake;

static struct pvsched_config config;
static struct pvsched_waiter waiters[PVSCHED_CPUS];
static __u64 boosted_at[PVSCHED_CPUS], host_rt_ns[PVSCHED_CPUS], places[PVSCHED_CPUS];
static __u16 slot_of_tid[PVSCHED_TIDS]; /* tid -> slot + 1 */
static __u8 host_rt_prio[PVSCHED_CPUS];
static __u16 slot_on_cpu[PVSCHED_CPUS];

#define time_ns()     (fake.now)
#define this_cpu_id() (fake.cpu)
#define this_tgid()   0
#define cpu_of(p)     ((__u32)(p)->cpu)
#define is_ours(v)    ((v)->policy == fake.serves)
#define events_of(v)  PVSCHED_EV_ALL
#define slot_word(t)  (slot_of_tid[(t) & (PVSCHED_TIDS - 1)])

#define vcpu_at(slot)	((slot) < FAKE_SLOTS ? &fake.vcpus[slot] : NULL)
#define shared_of(slot) ((slot) < FAKE_SLOTS ? &fake.shared[slot] : NULL)
#define delays_of(slot) ((slot) < FAKE_SLOTS ? &fake.delays[slot] : NULL)

static inline struct pvsched_cpu *this_cpu(void)
{
	return &fake.cpus[fake.cpu];
}

static inline struct pvsched_vcpu *vcpu_of_slot(__u32 slot)
{
	struct pvsched_vcpu *v = vcpu_at(slot);

	return v && (v->flags & (PVSCHED_V_USED | PVSCHED_V_GONE)) == PVSCHED_V_USED ? v : NULL;
}

static inline struct pvsched_page *page_of_slot(struct pvsched_vcpu *v, __u32 slot)
{
	return v->flags & PVSCHED_V_ENABLED ? &fake.pages[slot] : NULL;
}

static inline struct pvsched_debt *debt_at(__u32 place)
{
	return place < PVSCHED_DEBTS ? &fake.debts[place] : NULL;
}

static inline const struct pvsched_limits *limits_of(__u32 slot)
{
	return slot < FAKE_SLOTS ? &fake.limits[slot].copy[0] : NULL;
}

static inline void ask_policy(const struct pvsched_vcpu *v, const struct pvsched_policy_in *in,
			      struct pvsched_decision *out)
{
	(void)v;
	fake.in = *in;
	*out = fake.out;
}

static inline void start_timer(struct pvsched_vcpu *v, __u64 ns)
{
	fake.timer_ns[v - fake.vcpus] = fake.now + ns;
}

static inline void hint(__u32 cpu, __u32 slot, __u64 now, struct pvsched_cpu *c)
{
	(void)cpu, (void)slot, (void)now, (void)c;
	fake.hints++;
}

static inline __u64 next_event_ns(struct pvsched_vcpu *v, __u64 guest_tsc, __u64 now,
				  struct pvsched_cpu *c)
{
	(void)v, (void)now, (void)c;
	return guest_tsc;
}

static inline int pvsched_has_quota(__u64 task)
{
	(void)task;
	return 0;
}

static inline __u32 pvsched_rivals_anywhere(__u64 task, __u32 state)
{
	(void)task, (void)state;
	return fake.rivals;
}

static inline int pvsched_had_turn(__u64 task, __u32 tid, __u64 exec_ns)
{
	(void)task, (void)tid, (void)exec_ns;
	return 1;
}

static inline void reach_from(struct pvsched_vcpu *v, __u64 now)
{
	(void)v, (void)now;
}

static inline void reach_to(struct pvsched_vcpu *v, __u32 slot, struct task_struct *next, __u64 now)
{
	(void)v, (void)slot, (void)next, (void)now;
}

static inline __u32 others_of(struct task_struct *t, bool queued)
{
	(void)t, (void)queued;
	return 1;
}

static inline bool sleeps_queued(struct task_struct *p)
{
	(void)p;
	return false;
}

static inline bool in_kvm(struct task_struct *p)
{
	return p->in_kvm;
}

static inline __u32 rt_queued(struct task_struct *p)
{
	(void)p;
	return 0;
}

static inline bool is_agent(__u32 tgid, int prio, __u32 cpu)
{
	(void)tgid, (void)prio, (void)cpu;
	return false;
}

static inline __u32 rivals_at_switch(struct task_struct *prev, struct task_struct *next,
				     bool preempted, __u32 cpu)
{
	(void)prev, (void)next, (void)preempted, (void)cpu;
	return fake.rivals;
}

#define COPY(v, page, word) ((void)(page), 0)

#include <events/threads.h>

#include <events/decide.h>

/* who compiles it for BPF or the kernel asks for no warning of this kind */
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <events/sched.h>

#endif
