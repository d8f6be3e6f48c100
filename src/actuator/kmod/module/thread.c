// SPDX-License-Identifier: GPL-2.0-only
/*
 * One thread's scheduling: from what it is to what a program wants, and back to what it was. What
 * apply.c is to agents, but for the accounting. Under the slot's lock, in the module's threads
 * or the broker's.
 */
#include <linux/sched/task.h>
#include <linux/version.h>

#include <asm/tsc.h>
#include <uapi/linux/sched/types.h>

#include "engine.h"
#include "slot.h"

#define MOST_NS 200000000ll /* twice PVSCHED_YIELD_MAX_NS: no word lasts longer */
#ifndef SCHED_EXT /* before 6.12; without a scheduler of that class it is SCHED_NORMAL */
#define SCHED_EXT 7
#endif

struct slot *slots; /* as long as the module: programs may look at any time */
u32 ceiling;

static bool is_fair(u32 policy)
{
	return policy == SCHED_NORMAL || policy == SCHED_BATCH || policy == SCHED_IDLE ||
	       policy == SCHED_EXT;
}

/* It keeps the one that it had, and has no use for it. */
static bool hides_nice(u32 policy)
{
	return !is_fair(policy) || policy == SCHED_IDLE;
}

static struct attr attr_of(struct task_struct *p)
{
	struct attr a = {
		.policy = p->policy,
		.priority = p->rt_priority,
		.nice = task_nice(p),
		.reset_on_fork = p->sched_reset_on_fork,
	};

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	if (p->se.custom_slice)
		a.slice = p->se.slice;
#endif
	return a;
}

/* A real-time thread keeps its nice and slice unused. */
static int set(struct task_struct *p, const struct attr *a)
{
	struct sched_attr attr = {
		.size = sizeof(attr),
		.sched_policy = a->policy,
		.sched_flags = a->reset_on_fork ? SCHED_FLAG_RESET_ON_FORK : 0,
	};

	if (is_fair(a->policy)) {
		attr.sched_nice = a->nice;
		attr.sched_runtime = a->slice;
	} else {
		attr.sched_priority = a->priority;
	}
	return sched_setattr_nocheck(p, &attr);
}

/*
 * Programs attach here: told under the slot's lock, after the change took effect, of the word that
 * is in force now (level BASE: the thread is as it was) and of what happened (PVSCHED_KMOD_*). With
 * preemption disabled: the kernel leaves out a program that runs on that CPU already.
 * tsc is that of ns: guests speak in TSC, and programs cannot read it.
 */
void pvsched_kmod_done(u32 slot, u64 word, u32 what, u64 tsc, u64 ns);
noinline void pvsched_kmod_done(u32 slot, u64 word, u32 what, u64 tsc, u64 ns)
{
	/* not to be optimised away */
	asm volatile("" : : "r"(slot), "r"(word), "r"(what), "r"(tsc), "r"(ns));
}

static void tell(const struct slot *s, u32 what)
{
	u64 tsc = 0, ns = 0, best = U64_MAX, at, before, after;

	/* the tightest of a few pairs: an interrupt between the readings would shift all of them */
	for (int i = 0; i < 3; i++) {
		before = rdtsc_ordered();
		at = ktime_get_ns();
		after = rdtsc_ordered();
		if (after - before < best) {
			best = after - before;
			tsc = before + best / 2;
			ns = at;
		}
	}
	if (!(current->flags & PF_KTHREAD))
		what |= PVSCHED_KMOD_BROKER;
	preempt_disable();
	if (READ_ONCE(engine.on))
		engine_done(s - slots, s->word, what, tsc, ns);
	else
		pvsched_kmod_done(s - slots, s->word, what, tsc, ns);
	preempt_enable();
	if (!(what & (PVSCHED_KMOD_FOREIGN | PVSCHED_KMOD_FAIR)))
		return;
	tell_broker(); /* after the programs have noted it */
}

/*
 * What somebody else changed since we last did is theirs from now on, attribute by attribute.
 * Returns PVSCHED_KMOD_FOREIGN* of what is new.
 */
static u32 see_foreign(struct slot *s)
{
	const struct attr *ours = is_boosted(s) ? &s->set : &s->base;
	bool hidden = hides_nice(ours->policy);
	int expected = hidden && is_boosted(s) ? s->under : ours->nice;
	struct attr cur = attr_of(s->task);
	bool left = is_boosted(s) && is_fair(s->base.policy) && expected <= cur.nice &&
		    cur.nice < s->base.nice;
	u32 what = 0;

	/* as in src/actuator/apply.c: no right is needed to go down, so what is left of ours goes with it */
	if (left)
		cur.nice = cur.policy == ours->policy ? expected : s->base.nice;
	if (is_boosted(s) && cur.policy == SCHED_FIFO && ours->policy == SCHED_FIFO &&
	    cur.priority < ours->priority &&
	    (is_fair(s->base.policy) || cur.priority > s->base.priority))
		cur.priority = ours->priority;
	if (cur.policy != ours->policy || (hidden && cur.priority != ours->priority))
		what = PVSCHED_KMOD_FOREIGN_POLICY;
	else if (cur.nice != expected)
		what = PVSCHED_KMOD_FOREIGN_NICE;
	if (what == PVSCHED_KMOD_FOREIGN_POLICY || (!what && !is_boosted(s)))
		s->base = cur; /* with a slice of theirs */
	if (what == PVSCHED_KMOD_FOREIGN_NICE)
		s->base.nice = s->under = cur.nice;
	if (left && what == PVSCHED_KMOD_FOREIGN_POLICY)
		set_user_nice(s->task, s->base.nice);
	s->foreign |= what;
	return what;
}

/* Under the slot's lock. want: the word that this answers. */
static void restore(struct slot *s, u64 want)
{
	u32 what = see_foreign(s);
	bool hidden = !is_fair(s->set.policy);
	struct attr a = s->base, cur;
	int err = 0;

	if (!(s->foreign & PVSCHED_KMOD_FOREIGN_POLICY)) {
		if (hidden && is_fair(a.policy) && s->under == a.nice) {
			cur = attr_of(s->task); /* also what somebody sets just now stays */
			a.nice = cur.nice;
			a.slice = cur.slice;
		}
		err = set(s->task, &a);
		/* leaving a real-time policy resets it: __setscheduler_params() of the kernel */
		if (!err && hidden)
			s->task->timer_slack_ns = s->slack_ns;
	}
	if (err) {
		hrtimer_start(&s->expiry, ns_to_ktime(ktime_get_ns() + RETRY_NS), HRTIMER_MODE_ABS);
		tell(s, what | PVSCHED_KMOD_FAILED);
		return;
	}
	s->word = pvsched_word(PVSCHED_WORD_SEQ(want), PVSCHED_LEVEL_BASE, 0,
			       PVSCHED_WORD_REASON(want), ktime_get_ns());
	hrtimer_try_to_cancel(&s->expiry); /* else it comes, and finds nothing to do */
	tell(s, what);
}

static struct attr attr_of_word(u64 word)
{
	struct attr a = { .reset_on_fork = true, .policy = SCHED_IDLE };

	if (PVSCHED_WORD_LEVEL(word) == PVSCHED_LEVEL_RT) {
		a.policy = SCHED_FIFO;
		a.priority = PVSCHED_WORD_VALUE(word);
	} else if (PVSCHED_WORD_LEVEL(word) == PVSCHED_LEVEL_NICE) {
		a.policy = SCHED_NORMAL;
		a.nice = PVSCHED_WORD_VALUE(word);
	}
	return a;
}

/* Why not: 0 = it may be set. */
static u32 refuse(const struct slot *s, u64 want, u64 now)
{
	u8 level = PVSCHED_WORD_LEVEL(want);
	s8 value = PVSCHED_WORD_VALUE(want);

	if (s->foreign & PVSCHED_KMOD_FOREIGN_POLICY || pvsched_word_left(want, now) > MOST_NS)
		return PVSCHED_KMOD_REFUSED;
	if (pvsched_needs_none(level, value, s->base.policy,
			       MAX_RT_PRIO - 1 - (int)s->base.priority))
		return PVSCHED_KMOD_REFUSED;
	if (level == PVSCHED_LEVEL_NICE)
		return s->foreign || value < MIN_NICE || value > MAX_NICE ? PVSCHED_KMOD_REFUSED
									  : 0;
	if (level != PVSCHED_LEVEL_RT)
		return 0;
	if (value < 1 || value >= READ_ONCE(ceiling))
		return PVSCHED_KMOD_REFUSED;
	/* A group may have no real-time time, in which a real-time thread never runs; modules cannot
	 * see which. */
	return IS_ENABLED(CONFIG_RT_GROUP_SCHED) ? PVSCHED_KMOD_FAIR : 0;
}

/* The nice that see_foreign() found, and returned `what` for: not that of now, which somebody may have
 * set since, and which would then pass for ours when the boost ends. */
static int nice_seen(const struct slot *s, u32 what)
{
	if (!is_boosted(s) || what & PVSCHED_KMOD_FOREIGN_NICE)
		return s->base.nice;
	return hides_nice(s->set.policy) ? s->under : s->set.nice;
}

/* Under the slot's lock. */
static void boost(struct slot *s, u64 want, u64 now)
{
	u32 what = see_foreign(s), why = refuse(s, want, now);
	struct attr a = attr_of_word(want);
	u64 slack_ns = s->task->timer_slack_ns;
	int under = nice_seen(s, what);
	bool other;

	if (why) {
		if (is_boosted(s))
			restore(s, want);
		tell(s, what | why);
		return;
	}
	other = !is_boosted(s) || PVSCHED_WORD_LEVEL(want) != PVSCHED_WORD_LEVEL(s->word) ||
		PVSCHED_WORD_VALUE(want) != PVSCHED_WORD_VALUE(s->word);
	if (other) {
		if (set(s->task, &a)) {
			tell(s, what | PVSCHED_KMOD_FAILED);
			return;
		}
		if (!is_boosted(s) || is_fair(s->set.policy))
			s->slack_ns = slack_ns;
		else if (is_fair(a.policy)) /* as in restore() */
			s->task->timer_slack_ns = s->slack_ns;
		s->under = hides_nice(a.policy) ? under : a.nice;
		s->set = a;
		/* not from boost to boost: a guest may ask for those changes */
		if (!pvsched_is_boost(PVSCHED_WORD_LEVEL(s->word), PVSCHED_WORD_VALUE(s->word),
				      s->base.policy, s->base.nice))
			WRITE_ONCE(s->bells, 0);
	}
	WRITE_ONCE(s->word, want);
	hrtimer_start(&s->expiry, ns_to_ktime(now + pvsched_word_left(want, now)),
		      HRTIMER_MODE_ABS);
	if (other || what)
		tell(s, what);
}

void slot_apply(struct slot *s)
{
	u64 want = READ_ONCE(s->want), now = ktime_get_ns();

	if (pvsched_word_active(want, now))
		boost(s, want, now);
	else if (is_boosted(s))
		restore(s, want);
	if (test_and_clear_bit(RANG, &s->state) && is_boosted(s))
		tell(s, PVSCHED_KMOD_RANG);
}

void slot_begin(struct slot *s, struct task_struct *p)
{
	s->base = attr_of(p);
	s->slack_ns = p->timer_slack_ns;
	s->want = s->word = 0;
	s->foreign = 0;
	WRITE_ONCE(s->task, p);
}
