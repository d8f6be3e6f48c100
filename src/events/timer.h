/* SPDX-License-Identifier: GPL-2.0-only */
/* PVSCHED_EV_TIMER: what happens at a time that arm() set. Compiled as decide.h is. */
#ifndef PVSCHED_EVENTS_TIMER_H
#define PVSCHED_EVENTS_TIMER_H

#include "decide.h"

/* PVSCHED_EV_TIMER: a time the policy asked for, or the second line: a boost that outlived its
 * expiry because its agent did not wake. Then everybody who could restore it is called. */
static __always_inline int on_time(struct pvsched_vcpu *v, const __u32 *key)
{
	struct pvsched_cpu *c = this_cpu();
	struct pvsched_shared *s;
	__u64 now = time_ns();
	__u32 slot = *key;

	if ((v->flags & (PVSCHED_V_USED | PVSCHED_V_GONE)) != PVSCHED_V_USED || !is_ours(v))
		return 0;
	s = shared_of(slot);
	if (!s)
		return 0;
	MEMBER(v, timer_at) = 0;
	count(c, events[6]);
	if (PVSCHED_WORD_LEVEL(MEMBER(s, applied)) != PVSCHED_LEVEL_BASE &&
	    !pvsched_word_active(MEMBER(s, desired), now)) {
#ifdef PVSCHED_IN_KERNEL
		if (config.actuator & PVSCHED_ACTS_IN_KERNEL)
			return on_expiry(v, slot, now);
#endif
		count(c, second_line); /* model: timer.second_line */
		hint(PVSCHED_CPUS, slot, now, c);
		hint(this_cpu_id(), slot, now, c);
		arm(v, now + config.slack_ns, now); /* model: timer.again */
		return 0;
	}
	if (PVSCHED_WORD_LEVEL(MEMBER(s, applied)) != PVSCHED_LEVEL_BASE) {
		/* newer than what this time stood for; or a payback, in which this may be the
		 * time of the next boost */
		arm_second(v, MEMBER(s, desired), now);
		if (pvsched_word_boosts(MEMBER(s, desired), now, v->base_policy, v->base_nice))
			return 0;
	}
	/* An agent will ask later, so what was asked for now is history. Should it be stopped, then
	 * so is all boosting of this vCPU until it wakes: a loss for the guest only. */
	if (MEMBER(s, watch_ns) <= now)
		pvsched_decide(slot, PVSCHED_EV_TIMER, now, RIVALS_ASK);
	return 0;
}

#endif
