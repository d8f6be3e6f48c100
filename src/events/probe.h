/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What this host offers as event sources, found by loading and attaching a tiny program for each.
 * A hook that attaches may still never be passed: so a guest is run, and who did not count is said
 * to be useless. For `pvsched check`; no state.
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

/* Runs a guest that halts, takes timer interrupts and exits; 0 or -errno. */
typedef int (*pvsched_exercise_fn)(void *ctx);

/*
 * Returns how many rows, or -errno (-EPERM: nothing could be probed). exercise NULL, or one that
 * fails: what attaches counts as usable. Turns BPF run-time statistics on while the guest runs.
 */
int pvsched_probe(struct pvsched_probe_row *rows, int max, pvsched_exercise_fn exercise, void *ctx);

/* Whether the probe of that name (probe.bpf.c) loads and attaches. ~5 ms. */
bool pvsched_probe_one(const char *program);

#endif
