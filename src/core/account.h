/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Accounting: how much better than its baseline a vCPU may run. Two primitives, pure and O(1),
 * used by the BPF programs (which charge), by the agent (which refuses) and by unit tests.
 *
 * A bucket bounds a share: one word, the time at which the debt will be paid (the "theoretical
 * arrival time" of the generic cell rate algorithm, ITU-T I.371). Charging x ns of boosted time
 * moves it x / rate into the future; time pays it back. Over any window of W ns
 *
 *	boosted <= rate * W + burst
 *
 * plus what one grant may overshoot. rate 1/2 is a debt with 1:1 recovery: a boosted ns is paid
 * by an unboosted one.
 *
 * A rate bounds their number the same way: each costs the time in which one is earned.
 *
 * A stretch bounds contiguous boosts: unboosted time pays boosted time back one to one, and no
 * more than `cap` may be owed. Who has used the cap up gets nothing for as long as he had it. A vCPU has
 * one, and so has a CPU: vCPUs that take turns there are to others what one of them is.
 *
 * The bounds as formulas: spec/accounting.md. tests/unit/account_model.c holds this file against
 * a model that knows nothing but those.
 */
#ifndef PVSCHED_CORE_ACCOUNT_H
#define PVSCHED_CORE_ACCOUNT_H

#include <linux/types.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

struct pvsched_bucket_conf {
	__u64 burst_ns; /* boosted time that may be taken at once */
	__u64 horizon_ns; /* burst_ns / rate: debt, in time to repay, at which nothing is left */
	__u32 rate_q10; /* rate * 1024, rounded down; above 1024 for vCPUs that run at once */
	__u32 cost_q10; /* 1024 / rate, rounded up: ns to repay one boosted ns, * 1024 */
};

/* Fills conf from a rate in percent of a CPU (1 to 100 for each vCPU) and a burst in ns. User space
 * only: divides. */
static inline struct pvsched_bucket_conf pvsched_bucket_conf(__u32 percent, __u64 burst_ns)
{
	struct pvsched_bucket_conf c = { .burst_ns = burst_ns };

	c.rate_q10 = percent * 1024 / 100;
	c.cost_q10 = (1024u * 1024u + c.rate_q10 - 1) / c.rate_q10;
	c.horizon_ns = (burst_ns << 10) / c.rate_q10;
	return c;
}

/* Boosted ns that may still be taken at now. */
static __always_inline __u64 pvsched_bucket_left(__u64 paid_at, __u64 now,
						 const struct pvsched_bucket_conf *c)
{
	__u64 debt = paid_at > now ? paid_at - now : 0;

	return debt >= c->horizon_ns ? 0 : (c->horizon_ns - debt) * c->rate_q10 >> 10;
}

/* The bucket's word after boosted_ns, which ended at now. Rounds up. Charged as of its start: the time
 * while it was taken pays already, which is what makes the bound above exact. */
static __always_inline __u64 pvsched_bucket_charge(__u64 paid_at, __u64 now, __u64 boosted_ns,
						   const struct pvsched_bucket_conf *c)
{
	__u64 start = now - boosted_ns;

	return (paid_at > start ? paid_at : start) + ((boosted_ns * c->cost_q10 + 1023) >> 10);
}

struct pvsched_rate_conf {
	__u64 every_ns; /* a boost is earned in this time, rounded up; 0 = no bound */
	__u64 horizon_ns; /* every_ns * (boosts at once - 1): debt at which the next one must wait */
};

/* Fills conf from boosts per second and how many of them may come at once. User space only. */
static inline struct pvsched_rate_conf pvsched_rate_conf(__u32 per_s, __u32 at_once)
{
	struct pvsched_rate_conf c = { 0 };

	if (!per_s)
		return c;
	c.every_ns = (1000000000ull + per_s - 1) / per_s;
	c.horizon_ns = at_once > 1 ? c.every_ns * (at_once - 1) : 0;
	return c;
}

/* How long a boost that would begin now has to wait; 0 = it may begin. */
static __always_inline __u64 pvsched_rate_wait(__u64 paid_at, __u64 now,
					       const struct pvsched_rate_conf *c)
{
	if (!c->every_ns)
		return 0;
	return paid_at > now + c->horizon_ns ? paid_at - now - c->horizon_ns : 0;
}

/* The rate's word after a boost that began at now. */
static __always_inline __u64 pvsched_rate_charge(__u64 paid_at, __u64 now,
						 const struct pvsched_rate_conf *c)
{
	return (paid_at > now ? paid_at : now) + c->every_ns;
}

/*
 * Payback: a boost moves a vCPU's time forward, it does not add to it. What a vCPU runs at better
 * than its baseline, its weighted share does not see (a real-time task has no virtual run time), so
 * it is owed; and for as long as something is owed the vCPU runs PVSCHED_PAYBACK_STEPS nice steps
 * below its baseline, where a ns of running counts for more than one of its weighted share: the
 * surplus pays. Which share that is need not be known. Sleeping pays, too: 1 to 1.
 */
#define PVSCHED_PAYBACK_STEPS  5
#define PVSCHED_PAYBACK_Q10    2106 /* (1024 / 335 - 1) * 1024: weights of nice 0 and 5 */
#define PVSCHED_OWED_MAX_NS    20000000ll /* more is forgiven: the budgets bound boosts, not this */
#define PVSCHED_OWED_CREDIT_NS 2000000ll /* paid in advance */

static __always_inline __s64 pvsched_owed_add(__s64 owed, __u64 boosted_ns)
{
	if (boosted_ns > (__u64)(PVSCHED_OWED_MAX_NS + PVSCHED_OWED_CREDIT_NS))
		return PVSCHED_OWED_MAX_NS;
	owed += boosted_ns;
	return owed < PVSCHED_OWED_MAX_NS ? owed : PVSCHED_OWED_MAX_NS;
}

static __always_inline __s64 pvsched_owed_pay(__s64 owed, __u64 paid_ns)
{
	if (paid_ns > (__u64)(PVSCHED_OWED_MAX_NS + PVSCHED_OWED_CREDIT_NS))
		return -PVSCHED_OWED_CREDIT_NS;
	owed -= paid_ns;
	return owed > -PVSCHED_OWED_CREDIT_NS ? owed : -PVSCHED_OWED_CREDIT_NS;
}

/* What running for ns below the baseline pays. */
static __always_inline __u64 pvsched_owed_paid(__u64 ns)
{
	return ns >= 1ull << 32 ? ns : ns * PVSCHED_PAYBACK_Q10 >> 10;
}

struct pvsched_stretch {
	__u64 on_ns; /* start of the boost in force; 0 = none is */
	__u64 off_ns; /* end of the last boost; 0 = never boosted */
	__u64 sum_ns; /* owed at the start of the boost in force, or else at off_ns */
	__u64 hold_ns; /* no boost before: the gap after a cap that was used up */
};

static __always_inline __u64 pvsched_stretch_owed(const struct pvsched_stretch *s, __u64 now)
{
	__u64 gap = now > s->off_ns ? now - s->off_ns : 0;

	if (s->on_ns)
		return s->sum_ns + (now > s->on_ns ? now - s->on_ns : 0);
	return s->sum_ns > gap ? s->sum_ns - gap : 0;
}

/* How long a boost that is in force, or starts at now, may last from now on. */
static __always_inline __u64 pvsched_stretch_left(const struct pvsched_stretch *s, __u64 now,
						  __u64 cap_ns)
{
	__u64 owed = pvsched_stretch_owed(s, now);

	if (owed >= cap_ns || (!s->on_ns && now < s->hold_ns))
		return 0;
	return cap_ns - owed;
}

static __always_inline void pvsched_stretch_on(struct pvsched_stretch *s, __u64 now)
{
	if (s->on_ns)
		return;
	s->sum_ns = pvsched_stretch_owed(s, now);
	s->on_ns = now;
}

/* Returns the length of the boost that ends, 0 if none was in force. gap_ns: the gap after a cap
 * that was used up is at least this long, and never shorter than what is owed. */
static __always_inline __u64 pvsched_stretch_off(struct pvsched_stretch *s, __u64 now, __u64 cap_ns,
						 __u64 gap_ns)
{
	__u64 len;

	if (!s->on_ns)
		return 0;
	len = now > s->on_ns ? now - s->on_ns : 0;
	s->sum_ns += len;
	s->off_ns = now;
	s->on_ns = 0;
	if (s->sum_ns >= cap_ns)
		s->hold_ns = now + (s->sum_ns > gap_ns ? s->sum_ns : gap_ns);
	return len;
}

/* A boost of ns that ended at now, told of in one. */
static __always_inline void pvsched_stretch_ran(struct pvsched_stretch *s, __u64 now, __u64 ns,
						__u64 cap_ns, __u64 gap_ns)
{
	pvsched_stretch_on(s, now - ns);
	pvsched_stretch_off(s, now, cap_ns, gap_ns);
}

/*
 * A task of the host that woke and waits for its turn loses at most the cap of that wait to boosts, however many
 * gaps are in it: a stretch is paid back by the time of whoever runs, a wait only by its end. None begins that
 * would take more than half of it; one in force goes on to its expiry. The other half is for what boosts bring along: their agents' work, and the rest of a turn that one kept it from
 * cutting short. With all of the cap it ran up to 1.14 caps later at p99 (tests/native/host_harm on 6.12). One
 * task for each CPU, the first that waits; after PVSCHED_WAIT_NS it counts as one of those that always want the
 * CPU.
 */
#define PVSCHED_WAIT_NS 8000000ull

static __always_inline __u64 pvsched_waiter_cap(__u64 cap_ns)
{
	return cap_ns / 2;
}

struct pvsched_waiter {
	__u64 task; /* the kernel's address of it; 0 = nobody is known to wait */
	__u64 exec_ns; /* what it had run when it woke: more = it had its turn */
	__u64 since_ns; /* when it woke */
	__u64 taken_ns; /* of its CPU's debt, then */
	__u32 tid;
	__u32 reserved;
};

/* Boosted ns that may still be taken of its wait; taken: of its CPU's debt, when it woke and now. */
static __always_inline __u64 pvsched_waiter_left(__u64 taken_before_ns, __u64 taken_ns,
						 __u64 cap_ns)
{
	__u64 taken = taken_ns > taken_before_ns ? taken_ns - taken_before_ns : 0;
	__u64 most = pvsched_waiter_cap(cap_ns);

	return taken < most ? most - taken : 0;
}

/* What holds for one vCPU: its own values, else its VM's, else the host's. */
struct pvsched_limits {
	struct pvsched_bucket_conf cs; /* the vCPU's critical sections and interrupts */
	struct pvsched_bucket_conf all; /* the vCPU's boosts */
	struct pvsched_bucket_conf vm; /* those of all vCPUs of its VM */
	struct pvsched_bucket_conf cpu; /* those of all vCPUs on the CPU where it runs */
	struct pvsched_rate_conf rate;
	__u64 cap_ns; /* contiguous cap */
	__u64 gap_ns; /* after a cap that was used up, at least */
	__u32 ceiling; /* highest SCHED_FIFO priority of a boost */
	__u32 reserved;
};

/*
 * What a vCPU, a VM or a CPU has taken. Times are CLOCK_MONOTONIC ns, so it means the same to the
 * next broker on this boot. The first line is BPF's, the second the actuator's: it keeps its own
 * count of the same thing, by wall time, and refuses on it whatever BPF asks.
 */
struct pvsched_debt {
	__u32 id; /* tid; of a VM: its process's. 0 = never used. The broker's, with start */
	__u32 throttled; /* latch: stays until half of the burst is repaid */
	__u64 start; /* of that thread or process, clock ticks since boot: tids are reused */
	__u64 paid_at; /* bucket; of a VM nothing else is used */
	__u64 cs_paid_at;
	__u64 rate_paid_at; /* of a CPU: of looks, see pvsched_cpu_look() */
	__s64 owed_ns; /* boosted time to pay back */
	__u64 taken_ns; /* of a CPU: boosted there, ever */
	__u64 reserved;

	struct pvsched_stretch stretch; /* of a CPU it is BPF's, under its run queue lock */
	__u64 wall_paid_at;
	__u64 wall_rate_paid_at;
	__u64 reserved_too[2];
};

/* Boosted ns that vCPU, VM and CPU together allow at now. min_ns: less is not worth it, and then
 * the vCPU gets nothing until half of its burst is back, rather than crumbs. */
static __always_inline __u64 pvsched_debt_left(struct pvsched_debt *d, __u64 vm_paid_at,
					       __u64 cpu_paid_at, __u64 now, __u64 min_ns,
					       const struct pvsched_limits *l)
{
	__u64 left = pvsched_bucket_left(d->paid_at, now, &l->all), x;

	if (left < min_ns)
		d->throttled = 1;
	else if (d->throttled && left >= l->all.burst_ns / 2)
		d->throttled = 0;
	if (d->throttled)
		return 0;
	x = pvsched_bucket_left(vm_paid_at, now, &l->vm);
	left = x < left ? x : left;
	x = pvsched_bucket_left(cpu_paid_at, now, &l->cpu);
	return x < left ? x : left;
}

/* boosted_ns that ended at now, of the CPU: it pays for who carried it out there, too. */
static __always_inline void pvsched_cpu_charge(struct pvsched_debt *cpu, __u64 now,
					       __u64 boosted_ns, __u64 act_ns,
					       const struct pvsched_limits *l)
{
	cpu->paid_at =
		pvsched_bucket_charge(cpu->paid_at, now + act_ns, boosted_ns + act_ns, &l->cpu);
	cpu->taken_ns += boosted_ns;
	pvsched_stretch_ran(&cpu->stretch, now, boosted_ns, l->cap_ns, l->gap_ns);
}

/*
 * Looks of an agent at times that guests chose and that no boost came of: a tenth of its CPU, look_ns each
 * (0 = free), and 40 at once. Apart from the CPU's bucket, which no guest's looks may take from the boosts of
 * others. Returns how long the next one waits; 0 = need not.
 */
#define PVSCHED_LOOKS_AT_ONCE 40
static __always_inline __u64 pvsched_cpu_look(struct pvsched_debt *cpu, __u64 now, __u64 look_ns)
{
	struct pvsched_rate_conf c = { look_ns * 10, look_ns * 10 * (PVSCHED_LOOKS_AT_ONCE - 1) };

	cpu->rate_paid_at = pvsched_rate_charge(cpu->rate_paid_at, now, &c);
	return pvsched_rate_wait(cpu->rate_paid_at, now, &c);
}

/* boosted_ns that ended at now: the vCPU's own buckets. */
static __always_inline void pvsched_debt_charge(struct pvsched_debt *d, __u64 now, __u64 boosted_ns,
						int is_cs, const struct pvsched_limits *l)
{
	if (is_cs)
		d->cs_paid_at = pvsched_bucket_charge(d->cs_paid_at, now, boosted_ns, &l->cs);
	d->paid_at = pvsched_bucket_charge(d->paid_at, now, boosted_ns, &l->all);
	d->owed_ns = pvsched_owed_add(d->owed_ns, boosted_ns);
}

/*
 * The actuator's own count: a boost that is in force, or would begin at now, ends at the returned
 * time at the latest; now or earlier = there must be none. By wall time, which is never less than
 * what the thread ran, and with twice the bursts: BPF's count binds first while it is right.
 */
static __always_inline __u64 pvsched_wall_until(const struct pvsched_debt *d, __u64 now,
						const struct pvsched_limits *l)
{
	struct pvsched_bucket_conf twice = l->all;
	struct pvsched_rate_conf rate = l->rate;
	__u64 start = d->stretch.on_ns ? d->stretch.on_ns : now, until, x;

	twice.horizon_ns *= 2;
	rate.horizon_ns = rate.horizon_ns * 2 + rate.every_ns;
	if (!d->stretch.on_ns && pvsched_rate_wait(d->wall_rate_paid_at, now, &rate))
		return now;
	until = now + pvsched_stretch_left(&d->stretch, now, l->cap_ns);
	x = start + pvsched_bucket_left(d->wall_paid_at, start, &twice);
	return x < until ? x : until;
}

static __always_inline void pvsched_wall_on(struct pvsched_debt *d, __u64 now,
					    const struct pvsched_limits *l)
{
	if (!d->stretch.on_ns)
		d->wall_rate_paid_at = pvsched_rate_charge(d->wall_rate_paid_at, now, &l->rate);
	pvsched_stretch_on(&d->stretch, now);
}

/* Returns the length of the boost that ends, 0 if none was in force. */
static __always_inline __u64 pvsched_wall_off(struct pvsched_debt *d, __u64 now,
					      const struct pvsched_limits *l)
{
	__u64 len = pvsched_stretch_off(&d->stretch, now, l->cap_ns, l->gap_ns);

	if (len)
		d->wall_paid_at = pvsched_bucket_charge(d->wall_paid_at, now, len, &l->all);
	return len;
}

#endif
