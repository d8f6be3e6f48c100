// SPDX-License-Identifier: GPL-2.0-only
/* From desired to applied, one slot at a time. See apply.h. */
#include "apply.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Children of a thread that forks while boosted start at SCHED_OTHER: a boost is not inherited. */
#define SCHED_FLAG_RESET_ON_FORK 1

#define LOAD(x)		 __atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define STORE(x, v)	 __atomic_store_n(&(x), (v), __ATOMIC_RELEASE)
#define STORE_PAGE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_SEQ_CST)

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

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

/* Returns false when the holder is stopped: the caller then goes on without the lock, which can
 * only repeat a system call; restoring a thread must not wait for a stopped one. */
static bool lock(struct pvsched_slot *s)
{
	struct timespec until;
	uint64_t t;
	int err = pthread_mutex_trylock(&s->lock);

	if (err == EBUSY) {
		clock_gettime(CLOCK_REALTIME, &until);
		t = until.tv_nsec + PVSCHED_LOCK_NS;
		until.tv_sec += t / 1000000000;
		until.tv_nsec = t % 1000000000;
		err = pthread_mutex_timedlock(&s->lock, &until);
	}
	if (err == EOWNERDEAD)
		pthread_mutex_consistent(&s->lock);
	return !err || err == EOWNERDEAD;
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
	/* SEQ_CST: pairs with the guest's full barrier between clearing its urgency and reading
	 * grant. Either it sees BOOSTED and rings, or the caller sees its new generation.
	 * model: apply.tell */
	STORE_PAGE(s->page->grant,
		   pvsched_task_word(a->policy, a->nice, a->priority, flags, LOAD(sh->gen)));
	STORE_PAGE(s->page->boosts, sh->boosts);
}

/* The tid still names the thread that was registered. */
static bool thread_lives(const struct pvsched_actuation *act, const struct pvsched_slot *s,
			 const struct pvsched_shared *sh)
{
	uint64_t start;

	if (act->guardian)
		return !pvsched_starttime(s->tid, &start) && start == s->starttime;
	/* Set as the thread begins to exit, long before its tid is free: no system call needed.
	 * The pidfd settled its identity at registration. */
	return !LOAD(sh->gone);
}

/* Somebody else changed the thread since we last did: it is theirs now. */
static bool is_external(struct pvsched_slot *s, struct pvsched_shared *sh, bool boosted)
{
	struct pvsched_attr cur;

	if (pvsched_attr_get(s->tid, &cur))
		return false;
	if (pvsched_attr_same(&cur, boosted ? &s->boosted : &s->base))
		return false;
	STORE(sh->external, sh->external + 1);
	return true;
}

static int set(const struct pvsched_actuation *act, struct pvsched_slot *s,
	       const struct pvsched_shared *sh, const struct pvsched_attr *attr)
{
	if (!thread_lives(act, s, sh))
		return -ESRCH;
	return pvsched_attr_set(s->tid, attr);
}

/* The thread is as good as its baseline, or worse, from now on. */
static void end_boost(const struct pvsched_actuation *act, struct pvsched_slot *s,
		      struct pvsched_shared *sh, uint64_t now)
{
	if (!sh->stretch.on_ns)
		return;
	pvsched_hist_add(&s->boost, now - sh->stretch.on_ns);
	sh->boosted_wall_ns += pvsched_stretch_off(&sh->stretch, now, act->config->cap_ns);
}

/* Leaving a real-time policy resets a custom slack (kernel: __setscheduler_params). */
static void keep_slack(const struct pvsched_slot *s)
{
	if (s->slack_ns != PVSCHED_SLACK_DEFAULT_NS)
		pvsched_slack_set(s->tid, s->slack_ns);
}

/* model: apply.restore */
static int restore(const struct pvsched_actuation *act, struct pvsched_slot *s,
		   struct pvsched_shared *sh, uint64_t desired)
{
	uint8_t reason = PVSCHED_WORD_REASON(desired);
	uint64_t now;
	int err = 0;

	if (is_external(s, sh, true))
		reason = PVSCHED_REASON_EXTERNAL; /* hands off, also now */
	else
		err = set(act, s, sh, &s->base);
	if (err && err != -ESRCH) {
		sh->failed++;
		return err;
	}
	keep_slack(s);
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
	tell_guest(act, s, sh, &s->base, false, reason);
	return 0;
}

static bool is_boost(const struct pvsched_slot *s, uint64_t word)
{
	return pvsched_is_boost(PVSCHED_WORD_LEVEL(word), PVSCHED_WORD_VALUE(word), s->base.policy,
				s->base.nice);
}

/* model: apply.boost */
static int boost(const struct pvsched_actuation *act, struct pvsched_slot *s,
		 struct pvsched_shared *sh, uint64_t desired, uint64_t until, uint64_t event_ns)
{
	struct pvsched_attr want = { .flags = SCHED_FLAG_RESET_ON_FORK };
	bool counted = is_boost(s, desired);
	uint64_t now;
	int err;

	switch (PVSCHED_WORD_LEVEL(desired)) {
	case PVSCHED_LEVEL_RT:
		want.policy = SCHED_FIFO;
		want.priority = PVSCHED_WORD_VALUE(desired);
		break;
	case PVSCHED_LEVEL_NICE:
		want.policy = SCHED_OTHER;
		want.nice = PVSCHED_WORD_VALUE(desired);
		break;
	default:
		want.policy = SCHED_IDLE;
		break;
	}
	/* Baseline better than the boost: a VMM that runs its vCPUs FIFO 50 needs none. */
	if (PVSCHED_WORD_LEVEL(desired) == PVSCHED_LEVEL_RT &&
	    pvsched_attr_prio(&s->base) <= pvsched_attr_prio(&want))
		return -EALREADY;
	if (is_external(s, sh, PVSCHED_WORD_LEVEL(sh->applied) != PVSCHED_LEVEL_BASE))
		return -EOWNERDEAD;
	err = set(act, s, sh, &want);
	if (err) {
		sh->failed++;
		return err;
	}
	if (want.policy != SCHED_FIFO)
		keep_slack(s);
	now = now_ns();
	s->boosted = want;
	if (!counted)
		end_boost(act, s, sh, now);
	if (counted && !sh->stretch.on_ns) {
		pvsched_stretch_on(&sh->stretch, now);
		sh->boosts++;
		if (event_ns && now > event_ns)
			pvsched_hist_add(&s->apply, now - event_ns);
	}
	STORE(sh->applied_ns, now);
	STORE(sh->applied,
	      pvsched_word(PVSCHED_WORD_SEQ(desired), PVSCHED_WORD_LEVEL(desired),
			   PVSCHED_WORD_VALUE(desired), PVSCHED_WORD_REASON(desired), until));
	tell_guest(act, s, sh, &s->boosted, counted, PVSCHED_WORD_REASON(desired));
	return 0;
}

int pvsched_apply(struct pvsched_actuation *a, uint32_t slot, uint64_t event_ns, bool base_only,
		  struct pvsched_applied *ret)
{
	struct pvsched_slot *s = &a->slots[slot];
	struct pvsched_shared *sh = &a->shared[slot];
	struct pvsched_applied out = { 0 };
	uint64_t desired, applied, now, left, until, seen;
	bool locked = lock(s), want, is; /* model: apply.lock */
	int err = 0;

	/* Until what was applied is what is desired; the desired word may change meanwhile, but
	 * each turn of the loop costs its writer an event, so four are plenty; a later change
	 * brings its own hint. */
	for (int i = 0; i < 4; i++) {
		if (!LOAD(s->used))
			break;
		desired = LOAD(sh->desired); /* model: apply.word */
		applied = LOAD(sh->applied);
		now = now_ns();
		want = !base_only && !sh->external && pvsched_word_active(desired, now);
		is = PVSCHED_WORD_LEVEL(applied) != PVSCHED_LEVEL_BASE;
		until = 0;
		out.desired = desired;
		if (want) {
			/* the agent's own check of the contiguous cap, whatever BPF asks */
			left = is_boost(s, desired)
				       ? pvsched_stretch_left(&sh->stretch, now, a->config->cap_ns)
				       : PVSCHED_YIELD_MAX_NS;
			until = now + (uint64_t)pvsched_word_left(desired, now);
			if (now + left < until)
				until = now + left;
			if (until <= now + (is ? 0 : a->config->min_ns / 2)) {
				sh->refused++;
				want = false;
			}
		}
		if (want && is && PVSCHED_WORD_LEVEL(desired) == PVSCHED_WORD_LEVEL(applied) &&
		    PVSCHED_WORD_VALUE(desired) == PVSCHED_WORD_VALUE(applied)) {
			out.boosted = is_boost(s, desired);
			out.until_ns = until;
			break;
		}
		if (!want && !is)
			break;
		err = want ? boost(a, s, sh, desired, until, event_ns) : restore(a, s, sh, desired);
		/* what could not be changed stays as it was applied: try again soon */
		out.boosted = err ? is && err != -ESRCH && is_boost(s, applied)
				  : want && is_boost(s, desired);
		out.until_ns = !err ? until : is && err != -ESRCH ? now + a->config->cap_ns : 0;
		out.changed = !err;
		seen = LOAD(sh->desired); /* model: apply.again */
		if (err || seen == desired)
			break;
	}
	if (locked)
		pthread_mutex_unlock(&s->lock);
	*ret = out;
	return err;
}
