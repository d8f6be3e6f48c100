// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * Attaching and detaching the shared page. State and locking: overlay.h.
 *
 * The guest's own page is neither unmapped nor rebuilt: mremap(MREMAP_DONTUNMAP) parks it at
 * another address, and moving it back restores it. Against mapping fresh memory and copying:
 * - the way back is one system call under the mmap lock: a vCPU sees the shared page or its own
 *   page with the content already in it, never a hole or zeros;
 * - it is the same physical page, so a device that has it pinned (VFIO, vhost) stays right;
 * - the mapping keeps what only the VMM knows of it (backing, NUMA policy, madvise, mlock), and
 *   merges with its neighbours again. A mapping rebuilt with a guessed attribute would stay a
 *   separate one, and a guest could register its way up to the limit of mappings.
 * What remains: between copy and map, in both directions, a store of a guest that breaks the
 * protocol is lost. It loses its own data only.
 */
#include "lib/overlay.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <pvsched/pvsched.h>

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4 /* linux/mman.h; glibc 2.32 and later has it */
#endif

/* mremap() wants to see five mappings to spare; at either end one may merge with a neighbour. */
#define RESERVE_PAGES 12

/* Lines 3 and 4: what the host writes. */
#define HOST_AREA      offsetof(struct pvsched_page, status)
#define HOST_AREA_SIZE (offsetof(struct pvsched_page, extension) - HOST_AREA)

int pvsched_overlay_open(struct pvsched_overlay *o, int map_fd)
{
	void *page;

	page = mmap(NULL, PVSCHED_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
	if (page == MAP_FAILED)
		return -errno;
	*o = (struct pvsched_overlay){ .map_fd = map_fd, .page = page };
	return 0;
}

void pvsched_overlay_close(struct pvsched_overlay *o)
{
	if (o->page)
		munmap(o->page, PVSCHED_PAGE_SIZE);
	if (o->map_fd >= 0)
		close(o->map_fd);
	*o = PVSCHED_OVERLAY_NONE;
}

void pvsched_overlay_set_status(struct pvsched_overlay *o, uint64_t status)
{
	/* Release: who sees the status sees what was written before it, the nonce above all. */
	__atomic_store_n(&o->page->status, status, __ATOMIC_RELEASE);
}

/* Moves the guest's page back under its address; the shared page there goes in the same call. */
static int unpark(struct pvsched_overlay *o)
{
	if (mremap(o->parked, PVSCHED_PAGE_SIZE, PVSCHED_PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
		   o->hva) == MAP_FAILED)
		return -errno;
	o->parked = NULL;
	o->hva = NULL;
	o->given_up = false;
	return 0;
}

uint32_t pvsched_overlay_attach(struct pvsched_overlay *o, void *hva, uint64_t nonce)
{
	void *parked;

	/* Whatever the guest writes meanwhile: nothing of this copy was checked or is relied on. */
	memcpy(o->page, hva, PVSCHED_PAGE_SIZE);
	memset((char *)o->page + HOST_AREA, 0, HOST_AREA_SIZE);

	parked = mremap(hva, PVSCHED_PAGE_SIZE, PVSCHED_PAGE_SIZE,
			MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	if (parked == MAP_FAILED)
		/* The range is whole, aligned and mapped: EINVAL speaks of the backing. */
		return errno == EINVAL ? PVSCHED_R_HUGETLB : PVSCHED_R_HOST;
	o->parked = parked;
	o->hva = hva;
	o->page->nonce = nonce;
	pvsched_overlay_set_status(o, PVSCHED_PAGE_ATTACHED);
	if (mmap(hva, PVSCHED_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, o->map_fd,
		 0) == MAP_FAILED)
		goto undo;
	/* A child of the VMM must not share the page: its stores would be the guest's. */
	if (madvise(hva, PVSCHED_PAGE_SIZE, MADV_DONTFORK))
		goto undo;
	return PVSCHED_R_OK;

undo:
	pvsched_overlay_set_status(o, PVSCHED_PAGE_OFF);
	unpark(o); /* as it was; where that fails hva is still set, and says so */
	return PVSCHED_R_HOST;
}

int pvsched_overlay_detach(struct pvsched_overlay *o)
{
	if (!o->hva)
		return 0;
	/* Once only: after a failure these bytes, too, may be the guest's for any use. */
	if (!o->given_up)
		memset((char *)o->page + HOST_AREA, 0, HOST_AREA_SIZE);
	o->given_up = true;
	memcpy(o->parked, o->page, PVSCHED_PAGE_SIZE);
	return unpark(o);
}

void pvsched_overlay_pause(struct pvsched_overlay *o)
{
	memset((char *)o->page + HOST_AREA, 0, HOST_AREA_SIZE);
	pvsched_overlay_set_status(o, PVSCHED_PAGE_PAUSED);
}

/* What the guest stored between copy and map went to the old page only. Nothing is stored there any
 * more: mmap() has taken it from every vCPU. A word that the guest has stored since is newer. */
static void take_late_stores(struct pvsched_page *old, const struct pvsched_page *copy,
			     struct pvsched_page *page)
{
	const uint64_t *late = (const uint64_t *)old, *was = (const uint64_t *)copy;
	uint64_t *word = (uint64_t *)page, expected;

	for (size_t i = 0; i < PVSCHED_PAGE_SIZE / sizeof(*word); i++) {
		if (i * sizeof(*word) >= HOST_AREA &&
		    i * sizeof(*word) < HOST_AREA + HOST_AREA_SIZE)
			continue;
		expected = was[i];
		if (late[i] != expected)
			__atomic_compare_exchange_n(&word[i], &expected, late[i], false,
						    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	}
}

int pvsched_overlay_move(struct pvsched_overlay *o, struct pvsched_overlay *next, uint64_t status,
			 uint64_t nonce)
{
	struct pvsched_page copy;

	memcpy(&copy, o->page, sizeof(copy));
	memset((char *)&copy + HOST_AREA, 0, HOST_AREA_SIZE);
	memcpy(next->page, &copy, sizeof(copy));
	next->page->nonce = nonce;
	pvsched_overlay_set_status(next, status);
	if (mmap(o->hva, PVSCHED_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		 next->map_fd, 0) == MAP_FAILED ||
	    madvise(o->hva, PVSCHED_PAGE_SIZE, MADV_DONTFORK)) {
		int err = -errno;

		pvsched_overlay_close(next);
		pvsched_overlay_detach(o);
		return err;
	}
	take_late_stores(o->page, &copy, next->page);
	next->hva = o->hva;
	next->parked = o->parked;
	o->hva = NULL;
	pvsched_overlay_close(o);
	*o = *next;
	*next = PVSCHED_OVERLAY_NONE;
	return 0;
}

void *pvsched_reserve_take(void)
{
	char *reserve;

	reserve = mmap(NULL, RESERVE_PAGES * PVSCHED_PAGE_SIZE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (reserve == MAP_FAILED)
		return NULL;
	/* Every other page readable: as many mappings as pages. */
	for (int i = 1; i < RESERVE_PAGES; i += 2) {
		if (mprotect(reserve + i * PVSCHED_PAGE_SIZE, PVSCHED_PAGE_SIZE, PROT_READ)) {
			pvsched_reserve_drop(reserve);
			return NULL;
		}
	}
	return reserve;
}

void pvsched_reserve_drop(void *reserve)
{
	if (reserve)
		munmap(reserve, RESERVE_PAGES * PVSCHED_PAGE_SIZE);
}
