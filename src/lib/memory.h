/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Guest memory as the VMM described it: slots, and the way from a GFN to a host address.
 * Owned by one pvsched_vm and serialised by its mutex.
 */
#ifndef PVSCHED_LIB_MEMORY_H
#define PVSCHED_LIB_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PVSCHED_SLOTS_MAX 64

struct pvsched_slot {
	uint64_t gpa;
	uint64_t size;
	uint8_t *hva;
	unsigned int flags; /* PVSCHED_MEM_* */
	bool hugetlb; /* as far as the backing's descriptor tells */
};

struct pvsched_memory {
	struct pvsched_slot slot[PVSCHED_SLOTS_MAX];
	unsigned int slots;
};

int pvsched_memory_add(struct pvsched_memory *m, const struct pvsched_slot *slot);
struct pvsched_slot *pvsched_memory_at(struct pvsched_memory *m, uint64_t gpa);
void pvsched_memory_del(struct pvsched_memory *m, struct pvsched_slot *slot);
/* gfn comes from the guest: R_OK and the page's host address, or why no page may live there. */
uint32_t pvsched_memory_resolve(const struct pvsched_memory *m, uint64_t gfn, void **ret_hva);

#endif
