/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The registry of vCPU threads: slots, their maps, their entries in the programs' tables. The
 * caller (the broker's main thread) serialises; agents and guardian see a slot through its own lock.
 */
#ifndef PVSCHED_BROKER_REGISTRY_H
#define PVSCHED_BROKER_REGISTRY_H

#include "../actuator/actuator.h"
#include "../events/programs.h"
#include "budget.h"
#include "debts.h"

struct pvsched_registry {
	struct pvsched_programs *programs;
	const struct pvsched_actuator *actuator; /* NULL until started */
	void *actuator_state;
	struct pvsched_actuation act;
	int page_fd[PVSCHED_SLOTS]; /* the page map of a slot; -1 = it has none */
	pid_t tid[PVSCHED_SLOTS]; /* of used slots, 0 = free: what is searched, in 4 KiB */
	unsigned int cpus; /* on which vCPUs may be boosted */
	bool vm_used[PVSCHED_VMS];
	uint16_t vm_vcpus[PVSCHED_VMS]; /* registered */
	uint16_t vm_of[PVSCHED_SLOTS];
	/* descriptors that clients have, too, of threads that are no more: the caller's again */
	struct {
		int fd[3 * PVSCHED_SLOTS];
		unsigned int n;
	} left;
	bool passed[PVSCHED_SLOTS];
	struct pvsched_budget host, vm_budget[PVSCHED_VMS], budget[PVSCHED_SLOTS];
};

struct pvsched_thread_id {
	pid_t tid, tgid;
	int pidfd, doorbell_fd; /* owned by the registry once added; -1 = none */
	bool passed; /* both, by a client, who has the page's map, too: not closed here, but left in `left` */
	bool host_only; /* no page: its guest knows nothing of us */
	uint64_t task, start_time; /* of the thread, as the kernel has them; 0 = unknown */
	uint32_t vm, index, apic_id;
	struct pvsched_programs *programs; /* of its policy */
	uint32_t policy; /* their id */
};

/* Maps shared memory for slots and desired states. */
int pvsched_registry_open(struct pvsched_registry *r, struct pvsched_programs *programs);
void pvsched_registry_close(struct pvsched_registry *r); /* every slot removed before */

/* -ENOSPC. A VM of a process that had one before goes on with that one's debt. */
int pvsched_registry_vm(struct pvsched_registry *r, pid_t pid, uint32_t *ret_vm);
/* Makes the budgets of a slot hold: after a change of its own, its VM's, or the host's. */
void pvsched_registry_limit(struct pvsched_registry *r, uint32_t slot);
/* How many vCPUs of a VM may run at once: its bucket has a share for each. At least 1. */
unsigned int pvsched_registry_vcpus(const struct pvsched_registry *r, uint32_t vm);
/* Returns the slot, or -EEXIST, -ENOSPC, -ESRCH. On error the fds stay the caller's. */
int pvsched_registry_add(struct pvsched_registry *r, const struct pvsched_thread_id *t);
/* Many, in one grace period: those below 0 are none. Otherwise as the next two. */
void pvsched_registry_remove_all(struct pvsched_registry *r, const int16_t *slot, unsigned int n);
/* After each of these two the thread is restored and nothing touches the page. */
void pvsched_registry_remove(struct pvsched_registry *r, uint32_t slot);
/* The thread is at its baseline when it returns: who carries decisions out sees that it is. */
void pvsched_registry_settle(struct pvsched_registry *r, uint32_t slot);
void pvsched_registry_disable(struct pvsched_registry *r, uint32_t slot);
int pvsched_registry_enable(struct pvsched_registry *r, uint32_t slot, uint64_t features);
/* The same for a page that stays the guest's own, at hva in its VMM's memory: programs look at a copy,
 * which is what s->page maps; what they write into it is for the caller to pass on. Makes the slot a
 * doorbell. */
int pvsched_registry_enable_copy(struct pvsched_registry *r, uint32_t slot, uint64_t hva,
				 uint64_t features);
/* From here on these programs serve the slot; whatever was boosted is restored, debts stay. */
void pvsched_registry_set_policy(struct pvsched_registry *r, uint32_t slot,
				 struct pvsched_programs *programs, uint32_t policy);
/* What somebody else set on the slot's thread: the programs hear of it. Returns PVSCHED_FOREIGN_*
 * that were not returned before. */
uint32_t pvsched_registry_foreign(struct pvsched_registry *r, uint32_t slot);
int pvsched_registry_find(struct pvsched_registry *r, pid_t tid); /* slot or -ENOENT */
int pvsched_registry_reach(struct pvsched_registry *r, uint32_t slot, struct pvsched_hist *ret);
int pvsched_registry_read(struct pvsched_registry *r, uint32_t slot, struct pvsched_vcpu *ret);

#endif
