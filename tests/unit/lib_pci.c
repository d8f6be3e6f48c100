// SPDX-License-Identifier: GPL-2.0-only
/* The PCI function: configuration space and the width of accesses to BAR0. */
#include <helpers/unit.h>

#include <helpers/device_bed.h>

#include <transport/pci.h>

struct fn {
	struct bed bed;
	struct pvsched_pci pci;
};

static int setup(void **state)
{
	static struct fn fn;

	memset(&fn, 0, sizeof(fn));
	pvsched_device_init(&fn.bed.device, &bed_ops, &fn.bed, BED_VCPUS, BED_FEATURES);
	pvsched_pci_init(&fn.pci, &fn.bed.device);
	*state = &fn;
	return 0;
}

static uint32_t get(struct fn *fn, unsigned int offset, size_t size)
{
	uint32_t value = 0;

	pvsched_pci_config_read(&fn->pci, offset, &value, size);
	return value;
}

static void put(struct fn *fn, unsigned int offset, uint32_t value, size_t size)
{
	pvsched_pci_config_write(&fn->pci, offset, &value, size);
}

static void pci_ids_and_class_are_the_functions(void **state)
{
	struct fn *fn = *state;

	assert_int_equal(get(fn, 0x00, 2), PVSCHED_PCI_VENDOR);
	assert_int_equal(get(fn, 0x02, 2), PVSCHED_PCI_DEVICE);
	assert_int_equal(get(fn, 0x00, 4), PVSCHED_PCI_DEVICE << 16 | PVSCHED_PCI_VENDOR);
	assert_int_equal(get(fn, 0x08, 4) >> 8, PVSCHED_PCI_CLASS);
	assert_int_equal(get(fn, 0x0b, 1), PVSCHED_PCI_CLASS >> 16);
	assert_int_equal(get(fn, 0x0e, 1), 0); /* type 0, one function */
	assert_int_equal(get(fn, 0x06, 2), 0); /* status: no capabilities */
	assert_int_equal(get(fn, 0x34, 1), 0);
	assert_int_equal(get(fn, 0x3d, 1), 0); /* no interrupt pin */
}

static void pci_read_only_bytes_written_stay(void **state)
{
	struct fn *fn = *state;

	for (unsigned int at = 0; at < PVSCHED_PCI_CONFIG_SIZE; at++) {
		uint32_t was = get(fn, at, 1);

		if (at == 0x04 || (at >= 0x10 && at < 0x14) || at == 0x3c)
			continue;
		put(fn, at, ~was, 1);
		assert_int_equal(get(fn, at, 1), was);
	}
}

static void pci_bar_measured_says_its_size(void **state)
{
	struct fn *fn = *state;

	put(fn, 0x10, 0xffffffff, 4);
	assert_int_equal(~get(fn, 0x10, 4) + 1, PVSCHED_BAR_SIZE);
	put(fn, 0x14, 0xffffffff, 4);
	assert_int_equal(get(fn, 0x14, 4), 0);
}

static void pci_bar_placed_shows_while_decoding(void **state)
{
	struct fn *fn = *state;

	put(fn, 0x10, 0xfebf2000, 4);
	assert_int_equal(pvsched_pci_bar(&fn->pci), 0);
	put(fn, 0x04, 0x2, 2);
	assert_int_equal(pvsched_pci_bar(&fn->pci), 0xfebf2000);
	put(fn, 0x10, 0xffffffff, 4); /* measured with decoding on */
	assert_int_equal(pvsched_pci_bar(&fn->pci), 0);
	put(fn, 0x10, 0xfebf2000, 4);
	put(fn, 0x04, 0, 1);
	assert_int_equal(pvsched_pci_bar(&fn->pci), 0);
}

static void pci_bar_written_by_bytes_is_one_address(void **state)
{
	struct fn *fn = *state;

	put(fn, 0x04, 0x2, 1);
	put(fn, 0x13, 0xe0, 1);
	put(fn, 0x12, 0x12, 1);
	put(fn, 0x10, 0x60ff, 2);
	assert_int_equal(pvsched_pci_bar(&fn->pci), 0xe0126000);
}

static void pci_command_unknown_bits_stay_zero(void **state)
{
	struct fn *fn = *state;

	put(fn, 0x04, 0xffffffff, 4);
	assert_int_equal(get(fn, 0x04, 4), 0x6);
}

static void pci_bus_master_cleared_detaches(void **state)
{
	struct fn *fn = *state;

	put(fn, 0x04, 0x6, 2);
	assert_true(fn->bed.device.bus_master);
	put(fn, 0x04, 0x6, 2); /* again: no edge */
	assert_true(fn->bed.device.bus_master);
	fn->bed.device.vcpu[1].page = PVSCHED_PAGE_ATTACHED;
	fn->bed.attached[1] = true;
	put(fn, 0x04, 0x2, 1);
	assert_false(fn->bed.device.bus_master);
	assert_int_equal(fn->bed.detaches, 1);
}

static void pci_reset_is_power_up(void **state)
{
	struct fn *fn = *state;

	put(fn, 0x10, 0xfebf2000, 4);
	put(fn, 0x3c, 11, 1);
	put(fn, 0x04, 0x6, 2);
	pvsched_pci_reset(&fn->pci);
	assert_int_equal(get(fn, 0x10, 4), 0);
	assert_int_equal(get(fn, 0x3c, 1), 0);
	assert_int_equal(get(fn, 0x04, 2), 0);
	assert_false(fn->bed.device.bus_master);
	assert_int_equal(fn->bed.device.epoch, 1);
	assert_int_equal(fn->bed.device.status, 0);
}

static void pci_config_access_of_bad_size_reads_ones(void **state)
{
	struct fn *fn = *state;
	uint64_t value = 0;

	pvsched_pci_config_read(&fn->pci, 0, &value, 8);
	assert_true(value == UINT64_MAX);
	assert_int_equal(get(fn, 254, 4), 0xffffffff);
	assert_int_equal(get(fn, 256, 1), 0xff);
	assert_int_equal(get(fn, 0xffffffff, 2), 0xffff);
	put(fn, 254, 0, 4);
	put(fn, 0xffffffff, 0, 4);
	value = 0;
	pvsched_pci_config_write(&fn->pci, 4, &value, 3);
}

static void pci_bar_access_of_bad_size_reads_zero_and_counts(void **state)
{
	struct fn *fn = *state;
	uint64_t value = UINT64_MAX;

	pvsched_pci_bar_read(&fn->pci, PVSCHED_REG_MAGIC, &value, 4);
	assert_true(value == (0xffffffff00000000ull | PVSCHED_MAGIC));
	pvsched_pci_bar_read(&fn->pci, PVSCHED_REG_MAGIC, &value, 8);
	assert_true(value == 0);
	value = UINT64_MAX;
	pvsched_pci_bar_read(&fn->pci, PVSCHED_REG_MAGIC, &value, 2);
	assert_true(value == 0xffffffffffff0000ull);
	pvsched_pci_bar_read(&fn->pci, PVSCHED_BAR_SIZE, &value, 4);
	pvsched_pci_bar_write(&fn->pci, PVSCHED_REG_STATUS, &value, 1);
	pvsched_pci_bar_write(&fn->pci, PVSCHED_REG_STATUS, &value, 8);
	pvsched_pci_bar_write(&fn->pci, UINT64_MAX - 3, &value, 4);
	assert_int_equal(fn->bed.device.errors[PVSCHED_R_BAD_ACCESS], 6);
	assert_int_equal(fn->bed.device.status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(pci_ids_and_class_are_the_functions, setup),
		cmocka_unit_test_setup(pci_read_only_bytes_written_stay, setup),
		cmocka_unit_test_setup(pci_bar_measured_says_its_size, setup),
		cmocka_unit_test_setup(pci_bar_placed_shows_while_decoding, setup),
		cmocka_unit_test_setup(pci_bar_written_by_bytes_is_one_address, setup),
		cmocka_unit_test_setup(pci_command_unknown_bits_stay_zero, setup),
		cmocka_unit_test_setup(pci_bus_master_cleared_detaches, setup),
		cmocka_unit_test_setup(pci_reset_is_power_up, setup),
		cmocka_unit_test_setup(pci_config_access_of_bad_size_reads_ones, setup),
		cmocka_unit_test_setup(pci_bar_access_of_bad_size_reads_zero_and_counts, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
