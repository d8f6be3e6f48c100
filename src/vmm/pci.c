/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * PCI configuration space by ports, one function (00:01.0) that libpvsched implements, its BAR0
 * by MMIO exits, and its doorbells by ioeventfd. Any vCPU thread may come here: pci_lock guards
 * the address register and the placing of doorbells. Every number is the guest's.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "internal.h"

#define PCI_ADDRESS  0xcf8
#define PCI_DATA     0xcfc
#define PCI_ENABLE   0x80000000u
#define PCI_FUNCTION (1u << 11) /* bus 0, device 1, function 0 as in the address register */
#define PCI_BRIDGE   0u /* bus 0, device 0: Linux believes in a bus that has a host bridge */

static int doorbell(struct vmm *vm, uint64_t bar, unsigned int index, bool assign)
{
	struct kvm_ioeventfd io = {
		.addr = bar + PVSCHED_REG_DOORBELL + 4ull * index,
		.len = 4,
		.fd = pvsched_vm__doorbell_fd(vm->pvsched, index),
		.flags = assign ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN,
	};

	if (io.fd < 0)
		return io.fd;
	return ioctl(vm->fd, KVM_IOEVENTFD, &io) ? -errno : 0;
}

/* Where an ioeventfd cannot be had the write comes as an MMIO exit, and libpvsched rings. */
static void place_doorbells(struct vmm *vm, uint64_t bar)
{
	unsigned int i;

	if (bar == vm->doorbells_at)
		return;
	for (i = 0; i < vm->opts.vcpus; i++) {
		if (vm->doorbells_at)
			doorbell(vm, vm->doorbells_at, i, false);
		if (bar)
			doorbell(vm, bar, i, true);
	}
	vm->doorbells_at = bar;
}

/* A host bridge of which nothing can be set. */
static void bridge_access(unsigned int offset, bool write, void *data, size_t size)
{
	static const uint8_t header[64] = {
		0x36,	       0x1b,
		0x08,	       0x00, /* vendor and device: a generic host bridge */
		[0x0a] = 0x00, [0x0b] = 0x06, /* class: bridge, host */
		[0x2c] = 0x36, [0x2d] = 0x1b,
		[0x2e] = 0x00, [0x2f] = 0x11,
	};

	if (write)
		return;
	memset(data, 0, size);
	if (offset + size <= sizeof(header))
		memcpy(data, header + offset, size);
}

static void config_access(struct vmm *vm, unsigned int offset, bool write, void *data, size_t size)
{
	uint64_t bar;

	if (!vm->control && (vm->pci_address & ~0xfcu) == (PCI_ENABLE | PCI_BRIDGE)) {
		bridge_access(offset, write, data, size);
		return;
	}
	if (!vm->pvsched || (vm->pci_address & ~0xfcu) != (PCI_ENABLE | PCI_FUNCTION)) {
		if (!write)
			memset(data, 0xff, size);
		return;
	}
	if (!write) {
		pvsched_vm__config_read(vm->pvsched, offset, data, size);
		return;
	}
	bar = atomic_load(&vm->bar);
	pvsched_vm__config_write(vm->pvsched, offset, data, size, &bar);
	atomic_store(&vm->bar, bar);
	place_doorbells(vm, bar);
}

void vmm_pci_port(struct vmm *vm, uint16_t port, bool write, void *data, size_t size)
{
	pthread_mutex_lock(&vm->pci_lock);
	if (port == PCI_ADDRESS && size == 4) {
		if (write)
			memcpy(&vm->pci_address, data, 4);
		else
			memcpy(data, &vm->pci_address, 4);
	} else if (port >= PCI_DATA && port + size <= PCI_DATA + 4) {
		config_access(vm, (vm->pci_address & 0xfc) + (port - PCI_DATA), write, data, size);
	} else if (!write) {
		memset(data, 0xff, size); /* nobody there */
	}
	pthread_mutex_unlock(&vm->pci_lock);
}

void vmm_pci_mmio(struct vmm *vm, uint64_t address, bool write, void *data, size_t size)
{
	uint64_t bar = atomic_load(&vm->bar);

	if (!bar || address < bar || address - bar >= PVSCHED_BAR_SIZE) {
		if (!write)
			memset(data, 0xff, size);
		return;
	}
	if (write)
		pvsched_vm__bar_write(vm->pvsched, address - bar, data, size);
	else
		pvsched_vm__bar_read(vm->pvsched, address - bar, data, size);
}

void vmm_pci_reset(struct vmm *vm)
{
	pthread_mutex_lock(&vm->pci_lock);
	vm->pci_address = 0;
	if (vm->pvsched) {
		pvsched_vm__reset(vm->pvsched);
		atomic_store(&vm->bar, 0);
		place_doorbells(vm, 0);
	}
	pthread_mutex_unlock(&vm->pci_lock);
}
