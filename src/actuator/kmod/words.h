/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory that the module and the broker share where the module takes the decisions, beside the arrays
 * of events/state.h: what .bss is to the programs. The broker writes slot_of_tid, places and config,
 * the module the clocks. Compiles for user space and the kernel.
 */
#ifndef PVSCHED_KMOD_WORDS_H
#define PVSCHED_KMOD_WORDS_H

#include "../../events/state.h"

struct pvsched_kmod_words {
	struct pvsched_config config;
	struct pvsched_clock clocks[2];
	__u32 clock_idx;
	__u32 reserved;
	__u64 places[PVSCHED_CPUS];
	__u16 slot_of_tid[PVSCHED_TIDS];
};

#endif
