// SPDX-License-Identifier: GPL-2.0-only
/* From desired to applied, one slot at a time. See apply.h. */
#include "place.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "monotonic.h"

/* Children of a thread that forks while boosted start at SCHED_OTHER: a boost is not inherited. */

#define RETRY_NS  1000000ull /* after a change of scheduling that failed */
#define BESIDE_NS 1000000000ull /* of who is without the lock, and may be killed, or stopped */
#define TRIES	  10 /* to give a thread back what it had before nobody looks after it any more */
#define FAIR_NS	  1000000000ull /* after a cgroup that allowed no real-time scheduling */

#define LOAD(x)		 __atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define STORE(x, v)	 __atomic_store_n(&(x), (v), __ATOMIC_RELEASE)
#define STORE_PAGE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_SEQ_CST)

int pvsched_slot_lock_init(struct pvsched_slot *s)
{
	pthread_mutexattr_t attr;
	int err = pthread_mutexattr_init(&attr);

	if (err)
		return -err;
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
	err = pthread_mutex_init(&s->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	return -err;
}

void pvsched_desire_nothing(struct pvsched_shared *sh)
{
	__u64 old = LOAD(sh->desired), next;

	do
		next = pvsched_word(PVSCHED_WORD_SEQ(old) + 1, PVSCHED_LEVEL_BASE, 0,
				    PVSCHED_REASON_NONE, 0);
	while (!__atomic_compare_exchange_n(&sh->desired, &old, next, false, __ATOMIC_ACQ_REL,
					    __ATOMIC_ACQUIRE));
}

bool pvsched_slot_lock_since(struct pvsched_slot *s, uint64_t since_ns)
{
	struct timespec until;
	uint64_t t;
	int err = pthread_mutex_trylock(&s->lock);

	if (err == EBUSY) {
		t = (since_ns ? since_ns : now_ns()) + PVSCHED_LOCK_NS;
		until.tv_sec = t / 1000000000;
		until.tv_nsec = t % 1000000000;
		/* of priority inheritance by this clock: glibc 2.35, Linux 5.14 */
		err = pthread_mutex_clocklock(&s->lock, CLOCK_MONOTONIC, &until);
	}
	if (err == EOWNERDEAD)
		pthread_mutex_consistent(&s->lock);
	return !err || err == EOWNERDEAD;
}

void pvsched_slot_unlock(struct pvsched_slot *s)
{
	pthread_mutex_unlock(&s->lock);
}

uint32_t pvsched_page_gen(const struct pvsched_page *page)
{
	uint32_t task = LOAD(page->current_task) >> PVSCHED_TASK_GEN_SHIFT;
	uint32_t ctx = LOAD(page->context) >> PVSCHED_CTX_GEN_SHIFT;

	return (int32_t)(task - ctx) > 0 ? task : ctx;
}

/* grant: what the thread really runs as; only ever written here, after the change took effect. */
static void tell_guest(const struct pvsched_actuation *act, struct pvsched_slot *s,
		       struct pvsched_shared *sh, const struct pvsched_attr *a, bool boosted,
		       uint8_t reason)
{
	uint8_t flags = reason & PVSCHED_GRANT_REASON;

	if (act->guardian || !s->page)
		return;
	if (boosted)
		flags |= PVSCHED_GRANT_BOOSTED;
	STORE_PAGE(s->page->boosts, sh->boosts); /* first: who sees the grant sees its count */
	/* SEQ_CST: pairs with the guest's full barrier between clearing its urgency and reading
	 * grant. Either it sees BOOSTED and rings, or the caller sees its new generation.
	 * model: apply.tell */
	STORE_PAGE(s->page->grant,
		   pvsched_task_word(a->policy, a->nice, a->priority, flags, LOAD(sh->gen)));
}

/* The guardian, which has no page, may have ended a boost: the guest learns it from who comes next. */
static void tell_of_its_end(const struct pvsched_actuation *act, struct pvsched_slot *s,
			    struct pvsched_shared *sh, uint64_t applied)
{
	if (act->guardian || !s->page ||
	    !(LOAD(s->page->grant) >> PVSCHED_TASK_FLAGS_SHIFT & PVSCHED_GRANT_BOOSTED))
		return;
	tell_guest(act, s, sh, &s->base, false, PVSCHED_WORD_REASON(applied));
}

bool pvsched_thread_lives(const struct pvsched_actuation *act, const struct pvsched_slot *s,
			  const struct pvsched_shared *sh)
{
	struct pvsched_attr cur;
	uint64_t start;
	int err;

	if (s->tid <= 0) /* which to the kernel were the caller */
		return false;
	/* Set as the thread begins to exit, long before its tid is free: until then no system call is
	 * needed. The pidfd settled its identity at registration. */
	if (!act->guardian && !LOAD(sh->gone))
		return true;
	for (int i = 0; i < TRIES; i++) {
		err = pvsched_starttime(s->tid, &start);
		if (!err)
			return start == s->starttime;
		if (err == -ENOENT || err == -ESRCH)
			return false;
	}
	/* No file can be opened, which says nothing of the thread: who has exactly what was given it is it. */
	return !pvsched_attr_get(s->tid, &cur) && pvsched_attr_same(&cur, &s->boosted);
}

/* As only we leave a thread: one that was late by several changes may have set what none of the last words
 * says. An owner that sets just this while two of us are at odds is overlooked. */
static bool is_of_our_kind(const struct pvsched_actuation *act, const struct pvsched_slot *s,
			   const struct pvsched_attr *cur)
{
	if (!(cur->flags & ~s->base.flags & SCHED_FLAG_RESET_ON_FORK))
		return false;
	switch (cur->policy) {
	case SCHED_FIFO:
		return cur->priority <= pvsched_limits_now(act, s - act->slots)->ceiling;
	default: /* any nice: a payback's, and boosts where there is no real-time time */
		return cur->policy == SCHED_OTHER || cur->policy == SCHED_IDLE;
	}
}

/* The thread may have any of our last words: which, when two of us changed it at once, or one was
 * killed or stopped on the way. */
static const struct pvsched_attr *one_of_ours(const struct pvsched_actuation *act,
					      const struct pvsched_slot *s,
					      const struct pvsched_attr *cur)
{
	if (pvsched_attr_same(cur, &s->boosted))
		return &s->boosted;
	if (pvsched_attr_same(cur, &s->was))
		return &s->was;
	if (is_of_our_kind(act, s, cur))
		return cur;
	return cur->policy == s->base.policy ? &s->base : NULL;
}

/* A policy that has no use for a nice keeps it. */
static bool hides_nice(const struct pvsched_attr *a)
{
	return a->policy != SCHED_OTHER && a->policy != SCHED_BATCH;
}

bool pvsched_slot_is_beside(const struct pvsched_slot *s)
{
	uint64_t until = LOAD(s->unlocked_ns);

	return until && until > now_ns();
}

/* Any nice that we set lately, or found. */
static bool nice_is_ours(const struct pvsched_slot *s, int nice)
{
	return nice == s->base.nice || nice == s->under ||
	       (!hides_nice(&s->boosted) && nice == s->boosted.nice) ||
	       (!hides_nice(&s->was) && nice == s->was.nice);
}

/* What is to be its own again is under what the thread has: it needs its policy back, no more. */
static bool covers_its_nice(const struct pvsched_slot *s, const struct pvsched_attr *boosted)
{
	return hides_nice(boosted) && pvsched_attr_is_fair(&s->base) && s->under == s->base.nice;
}

/* The broker says what is somebody else's. */
static void note_foreign(const struct pvsched_actuation *act, struct pvsched_shared *sh,
			 uint32_t foreign)
{
	STORE(sh->foreign, sh->foreign | foreign);
	if (!act->guardian)
		eventfd_write(act->foreign_fd, 1);
}

/*
 * What somebody else changed since we last did is theirs from now on, attribute by attribute: a
 * policy or a real-time priority, or a nice (that of a boosted thread included: it is real-time and
 * keeps its nice unused). boosted: what the thread has is from us. Returns whether that covers the
 * nice that is to be its own again.
 */
static bool see_foreign(const struct pvsched_actuation *act, struct pvsched_slot *s,
			struct pvsched_shared *sh, bool boosted)
{
	const struct pvsched_attr *ours = boosted ? &s->boosted : &s->base, *last;
	bool doubt, hidden, covers, left;
	struct pvsched_attr cur;
	uint32_t foreign = 0;
	int expected, nice;

	if (pvsched_attr_get(s->tid, &cur))
		return false;
	nice = cur.nice;
	if (hides_nice(&cur) && pvsched_nice_get(s->tid, &nice))
		return false;
	/* After the thread was read: who changed it until then without the lock has said so before he did.
	 * He may have said since that he is done, so that is looked at last. */
	doubt = (boosted && s->changing) || s->doubt || pvsched_slot_is_beside(s) || LOAD(s->raced);
	last = doubt ? one_of_ours(act, s, &cur) : NULL;
	if (last) {
		ours = last;
		boosted = ours != &s->base;
	}
	hidden = hides_nice(ours);
	expected = hidden ? (boosted ? s->under : s->base.nice) : ours->nice;
	if (doubt && nice_is_ours(s, nice)) {
		expected = nice;
		if (!hidden && cur.policy == ours->policy)
			return false;
	}
	/* No right is needed to go down: what lies between the thread's own and what it was given is left of
	 * that, and goes with it. Who may have more and takes just this is overlooked. */
	left = boosted && pvsched_attr_is_fair(&s->base) && expected <= nice && nice < s->base.nice;
	if (left) {
		nice = expected;
		cur.nice = s->base.nice;
	}
	if (boosted && cur.policy == SCHED_FIFO && ours->policy == SCHED_FIFO &&
	    cur.priority < ours->priority && pvsched_attr_prio(&cur) < pvsched_attr_prio(&s->base))
		cur.priority = ours->priority;
	if (cur.policy != ours->policy || (hidden && cur.priority != ours->priority))
		foreign |= PVSCHED_FOREIGN_POLICY;
	else if (nice != expected)
		foreign |= PVSCHED_FOREIGN_NICE;
	if (foreign & PVSCHED_FOREIGN_POLICY || (!foreign && !boosted))
		s->base = cur; /* with a slice or clamps of theirs */
	/* theirs is left alone, but not our nice in it, or under it */
	if (left && foreign & PVSCHED_FOREIGN_POLICY && pvsched_thread_lives(act, s, sh) &&
	    setpriority(PRIO_PROCESS, s->tid, s->base.nice))
		sh->failed++;
	if (foreign & PVSCHED_FOREIGN_NICE)
		s->base.nice = s->under = nice;
	covers = boosted && !(foreign & PVSCHED_FOREIGN_POLICY) && covers_its_nice(s, ours) &&
		 nice == s->under;
	if (!foreign)
		return covers;
	STORE(sh->external, sh->external + 1);
	note_foreign(act, sh, foreign);
	return covers;
}

static void put_back(const struct pvsched_actuation *act, struct pvsched_slot *s,
		     struct pvsched_shared *sh)
{
	if (!pvsched_place_back(s))
		return;
	STORE(sh->external, sh->external + 1);
	note_foreign(act, sh, PVSCHED_FOREIGN_AFFINITY);
}

/* Without the lock what another of us does meanwhile would look like somebody's: nothing is taken for
 * theirs. But a nice that they set under the boost stays, and is seen by the next one with the lock. */
static bool covers_without_lock(const struct pvsched_slot *s)
{
	struct pvsched_attr cur;

	return !pvsched_attr_get(s->tid, &cur) && pvsched_attr_same(&cur, &s->boosted) &&
	       covers_its_nice(s, &cur);
}

static int set(const struct pvsched_actuation *act, struct pvsched_slot *s,
	       const struct pvsched_shared *sh, const struct pvsched_attr *attr)
{
	if (!pvsched_thread_lives(act, s, sh))
		return -ESRCH;
	return pvsched_attr_set(s->tid, attr);
}

/* The thread is as good as its baseline, or worse, from now on. */
static void end_boost(const struct pvsched_actuation *act, struct pvsched_slot *s,
		      struct pvsched_shared *sh, uint64_t now)
{
	uint32_t slot = s - act->slots;
	struct pvsched_debt *d = &act->debts[slot];

	if (!d->stretch.on_ns)
		return;
	pvsched_hist_add(&s->boost, now - d->stretch.on_ns);
	sh->boosted_wall_ns += pvsched_wall_off(d, now, pvsched_limits_now(act, slot));
}

/* Leaving a real-time policy resets a custom slack (kernel: __setscheduler_params). */
static void keep_slack(const struct pvsched_slot *s)
{
	if (s->slack_ns != PVSCHED_SLACK_DEFAULT_NS)
		pvsched_slack_set(s->tid, s->slack_ns);
}

static bool is_boost(const struct pvsched_slot *s, uint64_t word)
{
	return pvsched_is_boost(PVSCHED_WORD_LEVEL(word), PVSCHED_WORD_VALUE(word), s->base.policy,
				s->base.nice);
}

bool pvsched_slot_boosted(const struct pvsched_slot *s, const struct pvsched_shared *sh)
{
	return LOAD(s->used) && is_boost(s, LOAD(sh->applied));
}

/*
 * A thread that executes a program becomes its process's leader, with what was set on it: its own number is gone,
 * and no exit was seen. The kernel gives it the leader's start, too (de_thread), which tells it from another
 * process of that number. Nothing is decided for it any more.
 */
static bool has_executed(struct pvsched_slot *s, struct pvsched_shared *sh)
{
	struct pvsched_attr cur;
	uint64_t start;

	if (s->tid == s->tgid || !s->leader_start || LOAD(sh->gone) ||
	    pvsched_starttime(s->tgid, &start) || start != s->leader_start ||
	    pvsched_attr_get(s->tgid, &cur) || !pvsched_attr_same(&cur, &s->boosted))
		return false;
	STORE(sh->gone, 1);
	s->starttime = start;
	s->tid = s->tgid;
	return true;
}

/* model: apply.restore */
static int restore(const struct pvsched_actuation *act, struct pvsched_slot *s,
		   struct pvsched_shared *sh, uint64_t desired, bool locked)
{
	uint8_t reason = PVSCHED_WORD_REASON(desired);
	bool covers;
	uint64_t now;
	int err = 0;

	covers = locked ? see_foreign(act, s, sh, true) : covers_without_lock(s);
	if (!pvsched_thread_lives(act, s, sh))
		err = -ESRCH;
	else if (sh->foreign & PVSCHED_FOREIGN_POLICY)
		reason = PVSCHED_REASON_EXTERNAL; /* hands off, also now */
	else if (covers) /* a nice that somebody sets just now stays */
		err = pvsched_attr_uncover(s->tid, &s->base);
	else
		err = pvsched_attr_set(s->tid, &s->base);
	if (err == -ESRCH && has_executed(s, sh))
		err = pvsched_attr_set(s->tid, &s->base);
	if (err && err != -ESRCH) {
		sh->failed++;
		return err;
	}
	if (err != -ESRCH) { /* else whoever has its number now */
		keep_slack(s);
		put_back(act, s, sh);
	}
	now = now_ns();
	if (reason == PVSCHED_REASON_PAYBACK) {
		reason = PVSCHED_REASON_NONE;
	} else if (PVSCHED_WORD_LEVEL(desired) != PVSCHED_LEVEL_BASE) {
		reason = PVSCHED_REASON_EXPIRED;
		sh->expired++;
	}
	/* accounting reads the times when it sees the level change: they come before the word */
	end_boost(act, s, sh, now);
	STORE(sh->applied_ns, now);
	STORE(sh->applied,
	      pvsched_word(PVSCHED_WORD_SEQ(desired), PVSCHED_LEVEL_BASE, 0, reason, now));
	STORE(s->changing, 0);
	if (!locked && err != -ESRCH) {
		/* Its holder may have begun to move the thread after it was put back above. He looks at
		 * `applied` after his change: pairs with pvsched_place_move(). */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		put_back(act, s, sh);
	}
	tell_guest(act, s, sh, &s->base, false, reason);
	return 0;
}

/* RT group scheduling gives the thread's cgroup no real-time time (we have CAP_SYS_NICE): the
 * decision that follows is a fair one. Its owner may give it some, so it is tried again. */
static void no_realtime(const struct pvsched_actuation *act, struct pvsched_shared *sh)
{
	STORE(sh->fair_until_ns, now_ns() + FAIR_NS);
	if (sh->foreign & PVSCHED_FOREIGN_GROUP)
		return;
	note_foreign(act, sh, PVSCHED_FOREIGN_GROUP);
}

/* Is what is desired of the attributes that are still ours? */
static bool may_set(const struct pvsched_shared *sh, uint64_t desired)
{
	return !(sh->foreign & PVSCHED_FOREIGN_POLICY) &&
	       !(sh->foreign & PVSCHED_FOREIGN_NICE &&
		 PVSCHED_WORD_LEVEL(desired) == PVSCHED_LEVEL_NICE);
}

struct pvsched_attr pvsched_attr_of_word(uint64_t word)
{
	struct pvsched_attr a = { .flags = SCHED_FLAG_RESET_ON_FORK };

	switch (PVSCHED_WORD_LEVEL(word)) {
	case PVSCHED_LEVEL_RT:
		a.policy = SCHED_FIFO;
		a.priority = PVSCHED_WORD_VALUE(word);
		break;
	case PVSCHED_LEVEL_NICE:
		a.policy = SCHED_OTHER;
		a.nice = PVSCHED_WORD_VALUE(word);
		break;
	default:
		a.policy = SCHED_IDLE;
		break;
	}
	return a;
}

/* model: apply.boost */
static int boost(const struct pvsched_actuation *act, struct pvsched_slot *s,
		 struct pvsched_shared *sh, uint64_t desired, uint64_t until, uint64_t event_ns,
		 bool locked)
{
	struct pvsched_attr want = pvsched_attr_of_word(desired);
	bool counted = is_boost(s, desired);
	uint64_t before = sh->applied, now;
	uint32_t slot = s - act->slots;
	int err;

	/* A VMM that runs its vCPUs FIFO 50 needs none. */
	if (pvsched_needs_none(PVSCHED_WORD_LEVEL(desired), PVSCHED_WORD_VALUE(desired),
			       s->base.policy, pvsched_attr_prio(&s->base)))
		return -EALREADY;
	if (locked)
		see_foreign(act, s, sh, PVSCHED_WORD_LEVEL(sh->applied) != PVSCHED_LEVEL_BASE);
	if (!may_set(sh, desired))
		return -EOWNERDEAD;
	if (PVSCHED_WORD_LEVEL(sh->applied) == PVSCHED_LEVEL_BASE)
		s->under = s->base.nice;
	/* Told before the change and again after it: when this thread is killed or stopped between
	 * the two, the second line and the guardian must find that there is something to restore.
	 * model: apply.before */
	if (counted)
		STORE(sh->boosted_for, PVSCHED_WORD_REASON(desired));
	s->was = PVSCHED_WORD_LEVEL(before) != PVSCHED_LEVEL_BASE ? s->boosted : s->base;
	s->boosted = want;
	STORE(s->changing, 1);
	STORE(sh->applied,
	      pvsched_word(PVSCHED_WORD_SEQ(before), PVSCHED_WORD_LEVEL(desired),
			   PVSCHED_WORD_VALUE(desired), PVSCHED_WORD_REASON(desired), until));
	err = set(act, s, sh, &want);
	if (err == -EPERM && want.policy == SCHED_FIFO)
		no_realtime(act, sh);
	if (err) {
		s->boosted = s->was;
		STORE(sh->applied, before);
		STORE(s->changing, 0);
		sh->failed++;
		return err;
	}
	if (want.policy != SCHED_FIFO)
		keep_slack(s);
	now = now_ns();
	if (want.policy == SCHED_OTHER)
		s->under = want.nice;
	if (!counted) {
		put_back(act, s, sh);
		end_boost(act, s, sh, now);
	}
	if (counted && !act->debts[slot].stretch.on_ns) {
		pvsched_wall_on(&act->debts[slot], now, pvsched_limits_now(act, slot));
		sh->boosts++;
		s->bells = 0; /* not at a change from boost to boost: a guest may ask for those */
		s->granted[PVSCHED_WORD_REASON(desired) % PVSCHED_REASONS]++;
		if (event_ns && now > event_ns)
			pvsched_hist_add(&s->apply, now - event_ns);
	}
	STORE(sh->applied_ns, now);
	STORE(sh->applied,
	      pvsched_word(PVSCHED_WORD_SEQ(desired), PVSCHED_WORD_LEVEL(desired),
			   PVSCHED_WORD_VALUE(desired), PVSCHED_WORD_REASON(desired), until));
	STORE(s->changing, 0);
	tell_guest(act, s, sh, &s->boosted, counted, PVSCHED_WORD_REASON(desired));
	return 0;
}

/*
 * Until when the actuator allows what is desired, by its own count: whatever asks, a boost stays
 * within ceiling, contiguous cap, rate and share. now or earlier = it refuses.
 */
static uint64_t allowed_until(const struct pvsched_actuation *a, uint32_t slot, uint64_t desired,
			      uint64_t now)
{
	const struct pvsched_limits *l = pvsched_limits_now(a, slot);

	if (!is_boost(&a->slots[slot], desired))
		return now + PVSCHED_YIELD_MAX_NS;
	if (PVSCHED_WORD_LEVEL(desired) == PVSCHED_LEVEL_RT &&
	    (PVSCHED_WORD_VALUE(desired) < 1 || (uint32_t)PVSCHED_WORD_VALUE(desired) > l->ceiling))
		return now;
	return pvsched_wall_until(&a->debts[slot], now, l);
}

static bool begin(struct pvsched_slot *s, uint64_t since_ns)
{
	bool locked = pvsched_slot_lock_since(s, since_ns); /* model: apply.lock */

	/* A holder that was only late goes on beside who does not wait for it, and the thread has what
	 * the last one set, whatever `applied` says: set anew by the next one who has the lock.
	 * model: apply.beside */
	if (!locked) {
		__atomic_store_n(&s->unlocked_ns, now_ns() + BESIDE_NS, __ATOMIC_SEQ_CST);
	} else if (pvsched_slot_is_beside(s) || LOAD(s->raced)) {
		s->doubt = 1;
		STORE(s->raced, 0);
	}
	return locked;
}

/* unlocked_ns stays as it is: another one without the lock may not be done. */
static void finish(struct pvsched_slot *s, bool locked)
{
	if (locked)
		pvsched_slot_unlock(s);
	else /* for whoever has the lock next, or has it now and saw the thread before the change */
		STORE(s->raced, 1);
}

static int apply(struct pvsched_actuation *a, uint32_t slot, uint64_t event_ns, bool base_only,
		 bool locked, struct pvsched_applied *ret)
{
	struct pvsched_slot *s = &a->slots[slot];
	struct pvsched_shared *sh = &a->shared[slot];
	uint64_t desired, applied, now, most, until, seen;
	struct pvsched_applied out = { 0 };
	bool want, is, sure;
	int err = 0;

	/* Until what was applied is what is desired; the desired word may change meanwhile, but
	 * each turn of the loop costs its writer an event, so four are plenty; a later change
	 * brings its own hint. */
	for (int i = 0; i < 4; i++) {
		desired = LOAD(sh->desired); /* model: apply.word */
		applied = LOAD(sh->applied);
		now = now_ns();
		want = LOAD(s->used) && !base_only && may_set(sh, desired) && !LOAD(sh->gone) &&
		       pvsched_word_active(desired, now);
		is = PVSCHED_WORD_LEVEL(applied) != PVSCHED_LEVEL_BASE;
		sure = !locked || !s->doubt;
		until = 0;
		/* who does not wait for the lock may have boosted it beside its release */
		if (!is && !LOAD(s->used))
			break;
		out.desired = desired;
		if (want) {
			until = now + (uint64_t)pvsched_word_left(desired, now);
			most = allowed_until(a, slot, desired, now);
			if (most < until)
				until = most;
			if (until <= now + (is ? 0 : a->config->min_ns / 2)) {
				sh->refused++;
				want = false;
			}
		}
		if (sure && want && is &&
		    PVSCHED_WORD_LEVEL(desired) == PVSCHED_WORD_LEVEL(applied) &&
		    PVSCHED_WORD_VALUE(desired) == PVSCHED_WORD_VALUE(applied)) {
			out.boosted = is_boost(s, desired);
			out.until_ns = until;
			break;
		}
		if (sure && !want && !is) {
			if (locked)
				tell_of_its_end(a, s, sh, applied);
			break;
		}
		err = want ? boost(a, s, sh, desired, until, event_ns, locked)
			   : restore(a, s, sh, desired, locked);
		/* what could not be changed stays as it was applied: try again soon */
		out.boosted = err ? is && err != -ESRCH && is_boost(s, applied)
				  : want && is_boost(s, desired);
		out.until_ns = !err ? until : is && err != -ESRCH ? now + RETRY_NS : 0;
		out.changed = !err;
		if (!sure && !err)
			s->doubt = 0;
		seen = LOAD(sh->desired); /* model: apply.again */
		if (err || seen == desired)
			break;
	}
	*ret = out;
	return err;
}

int pvsched_apply(struct pvsched_actuation *a, uint32_t slot, uint64_t event_ns, bool base_only,
		  struct pvsched_applied *ret)
{
	struct pvsched_slot *s = &a->slots[slot];
	bool locked;
	int err;

	*ret = (struct pvsched_applied){ 0 };
	/* threads keep their scheduling: there is nothing to apply, or to restore */
	if (LOAD(a->config->actuator) != PVSCHED_ACTUATOR_AGENT)
		return 0;
	locked = begin(s, a->guardian ? event_ns : 0);
	err = apply(a, slot, event_ns, base_only, locked, ret);
	finish(s, locked);
	return err;
}

void pvsched_release(struct pvsched_actuation *a, uint32_t slot)
{
	struct pvsched_slot *s = &a->slots[slot];
	struct pvsched_shared *sh = &a->shared[slot];
	struct pvsched_applied done;
	bool locked = begin(s, 0);

	pvsched_desire_nothing(sh); /* model: remove.word */
	if (LOAD(a->config->actuator) == PVSCHED_ACTUATOR_AGENT)
		for (int i = 0; i < TRIES && apply(a, slot, 0, true, locked, &done); i++)
			;
	STORE(s->used, 0); /* model: remove.used */
	finish(s, locked);
}
