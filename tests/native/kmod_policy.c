// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module pvsched.ko as what decides, without a broker: what it refuses whoever has it open. Skips
 * where the module is not loaded.
 */
#include <helpers/unit.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <actuator/kmod/decides.h>
#include <actuator/kmod/words.h>

static int device;
static struct pvsched_kmod_layout layout;

static int call(unsigned long cmd, void *arg)
{
	return ioctl(device, cmd, arg) ? -errno : 0;
}

static int setup(void **state)
{
	(void)state;
	device = open(PVSCHED_KMOD_DEVICE, O_RDWR | O_CLOEXEC);
	return device < 0 ? -errno : 0;
}

static int teardown(void **state)
{
	(void)state;
	close(device);
	return 0;
}

static int with(uint32_t *offset, uint32_t value)
{
	uint32_t was = *offset;
	int err;

	*offset = value;
	err = call(PVSCHED_KMOD_LAYOUT, &layout);
	*offset = was;
	return err;
}

static void kmod_policy_layout_that_is_not_so_is_refused(void **state)
{
	uint32_t *proven[] = { &layout.cfs_rq_rq,    &layout.rq_cpu, &layout.rq_curr,
			       &layout.group_parent, &layout.rq_cfs, &layout.group_quota };

	(void)state;
	for (size_t i = 0; i < sizeof(proven) / sizeof(proven[0]); i++)
		assert_int_equal(with(proven[i], *proven[i] + 64), -ENXIO);
	for (uint32_t *offset = &layout.cfs_rq_rq; offset < &layout.reserved; offset++)
		assert_int_equal(with(offset, 1u << 31), -ENXIO);
	assert_int_equal(with(&layout.version, PVSCHED_KMOD_VERSION + 1), -EPROTO);
	assert_int_equal(call(PVSCHED_KMOD_LAYOUT, &layout), 0);
	assert_int_equal(call(PVSCHED_KMOD_LAYOUT, &layout), -EBUSY);
}

static void kmod_policy_nothing_is_done_before_the_layout(void **state)
{
	struct pvsched_kmod_policy policy = { .id = 1, .name = "latency" };
	struct pvsched_kmod_attach attach = { .id = 1, .on = 1 };
	struct pvsched_kmod_page page = { 0 };
	struct pvsched_kmod_slot slot = { 0 };
	struct pvsched_kmod_cell cell = { 0 };

	(void)state;
	assert_int_equal(call(PVSCHED_KMOD_POLICY, &policy), -EINVAL);
	assert_int_equal(call(PVSCHED_KMOD_ATTACH, &attach), -EINVAL);
	assert_int_equal(call(PVSCHED_KMOD_PAGE, &page), -EINVAL);
	assert_int_equal(call(PVSCHED_KMOD_SLOT, &slot), -EINVAL);
	assert_int_equal(call(PVSCHED_KMOD_CELL, &cell), -EINVAL);
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ, MAP_SHARED, device,
			      PVSCHED_KMOD_AREA(PVSCHED_KMOD_WORDS)),
			 MAP_FAILED);
}

static void kmod_policy_what_is_out_of_range_is_refused(void **state)
{
	struct pvsched_kmod_policy policy = { .id = 1, .name = "nope" };
	struct pvsched_kmod_slot slot = { .slot = PVSCHED_SLOTS };
	struct pvsched_kmod_page page = { .slot = PVSCHED_SLOTS };
	struct pvsched_kmod_attach attach = { .id = 7, .on = 1 };
	static struct pvsched_vcpu v;
	uint32_t key = PVSCHED_SLOTS;

	(void)state;
	assert_int_equal(call(PVSCHED_KMOD_LAYOUT, &layout), 0);
	assert_int_equal(call(PVSCHED_KMOD_POLICY, &policy), -ENOENT);
	strcpy(policy.name, "latency");
	for (policy.id = 1; policy.id <= 8; policy.id++)
		assert_int_equal(call(PVSCHED_KMOD_POLICY, &policy), 0);
	assert_int_equal(call(PVSCHED_KMOD_POLICY, &policy), -ENOSPC);
	policy.id = 3;
	assert_int_equal(call(PVSCHED_KMOD_POLICY, &policy), -EINVAL);
	attach.id = 9;
	assert_int_equal(call(PVSCHED_KMOD_ATTACH, &attach), -EINVAL);
	assert_int_equal(call(PVSCHED_KMOD_SLOT, &slot), -EINVAL);
	slot.slot = 0;
	slot.op = 1000;
	assert_int_equal(call(PVSCHED_KMOD_SLOT, &slot), -EINVAL);
	assert_int_equal(call(PVSCHED_KMOD_PAGE, &page), -EINVAL);
	page.slot = 0;
	page.addr = 4096 + 8;
	assert_int_equal(call(PVSCHED_KMOD_PAGE, &page), -EINVAL);
	page.addr = 4096; /* nothing is there */
	assert_int_equal(call(PVSCHED_KMOD_PAGE, &page), -EFAULT);
	assert_int_equal(pvsched_kmod_cell(device, PVSCHED_MAP_VCPUS, PVSCHED_KMOD_READ, &key, &v),
			 -EINVAL);
	key = 0;
	assert_int_equal(pvsched_kmod_cell(device, 55, PVSCHED_KMOD_READ, &key, &v), -EINVAL);
	assert_int_equal(pvsched_kmod_cell(device, PVSCHED_MAP_DEBTS, PVSCHED_KMOD_WRITE, &key, &v),
			 -EINVAL);
	assert_ptr_equal(mmap(NULL, 1 << 24, PROT_READ, MAP_SHARED, device,
			      PVSCHED_KMOD_AREA(PVSCHED_KMOD_WORDS)),
			 MAP_FAILED);
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ, MAP_SHARED, device, PVSCHED_KMOD_AREA(9)),
			 MAP_FAILED);
}

/* A broker that may read the kernel by what it writes there would be one that may do all. */
static void kmod_policy_pointers_of_the_broker_are_forgotten(void **state)
{
	static struct pvsched_vcpu v = { .tid = 77, .task = 1, .kvm_vcpu = 2, .reach_rq = 3 };
	static struct pvsched_vcpu back;
	uint32_t key = 0;

	(void)state;
	assert_int_equal(call(PVSCHED_KMOD_LAYOUT, &layout), 0);
	assert_int_equal(pvsched_kmod_cell(device, PVSCHED_MAP_VCPUS, PVSCHED_KMOD_WRITE, &key, &v),
			 0);
	assert_int_equal(
		pvsched_kmod_cell(device, PVSCHED_MAP_VCPUS, PVSCHED_KMOD_READ, &key, &back), 0);
	assert_int_equal(back.tid, 77);
	assert_true(!back.task && !back.kvm_vcpu && !back.reach_rq);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(kmod_policy_layout_that_is_not_so_is_refused),
		CASE(kmod_policy_nothing_is_done_before_the_layout),
		CASE(kmod_policy_what_is_out_of_range_is_refused),
		CASE(kmod_policy_pointers_of_the_broker_are_forgotten),
	};
	char why[200];

	if (access(PVSCHED_KMOD_DEVICE, F_OK)) {
		printf("skip kmod_policy: no " PVSCHED_KMOD_DEVICE
		       ": the module pvsched is not loaded\n");
		return 0;
	}
	if (pvsched_kmod_layout(&layout, why, sizeof(why))) {
		printf("not ok kmod_policy_layout_is_found: %s\n", why);
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
