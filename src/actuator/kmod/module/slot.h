/* SPDX-License-Identifier: GPL-2.0-only */
/* A registered thread: thread.c changes its scheduling, main.c says when. */
#ifndef PVSCHED_KMOD_SLOT_H
#define PVSCHED_KMOD_SLOT_H

#include <linux/eventfd.h>
#include <linux/hrtimer.h>
#include <linux/rtmutex.h>
#include <linux/sched.h>
#include <linux/wait.h>

#include "uapi.h"
#include "word.h"

struct attr {
	u32 policy, priority;
	int nice;
	u64 slice; /* 0 = the kernel's own */
	bool reset_on_fork;
};

struct slot {
	struct rt_mutex lock;
	struct task_struct *task; /* with a reference; NULL = not registered */
	u64 want; /* written by programs, in any context */
	unsigned long state; /* RANG */
	struct hrtimer expiry;
	u32 cpu; /* whose worker was told last */
	struct eventfd_ctx *bell; /* under `registry`; NULL = it has none */
	wait_queue_entry_t wait;
	u32 bells; /* heard in the boost in force */
	/* under the lock: */
	u64 word; /* in force; its level BASE: the thread is as it was */
	struct attr base; /* what it had; what somebody else sets meanwhile is taken over */
	struct attr set; /* what was set last, while the level is not BASE */
	int under; /* nice that a real-time boost hides */
	u64 slack_ns;
	u32 foreign;
};

enum { RANG };

#define RETRY_NS 1000000ll /* after a change that failed, or was not made in time */

extern struct slot *slots;
extern u32 ceiling; /* boosts are below; 0 = no broker has begun */

static inline bool is_boosted(const struct slot *s)
{
	return PVSCHED_WORD_LEVEL(s->word) != PVSCHED_LEVEL_BASE;
}

/* Under the slot's lock, both. p is what is registered, as it is now; its reference becomes the slot's. */
void slot_begin(struct slot *s, struct task_struct *p);
/* Brings the thread to what is wanted now, and says what it did: pvsched_kmod_done(). */
void slot_apply(struct slot *s);

/* The slot's thread shall be as the word says, from soon on: see pvsched_kmod_want(). */
int slot_want(u32 slot, u64 word, u32 cpu);

/* The broker is to look what somebody else has changed. */
void tell_broker(void);

#endif
