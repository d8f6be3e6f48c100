// SPDX-License-Identifier: GPL-2.0-only
/* The register device's commands: REGISTER, ENABLE, UNREGISTER, and a page's lives. */
/* timeout: 60, soak: 600 */
#include <helpers/device_bed.h>

#include <stdio.h>
#include <stdlib.h>

static void register_good_page_is_attached(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	assert_int_equal(bed_register(bed, 2, BED_GFN), PVSCHED_R_OK);
	assert_true(bed->attached[2]);
	assert_true(bed->gfn == BED_GFN);
	assert_true(bed->nonce == bed->next_nonce);
	assert_int_equal(bed->enables, 0);
	assert_int_equal(bed_state(bed, 2), PVSCHED_PAGE_ATTACHED);
	assert_int_equal(bed_read(bed, PVSCHED_REG_ERROR), PVSCHED_R_OK);
}

static void register_before_features_ok_is_refused(void **state)
{
	struct bed *bed = *state;

	pvsched_device_set_bus_master(&bed->device, true);
	assert_int_equal(bed_register(bed, 0, BED_GFN), PVSCHED_R_BAD_STATUS);
	assert_int_equal(bed_command(bed, 0, PVSCHED_CMD_ENABLE), PVSCHED_R_BAD_STATUS);
	assert_int_equal(bed_command(bed, 0, PVSCHED_CMD_UNREGISTER), PVSCHED_R_BAD_STATUS);
	assert_int_equal(bed_command(bed, 0, 77), PVSCHED_R_BAD_STATUS);
	assert_int_equal(bed->read_headers + bed->attaches, 0);
}

static void register_without_bus_master_is_refused(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	pvsched_device_set_bus_master(&bed->device, false);
	assert_int_equal(bed_register(bed, 0, BED_GFN), PVSCHED_R_NO_DMA);
	assert_int_equal(bed_command(bed, 0, PVSCHED_CMD_ENABLE), PVSCHED_R_NO_DMA);
	assert_int_equal(bed->read_headers + bed->attaches, 0);
}

static void register_while_registered_is_in_use(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_bring_up(bed, 0);
	assert_int_equal(bed_register(bed, 0, BED_GFN + 100), PVSCHED_R_IN_USE);
	assert_int_equal(bed_state(bed, 0), PVSCHED_PAGE_ENABLED);
	assert_int_equal(bed->attaches, 1);
	assert_int_equal(bed->detaches, 0);
}

static void register_gfn_of_another_vcpu_is_in_use(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	assert_int_equal(bed_register(bed, 0, BED_GFN), PVSCHED_R_OK);
	assert_int_equal(bed_register(bed, 1, BED_GFN), PVSCHED_R_IN_USE);
	assert_int_equal(bed->attaches, 1);
	/* Given back, it is free. */
	assert_int_equal(bed_command(bed, 0, PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
	assert_int_equal(bed_register(bed, 1, BED_GFN), PVSCHED_R_OK);
}

static void register_gfn_beyond_the_address_space_is_refused(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	assert_int_equal(bed_register(bed, 0, 1ull << 52), PVSCHED_R_BAD_GFN);
	assert_int_equal(bed_register(bed, 0, UINT64_MAX), PVSCHED_R_BAD_GFN);
	assert_int_equal(bed->read_headers, 0);
	assert_int_equal(bed_register(bed, 0, (1ull << 52) - 1), PVSCHED_R_OK);
}

static void gfn_of_an_attached_page_is_frozen(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	assert_int_equal(bed_register(bed, 0, BED_GFN), PVSCHED_R_OK);
	bed_write64(bed, PVSCHED_REG_VCPU_GFN, 1);
	assert_int_equal(bed->device.errors[PVSCHED_R_IN_USE], 2);
	assert_true(bed_read64(bed, PVSCHED_REG_VCPU_GFN) == BED_GFN);
}

static void register_too_often_is_refused_before_guest_memory_is_read(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed->on_may_register = PVSCHED_R_RATE;
	assert_int_equal(bed_register(bed, 0, BED_GFN), PVSCHED_R_RATE);
	assert_int_equal(bed->read_headers, 0);
	bed->on_may_register = PVSCHED_R_OK;
	assert_int_equal(bed_register(bed, 0, BED_GFN), PVSCHED_R_OK);
}

static void register_unreadable_page_reports_the_transports_code(void **state)
{
	static const uint32_t codes[] = { PVSCHED_R_BAD_GFN, PVSCHED_R_READ_ONLY,
					  PVSCHED_R_PRIVATE };
	struct bed *bed = *state;
	unsigned int i;

	bed_negotiate(bed);
	for (i = 0; i < ARRAY_SIZE(codes); i++) {
		bed->on_read_header = codes[i];
		assert_int_equal(bed_register(bed, 0, BED_GFN), codes[i]);
		assert_int_equal(bed->device.errors[codes[i]], 1);
	}
	assert_int_equal(bed->attaches, 0);
	assert_int_equal(bed_state(bed, 0), PVSCHED_PAGE_OFF);
}

static void register_header_contradicting_the_registers_is_refused(void **state)
{
	struct bed *bed = *state;
	struct pvsched_page good = bed->header;

	bed_negotiate(bed);
	bed->header.magic = 0;
	assert_int_equal(bed_register(bed, 0, BED_GFN), PVSCHED_R_BAD_HEADER);
	bed->header = good;
	bed->header.protocol_version++;
	assert_int_equal(bed_register(bed, 0, BED_GFN), PVSCHED_R_BAD_PROTOCOL);
	bed->header = good;
	bed->header.features = BED_FEATURES; /* on offer, but not what was accepted */
	assert_int_equal(bed_register(bed, 0, BED_GFN), PVSCHED_R_BAD_FEATURES);
	bed->header = good;
	bed->header.vcpu_id = 1;
	bed_write(bed, PVSCHED_REG_VCPU_SELECT, 0);
	bed_write64(bed, PVSCHED_REG_VCPU_GFN, BED_GFN);
	assert_int_equal(bed_command(bed, 0, PVSCHED_CMD_REGISTER), PVSCHED_R_BAD_VCPU);
	assert_int_equal(bed->read_headers, 4); /* once per command */
	assert_int_equal(bed->attaches, 0);
}

static void register_host_that_cannot_attach_leaves_the_page_off(void **state)
{
	static const uint32_t codes[] = { PVSCHED_R_HUGETLB, PVSCHED_R_HOST };
	struct bed *bed = *state;
	unsigned int i;

	bed_negotiate(bed);
	for (i = 0; i < ARRAY_SIZE(codes); i++) {
		bed->on_attach = codes[i];
		assert_int_equal(bed_register(bed, 0, BED_GFN), codes[i]);
		assert_int_equal(bed_state(bed, 0), PVSCHED_PAGE_OFF);
	}
	bed->on_attach = PVSCHED_R_OK;
	assert_int_equal(bed_register(bed, 0, BED_GFN), PVSCHED_R_OK);
	assert_int_equal(bed->detaches, 0);
}

static void register_without_randomness_is_refused(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed->next_nonce = 0;
	assert_int_equal(bed_register(bed, 0, BED_GFN), PVSCHED_R_HOST);
	assert_int_equal(bed->attaches, 0);
}

static void register_unknown_code_of_a_transport_is_a_host_error(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed->on_attach = PVSCHED_R_MAX;
	assert_int_equal(bed_register(bed, 0, BED_GFN), PVSCHED_R_HOST);
	assert_int_equal(bed->device.errors[PVSCHED_R_HOST], 1);
}

static void enable_with_the_nonce_makes_the_page_live(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	assert_int_equal(bed_register(bed, 3, BED_GFN), PVSCHED_R_OK);
	assert_int_equal(bed_enable_page(bed, 3, bed->nonce), PVSCHED_R_OK);
	assert_int_equal(bed->enables, 1);
	assert_true(bed->enabled_features == PVSCHED_F_TICKET);
	assert_int_equal(bed_state(bed, 3), PVSCHED_PAGE_ENABLED);
}

static void enable_with_a_wrong_nonce_detaches_the_page(void **state)
{
	struct bed *bed = *state;
	unsigned int bit;

	bed_negotiate(bed);
	for (bit = 0; bit < 64; bit++) {
		assert_int_equal(bed_register(bed, 0, BED_GFN), PVSCHED_R_OK);
		assert_int_equal(bed_enable_page(bed, 0, bed->nonce ^ 1ull << bit),
				 PVSCHED_R_BAD_NONCE);
		assert_int_equal(bed_state(bed, 0), PVSCHED_PAGE_OFF);
		assert_int_equal(bed->detaches, bit + 1);
	}
	/* One try per nonce: the right one comes too late. */
	assert_int_equal(bed_enable_page(bed, 0, bed->nonce), PVSCHED_R_NOT_REGISTERED);
	assert_int_equal(bed->enables, 0);
}

static void enable_without_an_echo_detaches_the_page(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	/* An echo written before REGISTER is of an older page, even if it fits. */
	bed_write64(bed, PVSCHED_REG_VCPU_NONCE, bed->next_nonce);
	assert_int_equal(bed_register(bed, 0, BED_GFN), PVSCHED_R_OK);
	assert_int_equal(bed_command(bed, 0, PVSCHED_CMD_ENABLE), PVSCHED_R_BAD_NONCE);
	assert_int_equal(bed_state(bed, 0), PVSCHED_PAGE_OFF);
}

static void enable_with_another_vcpus_nonce_is_refused(void **state)
{
	struct bed *bed = *state;
	uint64_t first;

	bed_negotiate(bed);
	assert_int_equal(bed_register(bed, 0, BED_GFN), PVSCHED_R_OK);
	first = bed->nonce;
	bed->next_nonce++;
	assert_int_equal(bed_register(bed, 1, BED_GFN + 1), PVSCHED_R_OK);
	assert_int_equal(bed_enable_page(bed, 1, first), PVSCHED_R_BAD_NONCE);
	assert_int_equal(bed_enable_page(bed, 0, first), PVSCHED_R_OK);
}

static void enable_without_a_page_is_refused(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	assert_int_equal(bed_enable_page(bed, 0, 0), PVSCHED_R_NOT_REGISTERED);
	assert_int_equal(bed->enables + bed->detaches, 0);
}

static void enable_twice_is_refused_and_keeps_the_page(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_bring_up(bed, 0);
	assert_int_equal(bed_enable_page(bed, 0, bed->nonce), PVSCHED_R_BAD_STATUS);
	assert_int_equal(bed_enable_page(bed, 0, 0), PVSCHED_R_BAD_STATUS);
	assert_int_equal(bed_state(bed, 0), PVSCHED_PAGE_ENABLED);
	assert_int_equal(bed->enables, 1);
}

static void enable_host_that_cannot_detaches_the_page(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed->on_enable = PVSCHED_R_HOST;
	assert_int_equal(bed_register(bed, 0, BED_GFN), PVSCHED_R_OK);
	assert_int_equal(bed_enable_page(bed, 0, bed->nonce), PVSCHED_R_HOST);
	assert_int_equal(bed_state(bed, 0), PVSCHED_PAGE_OFF);
	assert_int_equal(bed->detaches, 1);
}

static void unregister_gives_the_page_back(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_bring_up(bed, 0);
	assert_int_equal(bed_register(bed, 1, BED_GFN + 1), PVSCHED_R_OK);
	assert_int_equal(bed_command(bed, 0, PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
	assert_int_equal(bed_state(bed, 0), PVSCHED_PAGE_OFF);
	assert_int_equal(bed_state(bed, 1), PVSCHED_PAGE_ATTACHED); /* the others' stay */
	assert_int_equal(bed_command(bed, 1, PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
	assert_int_equal(bed->detaches, 2);
	bed_bring_up(bed, 0);
}

static void unregister_without_a_page_is_refused(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	assert_int_equal(bed_command(bed, 0, PVSCHED_CMD_UNREGISTER), PVSCHED_R_NOT_REGISTERED);
	assert_int_equal(bed->detaches, 0);
}

/* What the VMM does when memory or a vCPU goes away under a page. */
static void detach_by_the_host_takes_one_page_only(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_bring_up(bed, 0);
	bed_bring_up(bed, 1);
	pvsched_device_detach(&bed->device, 1);
	pvsched_device_detach(&bed->device, 1); /* twice is once */
	assert_int_equal(bed->detaches, 1);
	assert_int_equal(bed_state(bed, 0), PVSCHED_PAGE_ENABLED);
	assert_int_equal(bed_state(bed, 1), PVSCHED_PAGE_OFF);
	assert_int_equal(bed_read(bed, PVSCHED_REG_STATUS), BED_READY);
	bed_bring_up(bed, 1);
}

static void command_unknown_is_refused(void **state)
{
	static const uint32_t commands[] = { 0, 4, UINT32_MAX };
	struct bed *bed = *state;
	unsigned int i;

	bed_negotiate(bed);
	bed_bring_up(bed, 0);
	for (i = 0; i < ARRAY_SIZE(commands); i++)
		assert_int_equal(bed_command(bed, 0, commands[i]), PVSCHED_R_BAD_COMMAND);
	assert_int_equal(bed_state(bed, 0), PVSCHED_PAGE_ENABLED);
	assert_int_equal(bed_read(bed, PVSCHED_REG_ERROR), PVSCHED_R_BAD_COMMAND);
}

static void command_result_is_kept_per_vcpu(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	assert_int_equal(bed_command(bed, 0, PVSCHED_CMD_UNREGISTER), PVSCHED_R_NOT_REGISTERED);
	assert_int_equal(bed_register(bed, 1, BED_GFN), PVSCHED_R_OK);
	bed_write(bed, PVSCHED_REG_VCPU_SELECT, 0);
	assert_int_equal(bed_read(bed, PVSCHED_REG_VCPU_RESULT), PVSCHED_R_NOT_REGISTERED);
	/* ERROR names the last refusal: a success does not hide it. */
	assert_int_equal(bed_read(bed, PVSCHED_REG_ERROR), PVSCHED_R_NOT_REGISTERED);
}

static void commands_after_driver_ok_are_accepted(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_write(bed, PVSCHED_REG_STATUS, BED_READY | PVSCHED_S_DRIVER_OK);
	bed_bring_up(bed, 1);
	assert_int_equal(bed_command(bed, 1, PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
}

static uint32_t next_random(uint64_t *seed)
{
	/* xorshift64: Marsaglia, "Xorshift RNGs", 2003 */
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed >> 32;
}

/* A guest that writes anything anywhere: the bed asserts that the transport is never told of a
 * page it does not have, and every page that is attached is one the device reports. */
static void device_random_accesses_keep_it_consistent(void **state)
{
	struct bed *bed = *state;
	const char *soak = getenv("PVSCHED_SOAK");
	unsigned int i, vcpu, operations = soak && *soak == '1' ? 10000000 : 300000;
	uint64_t seed = 0x9e3779b97f4a7c15ull;

	for (i = 0; i < operations; i++) {
		uint64_t offset = (next_random(&seed) % (PVSCHED_REG_END / 4)) * 4;
		uint32_t value = next_random(&seed) % 6;

		bed->on_enable = next_random(&seed) % 8 ? PVSCHED_R_OK : PVSCHED_R_HOST;
		bed->header.vcpu_id = bed->device.vcpu_select;
		bed->header.features = bed->device.guest_features;
		switch (next_random(&seed) % 32) {
		case 0:
			pvsched_device_set_bus_master(&bed->device, value != 0);
			break;
		case 1:
			bed_write(bed, PVSCHED_REG_DOORBELL + offset, value);
			break;
		case 2:
			pvsched_device_write(&bed->device, offset + value, value, value);
			break;
		case 3:
			if (bed->device.status == (BED_READY | PVSCHED_S_DRIVER_OK) && value == 5)
				pvsched_device_host_gone(&bed->device);
			break;
		case 4:
			if (bed->device.status == 0)
				bed_negotiate(bed);
			break;
		case 5:
			bed_write64(bed, PVSCHED_REG_VCPU_NONCE, bed->nonce);
			bed_write(bed, PVSCHED_REG_VCPU_COMMAND, PVSCHED_CMD_ENABLE);
			break;
		case 6:
			bed_write(bed, PVSCHED_REG_VCPU_COMMAND, PVSCHED_CMD_REGISTER);
			break;
		case 7:
			bed_write(bed, PVSCHED_REG_STATUS, bed->device.status | 1u << value);
			break;
		default:
			/* Few resets, or nothing would ever grow. */
			if (offset != PVSCHED_REG_STATUS || value || i % 4 == 0)
				bed_write(bed, offset, value);
		}
		for (vcpu = 0; vcpu < BED_VCPUS; vcpu++)
			assert_int_equal(bed->attached[vcpu],
					 bed->device.vcpu[vcpu].page != PVSCHED_PAGE_OFF);
	}
	printf("figure random_device_operations %u\n", operations);
	/* The walk went everywhere it should. */
	assert_true(bed->enables > operations / 3000);
	assert_true(bed->detaches > operations / 3000);
	pvsched_device_reset(&bed->device);
	for (vcpu = 0; vcpu < BED_VCPUS; vcpu++)
		assert_false(bed->attached[vcpu]);
}

#define CASE(name) cmocka_unit_test_setup(name, bed_setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(register_good_page_is_attached),
		CASE(register_before_features_ok_is_refused),
		CASE(register_without_bus_master_is_refused),
		CASE(register_while_registered_is_in_use),
		CASE(register_gfn_of_another_vcpu_is_in_use),
		CASE(register_gfn_beyond_the_address_space_is_refused),
		CASE(gfn_of_an_attached_page_is_frozen),
		CASE(register_too_often_is_refused_before_guest_memory_is_read),
		CASE(register_unreadable_page_reports_the_transports_code),
		CASE(register_header_contradicting_the_registers_is_refused),
		CASE(register_host_that_cannot_attach_leaves_the_page_off),
		CASE(register_without_randomness_is_refused),
		CASE(register_unknown_code_of_a_transport_is_a_host_error),
		CASE(enable_with_the_nonce_makes_the_page_live),
		CASE(enable_with_a_wrong_nonce_detaches_the_page),
		CASE(enable_without_an_echo_detaches_the_page),
		CASE(enable_with_another_vcpus_nonce_is_refused),
		CASE(enable_without_a_page_is_refused),
		CASE(enable_twice_is_refused_and_keeps_the_page),
		CASE(enable_host_that_cannot_detaches_the_page),
		CASE(unregister_gives_the_page_back),
		CASE(unregister_without_a_page_is_refused),
		CASE(detach_by_the_host_takes_one_page_only),
		CASE(command_unknown_is_refused),
		CASE(command_result_is_kept_per_vcpu),
		CASE(commands_after_driver_ok_are_accepted),
		CASE(device_random_accesses_keep_it_consistent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
