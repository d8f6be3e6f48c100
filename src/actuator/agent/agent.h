/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The agents: one SCHED_FIFO thread per allowed CPU, asleep on that CPU's ring. An agent applies
 * what the ring hints at. It watches over the vCPUs it boosted: it hears their doorbells, restores
 * them at expiry by its own absolute sleep, and sleeps for the time at which the policy wants to be
 * asked again. At each wake-up it looks at all it watches. With no event it has no wake-up at all.
 */
#ifndef PVSCHED_ACTUATOR_AGENT_H
#define PVSCHED_ACTUATOR_AGENT_H

#include <sched.h>

#include "../apply.h"

struct pvsched_agents;

struct pvsched_agents_opts {
	struct pvsched_actuation *act;
	const cpu_set_t *cpus; /* where agents run */
	const int *ring_fds; /* [PVSCHED_CPUS], by CPU; borrowed */
	unsigned int priority; /* SCHED_FIFO, above the ceiling */
	volatile struct pvsched_clock *clocks; /* refreshed by whoever wakes */
	volatile uint32_t *clock_idx;
};

/* -EPERM: real-time scheduling is not allowed (capability, RLIMIT_RTPRIO, RT group). */
int pvsched_agents_start(const struct pvsched_agents_opts *opts, struct pvsched_agents **ret);
void pvsched_agents_stop(struct pvsched_agents *a);
/* All of them, or -errno and some. */
int pvsched_agents_set_priority(struct pvsched_agents *a, unsigned int priority);
/* The slot's doorbell is about to be closed: nobody listens to it any more when it returns. */
void pvsched_agents_forget(struct pvsched_agents *a, uint32_t slot);

#endif
