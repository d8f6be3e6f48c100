/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The policies in use: each distinct one is a set of programs, attached while a VM uses it. All
 * sets share their maps, so registry and debts know nothing of a change. The broker serialises.
 */
#ifndef PVSCHED_BROKER_POLICIES_H
#define PVSCHED_BROKER_POLICIES_H

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#include "../events/programs.h"

#define PVSCHED_POLICIES_MAX 8 /* each costs every context switch of the host some 60 ns */

/* Another file of a name, or one that was written since, is another policy. Zeros: not from a file of its
 * name. */
struct pvsched_policy_file {
	dev_t dev;
	ino_t ino;
	struct timespec changed;
};

struct pvsched_policy_set {
	struct pvsched_programs *programs; /* NULL = free */
	char name[PATH_MAX]; /* as asked for: a built-in's name, or a file's; compared, so whole */
	uint32_t id; /* never used twice: a stale one matches nothing */
	struct pvsched_policy_file file; /* as it was when it was loaded */
	bool keep; /* also while no VM uses it: it is named in the configuration */
	unsigned int vms;
};

/* One that is being loaded, by a thread of its own: an object's verification takes from a tenth of
 * a second to many, and VMs are served meanwhile. */
struct pvsched_policy_loading {
	pthread_t thread;
	bool running;
	int done_fd; /* an eventfd, readable once it is; -1 = none yet */
	int policy_fd; /* own copy; -1 = a built-in */
	int err;
	struct pvsched_policy_set set;
	char said[256];
	/* of the thread: */
	char name[PATH_MAX];
	struct pvsched_programs *base;
	const struct pvsched_event_object *object;
};

struct pvsched_policies {
	struct pvsched_policy_set set[PVSCHED_POLICIES_MAX];
	struct pvsched_policy_loading loading;
	const struct pvsched_event_object *object; /* the actuator's programs; NULL = plain */
	int standard; /* of new VMs */
	int off; /* the kill switch: loaded from the start, so that it never waits for a verifier */
	int found; /* of those that are found; -1 = they are not looked for */
	uint32_t next_id;
	pvsched_say_fn say;
	void *ctx;
};

/* Loads the first, whose programs make the maps, but for the debts if debts_fd is not -1; attaches
 * it once to see that it can be. And `off`. */
int pvsched_policies_open(struct pvsched_policies *p, const char *name, int debts_fd);
void pvsched_policies_close(struct pvsched_policies *p);
/* The maps' owner; lives until close. */
struct pvsched_programs *pvsched_policies_base(struct pvsched_policies *p);

/* The one of that name for one more VM, if it is loaded: its index; else -ENOENT. Of several files that had
 * the name, one after the other, the one that is kept. */
int pvsched_policies_find(struct pvsched_policies *p, const char *name);
/* The same, if it is still what would be loaded. */
int pvsched_policies_find_current(struct pvsched_policies *p, const char *name);
/*
 * Begins to load one (a file always is: it may have changed); when loading.done_fd is readable,
 * pvsched_policies_end() has the index of the set, attached, for one more VM. -EBUSY while another
 * is being loaded, -ENOSPC; end() also as pvsched_programs_load and _attach: then nothing changed.
 */
int pvsched_policies_begin(struct pvsched_policies *p, const char *name, int policy_fd);
int pvsched_policies_end(struct pvsched_policies *p);
/* Both in one, by the thread that calls: at a start, when no VM waits. */
int pvsched_policies_get(struct pvsched_policies *p, const char *name);
int pvsched_policies_use(struct pvsched_policies *p, int index); /* one more VM on a set */
void pvsched_policies_put(struct pvsched_policies *p, int index);
/* Frees those that neither a VM uses nor anything keeps: after standard, found or keep changed. */
void pvsched_policies_tidy(struct pvsched_policies *p);

#endif
