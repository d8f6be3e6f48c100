// SPDX-License-Identifier: GPL-2.0-only
/*
 * A kernel file of any content and size: what is accepted has a place inside RAM that overlaps
 * nothing, and the map that the kernel gets says what is there.
 */
#include <helpers/fuzz.h>

#include <vmm/bzimage.h>

#define FILE_MAX  (uint64_t) INT64_MAX /* off_t */
#define PAGE	  4096ull
#define HEADER_AT 0x1f1 /* before it is nothing that is looked at */

static void check_map(const struct boot_params *p, uint64_t memory)
{
	uint64_t ram = 0, end = 0;

	FUZZ_CHECK(p->e820_entries <= E820_MAX_ENTRIES_ZEROPAGE);
	for (int i = 0; i < p->e820_entries; i++) {
		const struct boot_e820_entry *e = &p->e820_table[i];

		FUZZ_CHECK(e->addr >= end && e->addr + e->size > e->addr);
		end = e->addr + e->size;
		if (e->type == 1)
			ram += e->size;
	}
	FUZZ_CHECK(ram == memory - (0x100000 - 0xa0000));
}

static void place(const struct bzimage *b, uint64_t memory, uint64_t initrd_size)
{
	uint64_t low = bzimage_low_memory(memory), initrd = 12345, needed;
	struct boot_params params;

	needed = bzimage_place(b, memory, initrd_size, &initrd);
	if (needed) {
		FUZZ_CHECK(initrd == 12345); /* untouched */
		FUZZ_CHECK(needed > b->memory && needed >= initrd_size);
		return;
	}
	FUZZ_CHECK(b->load_gpa >= 0x100000 && b->memory <= low && b->load_gpa <= low - b->memory);
	FUZZ_CHECK(b->payload_size <= b->memory);
	if (initrd_size) {
		FUZZ_CHECK(initrd % PAGE == 0 && initrd >= b->load_gpa + b->memory);
		FUZZ_CHECK(initrd_size <= low && initrd <= low - initrd_size);
		FUZZ_CHECK(initrd + initrd_size - 1 <= b->header.initrd_addr_max);
	} else {
		FUZZ_CHECK(initrd == 0);
	}
	bzimage_params(b, memory, initrd, initrd_size, &params);
	FUZZ_CHECK(params.hdr.ramdisk_image == initrd && params.hdr.ramdisk_size == initrd_size);
	FUZZ_CHECK(params.hdr.setup_data == 0);
	check_map(&params, memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { data, data + size };
	uint64_t file_size = fuzz_number(&f) & FILE_MAX, initrd_size = fuzz_number(&f) & FILE_MAX;
	uint64_t memory = (16 + fuzz_u32(&f) % (1 << 20)) << 20; /* of a VM: 16 MiB to 1 TiB */
	size_t bytes = HEADER_AT + fuzz_left(&f), shown;
	struct bzimage b, untouched;
	uint8_t *head;
	const char *why;

	shown = bytes < file_size ? bytes : file_size;
	head = calloc(1, shown + 1); /* its end is where the file's is */
	FUZZ_CHECK(head);
	if (shown > HEADER_AT)
		memcpy(head + HEADER_AT, f.at, shown - HEADER_AT);
	memset(&b, 0x5a, sizeof(b));
	untouched = b;
	why = bzimage_check(head, shown, file_size, &b);
	if (why)
		FUZZ_CHECK(*why && !memcmp(&b, &untouched, sizeof(b)));
	else
		place(&b, memory, initrd_size);
	free(head);
	fuzz_steps++;
	return 0;
}
