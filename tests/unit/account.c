// SPDX-License-Identifier: GPL-2.0-only
/* Buckets and stretches: the bounds that spec/accounting.md promises, against naive models. */
#include <helpers/unit.h>

#include <stdlib.h>

/* One copy of each function, so that its branches are counted once. */
#undef __always_inline
#define __always_inline __attribute__((noinline, unused))
#include <core/account.h>

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
	assert_int_equal(pvsched_stretch_off(&s, 5 * MS, MS, 0), 0);
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

static void stretch_is_paid_back_one_to_one(void **state)
{
	struct pvsched_stretch s = { 0 };

	(void)state;
	pvsched_stretch_on(&s, 5 * MS);
	assert_int_equal(pvsched_stretch_off(&s, 5 * MS + 600000, MS, 0), 600000);
	assert_int_equal(pvsched_stretch_left(&s, 5 * MS + 600000, MS), 400000);
	assert_int_equal(pvsched_stretch_left(&s, 5 * MS + 800000, MS), 600000);
	pvsched_stretch_on(&s, 5 * MS + 800000);
	assert_int_equal(pvsched_stretch_left(&s, 5 * MS + 900000, MS), 500000);
	/* a clock that runs behind neither pays back nor charges */
	assert_int_equal(pvsched_stretch_off(&s, 5 * MS, MS, 0), 0);
	assert_int_equal(pvsched_stretch_left(&s, 4 * MS, MS), 600000);
	assert_int_equal(pvsched_stretch_left(&s, 9 * MS, MS), MS);
}

static void stretch_that_used_the_cap_up_waits_as_long(void **state)
{
	struct pvsched_stretch s = { 0 };

	(void)state;
	pvsched_stretch_on(&s, 5 * MS);
	pvsched_stretch_off(&s, 6 * MS + 1000, MS, 0);
	assert_int_equal(pvsched_stretch_left(&s, 6 * MS + 900000, MS), 0);
	assert_int_equal(pvsched_stretch_left(&s, 7 * MS + 1999, MS), 0);
	assert_int_equal(pvsched_stretch_left(&s, 7 * MS + 2000, MS), MS);
}

/* Whoever boosts as much as it may, at any times: no boost is longer than the cap, a used-up cap
 * is followed by a gap as long, and any window holds at most (window + cap) / 2 of boosts. */
static void stretch_greedy_taker_stays_within_cap_and_half(void **state)
{
	enum { HISTORY = 64 };
	static struct {
		__u64 start, end;
	} piece[HISTORY];
	struct pvsched_stretch s = { 0 };
	__u64 now = 1000 * MS, full_end = 0;
	int n = 0;

	(void)state;
	srandom(2);
	for (int i = 0; i < 300000; i++) {
		__u64 left, take, sum = 0;

		now += random() % (random() % 4 ? 200000 : 2 * MS);
		left = pvsched_stretch_left(&s, now, MS);
		if (!left)
			continue;
		assert_true(now >= full_end + MS);
		take = random() % 4 ? 1 + random() % left : left;
		pvsched_stretch_on(&s, now);
		now += take;
		assert_int_equal(pvsched_stretch_off(&s, now, MS, 0), take);
		if (take == left)
			full_end = now;
		piece[n % HISTORY].start = now - take;
		piece[n++ % HISTORY].end = now;
		for (int k = n - 1; k >= 0 && k > n - HISTORY; k--) {
			sum += piece[k % HISTORY].end - piece[k % HISTORY].start;
			assert_true(2 * sum <= now - piece[k % HISTORY].start + MS);
		}
	}
	assert_true(n > 10000);
}

/* Eight vCPUs of one CPU, each with a new time 10 us after it was looked at. */
static void cpu_looks_take_a_tenth_of_it(void **state)
{
	const __u64 look = 25000, begin = 1000 * MS, end = 2000 * MS;
	__u64 due[8], now = begin, taken = 0, wait;
	struct pvsched_debt cpu = { 0 };
	int next;

	(void)state;
	for (int i = 0; i < 8; i++)
		due[i] = begin;
	for (;;) {
		next = 0;
		for (int i = 1; i < 8; i++)
			if (due[i] < due[next])
				next = i;
		now = due[next] > now ? due[next] : now;
		if (now >= end)
			break;
		wait = pvsched_cpu_look(&cpu, now, look);
		taken += look;
		now += look;
		due[next] = now + (wait > 10000 ? wait : 10000);
	}
	assert_true(taken <= (end - begin) / 10 + (PVSCHED_LOOKS_AT_ONCE + 8) * look);
	assert_true(taken > (end - begin) * 9 / 100);
	assert_int_equal(cpu.paid_at, 0); /* boosts have what they had */
	/* one alone need not wait, and where nobody is woken nobody pays */
	cpu.rate_paid_at = 0;
	assert_int_equal(pvsched_cpu_look(&cpu, now, look), 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(pvsched_cpu_look(&cpu, end + now, 0), 0);
}

static void owed_grows_by_what_was_boosted_and_is_forgiven_beyond_its_most(void **state)
{
	(void)state;
	assert_int_equal(pvsched_owed_add(0, MS), MS);
	assert_int_equal(pvsched_owed_add(-(__s64)MS, 3 * MS), 2 * MS);
	assert_int_equal(pvsched_owed_add(19 * MS, 2 * MS), 20 * MS);
	/* credit counts however much is boosted */
	assert_int_equal(pvsched_owed_add(-2 * (__s64)MS, 21 * MS), 19 * MS);
	assert_int_equal(pvsched_owed_add(-2 * (__s64)MS, 23 * MS), 20 * MS);
	assert_int_equal(pvsched_owed_add(0, ~0ull), 20 * MS);
}

/* A task waits; boosts of 300 us and gaps as long take turns on its CPU, as stretches allow. */
static void waiter_loses_half_the_cap_and_no_more_whatever_the_gaps(void **state)
{
	struct pvsched_debt cpu = { .taken_ns = 77 * MS };
	const __u64 before = cpu.taken_ns + MS / 10; /* who runs as it wakes has run that long */
	__u64 now = 1000 * MS, left, boost;

	(void)state;
	assert_int_equal(pvsched_waiter_left(before, cpu.taken_ns, MS), MS / 2);
	cpu.taken_ns = before;
	for (int i = 0; i < 20; i++, now += 600000) {
		left = pvsched_waiter_left(before, cpu.taken_ns, MS);
		boost = left < 300000 ? left : 300000;
		cpu.taken_ns += boost;
		assert_true(i > 1 || boost > 0);
	}
	assert_int_equal(cpu.taken_ns - before, MS / 2);
	cpu.taken_ns += MS; /* one that ended late */
	assert_int_equal(pvsched_waiter_left(before, cpu.taken_ns, MS), 0);
}

static void owed_is_paid_and_credit_is_bounded(void **state)
{
	(void)state;
	assert_int_equal(pvsched_owed_pay(3 * MS, MS), 2 * MS);
	assert_int_equal(pvsched_owed_pay(MS, 2 * MS), -(__s64)MS);
	assert_int_equal(pvsched_owed_pay(MS, 9 * MS), -2 * (__s64)MS);
	assert_int_equal(pvsched_owed_pay(20 * MS, ~0ull), -2 * (__s64)MS);
}

/* The kernel's weights are 1024 at nice 0 and 335 five steps below: 1 ns there is 3.057 here. */
static void owed_running_below_the_baseline_pays_its_surplus_weight(void **state)
{
	(void)state;
	assert_int_equal(pvsched_owed_paid(1024), 2106);
	assert_in_range(pvsched_owed_paid(MS), 2056000, 2057000);
	assert_int_equal(pvsched_owed_paid(~0ull), ~0ull);
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
		cmocka_unit_test(stretch_is_paid_back_one_to_one),
		cmocka_unit_test(stretch_that_used_the_cap_up_waits_as_long),
		cmocka_unit_test(stretch_greedy_taker_stays_within_cap_and_half),
		cmocka_unit_test(cpu_looks_take_a_tenth_of_it),
		cmocka_unit_test(waiter_loses_half_the_cap_and_no_more_whatever_the_gaps),
		cmocka_unit_test(owed_grows_by_what_was_boosted_and_is_forgiven_beyond_its_most),
		cmocka_unit_test(owed_is_paid_and_credit_is_bounded),
		cmocka_unit_test(owed_running_below_the_baseline_pays_its_surplus_weight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
