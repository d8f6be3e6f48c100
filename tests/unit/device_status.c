// SPDX-License-Identifier: GPL-2.0-only
/* The register device's life cycle: status bits, negotiation, reset, Bus Master, a lost host. */
#include <helpers/device_bed.h>

#define ACK	  PVSCHED_S_ACKNOWLEDGE
#define DRIVER	  PVSCHED_S_DRIVER
#define FEATURES  PVSCHED_S_FEATURES_OK
#define DRIVER_OK PVSCHED_S_DRIVER_OK

static uint32_t set_status(struct bed *bed, uint32_t value)
{
	bed_write(bed, PVSCHED_REG_STATUS, value);
	return bed_read(bed, PVSCHED_REG_STATUS);
}

static uint32_t error(struct bed *bed)
{
	return bed_read(bed, PVSCHED_REG_ERROR);
}

/* Up to the step where the host judges the choice. */
static void set_driver(struct bed *bed)
{
	assert_int_equal(set_status(bed, ACK), ACK);
	assert_int_equal(set_status(bed, ACK | DRIVER), ACK | DRIVER);
}

static void choose(struct bed *bed, uint32_t id, uint32_t version)
{
	bed_write(bed, PVSCHED_REG_CHOICE_ID, id);
	bed_write(bed, PVSCHED_REG_CHOICE_VERSION, version);
}

static void status_in_order_reaches_driver_ok(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	assert_int_equal(set_status(bed, BED_READY | DRIVER_OK), BED_READY | DRIVER_OK);
	assert_int_equal(error(bed), PVSCHED_R_OK);
}

static void status_written_again_changes_nothing(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_bring_up(bed, 0);
	assert_int_equal(set_status(bed, BED_READY), BED_READY);
	assert_int_equal(error(bed), PVSCHED_R_OK);
	assert_int_equal(bed_state(bed, 0), PVSCHED_PAGE_ENABLED);
}

static void status_out_of_order_is_refused(void **state)
{
	static const uint32_t steps[] = { ACK, ACK | DRIVER, BED_READY, BED_READY | DRIVER_OK };
	struct bed *bed = *state;
	uint64_t refused = 0;
	unsigned int i;
	uint32_t value;

	choose(bed, PVSCHED_PROTO_BASE, PVSCHED_PROTO_BASE_VERSION);
	for (i = 0; i <= ARRAY_SIZE(steps); i++) {
		uint32_t now = i ? steps[i - 1] : 0;

		/* Every value but those that mean something here; 0x80 and up is FAILED. */
		for (value = 1; value < PVSCHED_S_FAILED; value++) {
			if (value == now || (i < ARRAY_SIZE(steps) && value == steps[i]))
				continue;
			assert_int_equal(set_status(bed, value), now);
			assert_int_equal(error(bed), PVSCHED_R_BAD_STATUS);
			refused++;
		}
		assert_int_equal(bed->device.errors[PVSCHED_R_BAD_STATUS], refused);
		if (i < ARRAY_SIZE(steps))
			assert_int_equal(set_status(bed, steps[i]), steps[i]);
	}
}

static void status_unknown_bits_are_refused(void **state)
{
	struct bed *bed = *state;

	assert_int_equal(set_status(bed, 0x100 | ACK), 0);
	assert_int_equal(set_status(bed, 0x10), 0);
	assert_int_equal(set_status(bed, 0x80000000u), 0);
	assert_int_equal(bed->device.errors[PVSCHED_R_BAD_STATUS], 3);
}

static void status_needs_reset_is_not_the_guests_to_write(void **state)
{
	struct bed *bed = *state;

	assert_int_equal(set_status(bed, PVSCHED_S_NEEDS_RESET), 0);
	assert_int_equal(error(bed), PVSCHED_R_BAD_STATUS);
}

static void status_failed_detaches_and_only_reset_leaves_it(void **state)
{
	struct bed *bed = *state;
	uint32_t failed = BED_READY | PVSCHED_S_FAILED;

	bed_negotiate(bed);
	bed_bring_up(bed, 0);
	assert_int_equal(set_status(bed, failed), failed);
	assert_int_equal(bed->detaches, 1);
	assert_int_equal(bed_state(bed, 0), PVSCHED_PAGE_OFF);
	assert_int_equal(set_status(bed, failed | DRIVER_OK), failed);
	assert_int_equal(set_status(bed, failed), failed);
	assert_int_equal(bed_register(bed, 0, BED_GFN), PVSCHED_R_BAD_STATUS);
	assert_int_equal(set_status(bed, 0), 0);
	bed_negotiate(bed);
}

static void status_failed_before_negotiation_freezes_the_choice(void **state)
{
	struct bed *bed = *state;

	assert_int_equal(set_status(bed, PVSCHED_S_FAILED), PVSCHED_S_FAILED);
	choose(bed, 1, 2);
	assert_int_equal(bed_read(bed, PVSCHED_REG_CHOICE_ID), 0);
	assert_int_equal(bed->device.errors[PVSCHED_R_BAD_STATUS], 2);
}

static void protocols_on_offer_are_listed(void **state)
{
	struct bed *bed = *state;

	assert_int_equal(bed_read(bed, PVSCHED_REG_PROTO_COUNT), 1);
	assert_int_equal(bed_read(bed, PVSCHED_REG_PROTO_ID), PVSCHED_PROTO_BASE);
	assert_int_equal(bed_read(bed, PVSCHED_REG_PROTO_VERSION), PVSCHED_PROTO_BASE_VERSION);
}

static void protocol_select_out_of_range_lists_nothing(void **state)
{
	static const uint32_t indices[] = { 1, UINT32_MAX };
	struct bed *bed = *state;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(indices); i++) {
		bed_write(bed, PVSCHED_REG_PROTO_SELECT, indices[i]);
		assert_int_equal(bed_read(bed, PVSCHED_REG_PROTO_SELECT), indices[i]);
		assert_int_equal(bed_read(bed, PVSCHED_REG_PROTO_ID), 0);
		assert_int_equal(bed_read(bed, PVSCHED_REG_PROTO_VERSION), 0);
	}
}

static void negotiate_unknown_feature_is_refused(void **state)
{
	struct bed *bed = *state;

	set_driver(bed);
	choose(bed, PVSCHED_PROTO_BASE, PVSCHED_PROTO_BASE_VERSION);
	bed_write64(bed, PVSCHED_REG_GUEST_FEATURES, BED_FEATURES | 1ull << 63);
	assert_int_equal(set_status(bed, BED_READY), ACK | DRIVER);
	assert_int_equal(error(bed), PVSCHED_R_BAD_FEATURES);
	/* Nothing is lost: a humbler choice is accepted. */
	bed_write64(bed, PVSCHED_REG_GUEST_FEATURES, BED_FEATURES);
	assert_int_equal(set_status(bed, BED_READY), BED_READY);
}

static void negotiate_unknown_protocol_is_refused(void **state)
{
	struct bed *bed = *state;

	set_driver(bed);
	assert_int_equal(set_status(bed, BED_READY), ACK | DRIVER); /* nothing chosen */
	assert_int_equal(error(bed), PVSCHED_R_BAD_PROTOCOL);
	choose(bed, PVSCHED_PROTO_BASE + 1, PVSCHED_PROTO_BASE_VERSION);
	assert_int_equal(set_status(bed, BED_READY), ACK | DRIVER);
	choose(bed, PVSCHED_PROTO_BASE, PVSCHED_PROTO_BASE_VERSION + 1);
	assert_int_equal(set_status(bed, BED_READY), ACK | DRIVER);
	assert_int_equal(bed->device.errors[PVSCHED_R_BAD_PROTOCOL], 3);
	choose(bed, PVSCHED_PROTO_BASE, PVSCHED_PROTO_BASE_VERSION);
	assert_int_equal(set_status(bed, BED_READY), BED_READY);
}

static void negotiate_no_feature_is_accepted(void **state)
{
	struct bed *bed = *state;

	set_driver(bed);
	choose(bed, PVSCHED_PROTO_BASE, PVSCHED_PROTO_BASE_VERSION);
	assert_int_equal(set_status(bed, BED_READY), BED_READY);
}

static void negotiate_after_features_ok_is_refused(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_write64(bed, PVSCHED_REG_GUEST_FEATURES, BED_FEATURES);
	choose(bed, 1, 2);
	assert_int_equal(error(bed), PVSCHED_R_BAD_STATUS);
	assert_int_equal(bed->device.errors[PVSCHED_R_BAD_STATUS], 4);
	assert_true(bed_read64(bed, PVSCHED_REG_GUEST_FEATURES) == PVSCHED_F_TICKET);
	assert_int_equal(bed_read(bed, PVSCHED_REG_CHOICE_ID), PVSCHED_PROTO_BASE);
	assert_int_equal(bed_read(bed, PVSCHED_REG_CHOICE_VERSION), PVSCHED_PROTO_BASE_VERSION);
}

static void reset_in_the_middle_detaches_every_page(void **state)
{
	struct bed *bed = *state;
	unsigned int i;

	bed_negotiate(bed);
	bed_bring_up(bed, 0);
	assert_int_equal(bed_register(bed, 3, BED_GFN + 9), PVSCHED_R_OK);
	bed_write(bed, PVSCHED_REG_PROTO_SELECT, 5);
	bed_write(bed, PVSCHED_REG_MAGIC, 0); /* an error, to be counted on */
	bed_write(bed, PVSCHED_REG_STATUS, 0);

	assert_int_equal(bed->detaches, 2);
	for (i = 0; i < BED_VCPUS; i++) {
		assert_int_equal(bed_state(bed, i), PVSCHED_PAGE_OFF);
		assert_true(bed_read64(bed, PVSCHED_REG_VCPU_GFN) == 0);
		assert_int_equal(bed_read(bed, PVSCHED_REG_VCPU_RESULT), PVSCHED_R_OK);
	}
	assert_int_equal(bed_read(bed, PVSCHED_REG_STATUS), 0);
	assert_int_equal(error(bed), PVSCHED_R_OK);
	assert_true(bed_read64(bed, PVSCHED_REG_GUEST_FEATURES) == 0);
	assert_int_equal(bed_read(bed, PVSCHED_REG_PROTO_SELECT), 0);
	assert_int_equal(bed_read(bed, PVSCHED_REG_CHOICE_ID), 0);
	assert_int_equal(bed_read(bed, PVSCHED_REG_CHOICE_VERSION), 0);
	assert_int_equal(bed_read(bed, PVSCHED_REG_EPOCH), 1);
	assert_int_equal(bed->device.errors[PVSCHED_R_BAD_ACCESS], 1);
	assert_true(bed->device.bus_master);
}

static void reset_then_negotiation_starts_over(void **state)
{
	struct bed *bed = *state;
	unsigned int i;

	for (i = 0; i < 3; i++) {
		bed_negotiate(bed);
		bed_bring_up(bed, 1);
		pvsched_device_reset(&bed->device);
		assert_int_equal(bed->detaches, i + 1);
	}
}

static void reset_forgets_the_nonce(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	assert_int_equal(bed_register(bed, 0, BED_GFN), PVSCHED_R_OK);
	bed_write64(bed, PVSCHED_REG_VCPU_NONCE, bed->nonce);
	pvsched_device_reset(&bed->device);
	bed_negotiate(bed);
	assert_int_equal(bed_command(bed, 0, PVSCHED_CMD_ENABLE), PVSCHED_R_NOT_REGISTERED);
	assert_int_equal(bed->enables, 0);
}

static void epoch_at_its_last_value_wraps(void **state)
{
	struct bed *bed = *state;

	bed->device.epoch = UINT32_MAX;
	bed_write(bed, PVSCHED_REG_STATUS, 0);
	assert_int_equal(bed_read(bed, PVSCHED_REG_EPOCH), 0);
}

static void bus_master_cleared_detaches_and_needs_reset(void **state)
{
	struct bed *bed = *state;
	uint32_t stuck = BED_READY | DRIVER_OK | PVSCHED_S_NEEDS_RESET;

	bed_negotiate(bed);
	bed_bring_up(bed, 0);
	assert_int_equal(bed_register(bed, 1, BED_GFN + 1), PVSCHED_R_OK);
	set_status(bed, BED_READY | DRIVER_OK);
	pvsched_device_set_bus_master(&bed->device, false);
	assert_int_equal(bed->detaches, 2);
	assert_int_equal(bed_state(bed, 0), PVSCHED_PAGE_OFF);
	assert_int_equal(bed_state(bed, 1), PVSCHED_PAGE_OFF);
	assert_int_equal(bed_read(bed, PVSCHED_REG_STATUS), stuck);

	/* Setting it again brings nothing back. */
	pvsched_device_set_bus_master(&bed->device, true);
	assert_int_equal(set_status(bed, stuck), stuck);
	assert_int_equal(set_status(bed, stuck | PVSCHED_S_FAILED), stuck);
	assert_int_equal(bed_register(bed, 0, BED_GFN), PVSCHED_R_BAD_STATUS);
	pvsched_device_reset(&bed->device);
	bed_negotiate(bed);
	bed_bring_up(bed, 0);
}

static void bus_master_cleared_before_driver_ok_needs_no_reset(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_bring_up(bed, 0);
	pvsched_device_set_bus_master(&bed->device, false);
	assert_int_equal(bed_state(bed, 0), PVSCHED_PAGE_OFF);
	assert_int_equal(bed_read(bed, PVSCHED_REG_STATUS), BED_READY);
	pvsched_device_set_bus_master(&bed->device, true);
	bed_bring_up(bed, 0);
}

static void bus_master_told_again_changes_nothing(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_bring_up(bed, 0);
	pvsched_device_set_bus_master(&bed->device, true);
	assert_int_equal(bed_state(bed, 0), PVSCHED_PAGE_ENABLED);

	/* A guest that never set it may write its command register as often as it likes. */
	pvsched_device_set_bus_master(&bed->device, false);
	set_status(bed, BED_READY | DRIVER_OK);
	pvsched_device_set_bus_master(&bed->device, false);
	assert_int_equal(bed_read(bed, PVSCHED_REG_STATUS), BED_READY | DRIVER_OK);
}

static void host_gone_detaches_and_needs_reset(void **state)
{
	struct bed *bed = *state;

	bed_negotiate(bed);
	bed_bring_up(bed, 0);
	pvsched_device_host_gone(&bed->device);
	assert_int_equal(bed->detaches, 1);
	assert_int_equal(bed_state(bed, 0), PVSCHED_PAGE_OFF);
	assert_int_equal(bed_read(bed, PVSCHED_REG_STATUS), BED_READY | PVSCHED_S_NEEDS_RESET);
	assert_int_equal(bed_register(bed, 0, BED_GFN), PVSCHED_R_BAD_STATUS);
}

#define CASE(name) cmocka_unit_test_setup(name, bed_setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(status_in_order_reaches_driver_ok),
		CASE(status_written_again_changes_nothing),
		CASE(status_out_of_order_is_refused),
		CASE(status_unknown_bits_are_refused),
		CASE(status_needs_reset_is_not_the_guests_to_write),
		CASE(status_failed_detaches_and_only_reset_leaves_it),
		CASE(status_failed_before_negotiation_freezes_the_choice),
		CASE(protocols_on_offer_are_listed),
		CASE(protocol_select_out_of_range_lists_nothing),
		CASE(negotiate_unknown_feature_is_refused),
		CASE(negotiate_unknown_protocol_is_refused),
		CASE(negotiate_no_feature_is_accepted),
		CASE(negotiate_after_features_ok_is_refused),
		CASE(reset_in_the_middle_detaches_every_page),
		CASE(reset_then_negotiation_starts_over),
		CASE(reset_forgets_the_nonce),
		CASE(epoch_at_its_last_value_wraps),
		CASE(bus_master_cleared_detaches_and_needs_reset),
		CASE(bus_master_cleared_before_driver_ok_needs_no_reset),
		CASE(bus_master_told_again_changes_nothing),
		CASE(host_gone_detaches_and_needs_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
