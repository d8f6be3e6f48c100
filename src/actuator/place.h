/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where a boosted vCPU's thread runs: a policy's wish, carried out through its affinity for as long
 * as the boost lasts, and put back exactly. Under the slot's lock; what it needs to put back is in
 * the slot, so the guardian can.
 */
#ifndef PVSCHED_ACTUATOR_PLACE_H
#define PVSCHED_ACTUATOR_PLACE_H

#include "apply.h"

/* To one CPU of `free` that the thread may use: its number, or -errno and nothing has changed. Two
 * system calls; and a file of /proc when somebody has changed the affinity since. -ECANCELED: the boost
 * has ended, be it beside this, by one who did not wait for the lock: then the thread has been put back. */
int pvsched_place_move(struct pvsched_slot *s, const struct pvsched_shared *sh,
		       const cpu_set_t *free);
/* Back to what it had, unless somebody else has changed it meanwhile: then it is theirs. Returns whether. */
bool pvsched_place_back(struct pvsched_slot *s);

#endif
