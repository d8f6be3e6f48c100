/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A Linux bzImage and where it goes in guest memory (Documentation/arch/x86/boot.rst): checks of
 * its header, places of kernel, initrd and what the kernel is told. Pure: no OS call, no state.
 */
#ifndef PVSCHED_VMM_BZIMAGE_H
#define PVSCHED_VMM_BZIMAGE_H

#include <asm/bootparam.h>
#include <stddef.h>
#include <stdint.h>

#define BZIMAGE_HEAD 4096 /* bytes of the file that bzimage_check looks at, if it has so many */

/* Guest physical addresses of what the loader writes below 1 MiB. */
#define LINUX_GDT_GPA	  0x8000
#define LINUX_PARAMS_GPA  0x10000 /* struct boot_params */
#define LINUX_CMDLINE_GPA 0x20000
#define LINUX_CMDLINE_MAX 0x10000
#define LINUX_TABLES_GPA  0x30000 /* six pages: 4 GiB, identity */
#define LINUX_ACPI_GPA	  0xe0000

#define LINUX_CODE_SELECTOR 0x10 /* as the 64-bit protocol wants them */
#define LINUX_DATA_SELECTOR 0x18

/* RAM is from 0 to the hole, and from 4 GiB. */
#define LINUX_HOLE_GPA 0xc0000000ull
#define LINUX_HIGH_GPA 0x100000000ull

struct bzimage {
	struct setup_header header; /* as in the file */
	uint64_t payload_at, payload_size; /* in the file: what is loaded */
	uint64_t load_gpa; /* where: the kernel's own choice */
	uint64_t entry_gpa;
	uint64_t memory; /* from load_gpa on, that the kernel needs before it looks at the map */
};

/* head: the first bytes of the file. Returns NULL, or what is wrong with it. */
const char *bzimage_check(const void *head, size_t size, uint64_t file_size,
			  struct bzimage *ret_image);

/* Where the initrd goes (initrd_size 0: nowhere). Returns 0, or the bytes of RAM that are needed. */
uint64_t bzimage_place(const struct bzimage *b, uint64_t memory, uint64_t initrd_size,
		       uint64_t *ret_initrd_gpa);

/* How much of `memory` bytes of RAM lies below the hole. */
uint64_t bzimage_low_memory(uint64_t memory);

void bzimage_params(const struct bzimage *b, uint64_t memory, uint64_t initrd_gpa,
		    uint64_t initrd_size, struct boot_params *ret_params);

#endif
