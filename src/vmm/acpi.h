/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ACPI tables that a stock Linux kernel needs to find its CPUs, its interrupt controllers,
 * the PCI bus and the registers for power-off and reset. Pure: no OS call, no state.
 */
#ifndef PVSCHED_VMM_ACPI_H
#define PVSCHED_VMM_ACPI_H

#include <stddef.h>
#include <stdint.h>

#define ACPI_SIZE 4096 /* of all tables together, RSDP first */

#define ACPI_PM_EVENT	0x600 /* two 16-bit registers: status, enable */
#define ACPI_PM_CONTROL 0x604 /* 16 bits */
#define ACPI_PM_TIMER	0x608 /* 32 bits at ACPI_TIMER_HZ */
#define ACPI_TIMER_HZ	3579545ull
#define ACPI_SCI	9
#define ACPI_S5		5 /* SLP_TYP of power-off */
#define ACPI_SLP_TYP(x) ((x) >> 10 & 7)
#define ACPI_SLP_EN	(1u << 13)
#define ACPI_SCI_EN	1u

#define ACPI_RESET_PORT	 0xcf9
#define ACPI_RESET_VALUE 0x06
#define ACPI_RESET_BIT	 0x04

#define ACPI_PCI_GPA  0xe0000000u /* window for BARs */
#define ACPI_PCI_SIZE 0x10000000u

/* Writes the tables for `vcpus` CPUs, APIC id = index, that will be at gpa (64-byte aligned). */
void acpi_write(uint8_t ret_tables[ACPI_SIZE], uint64_t gpa, unsigned int vcpus);

#endif
