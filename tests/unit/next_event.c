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

static void lead_of_one_that_waits_ends_as_it_runs(void **state)
{
	(void)state;
	/* preempted before, boosted on the way */
	assert_int_equal(pvsched_lead_took(NOW, NOW - 5000, NOW + 20000, NOW + 30000), 30000);
	/* woken by something else before its boost was there */
	assert_int_equal(pvsched_lead_took(NOW, NOW + 10000, NOW + 20000, NOW + 30000), 30000);
	/* the boost of another time, and none */
	assert_int_equal(pvsched_lead_took(NOW, NOW + 10000, NOW - 20000, NOW + 30000), 30000);
	assert_int_equal(pvsched_lead_took(NOW, 0, 0, NOW + 30000), 30000);
	/* asked for later than it ran */
	assert_int_equal(pvsched_lead_took(NOW, NOW - 5000, NOW - 20000, NOW - 100), 0);
}

static void lead_of_one_that_sleeps_does_not_feed_on_itself(void **state)
{
	__u32 avg = 0, dev = 0;
	__u64 next = NOW, lead;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		next += 1000000;
		lead = pvsched_lead(avg, dev, PVSCHED_ENTRY_NS);
		/* boosted 25 us after it was asked for, woken by its timer, runs 5 us later */
		pvsched_lead_sample(
			&avg, &dev,
			pvsched_lead_took(next - lead, next, next - lead + 25000, next + 5000));
	}
	assert_in_range(pvsched_lead(avg, dev, PVSCHED_ENTRY_NS), 25000, 50000);
}

static void mul_shift_is_that_of_128_bits(void **state)
{
	static const __u64 v[] = { 0, 1, 0xffffffff, 1ull << 32, 0x123456789abcdef0ull, ~0ull };
	static const __u32 shift[] = { 32, 48 };

	(void)state;
	for (unsigned int a = 0; a < ARRAY_SIZE(v); a++)
		for (unsigned int b = 0; b < ARRAY_SIZE(v); b++)
			for (unsigned int s = 0; s < 2; s++)
				assert_int_equal(
					pvsched_mul_shift(v[a], v[b], shift[s]),
					(__u64)((unsigned __int128)v[a] * v[b] >> shift[s]));
}

static void next_event_with_offset_is_the_hosts(void **state)
{
	static const __u64 one[] = { 0, 1, 1ull << 32, 1ull << 48 };

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(one); i++) {
		assert_int_equal(pvsched_host_tsc(TSC + 77, -12345ull, one[i], TSC),
				 TSC + 77 + 12345);
		assert_int_equal(pvsched_host_tsc(5, 1ull << 63, one[i], TSC), 5 - (1ull << 63));
	}
}

/* Guests of 0.4 to 3 times the host's speed, both formats, an event within a second. */
static void next_event_of_a_scaled_guest_is_the_hosts(void **state)
{
	static const double speed[] = { 0.4, 0.9, 1.1, 3 };
	static const __s64 ahead[] = { -2500000000ll, -100, 0, 1, 2500000, 2500000000ll };
	const __u64 offset = -(1ull << 45);

	(void)state;
	for (unsigned int s = 0; s < ARRAY_SIZE(speed); s++) {
		for (unsigned int f = 32; f <= 48; f += 16) {
			__u64 ratio = speed[s] * (1ull << f);

			for (unsigned int i = 0; i < ARRAY_SIZE(ahead); i++) {
				__u64 host = TSC + ahead[i], got;
				__u64 slack = 3 + (ahead[i] < 0 ? -ahead[i] : ahead[i]) / 1000000;

				got = pvsched_host_tsc(
					(__u64)((unsigned __int128)host * ratio >> f) + offset,
					offset, ratio, TSC);
				assert_in_range(got, host - slack, host + slack);
			}
		}
	}
}

static void host_scaled_next_event_absurd_is_clamped(void **state)
{
	static const __u64 ratio[] = { 2, 1ull << 20, 3ull << 31, 1ull << 40, 3ull << 47, ~0ull };
	static const __u64 absurd[] = { 0, 1, 1ull << 40, 1ull << 63, ~0ull };

	(void)state;
	for (unsigned int r = 0; r < ARRAY_SIZE(ratio); r++)
		for (unsigned int i = 0; i < ARRAY_SIZE(absurd); i++)
			assert_true(convert(pvsched_host_tsc(absurd[i], absurd[i] / 3, ratio[r],
							     TSC)) <= NOW + PVSCHED_NEXT_MAX_NS);
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
	assert_int_equal(pvsched_lead(avg, dev, PVSCHED_ENTRY_NS), PVSCHED_LEAD_FIRST_NS);
	for (int i = 0; i < 100; i++)
		pvsched_lead_sample(&avg, &dev, 40000);
	assert_in_range(pvsched_lead(avg, dev, PVSCHED_ENTRY_NS), 40000, 55000);
	/* an actuator's own time from SCHED_IN to the guest */
	assert_int_equal(pvsched_lead(avg, dev, PVSCHED_ENTRY_NS + 5000),
			 pvsched_lead(avg, dev, PVSCHED_ENTRY_NS) + 5000);
	for (int i = 0; i < 1000; i++)
		pvsched_lead_sample(&avg, &dev, ~0ull);
	assert_int_equal(pvsched_lead(avg, dev, PVSCHED_ENTRY_NS), PVSCHED_LEAD_MAX_NS);
	for (int i = 0; i < 1000; i++)
		pvsched_lead_sample(&avg, &dev, 0);
	assert_in_range(pvsched_lead(avg, dev, PVSCHED_ENTRY_NS), PVSCHED_LEAD_MIN_NS,
			PVSCHED_LEAD_MIN_NS + 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(next_event_near_the_clock_is_exact),
		cmocka_unit_test(lead_of_one_that_waits_ends_as_it_runs),
		cmocka_unit_test(lead_of_one_that_sleeps_does_not_feed_on_itself),
		cmocka_unit_test(mul_shift_is_that_of_128_bits),
		cmocka_unit_test(next_event_with_offset_is_the_hosts),
		cmocka_unit_test(next_event_of_a_scaled_guest_is_the_hosts),
		cmocka_unit_test(host_scaled_next_event_absurd_is_clamped),
		cmocka_unit_test(host_next_event_absurd_is_clamped),
		cmocka_unit_test(lead_follows_what_it_took_within_its_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
