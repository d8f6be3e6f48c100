/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What an actuator is: one row of the table in table.c, one directory beside it. It brings a vCPU's
 * thread from its applied to its desired state (struct pvsched_shared) and keeps it there. The
 * broker starts one, for all its vCPUs; the caller serialises all but what the actuator's own
 * threads and programs do.
 */
#ifndef PVSCHED_ACTUATOR_ACTUATOR_H
#define PVSCHED_ACTUATOR_ACTUATOR_H

#include <sched.h>

#include "../events/programs.h"
#include "apply.h"

struct pvsched_actuator_opts {
	struct pvsched_actuation *act;
	struct pvsched_programs *programs; /* the standard policy's, loaded */
	const cpu_set_t *cpus; /* where threads of its own may run */
	const int *ring_fds; /* [PVSCHED_CPUS], by CPU; borrowed */
	unsigned int priority; /* SCHED_FIFO, above the ceiling */
	volatile struct pvsched_clock *clocks; /* refreshed by whoever wakes */
	volatile uint32_t *clock_idx;
	pvsched_say_fn say; /* one line: what failed, why, what next */
	void *ctx;
};

#define PVSCHED_ACTUATOR_WHY 420 /* bytes for what usable() says, a cgroup's path among it */

struct pvsched_actuator {
	const char *name, *summary;
	enum pvsched_actuator_kind kind;
	/* What carrying a boost out takes of the vCPU's CPU, there and back; its budget pays. */
	uint32_t act_ns;
	bool automatic; /* is taken where it is usable and nobody named another */
	/* 0, or -errno and in one line why this host cannot use it. May take 100 ms. Asked before
	 * `programs` are loaded, so start need not. */
	int (*usable)(char *why, size_t size);
	/* Event programs that include its own; NULL = the plain ones. */
	const struct pvsched_event_object *programs;
	/* Every slot is at its baseline when it starts, and is again when stop returns. -errno: said. */
	int (*start)(const struct pvsched_actuator_opts *opts, void **ret);
	void (*stop)(void *a);
	/* The slot goes; its doorbell is about to be closed. */
	void (*forget)(void *a, uint32_t slot);
	/* All that follow may be NULL. The slot's thread is registered; events come from now on. */
	void (*adopt)(void *a, uint32_t slot);
	/* The slot's page is enabled: its doorbell may ring. */
	void (*hear)(void *a, uint32_t slot);
	/* The slot's desired word is 0: its thread is at its baseline when it returns. */
	void (*settle)(void *a, uint32_t slot);
	/* What it counted elsewhere goes into struct pvsched_slot. */
	void (*refresh)(void *a, uint32_t slot);
	/* Another policy is the standard now; the old one's programs are still loaded. */
	int (*policy)(void *a, struct pvsched_programs *programs);
	/* The ceiling changes: its threads go to this SCHED_FIFO priority. All of them, or -errno and
	 * some. */
	int (*set_priority)(void *a, unsigned int priority);
	/* Readable when it has something to tell: then call poll. -EIO: it has ended, and every
	 * thread is at its baseline; said. */
	int (*poll_fd)(void *a);
	int (*poll)(void *a);
};

extern const struct pvsched_actuator pvsched_actuator_agent, pvsched_actuator_scx,
	pvsched_actuator_kmod, pvsched_actuator_kmod_policy;

/* In the order in which they are tried. NULL ends. */
const struct pvsched_actuator *const *pvsched_actuators(void);
const struct pvsched_actuator *pvsched_actuator_find(const char *name); /* NULL = none */
/* Without, a broker loads no program and makes no map. */
bool pvsched_actuator_has_bpf(const struct pvsched_actuator *a);
/* The first automatic one that this host can use; there always is one to try. */
const struct pvsched_actuator *pvsched_actuator_choose(void);
/* The same, of these rows. */
const struct pvsched_actuator *pvsched_actuator_first(const struct pvsched_actuator *const *rows);

#endif
