// SPDX-License-Identifier: GPL-2.0-only
/* The log-linear histogram: where values go, and that percentiles err upwards only. */
#include <helpers/unit.h>

#include <core/hist.h>

static void hist_bucket_and_value_agree(void **state)
{
	(void)state;
	for (uint64_t v = 0; v < 100000; v++) {
		unsigned int b = pvsched_hist_bucket(v);

		assert_true(pvsched_hist_value(b) >= v);
		assert_true(pvsched_hist_value(b) <= v + v / PVSCHED_HIST_SUB);
		assert_true(!b || pvsched_hist_value(b - 1) < v);
	}
	assert_int_equal(pvsched_hist_bucket(~0ull), PVSCHED_HIST_N - 1);
}

static void hist_log2_is_exact(void **state)
{
	(void)state;
	for (unsigned int bit = 0; bit < 64; bit++) {
		assert_int_equal(pvsched_log2(1ull << bit), bit);
		assert_int_equal(pvsched_log2((1ull << bit) | ((1ull << bit) - 1)), bit);
	}
}

static void hist_any_value_is_counted(void **state)
{
	struct pvsched_hist h = { 0 };

	(void)state;
	pvsched_hist_add(&h, 0);
	for (unsigned int bit = 0; bit < 64; bit++)
		pvsched_hist_add(&h, 1ull << bit);
	assert_int_equal(h.count, 65);
	assert_int_equal(h.max, 1ull << 63);
	assert_int_equal(h.n[PVSCHED_HIST_N - 1], 64 - 43); /* what is longer than 2 hours */
}

static void hist_empty_has_no_percentile(void **state)
{
	struct pvsched_hist h = { 0 };

	(void)state;
	assert_int_equal(pvsched_hist_percentile(&h, 500), 0);
}

static void hist_percentiles_err_upwards_and_never_past_the_maximum(void **state)
{
	struct pvsched_hist h = { 0 };

	(void)state;
	for (uint64_t v = 1000; v > 0; v--)
		pvsched_hist_add(&h, v);
	assert_int_equal(h.count, 1000);
	assert_int_equal(h.max, 1000);
	assert_in_range(pvsched_hist_percentile(&h, 500), 500, 500 + 500 / PVSCHED_HIST_SUB);
	assert_in_range(pvsched_hist_percentile(&h, 990), 990, 1000);
	assert_int_equal(pvsched_hist_percentile(&h, 1000), 1000);
	/* a rank past the last sample is the maximum */
	assert_int_equal(pvsched_hist_percentile(&h, 2000), 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hist_bucket_and_value_agree),
		cmocka_unit_test(hist_log2_is_exact),
		cmocka_unit_test(hist_any_value_is_counted),
		cmocka_unit_test(hist_empty_has_no_percentile),
		cmocka_unit_test(hist_percentiles_err_upwards_and_never_past_the_maximum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
