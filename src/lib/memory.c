// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * Slots of guest memory. The VMM's numbers are checked when they come in, the guest's GFN each
 * time it is used; every sum is written so that it cannot wrap. State and locking: memory.h.
 */
#include "lib/memory.h"

#include <errno.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include "lib/vm.h"

#define PAGE_MASK ((uint64_t)PVSCHED_PAGE_SIZE - 1)

int pvsched_memory_add(struct pvsched_memory *m, const struct pvsched_slot *slot)
{
	if ((slot->gpa | slot->size | (uintptr_t)slot->hva) & PAGE_MASK || !slot->size ||
	    !slot->hva || slot->size - 1 > UINT64_MAX - slot->gpa ||
	    slot->size - 1 > UINTPTR_MAX - (uintptr_t)slot->hva)
		return -EINVAL;
	for (unsigned int i = 0; i < m->slots; i++) {
		const struct pvsched_slot *s = &m->slot[i];

		/* by last bytes, which exist for a slot that ends at 2^64, too */
		if (slot->gpa <= s->gpa + (s->size - 1) && s->gpa <= slot->gpa + (slot->size - 1))
			return -EEXIST;
	}
	if (m->slots == PVSCHED_SLOTS_MAX)
		return -ENOSPC;
	m->slot[m->slots++] = *slot;
	return 0;
}

struct pvsched_slot *pvsched_memory_at(struct pvsched_memory *m, uint64_t gpa)
{
	for (unsigned int i = 0; i < m->slots; i++) {
		if (m->slot[i].gpa == gpa)
			return &m->slot[i];
	}
	return NULL;
}

void pvsched_memory_del(struct pvsched_memory *m, struct pvsched_slot *slot)
{
	*slot = m->slot[--m->slots];
}

uint32_t pvsched_memory_resolve(const struct pvsched_memory *m, uint64_t gfn, void **ret_hva)
{
	uint64_t gpa = gfn * PVSCHED_PAGE_SIZE;

	if (gfn > UINT64_MAX / PVSCHED_PAGE_SIZE)
		return PVSCHED_R_BAD_GFN;
	for (unsigned int i = 0; i < m->slots; i++) {
		const struct pvsched_slot *s = &m->slot[i];

		/* whole pages on both sides: the first byte inside means all of the page inside */
		if (gpa < s->gpa || gpa - s->gpa >= s->size)
			continue;
		if (s->flags & PVSCHED_MEM_PRIVATE)
			return PVSCHED_R_PRIVATE;
		if (s->flags & PVSCHED_MEM_READONLY)
			return PVSCHED_R_READ_ONLY;
		if (s->hugetlb)
			return PVSCHED_R_HUGETLB;
		*ret_hva = s->hva + (gpa - s->gpa);
		return PVSCHED_R_OK;
	}
	return PVSCHED_R_BAD_GFN;
}

int pvsched_vm__add_memory(struct pvsched_vm *vm, uint64_t gpa, uint64_t size, void *hva, int fd,
			   uint64_t fd_offset, unsigned int flags)
{
	struct pvsched_slot slot = { .gpa = gpa, .size = size, .hva = hva, .flags = flags };
	struct statfs fs;
	int err;

	if (flags & ~(PVSCHED_MEM_READONLY | PVSCHED_MEM_PRIVATE) || fd < -1 ||
	    fd_offset & PAGE_MASK)
		return -EINVAL;
	if (fd >= 0) {
		if (fstatfs(fd, &fs))
			return -errno;
		slot.hugetlb = fs.f_type == HUGETLBFS_MAGIC;
	}
	pvsched_vm_lock(vm);
	err = pvsched_memory_add(&vm->memory, &slot);
	pvsched_vm_unlock(vm);
	return err;
}

int pvsched_vm__del_memory(struct pvsched_vm *vm, uint64_t gpa)
{
	struct pvsched_slot *slot;
	int err = 0;

	pvsched_vm_lock(vm);
	slot = pvsched_memory_at(&vm->memory, gpa);
	if (!slot) {
		err = -ENOENT;
		goto out;
	}
	for (unsigned int i = 0; i < vm->vcpus && !err; i++) {
		const uint8_t *page = vm->vcpu[i].overlay.hva;

		if (!page || page < slot->hva || (uint64_t)(page - slot->hva) >= slot->size)
			continue;
		pvsched_device_detach(&vm->device, i);
		err = pvsched_vm_give_back(vm, i);
	}
	if (!err)
		pvsched_memory_del(&vm->memory, slot);
out:
	pvsched_vm_unlock(vm);
	return err;
}
