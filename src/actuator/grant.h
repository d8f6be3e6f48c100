/* SPDX-License-Identifier: GPL-2.0-only */
/* What an actuator in the kernel tells a guest: tell_guest() of apply.c for programs and the module.
 * Compiled as events/decide.h is. */
#ifndef PVSCHED_ACTUATOR_GRANT_H
#define PVSCHED_ACTUATOR_GRANT_H

#include "../events/state.h"

/* After the change took effect. No barrier: see the callers. */
static __always_inline void grant(struct pvsched_vcpu *v, struct pvsched_shared *s, __u32 slot,
				  __u64 word, int boosted, __u8 reason)
{
	struct pvsched_page *page = page_of_slot(v, slot);
	__u8 level = PVSCHED_WORD_LEVEL(word);
	__u32 policy = v->base_policy, priority = 0;
	__s32 nice = v->base_nice;

	if (!page)
		return;
	/* in the words of the scheduler that the guest knows */
	if (level == PVSCHED_LEVEL_RT) {
		policy = PVSCHED_POLICY_FIFO;
		priority = PVSCHED_WORD_VALUE(word);
	} else if (level == PVSCHED_LEVEL_NICE) {
		policy = PVSCHED_POLICY_NORMAL;
		nice = PVSCHED_WORD_VALUE(word);
	} else if (level == PVSCHED_LEVEL_IDLE) {
		policy = PVSCHED_POLICY_IDLE;
	}
	MEMBER(page, boosts) = s->boosts;
	MEMBER(page, grant) = pvsched_task_word(policy, nice, priority,
						(reason & PVSCHED_GRANT_REASON) |
							(boosted ? PVSCHED_GRANT_BOOSTED : 0),
						MEMBER(s, gen));
}

#endif
