/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VMs whose VMMs know nothing of us: looks for them, registers their vCPUs' threads without a page,
 * and forgets them. They take places among the server's clients. Runs in the broker's main thread;
 * takes its mutex where it changes the registry.
 */
#ifndef PVSCHED_BROKER_FOUND_H
#define PVSCHED_BROKER_FOUND_H

#include "../events/find.h"
#include "server.h"

#define PVSCHED_LOOKS_MAX 64

struct pvsched_look {
	pid_t pid;
	unsigned int tries; /* before, that failed */
	bool fresh; /* there was news of its vCPUs, so one that had its thread may get another */
	uint64_t at_ns;
};

struct pvsched_found_vms {
	struct pvsched_finder *finder; /* NULL: nothing is looked for */
	struct pvsched_server *server;
	int ep; /* processes are watched here, by data.u32 = tag + place */
	uint32_t tag;
	pvsched_say_fn say;
	void *ctx;
	struct pvsched_look look[PVSCHED_LOOKS_MAX]; /* due in future; few at a time */
	unsigned int n;
	uint64_t all_ns; /* when to look at all processes; 0 = need not */
	bool walking; /* all processes are being looked at, */
	int walked; /* those of the places before this one already */
	uint64_t rest_ns; /* until when nothing more is looked at */
	bool cut[PVSCHED_SAID_USERS]; /* by user: it was said that a process of his is too large */
	uint64_t changes; /* threads and VMs that went */
	bool full, full_user; /* it was said that there is no room; that a user has his share */
	bool wanting; /* there was none for somebody: look again when there is */
	bool failed; /* the look that is being taken, for another reason */
	bool left; /* no VM more is taken of its process */
	uint8_t had[PVSCHED_VMS][PVSCHED_VCPUS_MAX / 8]; /* vCPUs that had their thread once */
};

/* Looks at all that run already. The policy is loaded before the first VM needs it. -ENOTSUP and
 * -EPERM: said; nothing is looked for, and the others do nothing. */
int pvsched_found_open(struct pvsched_found_vms *f, const char *policy);
void pvsched_found_close(struct pvsched_found_vms *f); /* before the server's */
void pvsched_found_news(struct pvsched_found_vms *f);
/* A place whose process has ended; it is nobody's afterwards. */
void pvsched_found_ended(struct pvsched_found_vms *f, int place);
/* All processes are looked at again, soon: who is served changed. */
void pvsched_found_again(struct pvsched_found_vms *f);
/* Gives up a VM that was found; a client's place is left alone. */
void pvsched_found_drop(struct pvsched_found_vms *f, int place);
/* What of that is not the server's part, who calls this: a client takes the VM over. */
void pvsched_found_forget(struct pvsched_found_vms *f, int place);
/* A process ceased to be a client, or became one. */
void pvsched_found_changed(struct pvsched_found_vms *f, pid_t pid);
/* ms until pvsched_found_run() has something to do, for epoll_wait; -1 = nothing is due. */
int pvsched_found_timeout(const struct pvsched_found_vms *f);
void pvsched_found_run(struct pvsched_found_vms *f);

#endif
