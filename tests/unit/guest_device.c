// SPDX-License-Identifier: GPL-2.0-only
/* The device as the guest's daemon sees it: when a page is still the host's. */
#include <helpers/unit.h>

#include "../../src/guest/linux/device.h"

static struct pvsched_page page;

/* A PCI function: nothing of it is asked. */
static bool lives(uint64_t status)
{
	struct device d = { .config = -1, .stream = -1 };

	page.status = status;
	return device_has_page(&d, 0, &page);
}

static void guest_page_enabled_lives(void **state)
{
	(void)state;
	assert_true(lives(PVSCHED_PAGE_ENABLED));
}

/* END-8: the host goes on by itself; who starts over loses what he published. */
static void guest_page_paused_lives(void **state)
{
	(void)state;
	assert_true(lives(PVSCHED_PAGE_PAUSED));
}

static void guest_page_given_up_does_not(void **state)
{
	(void)state;
	assert_false(lives(PVSCHED_PAGE_OFF));
	assert_false(lives(PVSCHED_PAGE_ATTACHED));
	assert_false(lives(PVSCHED_PAGE_DEAD));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(guest_page_enabled_lives),
		cmocka_unit_test(guest_page_paused_lives),
		cmocka_unit_test(guest_page_given_up_does_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
