/* SPDX-License-Identifier: GPL-2.0-only */
/* PVSCHED_EV_INTR_PENDING: an interrupt is on its way to a vCPU. Compiled as decide.h is. */
#ifndef PVSCHED_EVENTS_PENDING_H
#define PVSCHED_EVENTS_PENDING_H

#include "decide.h"

static __always_inline void intr_pending(__u32 slot)
{
	struct pvsched_vcpu *v = vcpu_of_slot(slot);
	struct pvsched_cpu *c = this_cpu(); /* once: before 6.13 each look-up may be NULL */
	__u64 now;

	if (!v || v->state == PVSCHED_STATE_RUNNING || v->state == PVSCHED_STATE_UNKNOWN)
		return;
	now = time_ns();
	count(c, events[4]);
	pvsched_decide(slot, PVSCHED_EV_INTR_PENDING, now, RIVALS_ASK);
}

#endif
