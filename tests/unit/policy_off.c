// SPDX-License-Identifier: GPL-2.0-only
/* The policy `off`: nothing is asked for, nothing is done. */
#include "../../src/policy/off.c"

#include <helpers/policy.h>

static void off_names_no_event(void **state)
{
	(void)state;
	assert_int_equal(pvsched_policy_info.events, 0);
	assert_string_equal(pvsched_policy_info.name, "off");
}

static void off_decides_nothing_whatever_it_sees(void **state)
{
	static const struct pvsched_decision nothing;
	struct pvsched_policy_in in;
	struct pvsched_decision out;

	(void)state;
	memset(&in, 0xff, sizeof(in));
	out = decide(in);
	assert_memory_equal(&out, &nothing, sizeof(out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(off_names_no_event),
		cmocka_unit_test(off_decides_nothing_whatever_it_sees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
