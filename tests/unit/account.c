// SPDX-License-Identifier: GPL-2.0-only
/* Buckets and stretches: the bounds that spec/accounting.md promises, against naive models. */
#include <helpers/unit.h>

#include <core/account.h>
#include <stdlib.h>

#define MS 1000000ull

static void bucket_fresh_allows_its_burst(void **state)
{
	struct pvsched_bucket_conf c = pvsched_bucket_conf(40, 10 * MS);
	__u64 left = pvsched_bucket_left(0, 1000 * MS, &c);

	(void)state;
	assert_in_range(left, 10 * MS - 10000, 10 * MS);
}

static void bucket_charged_with_its_burst_allows_nothing(void **state)
{
	struct pvsched_bucket_conf c = pvsched_bucket_conf(40, 10 * MS);
	__u64 now = 1000 * MS, paid = 0;

	(void)state;
	/* taken at once: no time passes while it is taken, so nothing is repaid meanwhile */
	for (int i = 0; i < 1000; i++)
		paid = pvsched_bucket_charge(paid, now + 10000, 10000, &c);
	assert_int_equal(pvsched_bucket_left(paid, now, &c), 0);
}

static void bucket_recovers_at_its_rate(void **state)
{
	struct pvsched_bucket_conf c = pvsched_bucket_conf(50, 10 * MS);
	__u64 now = 1000 * MS, paid = pvsched_bucket_charge(0, now, 10 * MS, &c);

	(void)state;
	/* 10 ms at rate 1/2 cost 20 ms, of which 10 passed while they were taken */
	assert_in_range(pvsched_bucket_left(paid, now, &c), 5 * MS - 10000, 5 * MS);
	assert_in_range(pvsched_bucket_left(paid, now + 4 * MS, &c), 7 * MS - 10000, 7 * MS);
	assert_in_range(pvsched_bucket_left(paid, now + 10 * MS, &c), 10 * MS - 10000, 10 * MS);
	assert_in_range(pvsched_bucket_left(paid, now + 99 * MS, &c), 10 * MS - 10000, 10 * MS);
}

/*
 * A greedy taker takes whatever is allowed, in random pieces at random times. In no window is
 * more taken than rate * W + burst: checked for every pair (start of a piece, end of a piece)
 * within a sliding history, against the plain sum.
 */
static void bucket_greedy_taker_stays_within_rate_and_burst_in_every_window(void **state)
{
	enum { HISTORY = 64, STEPS = 200000 };
	static struct {
		__u64 start, end;
	} piece[HISTORY];
	static const __u32 rates[] = { 1, 10, 40, 50, 99, 100 };

	(void)state;
	srandom(1);
	for (unsigned int r = 0; r < ARRAY_SIZE(rates); r++) {
		struct pvsched_bucket_conf c = pvsched_bucket_conf(rates[r], 10 * MS);
		__u64 now = 1000 * MS, paid = 0;
		int n = 0;

		for (int step = 0; step < STEPS; step++) {
			__u64 left, take, sum = 0;

			now += random() % (random() % 8 ? 100000 : 20 * MS);
			left = pvsched_bucket_left(paid, now, &c);
			if (!left)
				continue;
			take = 1 + random() % left;
			now += take;
			paid = pvsched_bucket_charge(paid, now, take, &c);
			piece[n++ % HISTORY].start = now - take;
			piece[(n - 1) % HISTORY].end = now;
			for (int k = n - 1; k >= 0 && k > n - HISTORY; k--) {
				__u64 window = now - piece[k % HISTORY].start;

				sum += piece[k % HISTORY].end - piece[k % HISTORY].start;
				/* rounding is to the taker's disadvantage: no tolerance */
				assert_true(sum <= window * rates[r] / 100 + 10 * MS);
			}
		}
		assert_true(n > 1000);
	}
}

static void stretch_fresh_allows_the_cap(void **state)
{
	struct pvsched_stretch s = { 0 };

	(void)state;
	assert_int_equal(pvsched_stretch_left(&s, 5 * MS, MS), MS);
	/* a boost that never was cannot end */
	assert_int_equal(pvsched_stretch_off(&s, 5 * MS), 0);
}

static void stretch_in_force_counts_down_and_ends_at_the_cap(void **state)
{
	struct pvsched_stretch s = { 0 };

	(void)state;
	pvsched_stretch_on(&s, 5 * MS);
	pvsched_stretch_on(&s, 6 * MS); /* on twice is on once, since the first */
	assert_int_equal(pvsched_stretch_left(&s, 5 * MS + 300000, MS), 700000);
	assert_int_equal(pvsched_stretch_left(&s, 7 * MS, MS), 0);
	/* a clock read on another CPU may be a little behind */
	assert_int_equal(pvsched_stretch_left(&s, 5 * MS - 10, MS), MS);
}

static void stretch_without_its_gap_goes_on(void **state)
{
	struct pvsched_stretch s = { 0 };

	(void)state;
	pvsched_stretch_on(&s, 5 * MS);
	assert_int_equal(pvsched_stretch_off(&s, 5 * MS + 600000), 600000);
	/* 599,999 ns later: the gap is shorter than the boost was */
	assert_int_equal(pvsched_stretch_left(&s, 6 * MS + 199999, MS), 400000);
	pvsched_stretch_on(&s, 6 * MS + 199999);
	assert_int_equal(pvsched_stretch_left(&s, 6 * MS + 199999, MS), 400000);
	/* a clock that runs behind off_ns never frees a stretch */
	assert_int_equal(pvsched_stretch_off(&s, 6 * MS), 0);
	assert_int_equal(s.sum_ns, 600000);
	assert_int_equal(pvsched_stretch_left(&s, 5 * MS, MS), 400000);
	pvsched_stretch_on(&s, 5 * MS);
	assert_int_equal(s.sum_ns, 600000);
}

static void stretch_after_its_gap_starts_anew(void **state)
{
	struct pvsched_stretch s = { 0 };

	(void)state;
	pvsched_stretch_on(&s, 5 * MS);
	pvsched_stretch_off(&s, 6 * MS);
	assert_int_equal(pvsched_stretch_left(&s, 6 * MS + 999999, MS), 0);
	assert_int_equal(pvsched_stretch_left(&s, 7 * MS, MS), MS);
	pvsched_stretch_on(&s, 7 * MS);
	assert_int_equal(s.sum_ns, 0);
}

/* Whoever boosts as much as it may, at any times, never gets more than the cap between two gaps
 * of at least the length of what it got before. */
static void stretch_greedy_taker_never_exceeds_the_cap_between_gaps(void **state)
{
	struct pvsched_stretch s = { 0 };
	__u64 now = 1000 * MS, boosted = 0, last_end = 0;

	(void)state;
	srandom(2);
	for (int i = 0; i < 300000; i++) {
		__u64 left, take;

		now += random() % (random() % 4 ? 200000 : 2 * MS);
		left = pvsched_stretch_left(&s, now, MS);
		if (now - last_end >= boosted)
			boosted = 0; /* the naive rule */
		assert_int_equal(left, MS - boosted);
		if (!left)
			continue;
		take = 1 + random() % left;
		pvsched_stretch_on(&s, now);
		now += take;
		assert_int_equal(pvsched_stretch_off(&s, now), take);
		boosted += take;
		last_end = now;
		assert_true(boosted <= MS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bucket_fresh_allows_its_burst),
		cmocka_unit_test(bucket_charged_with_its_burst_allows_nothing),
		cmocka_unit_test(bucket_recovers_at_its_rate),
		cmocka_unit_test(bucket_greedy_taker_stays_within_rate_and_burst_in_every_window),
		cmocka_unit_test(stretch_fresh_allows_the_cap),
		cmocka_unit_test(stretch_in_force_counts_down_and_ends_at_the_cap),
		cmocka_unit_test(stretch_without_its_gap_goes_on),
		cmocka_unit_test(stretch_after_its_gap_starts_anew),
		cmocka_unit_test(stretch_greedy_taker_never_exceeds_the_cap_between_gaps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
