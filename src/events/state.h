/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * State that the BPF programs and the broker share: one `vcpu` slot per registered thread
 * (written by BPF; set up by the broker), one `shared` line per slot (mapped by agents and
 * guardian), the configuration, the clock. Times are CLOCK_MONOTONIC ns.
 */
#ifndef PVSCHED_EVENTS_STATE_H
#define PVSCHED_EVENTS_STATE_H

#include "../core/account.h"
#include "../core/hist.h"
#include "../core/page.h"
#include "word.h"

#define PVSCHED_SLOTS 1024 /* vCPU threads per host */
#define PVSCHED_VMS   256
#define PVSCHED_CPUS  512
#define PVSCHED_TIDS  65536 /* slot table, indexed by the low 16 bits of a tid */
#define PVSCHED_CHAIN 4 /* registered threads whose tids share the low 16 bits */

/* Its owner made it real-time, or deadline: any fair scheduling would be a loss. */
static __always_inline int pvsched_is_realtime(__u32 policy)
{
	return policy == PVSCHED_POLICY_FIFO || policy == PVSCHED_POLICY_RR ||
	       policy == PVSCHED_POLICY_DEADLINE;
}

/* A baseline that is as good as what is wanted, or better: it stays. prio: the kernel's. */
static __always_inline int pvsched_needs_none(__u8 level, __s8 value, __u32 base_policy,
					      __s32 base_prio)
{
	if (level == PVSCHED_LEVEL_BASE || !pvsched_is_realtime(base_policy))
		return 0;
	return level != PVSCHED_LEVEL_RT || base_policy == PVSCHED_POLICY_DEADLINE ||
	       base_prio <= 99 - value;
}

/* Better than the baseline, so that it is bounded and charged; the others only give way. */
static __always_inline int pvsched_is_boost(__u8 level, __s8 value, __u32 base_policy,
					    __s32 base_nice)
{
	if (level == PVSCHED_LEVEL_RT)
		return 1;
	return level == PVSCHED_LEVEL_NICE && !pvsched_is_realtime(base_policy) &&
	       (base_policy == PVSCHED_POLICY_IDLE || value < base_nice);
}

#define PVSCHED_NO_ACK (~0ull)

/* One per slot, in a mmapable array. The first five, ack and wish: BPF; the rest: the actuator,
 * under its lock. */
struct pvsched_shared {
	__u64 desired;
	__u64 event_ns; /* when desired last changed */
	__u64 gen; /* guest generation that desired answers */
	__u64 again_ns; /* when the policy wants to be asked again; 0 = need not */
	__u32 gone; /* the thread exits: its tid may soon be somebody else's */
	__u32 owner; /* CPU + 1 of the agent that watches over the slot; 0 = none */
	__u64 watch_ns; /* when that agent will ask again; 0 = it will not */
	__u64 applied;
	__u64 applied_ns;
	__u64 boosts;
	__u64 expired;
	__u64 refused; /* asked for by BPF, refused by the agent's own check */
	__u64 failed; /* the system call failed */
	__u64 external; /* times somebody else changed the thread's scheduling */
	__u64 boosted_wall_ns;
	__u32 foreign; /* PVSCHED_FOREIGN_*: what is somebody else's from now on */
	__u32 wish; /* enum pvsched_wish of what is desired; a stale one misplaces, no more */
	__u64 fair_until_ns; /* its cgroup has no real-time time: boosts stay fair so long */
	__u64 ack; /* the page's ack that desired answers; PVSCHED_NO_ACK = not to be looked at */
	__u64 settling; /* scx: one at a time brings desired to applied */
	__u64 boosted_for; /* enum pvsched_reason of the boost in force, or of the last */
	__u64 reserved[5];
};
_Static_assert(sizeof(struct pvsched_shared) == 192, "three lines");

/* Attributes that somebody else set on the thread. */
enum pvsched_foreign {
	PVSCHED_FOREIGN_POLICY = 1, /* policy and real-time priority: no boost, no restoring */
	PVSCHED_FOREIGN_NICE = 2, /* boosts of real-time kind only; restored to their nice */
	PVSCHED_FOREIGN_GROUP = 4, /* its cgroup allows no real-time scheduling; only said */
	PVSCHED_FOREIGN_AFFINITY = 8, /* while a boost had it narrowed, see place.h; only said */
};

enum pvsched_vcpu_flags {
	PVSCHED_V_USED = 1,
	PVSCHED_V_ENABLED = 2, /* the page may be read */
	PVSCHED_V_GONE = 4, /* the thread has left its CPU for good */
};

#define PVSCHED_REASONS 16 /* of enum pvsched_reason, with room */

enum pvsched_denial {
	PVSCHED_DENIED_THROTTLE, /* a budget is used up */
	PVSCHED_DENIED_GAP, /* the unboosted gap after a full stretch */
	PVSCHED_DENIED_RATE, /* too many boosts */
	PVSCHED_DENIALS
};

/* A hint that a slot's desired word changed; nothing more. */
struct pvsched_hint {
	__u32 slot;
	__u32 flags;
	__u64 event_ns;
};

/* Argument of the broker's programs. */
enum pvsched_slot_op {
	PVSCHED_SLOT_INIT,
	PVSCHED_SLOT_ENABLE, /* the page is in `pages` and may be read */
	PVSCHED_SLOT_DISABLE,
	PVSCHED_SLOT_HVA, /* before ENABLE: the page is a copy of the guest's, which is at value */
	PVSCHED_SLOT_CHAIN, /* chain = value */
	PVSCHED_SLOT_POLICY, /* policy = value; the timer is this object's from here on */
	PVSCHED_SLOT_BASE, /* value = pvsched_base_value() of what somebody else set */
	PVSCHED_SLOT_FINI,
	PVSCHED_SLOT_SETTLE, /* an actuator in the kernel: apply the desired word now */
};

static inline __u64 pvsched_base_value(__s32 prio, __u32 policy, __s32 nice)
{
	return (__u64)(__u16)prio << 16 | (__u64)(__u8)policy << 8 | (__u8)nice;
}

struct pvsched_slot_arg {
	__u32 slot;
	__u32 op; /* or, for the agents' program, the PVSCHED_EV_* */
	__u64 value; /* ENABLE: features */
};

struct pvsched_counters {
	__u64 events[12]; /* by bit number of PVSCHED_EV_* */
	__u64 denied_throttle;
	__u64 denied_gap;
	__u64 denied_rate;
	__u64 bad_words;
	__u64 hints;
	__u64 hints_lost; /* ring full: costs latency until the next event or expiry */
	__u64 races; /* lost a compare-and-swap of desired: the winner's decision stands */
	__u64 second_line; /* a boost outlived its expiry: bpf_timer called for help */
	__u64 revoked; /* boosts taken back for real-time work of the host */
	__u64 tsc_unknown; /* next_event ignored: the vCPU's TSC offset is not known */
};

/* One registered vCPU thread. */
struct pvsched_vcpu {
#ifdef __bpf__
	struct bpf_timer timer;
#else
	__u64 timer[2]; /* reads as zero, writes are ignored */
#endif
	/* set by the broker at registration, constant while flags has USED, but for base_*, which
	 * follow what somebody else sets */
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
	__u32 policy; /* id of the policy that serves it; 0 = none */
	__u32 exit_reason; /* enum pvsched_exit, of the last VMEXIT */
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
	__u64 denied_rate;
	__u64 host_rt_until; /* no boost before: real-time work of the host has this CPU */
	__u64 asked_ns; /* the time timer_at stood for, when a boost ahead came of it; 0 = none */
	__u32 lead_avg; /* ns from asked_ns to SCHED_IN: smoothed mean, mean deviation */
	__u32 lead_dev;
	__u32 placed; /* CPU + 1 whose ids stand in `placement`; 0 = none since ENABLE */
	__u32 woken; /* it waits since a wake-up, not since a preemption */
	/* what boosts cost others: their run delay, summed, while this one ran boosted */
	__u64 harm_ns;
	__u64 hva; /* of the guest's page in its VMM, where `pages` has a copy; 0 = it is the page */
	__u64 missed; /* times its words could not be read there */
	__u32 others; /* that wanted the CPU when it got it boosted */
	__u32 elsewhere; /* it went to sleep, and not in KVM */
	__u32 denied[PVSCHED_REASONS][PVSCHED_DENIALS]; /* by what the policy wanted a boost for */
	/* from the decision to boost a vCPU that waits to its SCHED_IN */
	__u64 reach_ns; /* when; 0 = none is out */
	__u64 reach_rq; /* its run queue then, and that one's count of context switches */
	__u64 reach_switches;
	__u64 reached; /* how often it was the same run queue's SCHED_IN ... */
	__u64 reach_added; /* ... and how many switches there were in all beyond the one to it */
};

/* Under a policy without events, or none, it runs and waits unseen: who serves it next must not take that for one long
 * time. */
static __always_inline void pvsched_unseen(struct pvsched_vcpu *v)
{
	v->in_ns = v->off_ns = v->wait_ns = v->reach_ns = v->asked_ns = 0;
	v->woken = 0;
	v->state = PVSCHED_STATE_UNKNOWN;
}

struct pvsched_cpu {
	struct pvsched_counters count;
};

/* {tgid, vCPU id} -> slot + 1: whom an interrupt is for, when a thread of that VMM raises it. */
struct pvsched_apic_key {
	__u32 tgid;
	__u32 apic_id;
};

/* What is shared, by name; arrays where the module decides. */
enum pvsched_map {
	PVSCHED_MAP_VCPUS,
	PVSCHED_MAP_SHARED,
	PVSCHED_MAP_PAGES,
	PVSCHED_MAP_RINGS,
	PVSCHED_MAP_CPUS,
	PVSCHED_MAP_DEBTS,
	PVSCHED_MAP_LIMITS,
	PVSCHED_MAP_APICS,
	PVSCHED_MAP_DELAYS,
	PVSCHED_MAP_REACH,
	PVSCHED_MAP_N
};

/* What the code that all actuators share asks of one: bits of its kind, so that it names none. */
enum pvsched_actuator_trait {
	PVSCHED_ACTS_IN_KERNEL = 1 << 8, /* told by a call, not a ring; ends boosts by itself */
	PVSCHED_ACTS_BY_ORDER = 1 << 9, /* a boost leaves the kernel's priority number as it is */
	PVSCHED_ACTS_BY_WORKERS = 1 << 10, /* threads of the kernel's do: worker_of_cpu */
};

enum pvsched_actuator_kind {
	/* threads: told by rings, they change a thread's scheduling */
	PVSCHED_ACTUATOR_AGENT = 0,
	/* the scheduler itself: a thread's scheduling stays as it is */
	PVSCHED_ACTUATOR_SCX = 1 | PVSCHED_ACTS_IN_KERNEL | PVSCHED_ACTS_BY_ORDER,
	/* a kernel module: its threads do what agents do */
	PVSCHED_ACTUATOR_KMOD = 2 | PVSCHED_ACTS_IN_KERNEL | PVSCHED_ACTS_BY_WORKERS,
	/* between two of them: all go back to their baselines */
	PVSCHED_ACTUATOR_NONE = 3 | PVSCHED_ACTS_IN_KERNEL,
	/* the same module, which takes the decisions, too */
	PVSCHED_ACTUATOR_KMOD_POLICY = 4 | PVSCHED_ACTS_IN_KERNEL | PVSCHED_ACTS_BY_WORKERS,
};

struct pvsched_config {
	__u64 lead_ns; /* boost this long before next_event; 0 = each vCPU's own measure */
	__u64 grace_ns;
	__u64 slack_ns; /* after an expiry, before the second line is called */
	__u64 min_ns; /* boosts shorter than this are not worth an actuation */
	__u64 act_ns; /* what carrying a boost out takes of its CPU, there and back; charged with it */
	__u32 agent_tgid; /* how a program knows an agent: the broker's process ... */
	__u32 agent_prio; /* ... at this kernel priority */
	__u32 payback; /* boosted time is paid back by a worse nice */
	__u32 boost_prio; /* best kernel priority of a boost; real-time ones at or behind it clash */
	__u32 actuator; /* enum pvsched_actuator_kind: who carries decisions out now */
	__u32 reserved;
};

/*
 * What holds for a slot, changed while it is served: the broker writes the copy that idx does not
 * name and then idx, so nobody sees half of a change. A reader uses one copy for one decision; it
 * would have to be slower than two requests of an operator to see it written.
 */
struct pvsched_slot_limits {
	__u32 idx;
	__u32 reserved;
	struct pvsched_limits copy[2];
};

/* Places in `debts`: of slots, VMs and CPUs. Pinned, so a new layout needs a new name there. */
#define PVSCHED_DEBTS_LAYOUT  "1"
#define PVSCHED_DEBT_VM(vm)   (PVSCHED_SLOTS + (vm))
#define PVSCHED_DEBT_CPU(cpu) (PVSCHED_SLOTS + PVSCHED_VMS + (cpu))
#define PVSCHED_DEBTS	      (PVSCHED_SLOTS + PVSCHED_VMS + PVSCHED_CPUS)

/* Clock: TSC to CLOCK_MONOTONIC. Agents refresh it when they wake anyway: NTP slews at most
 * 500 ppm, so a conversion is off by at most 0.5 us per ms of age. Two copies; idx names the
 * valid one, so a reader never sees half of one. */
struct pvsched_clock {
	__u64 tsc;
	__u64 ns;
	__u64 mult; /* ns per tick, << 24 */
};

/*
 * How long before next_event a boost must begin: the time from the moment asked for to the
 * boosted vCPU's SCHED_IN, or until it was boosted if it slept on, smoothed as TCP smooths its
 * round-trip time (RFC 6298: gains 1/8 and 1/4), plus what KVM takes to enter the guest. Mean + 1
 * deviation, not TCP's 4: a boost that comes late costs a little latency, one that comes early
 * takes time from the neighbours.
 */
#define PVSCHED_LEAD_FIRST_NS 120000
#define PVSCHED_LEAD_MIN_NS   20000
#define PVSCHED_LEAD_MAX_NS   300000
#define PVSCHED_ENTRY_NS      10000
/* KVM's timer goes off as much before the guest's time, at most (lapic_timer_advance): what one that is in the
 * guest by then gains. The deviation that agents' wake-ups have makes up for it; where none are, it is added. */
#define PVSCHED_ADVANCE_NS 5000

static __always_inline __u64 pvsched_lead(__u32 avg, __u32 dev, __u32 entry_ns)
{
	__u64 lead = avg ? (__u64)avg + dev + entry_ns : PVSCHED_LEAD_FIRST_NS;

	if (lead < PVSCHED_LEAD_MIN_NS)
		return PVSCHED_LEAD_MIN_NS;
	return lead < PVSCHED_LEAD_MAX_NS ? lead : PVSCHED_LEAD_MAX_NS;
}

/* woken: when it began to wait; 0 = not known. A vCPU that sleeps past its boost runs when its
 * timer wakes it, a lead later: that would measure the lead, and make it longer each time. */
static __always_inline __u64 pvsched_lead_took(__u64 asked, __u64 woken, __u64 applied, __u64 now)
{
	__u64 end = applied > asked && applied < woken ? applied : now;

	return end > asked ? end - asked : 0;
}

static __always_inline void pvsched_lead_sample(__u32 *avg, __u32 *dev, __u64 took)
{
	__u32 err;

	/* an outlier is the machine's hiccup, not its habit */
	if (took > PVSCHED_LEAD_MAX_NS)
		took = PVSCHED_LEAD_MAX_NS;
	if (!*avg) {
		*avg = took + 1;
		*dev = took / 2;
		return;
	}
	err = took > *avg ? took - *avg : *avg - took;
	*avg += took > *avg ? err / 8 : -(err / 8);
	*dev += err > *dev ? (err - *dev) / 4 : -((*dev - err) / 4);
}

/* util_avg (1024 = all of a CPU; halves every 32 ms) of who used less than 1/8 of the CPU lately:
 * for one that was idle before, 6 ms at a stretch */
#define PVSCHED_BRIEF_UTIL  128
#define PVSCHED_BRIEF_MOST  3 /* so many at once: the utilisation of who runs speaks for them ... */
#define PVSCHED_BUSY_UTIL   512 /* ... unless the fair ones need more than half of the CPU */
#define PVSCHED_PRIO_RT_MAX 100 /* kernel priorities below are real-time or deadline */

/*
 * Brief are one that rarely runs or is real-time; a few, if such a one runs and no hog waits behind
 * it; and any number that together did not need much. util, prio: of who runs; above: utilisation of
 * all the CPU's fair tasks above the vCPU's own.
 */
static __always_inline __u32 pvsched_rivals_of(__u32 others, __u64 util, __s64 above, __u32 prio)
{
	int brief = util < PVSCHED_BRIEF_UTIL || prio < PVSCHED_PRIO_RT_MAX;

	if (!others)
		return PVSCHED_RIVALS_NONE;
	if (brief && (others == 1 || (others <= PVSCHED_BRIEF_MOST && above < PVSCHED_BUSY_UTIL)))
		return PVSCHED_RIVALS_BRIEF;
	return above < PVSCHED_BRIEF_UTIL ? PVSCHED_RIVALS_BRIEF : PVSCHED_RIVALS_MANY;
}

/* Is the thread better than its baseline, now, by what the word asks for? */
static __always_inline int pvsched_word_boosts(__u64 word, __u64 now, __u32 base_policy,
					       __s32 base_nice)
{
	return pvsched_word_active(word, now) &&
	       pvsched_is_boost(PVSCHED_WORD_LEVEL(word), PVSCHED_WORD_VALUE(word), base_policy,
				base_nice);
}

/* Payback lasts this long unless a boost comes first, which then decides anew when it ends: a
 * vCPU that is boosted each ms costs no wake-up more than without. */
#define PVSCHED_PAYBACK_NS   4000000ull
#define PVSCHED_YIELD_MAX_NS 100000000ull /* a level that only gives way is asked for again then */

/* An agent sleeps no longer for a vCPU: what is further away is its bpf_timer's. */
#define PVSCHED_WATCH_NS 20000000ull

/* No boost for so long after one was taken back for real-time work of the host: by then its task
 * stands before the vCPU in the queue of their priority. */
#define PVSCHED_HOST_RT_NS 1000000ull

#define PVSCHED_TSC_SHIFT 24

/* By more than one in 512: the machine slept, and TSC or clock did not go on as the other. NTP slews by one in 2,000
 * at most. */
static __always_inline int pvsched_rate_steps(__u64 mult, __u64 last)
{
	return (mult > last ? mult - last : last - mult) > last >> 9;
}

#define PVSCHED_NEXT_MAX_NS 10000000000ll

/* (a * b) >> shift, the low 64 bits; shift 1 to 63. */
static __always_inline __u64 pvsched_mul_shift(__u64 a, __u64 b, __u32 shift)
{
	__u64 al = (__u32)a, ah = a >> 32, bl = (__u32)b, bh = b >> 32;
	__u64 middle = (al * bl >> 32) + (__u32)(al * bh) + (__u32)(ah * bl);
	__u64 high = ah * bh + (al * bh >> 32) + (ah * bl >> 32) + (middle >> 32);

	return (middle << 32 | (__u32)(al * bl)) >> shift | high << (64 - shift);
}

/*
 * Guest TSC to host TSC near `tsc`, as KVM scales it: guest = (host * ratio >> fraction) + offset.
 * The ratio is a fixed-point number with 32 binary places on SVM, where it is below 256, and 48 on
 * VMX, where a guest that slow does not exist; 0 and 1 say that nothing is scaled. 24 places are
 * used for the difference: 1 tick in 16 million. It is clamped as in pvsched_tsc_to_ns().
 */
static __always_inline __u64 pvsched_host_tsc(__u64 guest, __u64 offset, __u64 ratio, __u64 tsc)
{
	__u32 fraction = ratio < 1ull << 40 ? 32 : 48;
	__u64 scale = ratio >> (fraction - 24), ticks;
	const __u64 max = 1ull << 34;

	if (ratio <= 1 || ratio == 1ull << fraction || !scale)
		return guest - offset;
	ticks = guest - (pvsched_mul_shift(tsc, ratio, fraction) + offset);
	if ((__s64)ticks < 0) {
		ticks = -ticks;
		return tsc - ((ticks > max ? max : ticks) << 24) / scale;
	}
	return tsc + ((ticks > max ? max : ticks) << 24) / scale;
}

/*
 * A TSC value to CLOCK_MONOTONIC by the clock (tsc, ns, mult). The value comes from a guest and may
 * be any 64-bit number: the difference is clamped to +-2^34 ticks (over 4 s at 4 GHz) before it is
 * scaled, so nothing overflows, and the result to now + PVSCHED_NEXT_MAX_NS. 0 = before boot.
 */
static __always_inline __u64 pvsched_tsc_to_ns(__u64 value, __u64 tsc, __u64 base_ns, __u64 mult,
					       __u64 now)
{
	__s64 ticks = (__s64)(value - tsc), ns;
	const __s64 max = 1ll << 34;

	if (ticks > max)
		ticks = max;
	if (ticks < -max)
		ticks = -max;
	ns = (ticks * (__s64)mult >> PVSCHED_TSC_SHIFT) + (__s64)base_ns;
	if (ns > (__s64)now + PVSCHED_NEXT_MAX_NS)
		ns = (__s64)now + PVSCHED_NEXT_MAX_NS;
	return ns > 0 ? (__u64)ns : 0;
}

#endif
