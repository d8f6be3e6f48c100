/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest memory: one block of RAM from GPA 0 with the backing asked for, which Linux sees with a
 * hole for devices below 4 GiB, one read-only block for tests. Mapped once, unmapped after libpvsched gave its pages back.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bzimage.h"
#include "internal.h"

#define HUGE_PAGE  (2ul << 20)
#define MEMORY_MAX (2ull << 30) /* below GUEST_BAR_GPA, and reachable by the guest's tables */
/* Samples beyond the number wanted: a vCPU that slept for n periods records n at once. */
#define RING_SLACK   4096
#define RING_ENDLESS 65536

uint64_t vmm_ring_entries(const struct vmm_vcpu_opts *o)
{
	return o->samples ? o->samples + RING_SLACK : RING_ENDLESS;
}

static uint64_t ram_size(const struct vmm *vm)
{
	uint64_t size = GUEST_RINGS_GPA;
	unsigned int i;

	if (vm->opts.kernel.file)
		return vm->opts.kernel.memory & ~(HUGE_PAGE - 1);
	for (i = 0; i < vm->opts.vcpus; i++) {
		if (vm->opts.vcpu[i].samples > MEMORY_MAX / sizeof(uint64_t))
			return UINT64_MAX;
		size += vmm_ring_entries(&vm->opts.vcpu[i]) * sizeof(uint64_t);
	}
	return (size + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
}

/* Says what could not be had; returns -errno. */
static int map_block(struct vmm *vm, enum vmm_memory kind, size_t size, bool touch,
		     struct vmm_memory_block *ret_block)
{
	struct vmm_memory_block b = { .fd = -1, .size = size, .map_size = size };
	int flags = MAP_PRIVATE | MAP_ANONYMOUS, error;

	if (kind == VMM_MEMORY_HUGETLB)
		flags |= MAP_HUGETLB | MAP_POPULATE;
	else
		b.map_size += HUGE_PAGE; /* room to align */
	if (kind == VMM_MEMORY_MEMFD) {
		b.fd = memfd_create("pvsched-guest", MFD_CLOEXEC);
		if (b.fd < 0 || ftruncate(b.fd, size)) {
			error = errno;
			vmm_say(vm, PVSCHED_LOG_ERROR, "guest memory: memfd of %zu MiB: %s",
				size >> 20, strerror(error));
			if (b.fd >= 0)
				close(b.fd);
			return -error;
		}
	}
	b.map = mmap(NULL, b.map_size, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (b.map == MAP_FAILED) {
		error = errno;
		vmm_say(vm, PVSCHED_LOG_ERROR, "guest memory: %zu MiB of %s: %s%s", size >> 20,
			kind == VMM_MEMORY_HUGETLB ? "2 MiB huge pages" : "memory", strerror(error),
			kind == VMM_MEMORY_HUGETLB ? ": reserve some in /proc/sys/vm/nr_hugepages"
						   : "");
		if (b.fd >= 0)
			close(b.fd);
		return -error;
	}
	b.hva = b.map;
	if (kind != VMM_MEMORY_HUGETLB)
		b.hva = (uint8_t *)(((uintptr_t)b.map + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
	if (b.fd >= 0 && mmap(b.hva, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, b.fd,
			      0) == MAP_FAILED) {
		error = errno;
		vmm_say(vm, PVSCHED_LOG_ERROR, "guest memory: mapping the memfd: %s",
			strerror(error));
		munmap(b.map, b.map_size);
		close(b.fd);
		return -error;
	}
	/* Advice only: a kernel without THP gives 4 KiB pages, and that is what it can give. */
	if (kind == VMM_MEMORY_THP)
		madvise(b.hva, size, MADV_HUGEPAGE);
	else if (kind == VMM_MEMORY_ANON)
		madvise(b.hva, size, MADV_NOHUGEPAGE);
	/* Touched now, so that no sample contains a first touch. */
	if (touch)
		memset(b.hva, 0, size);
	*ret_block = b;
	return 0;
}

static void unmap_block(struct vmm_memory_block *b)
{
	if (!b->map)
		return;
	munmap(b->map, b->map_size);
	if (b->fd >= 0)
		close(b->fd);
	memset(b, 0, sizeof(*b));
}

/* size bytes of a block, from offset on, at gpa. */
static int add_slot(struct vmm *vm, unsigned int slot, uint64_t gpa,
		    const struct vmm_memory_block *b, uint64_t offset, uint64_t size,
		    unsigned int flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)b->hva + offset,
	};
	int ret;

	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region)) {
		ret = -errno;
		vmm_say(vm, PVSCHED_LOG_ERROR, "KVM_SET_USER_MEMORY_REGION: GPA 0x%llx: %s",
			(unsigned long long)gpa, strerror(errno));
		return ret;
	}
	if (!vm->pvsched)
		return 0;
	ret = pvsched_vm__add_memory(vm->pvsched, gpa, size, b->hva + offset, b->fd, offset,
				     flags & KVM_MEM_READONLY ? PVSCHED_MEM_READONLY : 0);
	if (ret)
		vmm_say(vm, PVSCHED_LOG_ERROR, "pvsched_vm__add_memory: GPA 0x%llx: %s",
			(unsigned long long)gpa, strerror(-ret));
	return ret;
}

int vmm_memory_create(struct vmm *vm)
{
	bool linux_guest = vm->opts.kernel.file;
	uint64_t size = ram_size(vm), low;
	int ret;

	if (size > MEMORY_MAX && !linux_guest) {
		vmm_say(vm, PVSCHED_LOG_ERROR,
			"guest memory: the samples of %u vCPUs do not fit in %llu MiB: ask for fewer",
			vm->opts.vcpus, MEMORY_MAX >> 20);
		return -E2BIG;
	}
	if (!size) {
		vmm_say(vm, PVSCHED_LOG_ERROR, "guest memory: none: give it some");
		return -EINVAL;
	}
	ret = map_block(vm, vm->opts.memory, size, !linux_guest, &vm->ram);
	if (ret)
		return ret;
	if (!linux_guest)
		vm->control = (struct guest_control *)(vm->ram.hva + GUEST_CONTROL_GPA);
	low = bzimage_low_memory(size);
	ret = add_slot(vm, 0, 0, &vm->ram, 0, low, 0);
	if (!ret && size > low)
		ret = add_slot(vm, 2, LINUX_HIGH_GPA, &vm->ram, low, size - low, 0);
	if (ret || !vm->opts.readonly_slot)
		return ret;
	ret = map_block(vm, VMM_MEMORY_ANON, HUGE_PAGE, true, &vm->readonly);
	if (ret)
		return ret;
	return add_slot(vm, 1, VMM_READONLY_GPA, &vm->readonly, 0, HUGE_PAGE, KVM_MEM_READONLY);
}

void vmm_memory_destroy(struct vmm *vm)
{
	unmap_block(&vm->readonly);
	unmap_block(&vm->ram);
}

void *vmm_ram(struct vmm *vm, uint64_t gpa, uint64_t size)
{
	if (size > vm->ram.size || gpa > vm->ram.size - size)
		return NULL;
	return vm->ram.hva + gpa;
}
