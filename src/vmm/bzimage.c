/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Header checks and places of a Linux kernel. The 64-bit entry of the boot protocol: 2.12 and
 * later, a kernel that says it has one.
 */
#include "bzimage.h"

#include <string.h>

#define SECTOR	       512
#define HEADER_AT      0x1f1
#define PROTOCOL_MIN   0x20c
#define BOOT_FLAG      0xaa55
#define ENTRY_64       0x200
#define LOWEST_LOAD    0x100000
#define LOW_END	       0xa0000 /* conventional memory; above: tables, until 1 MiB */
#define PAGE	       4096ull
#define LOADER_UNKNOWN 0xff

const char *bzimage_check(const void *head, size_t size, uint64_t file_size,
			  struct bzimage *ret_image)
{
	struct bzimage b = { 0 };
	const struct setup_header *h = &b.header;

	if (size < HEADER_AT + sizeof(b.header))
		return "too short for a kernel";
	memcpy(&b.header, (const uint8_t *)head + HEADER_AT, sizeof(b.header));
	if (h->boot_flag != BOOT_FLAG || h->header != 0x53726448 /* "HdrS" */)
		return "not a Linux kernel (bzImage)";
	if (h->version < PROTOCOL_MIN)
		return "boot protocol older than 2.12: take Linux 3.8 or newer";
	if (!(h->loadflags & LOADED_HIGH))
		return "a zImage, not a bzImage";
	if (!(h->xloadflags & XLF_KERNEL_64))
		return "no 64-bit kernel";
	/* 0 means 4: from days without this field */
	b.payload_at = ((h->setup_sects ? h->setup_sects : 4) + 1ull) * SECTOR;
	if (b.payload_at >= file_size || file_size - b.payload_at <= ENTRY_64)
		return "cut short: there is no kernel behind its header";
	b.payload_size = file_size - b.payload_at;
	if ((b.payload_size + 15) / 16 < h->syssize)
		return "cut short: its header tells of more than the file has";
	b.load_gpa = h->pref_address;
	b.memory = h->init_size > b.payload_size ? h->init_size : b.payload_size;
	if (b.load_gpa < LOWEST_LOAD || b.load_gpa % PAGE || b.load_gpa >= LINUX_HOLE_GPA)
		return "its header wants an address where no RAM is";
	b.entry_gpa = b.load_gpa + ENTRY_64;
	*ret_image = b;
	return NULL;
}

uint64_t bzimage_low_memory(uint64_t memory)
{
	return memory < LINUX_HOLE_GPA ? memory : LINUX_HOLE_GPA;
}

uint64_t bzimage_place(const struct bzimage *b, uint64_t memory, uint64_t initrd_size,
		       uint64_t *ret_initrd_gpa)
{
	/* sizes of files are below 2^63, an address below 2^32: no sum but the last overflows */
	uint64_t kernel_end = (b->load_gpa + b->memory + PAGE - 1) & ~(PAGE - 1);
	uint64_t size = (initrd_size + PAGE - 1) & ~(PAGE - 1);
	uint64_t end = bzimage_low_memory(memory);
	uint64_t max = b->header.initrd_addr_max + 1ull;
	uint64_t needed;

	if (end > max && initrd_size)
		end = max & ~(PAGE - 1);
	if (end < kernel_end || end - kernel_end < size)
		return __builtin_add_overflow(kernel_end, size, &needed) || needed > INT64_MAX
			       ? INT64_MAX
			       : needed;
	*ret_initrd_gpa = initrd_size ? end - size : 0;
	return 0;
}

static void add_range(struct boot_params *p, uint64_t from, uint64_t to, uint32_t type)
{
	struct boot_e820_entry *e = &p->e820_table[p->e820_entries++];

	e->addr = from;
	e->size = to - from;
	e->type = type;
}

void bzimage_params(const struct bzimage *b, uint64_t memory, uint64_t initrd_gpa,
		    uint64_t initrd_size, struct boot_params *ret_params)
{
	enum { RAM = 1, RESERVED = 2 };
	uint64_t low = bzimage_low_memory(memory);

	memset(ret_params, 0, sizeof(*ret_params));
	ret_params->hdr = b->header;
	ret_params->hdr.type_of_loader = LOADER_UNKNOWN;
	ret_params->hdr.cmd_line_ptr = LINUX_CMDLINE_GPA;
	ret_params->hdr.ramdisk_image = initrd_gpa;
	ret_params->hdr.ramdisk_size = initrd_size;
	ret_params->hdr.setup_data = 0;
	ret_params->acpi_rsdp_addr = LINUX_ACPI_GPA;
	add_range(ret_params, 0, LOW_END, RAM);
	add_range(ret_params, LOW_END, LOWEST_LOAD, RESERVED);
	add_range(ret_params, LOWEST_LOAD, low, RAM);
	if (memory > low)
		add_range(ret_params, LINUX_HIGH_GPA, LINUX_HIGH_GPA + memory - low, RAM);
}
