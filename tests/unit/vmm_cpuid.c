// SPDX-License-Identifier: GPL-2.0-only
/* The topology that a vCPU tells, from what KVMs old and new offer. */
#include <helpers/unit.h>

#include <vmm/internal.h>

#define ROOM 16

static struct {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[ROOM];
} offer;

static void put(uint32_t function, uint32_t index, uint32_t eax)
{
	offer.entries[offer.head.nent++] = (struct kvm_cpuid_entry2){
		.function = function,
		.index = index,
		.flags = index ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
		.eax = eax,
		.edx = 77, /* this CPU's, not the vCPU's */
	};
}

static int setup(void **state)
{
	(void)state;
	memset(&offer, 0, sizeof(offer));
	return 0;
}

/* As the guest's instruction finds it: the entry of that subleaf, if there is exactly one. */
static const struct kvm_cpuid_entry2 *leaf(uint32_t function, uint32_t index)
{
	const struct kvm_cpuid_entry2 *found = NULL;

	for (uint32_t i = 0; i < offer.head.nent; i++) {
		if (offer.entries[i].function != function || offer.entries[i].index != index)
			continue;
		assert_null(found);
		found = &offer.entries[i];
	}
	return found;
}

static void assert_topology(uint32_t function, unsigned int index, unsigned int vcpus)
{
	const struct kvm_cpuid_entry2 *smt = leaf(function, 0), *core = leaf(function, 1);

	assert_non_null(smt);
	assert_non_null(core);
	assert_null(leaf(function, 2));
	assert_true(smt->flags & core->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
	assert_int_equal(smt->eax, 0);
	assert_int_equal(smt->ebx, 1);
	assert_int_equal(smt->ecx, 1 << 8);
	assert_true(1u << core->eax >= VMM_VCPUS_MAX); /* all ids are of one package */
	assert_int_equal(core->ebx, vcpus);
	assert_int_equal(core->ecx, 2 << 8 | 1);
	assert_int_equal(smt->edx, index);
	assert_int_equal(core->edx, index);
}

static void cpuid_topology_of_a_kvm_that_offers_one_level_has_both(void **state)
{
	(void)state;
	put(0, 0, 0x1f);
	put(0xb, 0, 0);
	put(0xd, 0, 7);
	put(0x1f, 0, 0);
	vmm_cpuid_adjust(&offer.head, 5, 8);
	assert_topology(0xb, 5, 8);
	assert_topology(0x1f, 5, 8);
	assert_int_equal(offer.head.nent, 6);
	assert_int_equal(leaf(0xd, 0)->eax, 7);
}

static void cpuid_topology_of_the_host_is_not_the_guests(void **state)
{
	(void)state;
	put(0, 0, 0x16);
	for (uint32_t level = 0; level < 3; level++)
		put(0xb, level, level + 1);
	vmm_cpuid_adjust(&offer.head, 1, 2);
	assert_topology(0xb, 1, 2);
	assert_null(leaf(0x1f, 0));
	assert_int_equal(offer.head.nent, 3);
}

static void cpuid_topology_is_told_where_the_highest_leaf_reaches(void **state)
{
	(void)state;
	put(0, 0, 0xa);
	vmm_cpuid_adjust(&offer.head, 0, 1);
	assert_int_equal(offer.head.nent, 1);
}

static void cpuid_adds_no_more_than_there_is_room_for(void **state)
{
	(void)state;
	put(0, 0, 0x20);
	vmm_cpuid_adjust(&offer.head, 0, 1);
	assert_int_equal(offer.head.nent, 1 + VMM_CPUID_MORE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(cpuid_topology_of_a_kvm_that_offers_one_level_has_both,
				       setup),
		cmocka_unit_test_setup(cpuid_topology_of_the_host_is_not_the_guests, setup),
		cmocka_unit_test_setup(cpuid_topology_is_told_where_the_highest_leaf_reaches,
				       setup),
		cmocka_unit_test_setup(cpuid_adds_no_more_than_there_is_room_for, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
