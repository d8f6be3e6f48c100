/* SPDX-License-Identifier: GPL-2.0-only */
/* One broker per host: N programs on every context switch, or two bounds over one guest, must not be. */
#ifndef PVSCHED_BROKER_LOCK_H
#define PVSCHED_BROKER_LOCK_H

#include "../events/programs.h"

/* The lock is held as long as any copy of the descriptor is open, here or in the guardian. say, with ctx: one
 * line when it returns an error. -EEXIST another broker has it. The caller closes *ret_fd. */
int pvsched_host_lock(pvsched_say_fn say, void *ctx, int *ret_fd);

#endif
