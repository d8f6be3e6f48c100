/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * RSDP, XSDT, FADT, FACS, MADT and DSDT. Fixed hardware, not the reduced kind, since the machine
 * has a PIT, a PIC and ISA interrupts, which kernels drop with the latter.
 */
#include "acpi.h"

#include <string.h>

#define APIC_GPA   0xfee00000u
#define IOAPIC_GPA 0xfec00000u

/* Places of the tables. */
#define XSDT_AT	  0x040
#define FACS_AT	  0x080
#define FADT_AT	  0x100
#define MADT_AT	  0x280
#define DSDT_AT	  0x400
#define HEADER	  36
#define FADT_SIZE 276
#define FACS_SIZE 64

static void put(uint8_t *at, uint64_t value, size_t size)
{
	for (; size; size--, value >>= 8)
		*at++ = value;
}

static void put_checksum(uint8_t *table, size_t size, size_t at)
{
	uint8_t sum = 0;
	size_t i;

	table[at] = 0;
	for (i = 0; i < size; i++)
		sum += table[i];
	table[at] = -sum;
}

static void put_header(uint8_t *t, const char *signature, size_t size, unsigned int revision)
{
	memcpy(t, signature, 4);
	put(t + 4, size, 4);
	t[8] = revision;
	memcpy(t + 10, "PVSCHDREFVMM  ", 14); /* OEM, OEM's table */
	put(t + 24, 1, 4);
	memcpy(t + 28, "PVSC", 4);
	put(t + 32, 1, 4);
	put_checksum(t, size, 9);
}

/* A generic address in port space. */
static void put_port(uint8_t *at, unsigned int bits, unsigned int port)
{
	at[0] = 1;
	at[1] = bits;
	at[3] = bits / 16 + 1; /* access: 1 byte, 2 word, 3 dword */
	put(at + 4, port, 8);
}

static void put_fadt(uint8_t *t, uint64_t gpa)
{
	put(t + 36, gpa + FACS_AT, 4);
	put(t + 40, gpa + DSDT_AT, 4);
	put(t + 46, ACPI_SCI, 2);
	put(t + 56, ACPI_PM_EVENT, 4);
	put(t + 64, ACPI_PM_CONTROL, 4);
	put(t + 76, ACPI_PM_TIMER, 4);
	t[88] = 4;
	t[89] = 2;
	t[91] = 4;
	put(t + 96, 0xffff, 2); /* no C2 */
	put(t + 98, 0xffff, 2); /* no C3 */
	/* IAPC_BOOT_ARCH: no VGA, no CMOS clock, no ASPM; and, by what is not set, no i8042 */
	put(t + 109, 1 << 2 | 1 << 5 | 1 << 4, 2);
	/* WBINVD works, C1 works, no fixed power and sleep buttons, no fixed RTC wake-up, the timer
	 * has 32 bits, the reset register is there */
	put(t + 112, 1 << 0 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 10, 4);
	put_port(t + 116, 8, ACPI_RESET_PORT);
	t[128] = ACPI_RESET_VALUE;
	put(t + 140, gpa + DSDT_AT, 8);
	put_port(t + 148, 32, ACPI_PM_EVENT);
	put_port(t + 172, 16, ACPI_PM_CONTROL);
	put_port(t + 208, 32, ACPI_PM_TIMER);
	put_header(t, "FACP", FADT_SIZE, 6);
}

static void put_madt(uint8_t *t, unsigned int vcpus)
{
	uint8_t *at = t + HEADER + 8;
	unsigned int i;

	put(t + 36, APIC_GPA, 4);
	put(t + 40, 1, 4); /* there is a PIC, too */
	for (i = 0; i < vcpus; i++, at += 8) {
		at[0] = 0; /* local APIC */
		at[1] = 8;
		at[2] = at[3] = i;
		put(at + 4, 1, 4);
	}
	at[0] = 1; /* I/O APIC; its id is beyond the CPUs' */
	at[1] = 12;
	at[2] = vcpus;
	put(at + 4, IOAPIC_GPA, 4);
	at += 12;
	/* no override for the PIT: its interrupt 0 is at input 0, as KVM has it unless told otherwise */
	at[0] = 2; /* the SCI: level, active high */
	at[1] = 10;
	at[3] = ACPI_SCI;
	put(at + 4, ACPI_SCI, 4);
	put(at + 8, 0xd, 2);
	at += 10;
	put_header(t, "APIC", at - t, 4);
}

/*
 * Scope (\_SB) { Device (PCI0) {
 *	Name (_HID, EisaId ("PNP0A03"))
 *	Name (_UID, Zero)
 *	Name (_CRS, ResourceTemplate () {
 *		WordBusNumber (0..0)
 *		IO (Decode16, 0xcf8, 8)
 *		DWordMemory (0xe0000000..0xefffffff)
 *	})
 * } }
 * Name (_S5, Package () { 5, 5, Zero, Zero })
 */
static const uint8_t aml[] = {
	/* Scope (\_SB), 92 bytes; Device (PCI0), 83 bytes */
	0x10, 0x4c, 0x05, '\\', '_', 'S', 'B', '_', /**/
	0x5b, 0x82, 0x43, 0x05, 'P', 'C', 'I', '0', /**/
	0x08, '_', 'H', 'I', 'D', 0x0c, 0x41, 0xd0, 0x0a, 0x03, /**/
	0x08, '_', 'U', 'I', 'D', 0x00, /**/
	/* _CRS: a buffer of 52 bytes */
	0x08, '_', 'C', 'R', 'S', 0x11, 0x37, 0x0a, 0x34, /**/
	0x88, 0x0d, 0x00, 0x02, 0x0c, 0x00, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, /* bus 0 */
	0x47, 0x01, 0xf8, 0x0c, 0xf8, 0x0c, 0x01, 0x08, /**/
	0x87, 0x17, 0x00, 0x00, 0x0c, 0x01, 0, 0, 0, 0, /* memory: granularity */
	0, 0, 0, ACPI_PCI_GPA >> 24, /* first */
	0xff, 0xff, 0xff, (ACPI_PCI_GPA + ACPI_PCI_SIZE - 1) >> 24, /* last */
	0, 0, 0, 0, 0, 0, 0, ACPI_PCI_SIZE >> 24, /* translation, length */
	0x79, 0x00, /**/
	0x08, '_', 'S', '5', '_', 0x12, 0x08, 0x04, 0x0a, ACPI_S5, 0x0a, ACPI_S5, 0x00, 0x00, /**/
};

void acpi_write(uint8_t ret_tables[ACPI_SIZE], uint64_t gpa, unsigned int vcpus)
{
	uint8_t *t = ret_tables;

	memset(t, 0, ACPI_SIZE);
	memcpy(t, "RSD PTR ", 8);
	memcpy(t + 9, "PVSCHD", 6);
	t[15] = 2;
	put(t + 20, 36, 4);
	put(t + 24, gpa + XSDT_AT, 8);
	put_checksum(t, 20, 8);
	put_checksum(t, 36, 32);

	put(t + XSDT_AT + HEADER, gpa + FADT_AT, 8);
	put(t + XSDT_AT + HEADER + 8, gpa + MADT_AT, 8);
	put_header(t + XSDT_AT, "XSDT", HEADER + 16, 1);

	memcpy(t + FACS_AT, "FACS", 4);
	put(t + FACS_AT + 4, FACS_SIZE, 4);
	t[FACS_AT + 32] = 2;

	put_fadt(t + FADT_AT, gpa);
	put_madt(t + MADT_AT, vcpus);
	memcpy(t + DSDT_AT + HEADER, aml, sizeof(aml));
	put_header(t + DSDT_AT, "DSDT", HEADER + sizeof(aml), 2);
}
