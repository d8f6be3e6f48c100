// SPDX-License-Identifier: GPL-2.0-only
/*
 * A kernel file's header is checked before anything of it is believed, and everything finds a
 * place in RAM or is refused with what it needs.
 */
#include <helpers/unit.h>

#include <string.h>
#include <vmm/bzimage.h>

#define MIB  (1ull << 20)
#define SIZE (8 * MIB) /* of the file */

static uint8_t head[BZIMAGE_HEAD];

static struct setup_header *header(void)
{
	return (struct setup_header *)(head + 0x1f1);
}

/* A head as a Debian kernel has it. */
static int setup(void **state)
{
	struct setup_header *h = header();

	(void)state;
	memset(head, 0, sizeof(head));
	h->setup_sects = 7;
	h->boot_flag = 0xaa55;
	memcpy(&h->header, "HdrS", 4);
	h->version = 0x20f;
	h->loadflags = LOADED_HIGH;
	h->xloadflags = 1;
	h->syssize = (SIZE - 8 * 512) / 16;
	h->initrd_addr_max = 0x7fffffff;
	h->cmdline_size = 2047;
	h->pref_address = 16 * MIB;
	h->init_size = 40 * MIB;
	return 0;
}

static const char *check(struct bzimage *b)
{
	return bzimage_check(head, sizeof(head), SIZE, b);
}

static void bzimage_of_debian_is_accepted(void **state)
{
	struct bzimage b;

	(void)state;
	assert_null(check(&b));
	assert_int_equal(b.payload_at, 8 * 512);
	assert_int_equal(b.payload_size, SIZE - 8 * 512);
	assert_int_equal(b.load_gpa, 16 * MIB);
	assert_int_equal(b.entry_gpa, 16 * MIB + 0x200);
	assert_int_equal(b.memory, 40 * MIB);
}

static void bzimage_without_setup_sects_has_four(void **state)
{
	struct bzimage b;

	(void)state;
	header()->setup_sects = 0;
	assert_null(check(&b));
	assert_int_equal(b.payload_at, 5 * 512);
}

static void refused(const char *words)
{
	struct bzimage b = { .load_gpa = 1 };
	const char *why = check(&b);

	assert_non_null(why);
	assert_non_null(strstr(why, words));
	assert_int_equal(b.load_gpa, 1); /* untouched */
	setup(NULL);
}

static void bzimage_with_bad_header_is_refused(void **state)
{
	struct bzimage b;

	(void)state;
	assert_non_null(bzimage_check(head, 0x200, SIZE, &b));
	assert_non_null(bzimage_check(head, 0, 0, &b));
	header()->boot_flag = 0;
	refused("not a Linux kernel");
	header()->header++;
	refused("not a Linux kernel");
	header()->version = 0x20b;
	refused("older than 2.12");
	header()->loadflags = 0;
	refused("zImage");
	header()->xloadflags = 0;
	refused("64-bit");
	header()->pref_address = 0x8000;
	refused("no RAM");
	header()->pref_address = 16 * MIB + 8;
	refused("no RAM");
	header()->pref_address = ~0ull << 12;
	refused("no RAM");
}

static void bzimage_cut_short_is_refused(void **state)
{
	struct bzimage b;

	(void)state;
	assert_non_null(bzimage_check(head, sizeof(head), 8 * 512, &b));
	assert_non_null(bzimage_check(head, sizeof(head), 8 * 512 + 0x200, &b));
	assert_non_null(bzimage_check(head, sizeof(head), SIZE - 16, &b));
	assert_null(bzimage_check(head, sizeof(head), SIZE - 15, &b));
}

static void place_initrd_ends_at_the_top_of_low_memory(void **state)
{
	struct bzimage b;
	uint64_t at = 1;

	(void)state;
	assert_null(check(&b));
	assert_int_equal(bzimage_place(&b, 64 * MIB, 5000, &at), 0);
	assert_int_equal(at, 64 * MIB - 8192);
	assert_int_equal(bzimage_place(&b, 64 * MIB, 0, &at), 0);
	assert_int_equal(at, 0);
	/* the kernel's own limit, where there is more */
	assert_int_equal(bzimage_place(&b, 8192 * MIB, 4096, &at), 0);
	assert_int_equal(at, 0x80000000ull - 4096);
	header()->initrd_addr_max = 0xffffffff;
	assert_null(check(&b));
	assert_int_equal(bzimage_place(&b, 8192 * MIB, 4096, &at), 0);
	assert_int_equal(at, LINUX_HOLE_GPA - 4096);
}

static void place_too_little_memory_says_what_is_needed(void **state)
{
	struct bzimage b;
	uint64_t at = 1;

	(void)state;
	assert_null(check(&b));
	assert_int_equal(bzimage_place(&b, 56 * MIB - 1, 0, &at), 56 * MIB);
	assert_int_equal(bzimage_place(&b, 56 * MIB, 0, &at), 0);
	assert_int_equal(bzimage_place(&b, 56 * MIB, 1, &at), 56 * MIB + 4096);
	assert_int_equal(bzimage_place(&b, 56 * MIB + 4096, 1, &at), 0);
	assert_int_equal(at, 56 * MIB);
	assert_true(bzimage_place(&b, ~0ull, 1ull << 62, &at) > 1ull << 62);
	/* two sparse files as large as can be: their sum is not what is left of it in 64 bits */
	header()->syssize = 0;
	assert_null(bzimage_check(head, sizeof(head), INT64_MAX, &b));
	assert_int_equal(bzimage_place(&b, 64 * MIB, INT64_MAX, &at), INT64_MAX);
}

static void params_memory_beyond_the_hole_is_told(void **state)
{
	struct boot_params p;
	struct bzimage b;

	(void)state;
	assert_null(check(&b));
	bzimage_params(&b, 4096 * MIB, 0x1000, 0x234, &p);
	assert_int_equal(p.e820_entries, 4);
	assert_int_equal(p.e820_table[2].addr, MIB);
	assert_int_equal(p.e820_table[2].addr + p.e820_table[2].size, LINUX_HOLE_GPA);
	assert_int_equal(p.e820_table[3].addr, LINUX_HIGH_GPA);
	assert_int_equal(p.e820_table[3].size, 1024 * MIB);
	assert_int_equal(p.hdr.ramdisk_image, 0x1000);
	assert_int_equal(p.hdr.ramdisk_size, 0x234);
	assert_int_equal(p.hdr.cmd_line_ptr, LINUX_CMDLINE_GPA);
	assert_int_equal(p.hdr.type_of_loader, 0xff);
	assert_int_equal(p.acpi_rsdp_addr, LINUX_ACPI_GPA);
	bzimage_params(&b, 256 * MIB, 0, 0, &p);
	assert_int_equal(p.e820_entries, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(bzimage_of_debian_is_accepted, setup),
		cmocka_unit_test_setup(bzimage_without_setup_sects_has_four, setup),
		cmocka_unit_test_setup(bzimage_with_bad_header_is_refused, setup),
		cmocka_unit_test_setup(bzimage_cut_short_is_refused, setup),
		cmocka_unit_test_setup(place_initrd_ends_at_the_top_of_low_memory, setup),
		cmocka_unit_test_setup(place_too_little_memory_says_what_is_needed, setup),
		cmocka_unit_test_setup(params_memory_beyond_the_hole_is_told, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
