// SPDX-License-Identifier: GPL-2.0-only
/* The register device's address space: sizes, alignment, directions, halves, doorbells. */
#include <helpers/device_bed.h>

static uint64_t bad_accesses(const struct bed *bed)
{
	return bed->device.errors[PVSCHED_R_BAD_ACCESS];
}

static void device_fresh_tells_what_it_is(void **state)
{
	struct bed *bed = *state;

	assert_int_equal(bed_read(bed, PVSCHED_REG_MAGIC), PVSCHED_MAGIC);
	assert_int_equal(bed_read(bed, PVSCHED_REG_VERSION), PVSCHED_ABI_VERSION);
	assert_int_equal(bed_read(bed, PVSCHED_REG_STATUS), 0);
	assert_int_equal(bed_read(bed, PVSCHED_REG_ERROR), PVSCHED_R_OK);
	assert_true(bed_read64(bed, PVSCHED_REG_HOST_FEATURES) == BED_FEATURES);
	assert_true(bed_read64(bed, PVSCHED_REG_GUEST_FEATURES) == 0);
	assert_int_equal(bed_read(bed, PVSCHED_REG_VCPU_COUNT), BED_VCPUS);
	assert_int_equal(bed_read(bed, PVSCHED_REG_VCPU_RESULT), PVSCHED_R_OK);
	assert_int_equal(bed_read(bed, PVSCHED_REG_VCPU_STATE), PVSCHED_PAGE_OFF);
	assert_int_equal(bed_read(bed, PVSCHED_REG_EPOCH), 0);
	assert_int_equal(bad_accesses(bed), 0);
}

static void device_more_vcpus_than_doorbells_offers_the_maximum(void **state)
{
	struct bed *bed = *state;

	pvsched_device_init(&bed->device, &bed_ops, bed, PVSCHED_VCPUS_MAX + 1, 0);
	assert_int_equal(bed_read(bed, PVSCHED_REG_VCPU_COUNT), PVSCHED_VCPUS_MAX);
}

static void access_size_other_than_four_is_refused(void **state)
{
	static const size_t sizes[] = { 0, 1, 2, 3, 5, 8, 16, SIZE_MAX };
	struct bed *bed = *state;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		assert_int_equal(pvsched_device_read(&bed->device, PVSCHED_REG_MAGIC, sizes[i]), 0);
		pvsched_device_write(&bed->device, PVSCHED_REG_CHOICE_ID, sizes[i], 7);
		assert_int_equal(bed_read(bed, PVSCHED_REG_CHOICE_ID), 0);
	}
	assert_int_equal(bad_accesses(bed), 2 * ARRAY_SIZE(sizes));
	assert_int_equal(bed_read(bed, PVSCHED_REG_ERROR), PVSCHED_R_BAD_ACCESS);
}

static void access_unaligned_is_refused(void **state)
{
	struct bed *bed = *state;
	unsigned int i;

	for (i = 1; i < 4; i++) {
		assert_int_equal(bed_read(bed, PVSCHED_REG_MAGIC + i), 0);
		bed_write(bed, PVSCHED_REG_CHOICE_ID + i, 7);
		bed_write(bed, PVSCHED_REG_DOORBELL + i, 1);
	}
	assert_int_equal(bed_read(bed, PVSCHED_REG_CHOICE_ID), 0);
	assert_int_equal(bed_read(bed, PVSCHED_REG_CHOICE_VERSION), 0);
	assert_int_equal(bad_accesses(bed), 9);
}

static void access_beyond_the_bar_is_refused(void **state)
{
	struct bed *bed = *state;

	assert_int_equal(bed_read(bed, PVSCHED_BAR_SIZE), 0);
	bed_write(bed, PVSCHED_BAR_SIZE, 1);
	bed_write(bed, UINT64_MAX - 3, 1);
	assert_int_equal(bad_accesses(bed), 3);
}

static void register_read_only_keeps_its_value(void **state)
{
	static const uint64_t offsets[] = {
		PVSCHED_REG_MAGIC,
		PVSCHED_REG_VERSION,
		PVSCHED_REG_ERROR,
		PVSCHED_REG_HOST_FEATURES,
		PVSCHED_REG_PROTO_COUNT,
		PVSCHED_REG_PROTO_ID,
		PVSCHED_REG_HOST_FEATURES + 4,
		PVSCHED_REG_VCPU_COUNT,
		PVSCHED_REG_PROTO_VERSION,
		PVSCHED_REG_VCPU_RESULT,
		PVSCHED_REG_VCPU_STATE,
		PVSCHED_REG_EPOCH,
	};
	struct bed *bed = *state;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		uint32_t before = bed_read(bed, offsets[i]);

		bed_write(bed, offsets[i], ~before);
		assert_int_equal(bad_accesses(bed), i + 1);
		if (offsets[i] != PVSCHED_REG_ERROR)
			assert_int_equal(bed_read(bed, offsets[i]), before);
	}
	assert_int_equal(bed_read(bed, PVSCHED_REG_ERROR), PVSCHED_R_BAD_ACCESS);
}

static void register_write_only_reads_zero(void **state)
{
	struct bed *bed = *state;

	bed_write64(bed, PVSCHED_REG_VCPU_NONCE, ~0ull);
	assert_true(bed_read64(bed, PVSCHED_REG_VCPU_NONCE) == 0);
	assert_int_equal(bed_read(bed, PVSCHED_REG_VCPU_COMMAND), 0);
	assert_int_equal(bed_read(bed, PVSCHED_REG_DOORBELL), 0);
	assert_int_equal(bad_accesses(bed), 0);
}

static void register_reserved_reads_zero_and_ignores_writes(void **state)
{
	struct bed *bed = *state;
	struct pvsched_device before = bed->device;
	uint64_t offset;

	for (offset = PVSCHED_REG_END; offset < PVSCHED_REG_DOORBELL; offset += 4) {
		bed_write(bed, offset, ~0u);
		assert_int_equal(bed_read(bed, offset), 0);
	}
	assert_memory_equal(&before, &bed->device, sizeof(before));
}

static void register_64_bits_takes_its_halves_in_any_order(void **state)
{
	struct bed *bed = *state;

	bed_write(bed, PVSCHED_REG_GUEST_FEATURES + 4, 0x01234567);
	bed_write(bed, PVSCHED_REG_GUEST_FEATURES, 0x89abcdef);
	assert_true(bed_read64(bed, PVSCHED_REG_GUEST_FEATURES) == 0x0123456789abcdefull);
	bed_write(bed, PVSCHED_REG_GUEST_FEATURES + 4, 0);
	assert_true(bed_read64(bed, PVSCHED_REG_GUEST_FEATURES) == 0x89abcdefull);

	bed_write(bed, PVSCHED_REG_VCPU_GFN + 4, 0x01234567);
	bed_write(bed, PVSCHED_REG_VCPU_GFN, 0x89abcdef);
	assert_true(bed_read64(bed, PVSCHED_REG_VCPU_GFN) == 0x0123456789abcdefull);
	bed_write(bed, PVSCHED_REG_VCPU_GFN, 0);
	assert_true(bed_read64(bed, PVSCHED_REG_VCPU_GFN) == 0x0123456700000000ull);
}

static void vcpu_registers_belong_to_the_selected_vcpu(void **state)
{
	struct bed *bed = *state;
	unsigned int i;

	for (i = 0; i < BED_VCPUS; i++) {
		bed_write(bed, PVSCHED_REG_VCPU_SELECT, i);
		assert_int_equal(bed_read(bed, PVSCHED_REG_VCPU_SELECT), i);
		bed_write64(bed, PVSCHED_REG_VCPU_GFN, BED_GFN + i);
	}
	for (i = 0; i < BED_VCPUS; i++) {
		bed_write(bed, PVSCHED_REG_VCPU_SELECT, i);
		assert_true(bed_read64(bed, PVSCHED_REG_VCPU_GFN) == BED_GFN + i);
	}
}

static void vcpu_select_out_of_range_reaches_no_vcpu(void **state)
{
	static const uint32_t indices[] = { BED_VCPUS, PVSCHED_VCPUS_MAX, UINT32_MAX };
	struct bed *bed = *state;
	unsigned int i;

	bed_negotiate(bed);
	for (i = 0; i < ARRAY_SIZE(indices); i++) {
		bed_write(bed, PVSCHED_REG_VCPU_SELECT, indices[i]);
		bed_write64(bed, PVSCHED_REG_VCPU_GFN, BED_GFN);
		bed_write64(bed, PVSCHED_REG_VCPU_NONCE, BED_GFN);
		bed_write(bed, PVSCHED_REG_VCPU_COMMAND, PVSCHED_CMD_REGISTER);
		assert_int_equal(bed->device.errors[PVSCHED_R_BAD_VCPU], 5 * (i + 1));
		assert_int_equal(bed_read(bed, PVSCHED_REG_VCPU_RESULT), PVSCHED_R_BAD_VCPU);
		assert_int_equal(bed_read(bed, PVSCHED_REG_ERROR), PVSCHED_R_BAD_VCPU);
		assert_true(bed_read64(bed, PVSCHED_REG_VCPU_GFN) == 0);
		assert_int_equal(bed_read(bed, PVSCHED_REG_VCPU_STATE), PVSCHED_PAGE_OFF);
	}
	assert_int_equal(bed->may_registers, 0);
}

static void doorbell_of_an_enabled_page_is_passed_on(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_bring_up(bed, 2);
	bed_write(bed, PVSCHED_REG_DOORBELL + 4 * 2, 0);
	bed_write(bed, PVSCHED_REG_DOORBELL + 4 * 2, ~0u); /* the value says nothing */
	assert_int_equal(bed->rings[2], 2);
	assert_int_equal(bed->rings[0] + bed->rings[1] + bed->rings[3], 0);
}

static void doorbell_without_an_enabled_page_is_only_counted(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	assert_int_equal(bed_register(bed, 1, BED_GFN), PVSCHED_R_OK);
	bed_write(bed, PVSCHED_REG_DOORBELL, 1); /* no page */
	bed_write(bed, PVSCHED_REG_DOORBELL + 4, 1); /* attached only */
	assert_int_equal(bed->device.errors[PVSCHED_R_NOT_REGISTERED], 2);
	assert_int_equal(bed->rings[0] + bed->rings[1], 0);
	assert_int_equal(bed_read(bed, PVSCHED_REG_ERROR), PVSCHED_R_OK);
}

static void doorbell_of_no_vcpu_is_only_counted(void **state)
{
	struct bed *bed = *state;

	bed_write(bed, PVSCHED_REG_DOORBELL + 4 * BED_VCPUS, 1);
	bed_write(bed, PVSCHED_BAR_SIZE - 4, 1);
	assert_int_equal(bed->device.errors[PVSCHED_R_BAD_VCPU], 2);
	assert_int_equal(bed_read(bed, PVSCHED_REG_ERROR), PVSCHED_R_OK);
}

#define CASE(name) cmocka_unit_test_setup(name, bed_setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(device_fresh_tells_what_it_is),
		CASE(device_more_vcpus_than_doorbells_offers_the_maximum),
		CASE(access_size_other_than_four_is_refused),
		CASE(access_unaligned_is_refused),
		CASE(access_beyond_the_bar_is_refused),
		CASE(register_read_only_keeps_its_value),
		CASE(register_write_only_reads_zero),
		CASE(register_reserved_reads_zero_and_ignores_writes),
		CASE(register_64_bits_takes_its_halves_in_any_order),
		CASE(vcpu_registers_belong_to_the_selected_vcpu),
		CASE(vcpu_select_out_of_range_reaches_no_vcpu),
		CASE(doorbell_of_an_enabled_page_is_passed_on),
		CASE(doorbell_without_an_enabled_page_is_only_counted),
		CASE(doorbell_of_no_vcpu_is_only_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
