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
 * A stretch bounds contiguous boosts: unboosted time pays boosted time back one to one, and no
 * more than `cap` may be owed. Who has used the cap up gets nothing for as long as he had it.
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
	__u32 rate_q10; /* rate * 1024, rounded down, 1..1024 */
	__u32 cost_q10; /* 1024 / rate, rounded up: ns to repay one boosted ns, * 1024 */
};

/* Fills conf from a rate in percent (1..100) and a burst in ns. User space only: divides. */
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

/* Returns the length of the boost that ends, 0 if none was in force. */
static __always_inline __u64 pvsched_stretch_off(struct pvsched_stretch *s, __u64 now, __u64 cap_ns)
{
	__u64 len;

	if (!s->on_ns)
		return 0;
	len = now > s->on_ns ? now - s->on_ns : 0;
	s->sum_ns += len;
	s->off_ns = now;
	s->on_ns = 0;
	if (s->sum_ns >= cap_ns)
		s->hold_ns = now + s->sum_ns;
	return len;
}

#endif
