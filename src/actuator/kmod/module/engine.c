// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events and decisions in the kernel itself: the code that is compiled for BPF otherwise
 * (src/events/decide.h, sched.h, timer.h, pending.h, ../note.h), called from tracepoints, a timer of
 * each slot, and the module's threads. What it needs of its surroundings is here.
 *
 * Any context, with preemption disabled; the run queue lock is held in sched_switch. No lock, no
 * allocation. Pointers of the kernel that may be stale are read so that a fault is an error; the words
 * of a guest are read once and validated by read_page().
 */
#include <linux/kvm_host.h>
#include <linux/preempt.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include <trace/events/sched.h>
#include <trace/events/timer.h>

#include "engine.h"
#include "slot.h"

struct engine engine;

#define PVSCHED_IN_KERNEL
#define MEMBER(p, f) (*(volatile typeof((p)->f) *)&(p)->f)
#undef __noinline
#define __noinline static noinline /* global functions are the verifier's */

#define config	    (engine.words->config)
#define clocks	    (engine.words->clocks)
#define clock_idx   (engine.words->clock_idx)
#define places	    (engine.words->places)
#define slot_of_tid (engine.words->slot_of_tid)

static u64 host_rt_ns[PVSCHED_CPUS];
static u8 host_rt_prio[PVSCHED_CPUS];
static u16 slot_on_cpu[PVSCHED_CPUS];
static struct pvsched_waiter waiters[PVSCHED_CPUS];
static u64 boosted_at[PVSCHED_CPUS];
static u32 worker_of_cpu[PVSCHED_CPUS];

#define time_ns()     ktime_get_mono_fast_ns()
#define this_cpu_id() raw_smp_processor_id()
#define this_tid()    ((u32)current->pid)
#define this_tgid()   ((u32)current->tgid)
#define cpu_of(p)     task_cpu(p)
#define acts()	      (config.actuator == PVSCHED_ACTUATOR_KMOD_POLICY)

#define at_slot(array, slot) ((u32)(slot) < PVSCHED_SLOTS ? &engine.array[slot] : NULL)
#define shared_of(slot)	     at_slot(shared, slot)
#define vcpu_at(slot)	     at_slot(vcpus, slot)
#define delays_of(slot)	     at_slot(delays, slot)
#define took_of(slot)	     at_slot(took, slot)

#define count(c, field) ((c)->count.field++)

/* nobody waits to be told */
#define hint(cpu, slot, now, c) ((void)(now), (void)(c))

#define want(slot, word, cpu) slot_want(slot, word, cpu)

static __always_inline struct pvsched_cpu *this_cpu(void)
{
	return raw_cpu_ptr(engine.cpus);
}

static __always_inline struct pvsched_vcpu *vcpu_of_slot(u32 slot)
{
	struct pvsched_vcpu *v = vcpu_at(slot);

	return v && (READ_ONCE(v->flags) & (PVSCHED_V_USED | PVSCHED_V_GONE)) == PVSCHED_V_USED
		       ? v
		       : NULL;
}

static __always_inline struct pvsched_page *page_of_slot(struct pvsched_vcpu *v, u32 slot)
{
	return READ_ONCE(v->flags) & PVSCHED_V_ENABLED ? READ_ONCE(engine.side[slot].page) : NULL;
}

static __always_inline struct pvsched_debt *debt_at(u32 place)
{
	return place < PVSCHED_DEBTS ? &engine.debts[place] : NULL;
}

static __always_inline const struct pvsched_limits *limits_of(u32 slot)
{
	struct pvsched_slot_limits *l = at_slot(limits, slot);

	return l ? &l->copy[MEMBER(l, idx) & 1] : NULL;
}

/* Is it a vCPU of a policy that is attached, and asks for anything? */
static __always_inline bool is_ours(const struct pvsched_vcpu *v)
{
	const struct used *u = used_of(v);

	return u && READ_ONCE(u->attached) && u->policy->events;
}

static __always_inline u32 events_of(const struct pvsched_vcpu *v)
{
	const struct used *u = used_of(v);

	return u ? u->policy->events : 0;
}

static __always_inline void ask_policy(const struct pvsched_vcpu *v,
				       const struct pvsched_policy_in *in,
				       struct pvsched_decision *out)
{
	const struct used *u = used_of(v);

	if (u)
		u->policy->ask(in, out);
}

/* Once: the broker may write it. */
#define slot_word(tid) READ_ONCE(slot_of_tid[(tid) & (PVSCHED_TIDS - 1)])

#include "../../../events/threads.h"

static __always_inline void start_timer(struct pvsched_vcpu *v, u64 ns)
{
	hrtimer_start(&engine.side[v - engine.vcpus].timer, ns_to_ktime(ns),
		      HRTIMER_MODE_REL_PINNED_HARD);
}

static int on_expiry(struct pvsched_vcpu *v, u32 slot, u64 now);

#include "look.h"
#include "../../../events/sched.h"
#include "../../../events/timer.h"
#include "../../../events/pending.h"
#include "note.h"

void engine_done(u32 slot, u64 word, u32 what, u64 tsc, u64 ns)
{
	on_done(slot, word, what, tsc, ns);
}

void engine_settle(u32 slot)
{
	preempt_disable();
	pvsched_settle(slot, time_ns());
	preempt_enable();
}

enum hrtimer_restart engine_timer(struct hrtimer *timer)
{
	u32 slot = container_of(timer, struct side, timer) - engine.side;

	on_time(&engine.vcpus[slot], &slot);
	return HRTIMER_NORESTART;
}

/*
 * A probe's type is its tracepoint's: kernels with kCFI kill who calls another. Where that differs by
 * kernel, the header tells which it is.
 */
#define IS_TYPE(event, type) __builtin_types_compatible_p(typeof(&trace_##event), type)
#define probe_exit_here                                                                            \
	__builtin_choose_expr(IS_TYPE(sched_process_exit, void (*)(struct task_struct *)),         \
			      probe_exit_short, probe_exit)
#define probe_timer_here                                                                           \
	__builtin_choose_expr(                                                                     \
		IS_TYPE(hrtimer_expire_entry, void (*)(struct hrtimer *, ktime_t *)),              \
		probe_timer_ref, probe_timer)

static void probe_switch(void *data, bool preempt, struct task_struct *prev,
			 struct task_struct *next, unsigned int state)
{
	if (slot_of_tid[prev->pid & (PVSCHED_TIDS - 1)])
		learn(prev);
	on_switch(prev, next);
}

static void probe_waking(void *data, struct task_struct *p)
{
	on_waking(p);
}

static __maybe_unused void probe_exit(void *data, struct task_struct *p, bool group_dead)
{
	preempt_disable_notrace();
	on_exit(p);
	preempt_enable_notrace();
}

static __maybe_unused void probe_exit_short(void *data, struct task_struct *p) /* to 6.15 */
{
	probe_exit(data, p, false);
}

/* A local APIC's timer fires, wherever: the vCPU is not this CPU's. */
static __maybe_unused void probe_timer(void *data, struct hrtimer *timer, ktime_t now)
{
	int slot;

	if (timer_fn(timer) != READ_ONCE(engine.apic_timer_fn) || !engine.apic_timer_fn)
		return;
	slot = slot_of_apic((char *)timer - engine.layout.apic_timer);
	if (slot >= 0 && events_of(&engine.vcpus[slot]) & PVSCHED_EV_INTR_PENDING)
		intr_pending(slot);
}

static __maybe_unused void probe_timer_ref(void *data, struct hrtimer *timer,
					   ktime_t *now) /* 6.12 */
{
	probe_timer(data, timer, 0);
}

/* An interrupt for an APIC id of the process that raises it: a VMM's thread, or a sibling vCPU. */
static void probe_accept(void *data, u32 apic_id, u16 dm, u16 tm, u8 vec)
{
	struct pvsched_apic_key key = { .tgid = this_tgid(), .apic_id = apic_id };
	const struct apic_row *a;
	struct pvsched_vcpu *v;
	u32 at;

	preempt_disable_notrace();
	a = &engine.apics[engine_apic_place(&key)];
	at = READ_ONCE(a->value);
	if (a->key.tgid != key.tgid || a->key.apic_id != key.apic_id)
		at = 0; /* it is not there, and its neighbourhood is full */
	v = at ? vcpu_of_slot(at - 1) : NULL;
	if (v && is_ours(v) && events_of(v) & PVSCHED_EV_INTR_PENDING)
		intr_pending(at - 1);
	preempt_enable_notrace();
}

/* In the vCPU's own thread. bit: of event, where it is counted. */
static void on_kvm(u32 event, int bit, struct kvm_vcpu *kv)
{
	int slot = slot_of_task(this_tid(), 0, 0);
	struct pvsched_vcpu *v;

	if (slot < 0)
		return;
	preempt_disable_notrace();
	v = vcpu_of_slot(slot);
	if (v && events_of(v) & event && (event != PVSCHED_EV_INTR_DONE || v->intr_ns)) {
		if (kv)
			v->kvm_vcpu = (u64)kv;
		v->exit_reason = PVSCHED_EXIT_OTHER;
		count(this_cpu(), events[bit]);
		pvsched_decide(slot, event, time_ns(), RIVALS_ASK);
	}
	preempt_enable_notrace();
}

/* KVM shows no header of these: their types are those of 6.1.y, 6.12 and 7.3. */
static void probe_kvm_exit(void *data, struct kvm_vcpu *kv, u32 isa)
{
	on_kvm(PVSCHED_EV_VMEXIT, 8, kv);
}

static void probe_kvm_entry(void *data, struct kvm_vcpu *kv, bool force_immediate_exit)
{
	on_kvm(PVSCHED_EV_VMENTRY, 9, NULL);
}

static void probe_inj_virq(void *data, unsigned int vector, bool soft, bool reinjected)
{
	on_kvm(PVSCHED_EV_INTR_INJECT, 11, NULL);
}

static void probe_eoi(void *data, struct kvm_lapic *apic, int vector)
{
	on_kvm(PVSCHED_EV_INTR_DONE, 5, NULL);
}

struct source sources[] = {
	{ "sched_switch", probe_switch, PVSCHED_EV_ALL },
	{ "sched_waking", probe_waking, PVSCHED_EV_ALL },
	{ "sched_process_exit", probe_exit_here, PVSCHED_EV_ALL },
	{ "hrtimer_expire_entry", probe_timer_here, PVSCHED_EV_INTR_PENDING },
	{ "kvm_apic_accept_irq", probe_accept, PVSCHED_EV_INTR_PENDING },
	{ "kvm_eoi", probe_eoi, PVSCHED_EV_INTR_DONE },
	{ "kvm_exit", probe_kvm_exit, PVSCHED_EV_VMEXIT },
	{ "kvm_entry", probe_kvm_entry, PVSCHED_EV_VMENTRY },
	{ "kvm_inj_virq", probe_inj_virq, PVSCHED_EV_INTR_INJECT },
};
const u32 n_sources = ARRAY_SIZE(sources);
_Static_assert(ARRAY_SIZE(sources) <= SOURCES_MAX, "trace.c has room for them");

/* Compiles only if they are of their tracepoints' types. */
static __maybe_unused void check_probes(void)
{
	check_trace_callback_type_sched_switch(probe_switch);
	check_trace_callback_type_sched_waking(probe_waking);
	check_trace_callback_type_sched_process_exit(probe_exit_here);
	check_trace_callback_type_hrtimer_expire_entry(probe_timer_here);
}
