/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the guest's administrator declared latency-sensitive: two maps that the programs look into, pinned,
 * which outlive daemons. The programs take a process out when it ends; how many entries there are is
 * told to them, so that with none they look nothing up. Whoever counts holds a lock from the first look
 * to the telling.
 */
#ifndef PVSCHED_GUEST_DECLARED_H
#define PVSCHED_GUEST_DECLARED_H

#include <stdint.h>

#include "error.h"

#define DECLARED_TASKS	 "declared_tasks"
#define DECLARED_CGROUPS "declared_cgroups"

/* One of the maps, by name; the descriptor is the caller's. -1: e. */
int declared_open(const char *name, struct cli_error *e);
/* When a process started, in clock ticks since boot. 0 = gone. */
uint64_t declared_start_of(uint64_t pid);
/* The process whose thread this is. 0 = gone. */
uint64_t declared_process_of(uint64_t tid);
/* Takes out processes that ended while no program was there to see it. */
int declared_forget_ended(struct cli_error *e);
/* Counts both maps and tells the programs, if a daemon has loaded them. */
int declared_recount(struct cli_error *e);

#endif
