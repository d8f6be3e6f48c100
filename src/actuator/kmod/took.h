/* SPDX-License-Identifier: GPL-2.0-only */
/* By slot, what agents keep in struct pvsched_slot: programs write it, the broker copies it there. */
#ifndef PVSCHED_KMOD_TOOK_H
#define PVSCHED_KMOD_TOOK_H

#include "../../events/state.h"

struct pvsched_kmod_took {
	__u64 granted[PVSCHED_REASONS];
	__u64 doorbells;
	struct pvsched_hist apply, boost;
};

#endif
