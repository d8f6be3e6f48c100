// SPDX-License-Identifier: GPL-2.0-only
/* The registers of ACPI's power management, as Linux probes them. */
#include <helpers/unit.h>

#include <vmm/acpi.h>
#include <vmm/internal.h>

static struct vmm vm;

static uint16_t in(uint16_t port)
{
	uint16_t value = 0xabcd;

	vmm_port(&vm, port, false, &value, sizeof(value));
	return value;
}

static void out(uint16_t port, uint16_t value)
{
	vmm_port(&vm, port, true, &value, sizeof(value));
}

static void ports_events_that_are_enabled_read_back_until_reset(void **state)
{
	(void)state;
	assert_int_equal(in(ACPI_PM_EVENT + 2), 0);
	out(ACPI_PM_EVENT + 2, 0x20);
	assert_int_equal(in(ACPI_PM_EVENT + 2), 0x20);
	out(ACPI_PM_EVENT + 2, 0xffff);
	assert_int_equal(in(ACPI_PM_EVENT + 2), 0xffff);
	vmm_ports_reset(&vm);
	assert_int_equal(in(ACPI_PM_EVENT + 2), 0);
}

static void ports_no_event_ever_happens(void **state)
{
	(void)state;
	out(ACPI_PM_EVENT + 2, 0xffff);
	out(ACPI_PM_EVENT, 0xffff);
	assert_int_equal(in(ACPI_PM_EVENT), 0);
	assert_int_equal(in(ACPI_PM_EVENT + 2), 0xffff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_events_that_are_enabled_read_back_until_reset),
		cmocka_unit_test(ports_no_event_ever_happens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
