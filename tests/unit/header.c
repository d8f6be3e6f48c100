// SPDX-License-Identifier: GPL-2.0-only
/* Line 0 of a page against what was negotiated: spec/protocol.md, "The page". */
#include <helpers/unit.h>

#include <core/page.h>

#define FEATURES (PVSCHED_F_TICKET | PVSCHED_F_NEXT_EVENT)

static struct pvsched_page good(void)
{
	return (struct pvsched_page){
		.magic = PVSCHED_MAGIC,
		.abi_version = PVSCHED_ABI_VERSION,
		.protocol = PVSCHED_PROTO_BASE,
		.protocol_version = PVSCHED_PROTO_BASE_VERSION,
		.features = FEATURES,
		.vcpu_id = 3,
	};
}

static uint32_t check(const struct pvsched_page *page)
{
	return pvsched_header_check(page, 3, PVSCHED_PROTO_BASE, PVSCHED_PROTO_BASE_VERSION,
				    FEATURES);
}

static void header_as_negotiated_is_accepted(void **state)
{
	struct pvsched_page page = good();

	(void)state;
	assert_int_equal(check(&page), PVSCHED_R_OK);
}

static void header_wrong_magic_is_refused(void **state)
{
	struct pvsched_page page = good();

	(void)state;
	page.magic ^= 1;
	assert_int_equal(check(&page), PVSCHED_R_BAD_HEADER);
}

static void header_other_abi_version_is_refused(void **state)
{
	struct pvsched_page page = good();

	(void)state;
	page.abi_version = PVSCHED_ABI_VERSION + 1;
	assert_int_equal(check(&page), PVSCHED_R_BAD_HEADER);
	page.abi_version = 0;
	assert_int_equal(check(&page), PVSCHED_R_BAD_HEADER);
}

static void header_reserved_bits_are_refused(void **state)
{
	struct pvsched_page page = good();
	unsigned int i;

	(void)state;
	page.reserved0 = 0x8000;
	assert_int_equal(check(&page), PVSCHED_R_BAD_HEADER);
	page = good();
	page.reserved1 = 1;
	assert_int_equal(check(&page), PVSCHED_R_BAD_HEADER);
	for (i = 0; i < ARRAY_SIZE(page.reserved2); i++) {
		page = good();
		page.reserved2[i] = 1ull << 63;
		assert_int_equal(check(&page), PVSCHED_R_BAD_HEADER);
	}
}

static void header_other_protocol_is_refused(void **state)
{
	struct pvsched_page page = good();

	(void)state;
	page.protocol++;
	assert_int_equal(check(&page), PVSCHED_R_BAD_PROTOCOL);
	page = good();
	page.protocol_version++;
	assert_int_equal(check(&page), PVSCHED_R_BAD_PROTOCOL);
}

static void header_other_features_are_refused(void **state)
{
	struct pvsched_page page = good();

	(void)state;
	page.features |= PVSCHED_F_PENDING;
	assert_int_equal(check(&page), PVSCHED_R_BAD_FEATURES);
	page.features = PVSCHED_F_TICKET;
	assert_int_equal(check(&page), PVSCHED_R_BAD_FEATURES);
}

static void header_other_vcpu_is_refused(void **state)
{
	struct pvsched_page page = good();

	(void)state;
	page.vcpu_id = 2;
	assert_int_equal(check(&page), PVSCHED_R_BAD_VCPU);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_as_negotiated_is_accepted),
		cmocka_unit_test(header_wrong_magic_is_refused),
		cmocka_unit_test(header_other_abi_version_is_refused),
		cmocka_unit_test(header_reserved_bits_are_refused),
		cmocka_unit_test(header_other_protocol_is_refused),
		cmocka_unit_test(header_other_features_are_refused),
		cmocka_unit_test(header_other_vcpu_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
