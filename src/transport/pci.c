// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * The PCI function: a type 0 header with one 32-bit memory BAR, no capabilities, no interrupt.
 * A byte array and a mask of the bits that a guest may write are the whole state machine, so
 * byte, word and dword accesses need no cases of their own.
 */
#include "transport/pci.h"

#include <endian.h>
#include <string.h>

#include <linux/pci_regs.h>

#define BAR_MASK (~(uint32_t)(PVSCHED_BAR_SIZE - 1))

static void put16(uint8_t *at, uint16_t value)
{
	value = htole16(value);
	memcpy(at, &value, sizeof(value));
}

static void put32(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}

static uint16_t get16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return le16toh(value);
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return le32toh(value);
}

/* The bits of byte `at` that a guest may write. */
static uint8_t writable(unsigned int at)
{
	switch (at) {
	case PCI_COMMAND:
		return PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	case PCI_BASE_ADDRESS_0:
	case PCI_BASE_ADDRESS_0 + 1:
	case PCI_BASE_ADDRESS_0 + 2:
	case PCI_BASE_ADDRESS_0 + 3:
		return BAR_MASK >> (8 * (at - PCI_BASE_ADDRESS_0));
	case PCI_INTERRUPT_LINE: /* scratch for firmware; the function has no interrupt pin */
		return 0xff;
	default:
		return 0;
	}
}

static void power_up(struct pvsched_pci *p)
{
	memset(p->config, 0, sizeof(p->config));
	put16(p->config + PCI_VENDOR_ID, PVSCHED_PCI_VENDOR);
	put16(p->config + PCI_DEVICE_ID, PVSCHED_PCI_DEVICE);
	put32(p->config + PCI_CLASS_REVISION, PVSCHED_PCI_CLASS << 8 | PVSCHED_ABI_VERSION);
	put16(p->config + PCI_SUBSYSTEM_VENDOR_ID, PVSCHED_PCI_VENDOR);
	put16(p->config + PCI_SUBSYSTEM_ID, PVSCHED_PCI_DEVICE);
}

void pvsched_pci_init(struct pvsched_pci *p, struct pvsched_device *dev)
{
	p->dev = dev;
	power_up(p);
	pvsched_device_set_bus_master(dev, false);
}

void pvsched_pci_reset(struct pvsched_pci *p)
{
	power_up(p);
	/* In this order: a reset device has no DRIVER_OK, so losing the bus is no news to it. */
	pvsched_device_reset(p->dev);
	pvsched_device_set_bus_master(p->dev, false);
}

static bool config_access_ok(unsigned int offset, size_t size)
{
	return (size == 1 || size == 2 || size == 4) && offset < PVSCHED_PCI_CONFIG_SIZE &&
	       size <= PVSCHED_PCI_CONFIG_SIZE - offset;
}

void pvsched_pci_config_read(const struct pvsched_pci *p, unsigned int offset, void *data,
			     size_t size)
{
	if (config_access_ok(offset, size))
		memcpy(data, p->config + offset, size);
	else
		memset(data, 0xff, size);
}

void pvsched_pci_config_write(struct pvsched_pci *p, unsigned int offset, const void *data,
			      size_t size)
{
	const uint8_t *bytes = data;
	bool master, was;

	if (!config_access_ok(offset, size))
		return;
	was = get16(p->config + PCI_COMMAND) & PCI_COMMAND_MASTER;
	for (size_t i = 0; i < size; i++) {
		uint8_t mask = writable(offset + i);

		p->config[offset + i] = (p->config[offset + i] & ~mask) | (bytes[i] & mask);
	}
	master = get16(p->config + PCI_COMMAND) & PCI_COMMAND_MASTER;
	if (master != was)
		pvsched_device_set_bus_master(p->dev, master);
}

uint64_t pvsched_pci_bar(const struct pvsched_pci *p)
{
	uint32_t address = get32(p->config + PCI_BASE_ADDRESS_0) & BAR_MASK;

	if (!(get16(p->config + PCI_COMMAND) & PCI_COMMAND_MEMORY))
		return 0;
	/* All ones is a guest that measures the BAR without switching decoding off. */
	return address == BAR_MASK ? 0 : address;
}

void pvsched_pci_bar_read(struct pvsched_pci *p, uint64_t offset, void *data, size_t size)
{
	uint32_t value = htole32(pvsched_device_read(p->dev, offset, size));

	memset(data, 0, size);
	memcpy(data, &value, size < sizeof(value) ? size : sizeof(value));
}

void pvsched_pci_bar_write(struct pvsched_pci *p, uint64_t offset, const void *data, size_t size)
{
	uint32_t value = 0;

	memcpy(&value, data, size < sizeof(value) ? size : sizeof(value));
	pvsched_device_write(p->dev, offset, size, le32toh(value));
}
