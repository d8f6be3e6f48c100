/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guardian: a second process that restores threads when the broker cannot. It wakes for three
 * things only: the end of the thread that made it, which is real-time and does nothing else, so that
 * of a broker that is killed it ends first (everything that is boosted is restored), the broker's end
 * (its pipe closes: the same again, for what an agent was just doing, then it exits), and the second
 * line (bpf_timer saw a boost outlive its expiry).
 */
#ifndef PVSCHED_BROKER_GUARDIAN_H
#define PVSCHED_BROKER_GUARDIAN_H

#include <pthread.h>
#include <sys/types.h>

#include "../actuator/apply.h"

struct pvsched_guardian {
	pid_t pid;
	int pidfd; /* readable when it is gone */
	int pipe; /* held by the broker; its closing is the signal */
	pthread_t maker; /* its thread, and what ends that: an eventfd */
	int end;
};

/*
 * ring_fd: the guardian's ring; borrowed. lock_fd: the broker's lock, which the guardian holds, too,
 * so that the next broker does not begin before every thread is restored. act: its memory is shared
 * by fork. priority: SCHED_FIFO, above the agents'.
 */
int pvsched_guardian_start(const struct pvsched_actuation *act, int ring_fd, int lock_fd,
			   unsigned int priority, struct pvsched_guardian *ret);
void pvsched_guardian_stop(struct pvsched_guardian *g);

#endif
