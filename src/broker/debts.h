/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Debts outlive who counts them: their map is pinned in bpffs, so the next broker goes on with it
 * however the last one ended, and a thread or VM that comes back finds its own. The broker
 * serialises.
 */
#ifndef PVSCHED_BROKER_DEBTS_H
#define PVSCHED_BROKER_DEBTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../events/state.h"

#define PVSCHED_DEBTS_DIR "/sys/fs/bpf/pvsched"
#define PVSCHED_DEBTS_PIN PVSCHED_DEBTS_DIR "/debts" PVSCHED_DEBTS_LAYOUT

/*
 * The pinned map, made where there is none. Returns its fd, or -1 if debts can only last as long as
 * this broker; then why says the reason. Looks at who owns directory and pin: bpffs may be anybody's
 * to write, and a map of somebody else's would be a debt that he may cancel.
 */
int pvsched_debts_open(char *why, size_t size);
/* An orderly end: nothing is left behind if nobody owes anything. */
void pvsched_debts_end(int fd, const struct pvsched_debt *debts);

/*
 * The place for (id, start) among the n at `from` that `used` leaves free: its own if it was here
 * before, of several the one that owes most; else one whose owner owes nothing, else the one that
 * is paid first; that is wiped. Returns its index from `from`, or -ENOSPC.
 */
int pvsched_debts_choose(struct pvsched_debt *from, const bool *used, unsigned int n, uint32_t id,
			 uint64_t start, uint64_t now);

#endif
