/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * I/O ports of a machine that runs Linux: serial line, ACPI's power management registers, reset.
 * What is not there goes to PCI, which answers for the rest. Any vCPU thread may come here.
 */
#include <string.h>
#include <time.h>

#include "acpi.h"
#include "internal.h"

#define SERIAL	    0x3f8
#define KEYBOARD    0x64
#define PULSE_RESET 0xfe

static uint32_t pm_timer(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * ACPI_TIMER_HZ + t.tv_nsec * ACPI_TIMER_HZ / 1000000000ull;
}

static uint32_t number(const void *data, size_t size)
{
	uint32_t value = 0;

	memcpy(&value, data, size < sizeof(value) ? size : sizeof(value));
	return value;
}

void vmm_port(struct vmm *vm, uint16_t port, bool write, void *data, size_t size)
{
	uint32_t value = write ? number(data, size) : 0;

	if (port >= SERIAL && port < SERIAL + 8 && size == 1) {
		vmm_console_port(vm, port - SERIAL, write, data);
		return;
	}
	switch (port) {
	case ACPI_PM_EVENT: /* nothing ever happens */
		value = 0;
		break;
	case ACPI_PM_EVENT + 2:
		/* what is enabled reads back, else Linux finds the hardware broken */
		if (write)
			atomic_store(&vm->pm_enable, value);
		value = atomic_load(&vm->pm_enable);
		break;
	case ACPI_PM_CONTROL:
		if (value & ACPI_SLP_EN && ACPI_SLP_TYP(value) == ACPI_S5)
			vmm_machine_end(vm, VMM_MACHINE_OFF);
		value = ACPI_SCI_EN;
		break;
	case ACPI_PM_TIMER:
		value = pm_timer();
		break;
	case ACPI_RESET_PORT:
		if (write && value & ACPI_RESET_BIT)
			vmm_machine_end(vm, VMM_MACHINE_RESET);
		break;
	case KEYBOARD:
		if (write && value == PULSE_RESET)
			vmm_machine_end(vm, VMM_MACHINE_RESET);
		value = 0xff; /* no controller */
		break;
	default:
		vmm_pci_port(vm, port, write, data, size);
		return;
	}
	if (!write)
		memcpy(data, &value, size < sizeof(value) ? size : sizeof(value));
}

void vmm_ports_reset(struct vmm *vm)
{
	atomic_store(&vm->pm_enable, 0);
}
