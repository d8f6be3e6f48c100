/* SPDX-License-Identifier: GPL-2.0-only */
/* PVSCHED_EV_INTR_PENDING: an interrupt is on its way to a vCPU. Compiled as decide.h is. */
#ifndef PVSCHED_EVENTS_PENDING_H
#define PVSCHED_EVENTS_PENDING_H

#include "decide.h"

/* What an actuator in the kernel notes of one for a vCPU that runs: it may be about to lose its CPU. */
#ifndef intr_while_running
#define intr_while_running(slot) ((void)0)
#endif

static __always_inline void intr_pending(__u32 slot)
{
	struct pvsched_vcpu *v = vcpu_of_slot(slot);
	struct pvsched_cpu *c = this_cpu(); /* once: before 6.13 each look-up may be NULL */
	__u64 now;

	if (!v || v->state == PVSCHED_STATE_UNKNOWN)
		return;
	if (v->state == PVSCHED_STATE_RUNNING) {
		intr_while_running(slot);
		return;
	}
	now = time_ns();
	count(c, events[4]);
	pvsched_decide(slot, PVSCHED_EV_INTR_PENDING, now, RIVALS_ASK);
}

#endif
