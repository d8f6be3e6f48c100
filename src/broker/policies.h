/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The policies in use: each distinct one is a set of programs, attached while a VM uses it. All
 * sets share their maps, so registry and debts know nothing of a change. The broker serialises.
 */
#ifndef PVSCHED_BROKER_POLICIES_H
#define PVSCHED_BROKER_POLICIES_H

#include "../events/programs.h"

#define PVSCHED_POLICIES_MAX 8 /* each costs every context switch of the host some 60 ns */

struct pvsched_policy_set {
	struct pvsched_programs *programs; /* NULL = free */
	char name[64]; /* as asked for: a built-in's name, or a file's */
	uint32_t id; /* never used twice: a stale one matches nothing */
	unsigned int vms;
};

struct pvsched_policies {
	struct pvsched_policy_set set[PVSCHED_POLICIES_MAX];
	int standard; /* of new VMs */
	uint32_t next_id;
	pvsched_say_fn say;
	void *ctx;
};

/* Loads the first, whose programs make the maps; attaches it once to see that it can be. */
int pvsched_policies_open(struct pvsched_policies *p, const char *name);
void pvsched_policies_close(struct pvsched_policies *p);
/* The maps' owner; lives until close. */
struct pvsched_programs *pvsched_policies_base(struct pvsched_policies *p);

/*
 * A set for one more VM: the built-in in use, or newly loaded (a file always is: it may have
 * changed). Attached when it returns. Returns its index; -ENOSPC, or as pvsched_programs_load
 * and _attach; then nothing changed.
 */
int pvsched_policies_get(struct pvsched_policies *p, const char *name, int policy_fd);
int pvsched_policies_use(struct pvsched_policies *p, int index); /* one more VM on a set */
void pvsched_policies_put(struct pvsched_policies *p, int index);

#endif
