// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ACPI tables: each is found from the one before, has a good checksum, and says what the
 * machine is. Walked as a kernel does.
 */
#include <helpers/unit.h>

#include <string.h>
#include <vmm/acpi.h>

#define GPA 0xe0000ull

static uint8_t tables[ACPI_SIZE];

static uint64_t number(const uint8_t *at, size_t size)
{
	uint64_t value = 0;

	memcpy(&value, at, size);
	return value;
}

static uint8_t sum(const uint8_t *at, size_t size)
{
	uint8_t s = 0;

	while (size--)
		s += *at++;
	return s;
}

/* The table at a guest physical address, checked. */
static const uint8_t *table(uint64_t gpa, const char *signature)
{
	const uint8_t *t;
	uint64_t size;

	assert_in_range(gpa, GPA, GPA + ACPI_SIZE - 36);
	t = tables + (gpa - GPA);
	assert_memory_equal(t, signature, 4);
	size = number(t + 4, 4);
	assert_in_range(size, 36, GPA + ACPI_SIZE - gpa);
	if (strcmp(signature, "FACS"))
		assert_int_equal(sum(t, size), 0);
	return t;
}

static const uint8_t *root(const char *signature)
{
	const uint8_t *xsdt;
	size_t i;

	assert_memory_equal(tables, "RSD PTR ", 8);
	assert_int_equal(sum(tables, 20), 0);
	assert_int_equal(sum(tables, 36), 0);
	xsdt = table(number(tables + 24, 8), "XSDT");
	for (i = 36; i < number(xsdt + 4, 4); i += 8) {
		uint64_t gpa = number(xsdt + i, 8);

		if (!memcmp(tables + (gpa - GPA), signature, 4))
			return table(gpa, signature);
	}
	fail_msg("no %s", signature);
	return NULL;
}

static void acpi_every_table_is_reached_and_sums_to_zero(void **state)
{
	const uint8_t *fadt;

	(void)state;
	acpi_write(tables, GPA, 2);
	root("APIC");
	fadt = root("FACP");
	assert_ptr_equal(table(number(fadt + 40, 4), "DSDT"), table(number(fadt + 140, 8), "DSDT"));
	table(number(fadt + 36, 4), "FACS");
	assert_int_equal(number(fadt + 36, 4) % 64, 0);
}

static void acpi_madt_names_each_cpu_once(void **state)
{
	unsigned int vcpus, cpus, ioapics;
	const uint8_t *madt, *at;

	(void)state;
	for (vcpus = 1; vcpus <= 8; vcpus++) {
		acpi_write(tables, GPA, vcpus);
		madt = root("APIC");
		cpus = ioapics = 0;
		for (at = madt + 44; at < madt + number(madt + 4, 4); at += at[1]) {
			assert_int_not_equal(at[1], 0);
			if (at[0] == 0)
				assert_int_equal(at[3], cpus++);
			else if (at[0] == 1)
				ioapics++;
		}
		assert_ptr_equal(at, madt + number(madt + 4, 4));
		assert_int_equal(cpus, vcpus);
		assert_int_equal(ioapics, 1);
	}
}

/* By KVM's own routing, which the VMM leaves as it is, ISA interrupt N is at input N. */
static void acpi_madt_has_isa_interrupts_where_kvm_has_them(void **state)
{
	const uint8_t *madt, *at;

	(void)state;
	acpi_write(tables, GPA, 2);
	madt = root("APIC");
	for (at = madt + 44; at < madt + number(madt + 4, 4); at += at[1])
		if (at[0] == 2)
			assert_int_equal(number(at + 4, 4), at[3]);
}

static void acpi_fadt_has_power_off_and_reset(void **state)
{
	const uint8_t *fadt, *dsdt;
	static const uint8_t s5[] = { '_', 'S', '5', '_', 0x12, 8, 4, 0x0a, ACPI_S5 };

	(void)state;
	acpi_write(tables, GPA, 1);
	fadt = root("FACP");
	assert_int_equal(number(fadt + 64, 4), ACPI_PM_CONTROL);
	assert_true(number(fadt + 112, 4) & 1 << 10);
	assert_int_equal(number(fadt + 120, 8), ACPI_RESET_PORT);
	assert_int_equal(fadt[128], ACPI_RESET_VALUE);
	assert_int_not_equal(ACPI_RESET_VALUE & ACPI_RESET_BIT, 0);
	dsdt = table(number(fadt + 40, 4), "DSDT");
	assert_non_null(memmem(dsdt, number(dsdt + 4, 4), s5, sizeof(s5)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(acpi_every_table_is_reached_and_sums_to_zero),
		cmocka_unit_test(acpi_madt_names_each_cpu_once),
		cmocka_unit_test(acpi_madt_has_isa_interrupts_where_kvm_has_them),
		cmocka_unit_test(acpi_fadt_has_power_off_and_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
