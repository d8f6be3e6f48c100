/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From an event to a desired state: snapshot of page and vCPU, the policy, the budgets, one
 * compare-and-swap, one hint. Runs in any context (run queue lock held, hard and soft
 * interrupts); takes no lock, allocates nothing, cancels no timer.
 *
 * Compiled for BPF (decide.bpf.h) and into the module (src/actuator/kmod/module/engine.h). Each brings
 * how state is found (vcpu_of_slot, shared_of, debt_at, limits_of, page_of_slot, this_cpu), what it
 * reads of the kernel (next_event_ns, pvsched_has_quota, pvsched_rivals_anywhere, reach_from), what it
 * does (ask_policy, start_timer, hint), MEMBER, count, config.
 */
#ifndef PVSCHED_EVENTS_DECIDE_H
#define PVSCHED_EVENTS_DECIDE_H

#include "state.h"

#define RIVALS_ASK 255 /* the caller does not know: find out if it matters */

/* Fires at `at` or earlier: a timer that fires too early finds nothing due and arms again, so
 * one that is already armed for an earlier time stays. Never cancelled. ~250 ns when it arms. */
static __always_inline void arm(struct pvsched_vcpu *v, __u64 at, __u64 now)
{
	__u64 armed = MEMBER(v, timer_at);

	if (armed > now && armed <= at)
		return;
	if (at <= now)
		at = now + 1000;
	MEMBER(v, timer_at) = at;
	start_timer(v, at - now);
}

/* The second line of what is desired. */
static __always_inline void arm_second(struct pvsched_vcpu *v, __u64 word, __u64 now)
{
	arm(v, now + pvsched_word_left(word, now) + config.slack_ns, now);
}

/* Who waits for that CPU since a wake-up, as far as is known; NULL = nobody. One load where nobody is. */
static __always_inline struct pvsched_waiter *waiter_of(__u32 cpu, __u64 now)
{
	struct pvsched_waiter *w;
	__u64 since;

	if (cpu >= PVSCHED_CPUS)
		return NULL;
	w = &waiters[cpu];
	if (!MEMBER(w, task))
		return NULL;
	since = MEMBER(w, since_ns);
	if ((now <= since || now - since < PVSCHED_WAIT_NS) &&
	    !pvsched_had_turn(MEMBER(w, task), MEMBER(w, tid), MEMBER(w, exec_ns)))
		return w;
	MEMBER(w, task) = 0;
	return NULL;
}

/* Boosted time that all budgets together allow now, on the CPU where the vCPU is or was last. Another
 * CPU may just be charging that one: what is read then is checked again where it comes to run. */
static __always_inline __u64 allowance(struct pvsched_vcpu *v, struct pvsched_debt *d,
				       const struct pvsched_limits *l, __u64 now,
				       __u64 *ret_stretch)
{
	struct pvsched_debt *vm = debt_at(PVSCHED_DEBT_VM(v->vm));
	struct pvsched_debt *cpu = debt_at(PVSCHED_DEBT_CPU(v->cpu));
	struct pvsched_waiter *w;
	__u64 left = 0;

	if (vm && cpu)
		left = pvsched_debt_left(d, MEMBER(vm, paid_at), MEMBER(cpu, paid_at), now,
					 config.min_ns, l);
	*ret_stretch = pvsched_stretch_left(&d->stretch, now, l->cap_ns);
	if (cpu) {
		__u64 shared = pvsched_stretch_left(&cpu->stretch, now, l->cap_ns);

		*ret_stretch = shared < *ret_stretch ? shared : *ret_stretch;
		w = waiter_of(v->cpu, now);
		shared = w ? pvsched_waiter_left(MEMBER(w, taken_ns), MEMBER(cpu, taken_ns),
						 l->cap_ns)
			   : shared;
		*ret_stretch = shared < *ret_stretch ? shared : *ret_stretch;
	}
	return *ret_stretch < left ? *ret_stretch : left;
}

/* What a decision is taken from besides what the policy is told. */
struct pvsched_case {
	__u64 word; /* what was desired, read before the page */
	__u64 stretch; /* left of the contiguous cap, ns */
	__u64 ack; /* PVSCHED_NO_ACK = nothing */
	__u32 gen;
	__u32 reserved;
};

#define LONG_PAST_NS 1000000000ll

/*
 * Takes a decision to the desired word, if that is still the one which was read before the page: a
 * decision from older words never replaces one from newer ones. What it answers is told after the
 * swap: until then the agent may look once too often, but never once too few. cut: budgets leave
 * less than what is in force has still to run. Returns 1 if the agent must hear of it.
 */
static __always_inline int desire(struct pvsched_shared *s, const struct pvsched_case *k, __u64 now,
				  const struct pvsched_decision *out, int cut)
{
	__u64 old = k->word, new;
	int was = pvsched_word_active(old, now);
	int is = out->level != PVSCHED_LEVEL_BASE;
	int same;

	/* Expired, and left as it is for who carries it out; but its time is good for 36 minutes, and then it
	 * would be one of the future's. */
	if (!was && !is && PVSCHED_WORD_LEVEL(old) != PVSCHED_LEVEL_BASE &&
	    pvsched_word_left(old, now) < -LONG_PAST_NS)
		__sync_val_compare_and_swap(&s->desired, old,
					    pvsched_word(PVSCHED_WORD_SEQ(old) + 1,
							 PVSCHED_LEVEL_BASE, 0, out->reason, now));
	if (!was && !is)
		return 0;
	same = was && is && PVSCHED_WORD_LEVEL(old) == out->level &&
	       PVSCHED_WORD_VALUE(old) == out->value;
	/* In force already. The same reason never prolongs itself: every boost ends. */
	if (same && !cut && PVSCHED_WORD_REASON(old) == out->reason && !out->ticket)
		return 0;
	new = pvsched_word(PVSCHED_WORD_SEQ(old) + 1, out->level, out->value, out->reason,
			   out->expiry_ns);
	MEMBER(s, wish) = out->wish == PVSCHED_WISH_APART ? PVSCHED_WISH_APART : PVSCHED_WISH_NONE;
	/* model: decide.swap */
	if (__sync_val_compare_and_swap(&s->desired, old, new) != old) {
		count(this_cpu(), races);
		return 0;
	}
	MEMBER(s, gen) = k->gen; /* model: decide.generation */
	MEMBER(s, ack) = k->ack;
	MEMBER(s, event_ns) = now;
	/* Same scheduling, a later expiry: the agent re-reads the word when the old one is up. */
	return !same || cut;
}

#ifdef PVSCHED_IN_KERNEL
/* An actuator in the kernel (src/actuator/scx, kmod): the slot's desired word has changed. */
__noinline int pvsched_tell(__u32 slot, __u32 event, __u64 now);
#endif

/* Whether pvsched_tell() arms the second line, too: after what must not wait for it. */
#ifndef TELL_ARMS
#define TELL_ARMS 0
#endif

/* From SCHED_IN to where an interrupt finds the vCPU in the guest. */
#ifndef ENTRY_NS
#define ENTRY_NS PVSCHED_ENTRY_NS
#endif

/* Takes a boost back whatever the guest says; who carries boosts out hears of it. Returns 0 if another decision
 * came first. */
static __always_inline int take_back(struct pvsched_vcpu *v, struct pvsched_shared *s, __u32 slot,
				     __u8 reason, __u64 now)
{
	__u64 old = MEMBER(s, desired);
	struct pvsched_cpu *c = this_cpu();

	if (__sync_val_compare_and_swap(&s->desired, old,
					pvsched_word(PVSCHED_WORD_SEQ(old) + 1, PVSCHED_LEVEL_BASE,
						     0, reason, now)) != old) {
		count(c, races);
		return 0;
	}
	MEMBER(s, event_ns) = now;
#ifdef PVSCHED_IN_KERNEL
	pvsched_tell(slot, 0, now);
#else
	hint(v->cpu, slot, now, c);
#endif
	return 1;
}

/* For the sake of the host's real-time work. */
static __always_inline void revoke(struct pvsched_vcpu *v, struct pvsched_shared *s, __u32 slot,
				   __u64 now)
{
	if (!take_back(v, s, slot, PVSCHED_REASON_HOST_RT, now))
		return;
	v->host_rt_until = now + PVSCHED_HOST_RT_NS;
	count(this_cpu(), revoked);
}

/* What the guest says, validated. Every word is read once. */
static __always_inline void read_page(struct pvsched_vcpu *v, struct pvsched_page *page,
				      struct pvsched_policy_in *in, struct pvsched_case *k)
{
	/* model: decide.page */
	__u64 context = MEMBER(page, context), word = MEMBER(page, current_task);
	int bad;

	in->page = 1;
	k->gen = context >> PVSCHED_CTX_GEN_SHIFT;
	in->context = context & PVSCHED_CTX_KNOWN;
	bad = pvsched_task_decode(word, PVSCHED_TASK_LATENCY, &in->task);
	if ((__s32)(in->task.gen - k->gen) > 0)
		k->gen = in->task.gen;
	if (v->features & PVSCHED_F_PENDING)
		bad += pvsched_task_decode(MEMBER(page, pending),
					   PVSCHED_TASK_LATENCY | PVSCHED_TASK_VALID, &in->pending);
	if (v->features & PVSCHED_F_TICKET) {
		k->ack = MEMBER(page, ack); /* model: decide.ack */
		/* it has answered all; but not what came while it did not run, and has no ticket yet */
		if (k->ack == v->ticket && !(v->off_ns && v->off_ns <= v->intr_ns))
			MEMBER(v, intr_ns) = 0;
	}
	if (v->features & PVSCHED_F_NEXT_EVENT)
		in->next_event_ns =
			next_event_ns(v, MEMBER(page, next_event), in->now_ns, this_cpu());
	if (bad) {
		v->bad_words += bad;
		count(this_cpu(), bad_words);
	}
}

/*
 * The snapshot; of in, event, now_ns and rivals are the caller's. Returns 0 if nobody is there. As
 * pvsched_commit() it is global, so that the verifier looks at it once and not in every state of its
 * caller: an event's program is 15,000 instructions to it and not 117,000. That costs both their look-ups,
 * a few ns: less than a switch's cost differs from run to run. 6.1 leaves each of them, and the policy, 224 bytes of stack.
 */
__noinline int pvsched_look(__u32 slot, struct pvsched_policy_in *in, struct pvsched_case *k)
{
	struct pvsched_shared *s = shared_of(slot);
	const struct pvsched_limits *l = limits_of(slot);
	struct pvsched_vcpu *v = vcpu_of_slot(slot);
	struct pvsched_debt *d = debt_at(slot);
	struct pvsched_page *page;
	bool fresh;

	if (!s || !l || !v || !d || !in || !k)
		return 0;
	in->state = v->state;
	in->wait_since_ns = v->wait_ns ? v->wait_ns : in->now_ns;
	in->lead_ns = config.lead_ns ? config.lead_ns
				     : pvsched_lead(v->lead_avg, v->lead_dev, ENTRY_NS);
	in->grace_ns = config.grace_ns;
	in->features = v->features;
	in->base_policy = v->base_policy;
	in->base_nice = v->base_nice;
	k->word = MEMBER(s, desired); /* model: decide.word */
	in->boosted = pvsched_word_boosts(k->word, in->now_ns, v->base_policy, v->base_nice);
	in->exit_reason = v->exit_reason;
	/* One that was not answered within a contiguous cap counts as lost. */
	if (in->event == PVSCHED_EV_INTR_DONE)
		MEMBER(v, intr_ns) = 0;
	fresh = (in->event == PVSCHED_EV_INTR_PENDING || in->event == PVSCHED_EV_INTR_INJECT) &&
		(!v->intr_ns || in->now_ns - v->intr_ns > l->cap_ns);
	in->cap_ns = allowance(v, d, l, in->now_ns, &k->stretch);
	page = page_of_slot(v, slot);
	if (page)
		read_page(v, page, in, k);
	if (fresh)
		MEMBER(v, intr_ns) = in->now_ns;
	in->intr_since_ns = v->intr_ns;
	return 1;
}

/* Nothing is asked for any more: does the vCPU pay its boost back now? Returns 1 if it does
 * already. A vCPU that sleeps pays by that, and where nobody competes nobody is owed. */
static __always_inline int pay_back_next(struct pvsched_vcpu *v, struct pvsched_shared *s,
					 const struct pvsched_debt *d, __u64 word,
					 const struct pvsched_policy_in *in,
					 struct pvsched_decision *out)
{
	if (PVSCHED_WORD_REASON(word) == PVSCHED_REASON_PAYBACK &&
	    pvsched_word_active(word, in->now_ns))
		return 1;
	if (!in->boosted || !config.payback || d->owed_ns <= 0 ||
	    MEMBER(s, foreign) & (PVSCHED_FOREIGN_POLICY | PVSCHED_FOREIGN_NICE) ||
	    in->state == PVSCHED_STATE_BLOCKED || in->rivals == PVSCHED_RIVALS_NONE ||
	    v->base_policy != PVSCHED_POLICY_NORMAL || v->base_nice + PVSCHED_PAYBACK_STEPS > 19)
		return 0;
	out->level = PVSCHED_LEVEL_NICE;
	out->value = v->base_nice + PVSCHED_PAYBACK_STEPS;
	out->reason = PVSCHED_REASON_PAYBACK;
	out->expiry_ns = in->now_ns + PVSCHED_PAYBACK_NS;
	return 0;
}

/* When the gap is over that denies a boost at now: the vCPU's own, or its CPU's. That of a task which waits
 * ends when it has had its turn: looked for twice a cap. */
static __always_inline __u64 gap_ends(struct pvsched_vcpu *v, struct pvsched_debt *d,
				      const struct pvsched_limits *l, __u64 now)
{
	__u64 least = waiter_of(v->cpu, now) ? l->cap_ns / 2 : config.min_ns;
	struct pvsched_debt *cpu = debt_at(PVSCHED_DEBT_CPU(v->cpu));
	__u64 hold = MEMBER(d, stretch.hold_ns), shared = cpu ? MEMBER(cpu, stretch.hold_ns) : 0;

	hold = shared > hold ? shared : hold;
	return hold > now ? hold : now + least;
}

#define BOUND_COUNTED 1 /* it is a boost, so it is charged */
#define BOUND_CUT     2 /* the budgets leave less than what is in force has still to run */

/*
 * May it be boosted as it is? Who sleeps in KVM is woken by what is for him, and runs then. Elsewhere his
 * process has him sleep on what it likes, such as a lock that lends his priority to whoever it says holds it, on
 * any CPU, at nobody's expense (futex(2), FUTEX_LOCK_PI). Where he is when nothing was seen of him yet is not known.
 */
static __always_inline bool may_rise(const struct pvsched_vcpu *v)
{
	return v->state != PVSCHED_STATE_UNKNOWN &&
	       (v->state != PVSCHED_STATE_BLOCKED || !v->elsewhere);
}

/* What the policy wants, kept within ceiling, rights and budgets. Returns BOUND_*. */
static __always_inline int bound(struct pvsched_vcpu *v, struct pvsched_shared *s,
				 struct pvsched_debt *d, const struct pvsched_limits *l, __u32 slot,
				 const struct pvsched_policy_in *in, struct pvsched_decision *out,
				 const struct pvsched_case *k)
{
	__u64 now = in->now_ns, left = in->cap_ns, wait;
	struct pvsched_page *page;
	int counted, cut = 0;
	__u32 foreign;

	if (out->level == PVSCHED_LEVEL_RT && (out->value < 1 || (__u32)out->value > l->ceiling))
		out->value = out->value < 1 ? 1 : l->ceiling;
	/* Real-time execution escapes a quota; the fair class charges it, at any nice. And a group
	 * without real-time time (RT group scheduling) has nothing better. */
	if (out->level == PVSCHED_LEVEL_RT &&
	    (MEMBER(s, fair_until_ns) > now || pvsched_has_quota(v->task))) {
		out->level = PVSCHED_LEVEL_NICE;
		out->value = -20;
#ifdef PVSCHED_IN_KERNEL
		/* a scheduler of ours charges no quota at all */
		if (config.actuator & PVSCHED_ACTS_BY_ORDER)
			out->level = PVSCHED_LEVEL_BASE;
#endif
	}
	/* What somebody else set is theirs; and the way out is nobody's latency. */
	foreign = MEMBER(s, foreign);
	if (!may_rise(v))
		out->level = PVSCHED_LEVEL_BASE;
	if (foreign & PVSCHED_FOREIGN_POLICY || MEMBER(s, gone) ||
	    (foreign & PVSCHED_FOREIGN_NICE && out->level == PVSCHED_LEVEL_NICE)) {
		out->level = PVSCHED_LEVEL_BASE;
		out->again_ns = 0;
	}
	if (pvsched_needs_none(out->level, out->value, v->base_policy, v->base_prio)) {
		out->level = PVSCHED_LEVEL_BASE;
		out->again_ns = 0;
	}
	if (out->level == PVSCHED_LEVEL_NICE && (out->value < -20 || out->value > 19))
		out->value = out->value < -20 ? -20 : 19;
	if (out->level == PVSCHED_LEVEL_RT && v->host_rt_until > now) {
		out->level = PVSCHED_LEVEL_BASE;
		out->again_ns = v->host_rt_until;
	}
	counted = pvsched_is_boost(out->level, out->value, v->base_policy, v->base_nice);
	if (counted) {
		__u64 cs = left, wanted;

		if (out->reason == PVSCHED_REASON_CRITICAL || out->reason == PVSCHED_REASON_INTR)
			cs = pvsched_bucket_left(d->cs_paid_at, now, &l->cs);
		left = cs < left ? cs : left;
		wait = in->boosted ? 0 : pvsched_rate_wait(d->rate_paid_at, now, &l->rate);
		/* What is in force was within the budgets when it began, and goes on to its expiry;
		 * unless they have become less since, or are another CPU's now. */
		cut = in->boosted &&
		      pvsched_word_left(k->word, now) > (__s64)(left + config.min_ns);
		if (wait || (left < config.min_ns && (!in->boosted || cut))) {
			/* ask again when the gap is over, or some budget is back: a vCPU that
			 * waits for its CPU has no event of its own */
			wanted = out->reason & (PVSCHED_REASONS - 1);
			if (wait) {
				out->again_ns = now + wait;
				out->reason = PVSCHED_REASON_THROTTLED;
				v->denied_rate++;
				v->denied[wanted][PVSCHED_DENIED_RATE]++;
				count(this_cpu(), denied_rate);
			} else if (k->stretch < config.min_ns) {
				out->again_ns = gap_ends(v, d, l, now);
				out->reason = PVSCHED_REASON_GAP;
				v->denied_gap++;
				v->denied[wanted][PVSCHED_DENIED_GAP]++;
				count(this_cpu(), denied_gap);
			} else {
				out->again_ns = now + l->cap_ns;
				out->reason = PVSCHED_REASON_THROTTLED;
				v->denied_throttle++;
				v->denied[wanted][PVSCHED_DENIED_THROTTLE]++;
				count(this_cpu(), denied_throttle);
			}
			page = page_of_slot(v, slot);
			if (page)
				MEMBER(page, throttles) =
					v->denied_gap + v->denied_throttle + v->denied_rate;
			out->level = PVSCHED_LEVEL_BASE;
			counted = 0;
		} else if (out->expiry_ns > now + left || out->expiry_ns <= now) {
			out->expiry_ns = now + left;
		}
	} else if (out->level != PVSCHED_LEVEL_BASE &&
		   (out->expiry_ns <= now || out->expiry_ns > now + PVSCHED_YIELD_MAX_NS)) {
		out->expiry_ns = now + PVSCHED_YIELD_MAX_NS;
	}
	return (counted ? BOUND_COUNTED : 0) | (cut ? BOUND_CUT : 0);
}

#define BY_AGENT (1u << 31) /* with the event: the agent that watches the vCPU is about to look */

/* The decision becomes the desired word, timers are armed, the agent is told. Returns 1 if an actuator in
 * the kernel must hear of it. */
__noinline int pvsched_commit(__u32 slot, struct pvsched_policy_in *in,
			      struct pvsched_decision *out, struct pvsched_case *k, __u32 by_agent)
{
	struct pvsched_shared *s = shared_of(slot);
	const struct pvsched_limits *l = limits_of(slot);
	struct pvsched_vcpu *v = vcpu_of_slot(slot);
	struct pvsched_debt *d = debt_at(slot);
	struct pvsched_page *page;
	int changed = 0, boost, flags;
	__u64 now, asked;

	if (!s || !l || !v || !d || !in || !out || !k)
		return 0;
	now = in->now_ns;
	asked = out->again_ns;
	flags = bound(v, s, d, l, slot, in, out, k);
	boost = out->level != PVSCHED_LEVEL_BASE;
	if (boost && out->ticket) {
		v->ticket++; /* model: decide.ticket */
		page = page_of_slot(v, slot);
		if (page && v->features & PVSCHED_F_TICKET)
			MEMBER(page, ticket) = v->ticket;
	}
	if (boost || !pay_back_next(v, s, d, k->word, in, out))
		changed = desire(s, k, now, out, flags & BOUND_CUT);
	if (changed && flags & BOUND_COUNTED && !in->boosted) {
		MEMBER(d, rate_paid_at) = pvsched_rate_charge(d->rate_paid_at, now, &l->rate);
		if (v->state != PVSCHED_STATE_RUNNING && !by_agent)
			reach_from(v, now);
	}
	if (changed && in->event == PVSCHED_EV_TIMER && out->reason == PVSCHED_REASON_NEXT_EVENT &&
	    in->next_event_ns > now)
		v->asked_ns = in->next_event_ns - in->lead_ns;
	/* A guest chooses these times, and another of its vCPUs may choose anew each time this one is
	 * asked for: that wakes an agent as a boost does, counts as one, and takes of this CPU. Those that
	 * follow a boost are in its price; those that are ours are few. A collision with a timer's on
	 * this CPU loses one. */
	if (in->event == PVSCHED_EV_TIMER && !boost && out->again_ns) {
		__u64 wait = pvsched_rate_wait(d->rate_paid_at, now, &l->rate), look;
		struct pvsched_debt *cpu = debt_at(PVSCHED_DEBT_CPU(this_cpu_id()));

		if (!wait)
			MEMBER(d, rate_paid_at) =
				pvsched_rate_charge(d->rate_paid_at, now, &l->rate);
		if (cpu && !in->boosted && out->again_ns == asked) {
			look = pvsched_cpu_look(cpu, now, config.act_ns / 2);
			wait = look > wait ? look : wait;
		}
		if (out->again_ns < now + wait)
			out->again_ns = now + wait;
	}
	MEMBER(s, again_ns) = !boost && v->off_ns ? out->again_ns : 0;
	/* the second line; model: decide.arm */
	if (out->level != PVSCHED_LEVEL_BASE && (by_agent || !changed || !TELL_ARMS))
		arm(v, out->expiry_ns + config.slack_ns, now);
#ifndef PVSCHED_IN_KERNEL
	if (changed && !by_agent)
		hint(v->cpu, slot, now, this_cpu());
	changed = 0;
#endif
	/* an agent that looks at the vCPU sleeps until then itself, if that is not long */
	if (!boost && out->again_ns && v->off_ns &&
	    (by_agent ? out->again_ns > now + PVSCHED_WATCH_NS
		      : MEMBER(s, watch_ns) <= now || MEMBER(s, watch_ns) > out->again_ns))
		arm(v, out->again_ns, now);
	return by_agent ? 0 : changed;
}

/*
 * Decides for one vCPU. rivals: enum pvsched_rivals as the caller sees them, or RIVALS_ASK. With BY_AGENT
 * nobody is told: the agent applies the word.
 * Global and by number: verified once on its own, not in every state of every caller, which 6.1's
 * verifier gives up on. The look-up is 3 ns.
 */
#ifdef PVSCHED_IN_KERNEL
/* An actuator in the kernel is told by who called: below this frame there is no room for it on the
 * stack. Returns 1 if it must hear. */
__noinline int pvsched_decide_only(__u32 slot, __u32 event, __u64 now, __u32 rivals)
#else
__noinline int pvsched_decide(__u32 slot, __u32 event, __u64 now, __u32 rivals)
#endif
{
	struct pvsched_policy_in in = { .event = event & ~BY_AGENT, .now_ns = now };
	struct pvsched_case k = { .ack = PVSCHED_NO_ACK };
	struct pvsched_vcpu *v = vcpu_of_slot(slot);
	struct pvsched_decision out = {};

	in.rivals = rivals == RIVALS_ASK ? PVSCHED_RIVALS_MANY : rivals;
	if (!v || !pvsched_look(slot, &in, &k))
		return 0;
	ask_policy(v, &in, &out);
	/* Who competes costs six reads through pointers here: asked only when it matters. */
	if (rivals == RIVALS_ASK && (out.level != PVSCHED_LEVEL_BASE || out.again_ns)) {
		in.rivals = pvsched_rivals_anywhere(v->task, v->state);
		if (in.rivals != PVSCHED_RIVALS_MANY) {
			out = (struct pvsched_decision){};
			ask_policy(v, &in, &out);
		}
	}
	return pvsched_commit(slot, &in, &out, &k, event & BY_AGENT);
}

#ifdef PVSCHED_IN_KERNEL
static __always_inline int pvsched_decide(__u32 slot, __u32 event, __u64 now, __u32 rivals)
{
	if (pvsched_decide_only(slot, event, now, rivals))
		pvsched_tell(slot, event, now);
	return 0;
}
#endif

#endif
