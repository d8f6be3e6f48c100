/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * One vCPU's shared page: an element of a BPF map, mapped over the guest's page while it is
 * attached. Owned by one vCPU of a pvsched_vm and serialised by that VM's mutex; the guest's
 * vCPUs and the host's BPF programs load and store in the page at any time all the same.
 */
#ifndef PVSCHED_LIB_OVERLAY_H
#define PVSCHED_LIB_OVERLAY_H

#include <stdbool.h>
#include <stdint.h>

#include <pvsched/abi.h>

struct pvsched_overlay {
	int map_fd; /* of the broker: a mmapable array of one element; -1 = none */
	struct pvsched_page *page; /* the library's own view of that element */
	void *hva; /* the guest's page, while another page is mapped over it; else NULL */
	void *parked; /* where the guest's own page waits meanwhile */
	bool given_up; /* detached once, without success: the guest may use all of the page */
};

#define PVSCHED_OVERLAY_NONE ((struct pvsched_overlay){ .map_fd = -1 })

/* Takes map_fd over, on success. */
int pvsched_overlay_open(struct pvsched_overlay *o, int map_fd);
/* Of an overlay that is not attached. R_OK, R_HUGETLB, R_HOST. On failure the guest's page is as it was; if hva is set even so, only
 * pvsched_overlay_detach() was out of memory. */
uint32_t pvsched_overlay_attach(struct pvsched_overlay *o, void *hva, uint64_t nonce);
void pvsched_overlay_set_status(struct pvsched_overlay *o, uint64_t status);
/*
 * Gives the guest its own page back, with the content of the shared one and the host's lines
 * cleared (status OFF). The caller has made sure that no BPF program works on the page.
 * -ENOMEM at the process's limit of mappings: the page stays shared, though nobody of the host
 * uses it. Then it may be called again when no vCPU can store in the page, or at once.
 */
int pvsched_overlay_detach(struct pvsched_overlay *o);
void pvsched_overlay_close(struct pvsched_overlay *o);

/* Of an attached one: nobody reads the page for now. */
void pvsched_overlay_pause(struct pvsched_overlay *o);
/*
 * The page of *next, which is not attached, takes the place of *o's, which is, while the guest loads
 * and stores: it has all that the guest stored, and host lines that are clear but for status and
 * nonce. *o is *next then, attached. On failure *next is closed, and *o detached.
 */
int pvsched_overlay_move(struct pvsched_overlay *o, struct pvsched_overlay *next, uint64_t status,
			 uint64_t nonce);

/*
 * A few mappings that exist to be given up: a page must be given back also at the process's limit
 * of mappings (vm.max_map_count), where mremap() fails before it looks at what it would free.
 * NULL: none could be had.
 */
void *pvsched_reserve_take(void);
void pvsched_reserve_drop(void *reserve);

#endif
