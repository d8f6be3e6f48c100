// SPDX-License-Identifier: GPL-2.0-only
/* The guest's next_event in host time, and the lead that a boost ahead of it gets: the functions
 * that the BPF programs run. */
#include <helpers/unit.h>

#include <events/state.h>

#define S    1000000000ull
#define NOW  (1000 * S)
#define TSC  5000000000ull
#define MULT ((__u64)((1ull << PVSCHED_TSC_SHIFT) * 0.4)) /* 2.5 GHz: 0.4 ns a tick */

static __u64 convert(__u64 value)
{
	return pvsched_tsc_to_ns(value, TSC, NOW - S, MULT, NOW);
}

static void next_event_near_the_clock_is_exact(void **state)
{
	(void)state;
	assert_int_equal(convert(TSC), NOW - S);
	/* 2.5 million ticks are a millisecond; mult is cut at 2^-24 */
	assert_in_range(convert(TSC + 2500000), NOW - S + 999900, NOW - S + 1000000);
	assert_in_range(convert(TSC - 2500000), NOW - S - 1000000, NOW - S - 999900);
}

static void host_next_event_absurd_is_clamped(void **state)
{
	static const __u64 absurd[] = { 1,
					~0ull,
					1ull << 63,
					(1ull << 63) - 1,
					TSC + (1ull << 40),
					TSC - (1ull << 40),
					TSC + (1ull << 62) };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(absurd); i++)
		assert_true(convert(absurd[i]) <= NOW + PVSCHED_NEXT_MAX_NS);
	/* a fast clock reaches the ceiling of 10 s, a time before boot is none */
	assert_int_equal(pvsched_tsc_to_ns(1ull << 63, (1ull << 63) + 1 - (1ull << 40), NOW,
					   1ull << 28, NOW),
			 NOW + PVSCHED_NEXT_MAX_NS);
	assert_int_equal(pvsched_tsc_to_ns(TSC - (1ull << 40), TSC, S, MULT, S), 0);
}

static void lead_follows_what_it_took_within_its_bounds(void **state)
{
	__u32 avg = 0, dev = 0;

	(void)state;
	assert_int_equal(pvsched_lead(avg, dev), PVSCHED_LEAD_FIRST_NS);
	for (int i = 0; i < 100; i++)
		pvsched_lead_sample(&avg, &dev, 40000);
	assert_in_range(pvsched_lead(avg, dev), 40000, 55000);
	for (int i = 0; i < 1000; i++)
		pvsched_lead_sample(&avg, &dev, ~0ull);
	assert_int_equal(pvsched_lead(avg, dev), PVSCHED_LEAD_MAX_NS);
	for (int i = 0; i < 1000; i++)
		pvsched_lead_sample(&avg, &dev, 0);
	assert_in_range(pvsched_lead(avg, dev), PVSCHED_LEAD_MIN_NS, PVSCHED_LEAD_MIN_NS + 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(next_event_near_the_clock_is_exact),
		cmocka_unit_test(host_next_event_absurd_is_clamped),
		cmocka_unit_test(lead_follows_what_it_took_within_its_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
