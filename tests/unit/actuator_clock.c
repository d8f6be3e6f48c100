// SPDX-License-Identifier: GPL-2.0-only
/* TSC against CLOCK_MONOTONIC, over what suspending a machine does to them. Its source, with the test's clocks. */
#include <helpers/unit.h>

#include <actuator/monotonic.h>
#include <stdbool.h>
#include <x86intrin.h>

#define MS   1000000ull
#define MULT ((1ull << PVSCHED_TSC_SHIFT) / 2) /* of 2 GHz */

static uint64_t fake_ns, fake_tsc;

static uint64_t ns_of_the_test(void)
{
	return fake_ns;
}

static uint64_t tsc_of_the_test(void)
{
	return fake_tsc;
}

static int nap_of_the_test(const struct timespec *t, struct timespec *left)
{
	(void)left;
	fake_ns += t->tv_nsec;
	fake_tsc += 2 * t->tv_nsec;
	return 0;
}

#define now_ns	  ns_of_the_test
#define __rdtsc	  tsc_of_the_test
#define nanosleep nap_of_the_test
#include "../../src/actuator/agent/clock.c"

static volatile struct pvsched_clock clocks[2];
static volatile uint32_t idx;

static void pass(uint64_t ms)
{
	for (uint64_t i = 0; i < ms; i += 60) {
		fake_ns += 60 * MS;
		fake_tsc += 120 * MS;
		pvsched_clock_refresh(clocks, &idx);
	}
}

static int setup(void **state)
{
	(void)state;
	fake_ns = 5000 * MS;
	fake_tsc = 1ull << 40;
	idx = 0;
	anew = false;
	pvsched_clock_start(clocks, &idx);
	return clocks[idx & 1].mult != MULT;
}

static void expect_right(void)
{
	assert_int_equal(clocks[idx & 1].mult, MULT);
	assert_int_equal(clocks[idx & 1].tsc, fake_tsc);
	assert_int_equal(clocks[idx & 1].ns, fake_ns);
}

static void clock_that_goes_on_keeps_its_rate(void **state)
{
	(void)state;
	pass(40000);
	expect_right();
}

/* S3 on most x86 */
static void clock_whose_tsc_began_anew_keeps_its_rate(void **state)
{
	(void)state;
	pass(1000);
	fake_tsc = 1000;
	pass(60);
	expect_right();
	pass(40000);
	expect_right();
}

/* s2idle: CLOCK_MONOTONIC stands still, the TSC does not */
static void clock_whose_tsc_ran_on_alone_keeps_its_rate(void **state)
{
	(void)state;
	pass(1000);
	fake_tsc += 3600000 * MS;
	pass(60);
	expect_right();
	pass(40000);
	expect_right();
}

static void clock_whose_rate_changed_for_good_follows(void **state)
{
	(void)state;
	pass(1000);
	for (int i = 0; i < 3; i++) { /* a host that was migrated */
		fake_ns += 60 * MS;
		fake_tsc += 240 * MS;
		pvsched_clock_refresh(clocks, &idx);
	}
	assert_int_equal(clocks[idx & 1].mult, MULT / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(clock_that_goes_on_keeps_its_rate, setup),
		cmocka_unit_test_setup(clock_whose_tsc_began_anew_keeps_its_rate, setup),
		cmocka_unit_test_setup(clock_whose_tsc_ran_on_alone_keeps_its_rate, setup),
		cmocka_unit_test_setup(clock_whose_rate_changed_for_good_follows, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
