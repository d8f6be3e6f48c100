/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The PCI function that carries the register device: its configuration space and the accesses
 * to BAR0. Pure state, no OS call; the owner serialises calls. Bus Master Enable and function
 * reset are passed on to the device, nothing else of it is touched.
 * Offsets, sizes and values come from the guest: whatever they are, the call ends well.
 */
#ifndef PVSCHED_TRANSPORT_PCI_H
#define PVSCHED_TRANSPORT_PCI_H

#include <stddef.h>
#include <stdint.h>

#include <core/device.h>

#define PVSCHED_PCI_CONFIG_SIZE 256

struct pvsched_pci {
	struct pvsched_device *dev;
	uint8_t config[PVSCHED_PCI_CONFIG_SIZE];
};

/* Powers up with decoding and bus mastering off, as PCI asks; dev must be initialised. */
void pvsched_pci_init(struct pvsched_pci *p, struct pvsched_device *dev);
/* Function or system reset: the device is reset, configuration space is as after init. */
void pvsched_pci_reset(struct pvsched_pci *p);

/* size 1, 2 or 4 inside the 256 bytes; anything else reads as ones and is ignored. */
void pvsched_pci_config_read(const struct pvsched_pci *p, unsigned int offset, void *data,
			     size_t size);
void pvsched_pci_config_write(struct pvsched_pci *p, unsigned int offset, const void *data,
			      size_t size);
/* BAR0's guest physical address; 0 while memory decoding is off or no address is placed. */
uint64_t pvsched_pci_bar(const struct pvsched_pci *p);

/* Any offset and size; data is little-endian. What the device refuses reads 0. */
void pvsched_pci_bar_read(struct pvsched_pci *p, uint64_t offset, void *data, size_t size);
void pvsched_pci_bar_write(struct pvsched_pci *p, uint64_t offset, const void *data, size_t size);

#endif
