/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What this host offers as event sources, found by loading and attaching a tiny program for each
 * and detaching it at once. For `pvsched check`; no state.
 */
#ifndef PVSCHED_EVENTS_PROBE_H
#define PVSCHED_EVENTS_PROBE_H

#include <stdbool.h>

struct pvsched_probe_row {
	const char *event; /* "PREEMPTED" */
	const char *source; /* "tp_btf sched_switch" */
	bool usable;
	bool best; /* no better source is known for the event */
	char why[160]; /* not usable: why; usable but not best: why not a better one */
};

/* Returns how many rows, or -errno (-EPERM: nothing could be probed). */
int pvsched_probe(struct pvsched_probe_row *rows, int max);

#endif
