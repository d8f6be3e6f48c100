/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Brings one thread from its applied to its desired state. Used by the agents (everything), and
 * by broker and guardian (back to baseline only). All state of a slot is under its lock, which
 * lives in memory shared with the guardian; a holder that stopped or died does not block others
 * for more than PVSCHED_LOCK_NS.
 */
#ifndef PVSCHED_ACTUATOR_APPLY_H
#define PVSCHED_ACTUATOR_APPLY_H

#include <pthread.h>
#include <sched.h>

#include "../core/hist.h"
#include "../events/state.h"
#include "attr.h"

/* From an expiry to the second line, and what that waits at most for one who stopped while he held a slot's
 * lock: 4 ms together (ACC-14). An unneeded timer costs some 10 us where timers are dear. */
#define PVSCHED_SLACK_NS 3000000ull
#define PVSCHED_LOCK_NS	 1000000ull

/* One per vCPU slot, in memory shared by broker and guardian. */
struct pvsched_slot {
	pthread_mutex_t lock; /* process-shared, robust, priority inheritance */
	uint32_t made; /* the lock is: it stays when the slot changes hands */
	uint32_t used;
	pid_t tid, tgid; /* tid: its process's, once it has executed a program */
	uint32_t apic_id;
	int pidfd; /* broker's; of the thread, or of its process on kernels before 6.9 */
	int doorbell_fd; /* broker's */
	int prog_fd; /* its policy's program for agents; replaced whole */
	int agent; /* index of the agent that listens to the doorbell; -1 = none */
	bool listening; /* it hears the next ring; after that none until it listens again */
	uint8_t bells; /* heard in the boost in force */
	uint64_t heard; /* the boost after which the page was looked at last, listening */
	uint32_t doorbell_id; /* slot: what epoll hands back */
	/* What the thread had, restored exactly; what somebody else sets meanwhile is taken over. */
	struct pvsched_attr base;
	int under; /* nice that a real-time boost hides: a payback's, if it follows one */
	uint32_t foreign_said; /* broker's: PVSCHED_FOREIGN_* that it has said */
	struct pvsched_attr boosted; /* what was set last, or is about to be; valid while applied */
	struct pvsched_attr was; /* before that */
	uint32_t changing; /* between a change and its note in `applied` */
	uint64_t unlocked_ns; /* until then somebody may be at work without the lock */
	uint32_t raced; /* somebody was, perhaps beside its holder */
	uint32_t doubt; /* under the lock: so what the thread has may be neither's last word */
	uint64_t slack_ns;
	uint64_t starttime; /* /proc/TID/stat field 22: the guardian's proof of identity */
	uint64_t leader_start; /* the same of tgid; 0 = not known */
	struct pvsched_page *page; /* broker's mapping; NULL while the page is not enabled */
	uint64_t doorbells; /* heard; rings that arrive together count once */
	uint64_t granted[PVSCHED_REASONS]; /* boosts by what they began for */
	struct pvsched_hist apply, boost;
	/* a wish that was carried out, see place.h */
	uint32_t moved; /* not 0: the affinity is ours */
	cpu_set_t moved_to;
	cpu_set_t own; /* what it had, CPUs that are offline included ... */
	cpu_set_t may; /* ... when sched_getaffinity told this */
};

struct pvsched_actuation {
	struct pvsched_slot *slots; /* PVSCHED_SLOTS */
	struct pvsched_shared *shared; /* PVSCHED_SLOTS */
	struct pvsched_debt *debts; /* PVSCHED_DEBTS; of a slot's the second line is written here */
	struct pvsched_slot_limits *limits; /* PVSCHED_SLOTS; only read */
	volatile struct pvsched_config *config;
	int foreign_fd; /* eventfd: something is somebody else's now; not the guardian's */
	bool guardian; /* another process: no pages, no pidfds; identity by start time */
};

int pvsched_slot_lock_init(struct pvsched_slot *s);
/* Returns false when the holder is stopped: the caller then goes on without the lock, which can only
 * repeat a system call, or leaves it; restoring a thread must not wait for a stopped one. What a holder
 * that died left behind is for who comes next, see `changing`. since_ns: when the wait began, of
 * CLOCK_MONOTONIC; 0 = now. */
bool pvsched_slot_lock_since(struct pvsched_slot *s, uint64_t since_ns);
/* May one of us be at work without the lock, since a second ago or less? */
bool pvsched_slot_is_beside(const struct pvsched_slot *s);

static inline bool pvsched_slot_lock(struct pvsched_slot *s)
{
	return pvsched_slot_lock_since(s, 0);
}

void pvsched_slot_unlock(struct pvsched_slot *s);

/* What holds for the slot now: valid for one decision, see struct pvsched_slot_limits. */
static inline const struct pvsched_limits *pvsched_limits_now(const struct pvsched_actuation *act,
							      uint32_t slot)
{
	const struct pvsched_slot_limits *l = &act->limits[slot];

	return &l->copy[__atomic_load_n(&l->idx, __ATOMIC_ACQUIRE) & 1];
}

/* What apply did. */
struct pvsched_applied {
	bool boosted; /* the thread is better than its baseline now */
	bool changed;
	uint64_t until_ns; /* not as its baseline: restore it then at the latest; 0 = as it was */
	uint64_t desired; /* the word that this answers */
};

/*
 * event_ns: when the event happened that led here (0 = unknown, not counted in the histogram); the
 * guardian, which may be called for several slots at once, waits for the locks of all from then on.
 * base_only: never boosts. Returns 0, or -errno of the system call; the state then says what
 * the thread really has. ~4 us when it changes something: sched_getattr, sched_setattr; ~60 ns
 * when there is nothing to do.
 */
int pvsched_apply(struct pvsched_actuation *a, uint32_t slot, uint64_t event_ns, bool base_only,
		  struct pvsched_applied *ret);

/*
 * From now on nothing is desired of this thread, whoever decided before and says so only now: the word is
 * another one than any that was read, also where nothing was desired already.
 */
void pvsched_desire_nothing(struct pvsched_shared *sh);

/*
 * Gives the thread back what it had, and the slot up, in one hold of the lock: nobody boosts it between
 * the two, whatever is still desired. An actuator in the kernel has restored it before.
 */
void pvsched_release(struct pvsched_actuation *a, uint32_t slot);

/* The tid still names the thread that was registered. */
bool pvsched_thread_lives(const struct pvsched_actuation *act, const struct pvsched_slot *s,
			  const struct pvsched_shared *sh);

/* Better than its baseline, as far as is noted. */
bool pvsched_slot_boosted(const struct pvsched_slot *s, const struct pvsched_shared *sh);

/* What a thread runs as by a word whose level is not BASE. */
struct pvsched_attr pvsched_attr_of_word(uint64_t word);

/* Guest generation that stands in the page now; for the check after a grant. */
uint32_t pvsched_page_gen(const struct pvsched_page *page);

#endif
