/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the module pvsched.ko is told, and what is noted when it has changed a thread. What apply.c does
 * for agents, but for the change itself: the actuator's own count of ceiling, cap, rate and share
 * before it is told; `applied`, `grant`, times and counters after the change took effect.
 *
 * Compiled as events/decide.h is: for BPF (kmod.bpf.c) and into the module itself (module/engine.h).
 * Beside what that asks for: took_of, want, acts, worker_of_cpu, this_tid, clocks, clock_idx.
 */
#ifndef PVSCHED_KMOD_NOTE_H
#define PVSCHED_KMOD_NOTE_H

#include "../../events/decide.h"
#include "../grant.h"
#include "took.h"
#include "uapi.h"

/* What of the desired word the actuator's own count allows: the word itself, one that ends earlier,
 * or the baseline. See allowed_until() of apply.c. */
static __always_inline __u64 allowed(struct pvsched_vcpu *v, struct pvsched_shared *s,
				     struct pvsched_debt *d, const struct pvsched_limits *l,
				     __u64 word, __u64 now)
{
	__u8 level = PVSCHED_WORD_LEVEL(word), reason = PVSCHED_WORD_REASON(word);
	__u64 base = pvsched_word(PVSCHED_WORD_SEQ(word), PVSCHED_LEVEL_BASE, 0, reason, now);
	__s8 value = PVSCHED_WORD_VALUE(word);
	__u64 until, most;

	if (!pvsched_word_active(word, now))
		return base;
	if (!pvsched_is_boost(level, value, v->base_policy, v->base_nice))
		return word;
	until = now + (__u64)pvsched_word_left(word, now);
	most = pvsched_wall_until(d, now, l);
	if (level == PVSCHED_LEVEL_RT && (value < 1 || (__u32)value > l->ceiling))
		most = now;
	if (most < until)
		until = most;
	if (until <= now + (MEMBER(d, stretch.on_ns) ? 0 : config.min_ns / 2)) {
		s->refused++;
		return base;
	}
	return pvsched_word(PVSCHED_WORD_SEQ(word), level, value, reason, until);
}

/* A slot's desired word has changed. Global: verified once. ~100 ns. */
__noinline int pvsched_tell(__u32 slot, __u32 event, __u64 now)
{
	struct pvsched_shared *s = shared_of(slot);
	const struct pvsched_limits *l = limits_of(slot);
	struct pvsched_vcpu *v = vcpu_of_slot(slot);
	struct pvsched_debt *d = debt_at(slot);
	struct pvsched_cpu *c = this_cpu();
	__u64 word;

	asm volatile(
		""
		:
		: "r"(event)); /* clang passes nothing for what is not used; the verifier minds */
	if (!v || !s || !l || !d)
		return 0;
	if (!acts()) { /* the broker is about to begin, or to end */
		hint(v->cpu, slot, now, c);
		return 0;
	}
	for (int i = 0; i < 3; i++) {
		word = MEMBER(s, desired);
		if (want(slot, allowed(v, s, d, l, word, now), v->cpu)) {
			count(c, hints_lost);
			return 0;
		}
		count(c, hints);
		/* who decided meanwhile may have called before us, and now the older word stands */
		if (MEMBER(s, desired) == word)
			break;
	}
	return 0;
}

/* The second line: the module's own timer did not come, or its thread. */
static int on_expiry(struct pvsched_vcpu *v, __u32 slot, __u64 now)
{
	struct pvsched_cpu *c = this_cpu();

	count(c, second_line);
	pvsched_tell(slot, PVSCHED_EV_TIMER, now);
	arm(v, now + config.slack_ns, now);
	return 0;
}

/* The thread runs as the word says from now on: what end_boost() and tell_guest() of apply.c do.
 * Returns whether it did not before. */
static __always_inline int note(struct pvsched_vcpu *v, struct pvsched_shared *s,
				struct pvsched_debt *d, const struct pvsched_limits *l, __u32 slot,
				__u64 word, __u64 now)
{
	__u8 level = PVSCHED_WORD_LEVEL(word), reason = PVSCHED_WORD_REASON(word);
	__u64 applied = MEMBER(s, applied), on = MEMBER(d, stretch.on_ns), from;
	struct pvsched_kmod_took *t = took_of(slot);
	__s8 value = PVSCHED_WORD_VALUE(word);
	int boosted = pvsched_is_boost(level, value, v->base_policy, v->base_nice);

	if (!t || (level == PVSCHED_WORD_LEVEL(applied) &&
		   (level == PVSCHED_LEVEL_BASE || value == PVSCHED_WORD_VALUE(applied))))
		return 0;
	if (boosted)
		MEMBER(s, boosted_for) = reason;
	if (boosted && !on) {
		pvsched_wall_on(d, now, l);
		s->boosts++;
		t->granted[reason & (PVSCHED_REASONS - 1)]++;
		from = MEMBER(s, event_ns);
		if (from && now > from)
			pvsched_hist_add(&t->apply, now - from);
	} else if (!boosted && on) {
		if (now > on)
			pvsched_hist_add(&t->boost, now - on);
		s->boosted_wall_ns += pvsched_wall_off(d, now, l);
	}
	if (level == PVSCHED_LEVEL_BASE) {
		if (MEMBER(s, foreign) & PVSCHED_FOREIGN_POLICY) {
			reason = PVSCHED_REASON_EXTERNAL;
		} else if (reason == PVSCHED_REASON_PAYBACK) {
			reason = PVSCHED_REASON_NONE;
		} else if (PVSCHED_WORD_LEVEL(MEMBER(s, desired)) != PVSCHED_LEVEL_BASE) {
			reason = PVSCHED_REASON_EXPIRED;
			s->expired++;
		}
	}
	/* accounting reads the times when it sees the level change: they come before the word */
	MEMBER(s, applied_ns) = now;
	MEMBER(s, applied) = pvsched_word(PVSCHED_WORD_SEQ(word), level, value, reason,
					  (__u64)(__u32)word << 10);
	grant(v, s, slot, word, boosted, reason);
	/* A full barrier: pairs with the guest's between clearing its urgency and reading grant. Either
	 * it sees BOOSTED and rings, or unseen() sees its new generation. */
	__sync_fetch_and_add(&s->settling, 1);
	return 1;
}

/* Did the guest end its urgency before it could see the grant? Then it did not ring. */
static __always_inline bool unseen(struct pvsched_vcpu *v, struct pvsched_shared *s, __u32 slot)
{
	struct pvsched_page *page = page_of_slot(v, slot);
	__u32 task, context;
	__u64 ack;

	if (!page)
		return false;
	task = MEMBER(page, current_task) >> PVSCHED_TASK_GEN_SHIFT;
	context = MEMBER(page, context) >> PVSCHED_CTX_GEN_SHIFT;
	if (((__s32)(task - context) > 0 ? task : context) != (__u32)MEMBER(s, gen))
		return true;
	ack = MEMBER(s, ack);
	return ack != PVSCHED_NO_ACK && MEMBER(page, ack) != ack;
}

/* What went wrong, or somebody else changed. */
static __always_inline void note_foreign(struct pvsched_shared *s, __u32 what, __u64 now)
{
	if (what & PVSCHED_KMOD_FOREIGN) {
		s->external++;
		MEMBER(s, foreign) |= what & PVSCHED_KMOD_FOREIGN;
	}
	if (what & PVSCHED_KMOD_FAIR) {
		MEMBER(s, fair_until_ns) = now + 1000000000;
		MEMBER(s, foreign) |= PVSCHED_FOREIGN_GROUP;
	}
	if (what & PVSCHED_KMOD_FAILED)
		s->failed++;
	if (what & PVSCHED_KMOD_REFUSED)
		s->refused++;
}

/* Returns the event with which the policy is to be asked anew; 0 = need not. */
__noinline int pvsched_note(__u32 slot, __u64 word, __u32 what, __u64 now)
{
	struct pvsched_vcpu *v = vcpu_at(slot);
	struct pvsched_shared *s = shared_of(slot);
	const struct pvsched_limits *l = limits_of(slot);
	struct pvsched_debt *d = debt_at(slot);
	struct pvsched_kmod_took *t;
	__u64 desired;
	int changed;

	if (!v || !s || !l || !d)
		return 0;
	note_foreign(s, what, now);
	changed = note(v, s, d, l, slot, word, now);
	if (what & PVSCHED_KMOD_RANG) {
		count(this_cpu(), events[7]);
		t = took_of(slot);
		if (t)
			t->doorbells++;
		return PVSCHED_EV_DOORBELL;
	}
	desired = MEMBER(s, desired);
	if (what & (PVSCHED_KMOD_FAIR | PVSCHED_KMOD_FOREIGN_NICE))
		return PVSCHED_EV_TIMER; /* another kind of boost */
	if (PVSCHED_WORD_LEVEL(word) != PVSCHED_LEVEL_BASE)
		return changed && unseen(v, s, slot) ? PVSCHED_EV_DOORBELL : 0;
	/* Expired: if the vCPU still waits, no event of its own will ask for it. */
	return changed && PVSCHED_WORD_LEVEL(desired) != PVSCHED_LEVEL_BASE &&
			       !pvsched_word_active(desired, now)
		       ? PVSCHED_EV_TIMER
		       : 0;
}

#define REFRESH_NS 50000000ull
#define RATE_NS	   16000000000ull /* over which a rate is measured: NTP slews */

__u64 rate_tsc, rate_ns;
__u32 rate_busy;
__u32 rate_anew; /* since the clocks stepped: the next rate is taken as it comes */

/* pvsched_clock_refresh() of the agents. Whoever changes a thread's scheduling refreshes the clock,
 * so it is as old as the last boost. */
static __always_inline void refresh_clock(__u64 tsc, __u64 ns)
{
	__u32 now = *(volatile __u32 *)&clock_idx & 1, next = now ^ 1;
	__u64 mult = clocks[now].mult, over = ns - rate_ns;
	int begin;

	if (ns - clocks[now].ns < REFRESH_NS || __sync_val_compare_and_swap(&rate_busy, 0, 1))
		return;
	/* shifted it has less than 60 bits */
	if (rate_ns && over <= 2 * RATE_NS && tsc > rate_tsc)
		mult = (over << PVSCHED_TSC_SHIFT) / (tsc - rate_tsc);
	begin = !rate_anew && pvsched_rate_steps(mult, clocks[now].mult);
	if (begin)
		mult = clocks[now].mult;
	rate_anew = begin;
	clocks[next].tsc = tsc;
	clocks[next].ns = ns;
	clocks[next].mult = mult;
	*(volatile __u32 *)&clock_idx = next;
	if (!rate_ns || over > RATE_NS || begin) {
		rate_tsc = tsc;
		rate_ns = ns;
	}
	__sync_lock_test_and_set(&rate_busy, 0);
}

/* In the module's threads or the broker's, after each change: see pvsched_kmod_done(). */
static __always_inline void on_done(__u32 slot, __u64 word, __u32 what, __u64 tsc, __u64 now)
{
	struct pvsched_vcpu *v = vcpu_at(slot);
	struct pvsched_shared *s = shared_of(slot);
	__u32 cpu = this_cpu_id();
	int event;

	if (!v || !s || !is_ours(v))
		return;
	if (cpu < PVSCHED_CPUS && !(what & PVSCHED_KMOD_BROKER))
		worker_of_cpu[cpu] = this_tid();
	refresh_clock(tsc, now);
	event = pvsched_note(slot, word, what, now);
	if (event)
		pvsched_decide(slot, event, now, RIVALS_ASK);
	/* decided anew between the change and its note: who did may have called before the change */
	else if (!(what & ~PVSCHED_KMOD_FOREIGN) &&
		 PVSCHED_WORD_SEQ(MEMBER(s, desired)) != PVSCHED_WORD_SEQ(word))
		pvsched_tell(slot, 0, now);
}

/* The broker has had the module put the thread back, whether or not a program was there to see. */
__noinline int pvsched_settle(__u32 slot, __u64 now)
{
	return pvsched_note(slot, 0, 0, now);
}

#endif
