// SPDX-License-Identifier: GPL-2.0-only
/* Samples and percentiles of the bench, the shuffle, and the JSON writer. */
#include <helpers/unit.h>

#include <stdlib.h>

#include <json/json.h>
#include <math.h>
#include <result.h>

static void percentile_of_none_is_zero(void **state)
{
	(void)state;
	assert_int_equal(bench_percentile(NULL, 0, BENCH_P50), 0);
}

static void percentile_is_the_nearest_rank(void **state)
{
	uint64_t v[1000];
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(v); i++)
		v[i] = i + 1;
	assert_int_equal(bench_percentile(v, 1, BENCH_P50), 1);
	assert_int_equal(bench_percentile(v, 1, BENCH_P999), 1);
	assert_int_equal(bench_percentile(v, 2, BENCH_P50), 1);
	assert_int_equal(bench_percentile(v, 3, BENCH_P50), 2);
	assert_int_equal(bench_percentile(v, 100, BENCH_P99), 99);
	assert_int_equal(bench_percentile(v, 101, BENCH_P99), 100);
	assert_int_equal(bench_percentile(v, 999, BENCH_P999), 999);
	assert_int_equal(bench_percentile(v, 1000, BENCH_P999), 999);
	assert_int_equal(bench_percentile(v, 1000, 0), 1);
	assert_int_equal(bench_percentile(v, 1000, BENCH_PARTS), 1000);
}

static void samples_appended_are_all_kept(void **state)
{
	struct bench_samples s = { 0 };
	uint64_t v[700], i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(v); i++)
		v[i] = ARRAY_SIZE(v) - i;
	for (i = 0; i < 5; i++)
		assert_int_equal(bench_samples_append(&s, v, ARRAY_SIZE(v)), 0);
	assert_int_equal(bench_samples_append(&s, NULL, 0), 0);
	assert_int_equal(s.n, 3500);
	bench_samples_sort(&s);
	for (i = 1; i < s.n; i++)
		assert_true(s.v[i - 1] <= s.v[i]);
	assert_int_equal(s.v[0], 1);
	assert_int_equal(s.v[s.n - 1], 700);
	bench_samples_free(&s);
	assert_int_equal(s.n, 0);
}

static void shuffle_same_seed_same_order(void **state)
{
	unsigned int a[50], b[50], c[50], i;
	uint64_t seed_a = 5, seed_b = 5, seed_c = 6;
	bool seen[50] = { false };

	(void)state;
	for (i = 0; i < 50; i++)
		a[i] = b[i] = c[i] = i;
	bench_shuffle(a, 50, &seed_a);
	bench_shuffle(b, 50, &seed_b);
	bench_shuffle(c, 50, &seed_c);
	assert_memory_equal(a, b, sizeof(a));
	assert_memory_not_equal(a, c, sizeof(a));
	for (i = 0; i < 50; i++)
		seen[a[i]] = true;
	for (i = 0; i < 50; i++)
		assert_true(seen[i]);
}

/* Every place of a short list must be reached from every place about equally often. */
static void shuffle_many_times_is_fair(void **state)
{
	unsigned int count[4][4] = { { 0 } }, v[4], i, k;
	uint64_t seed = 1;

	(void)state;
	for (i = 0; i < 40000; i++) {
		for (k = 0; k < 4; k++)
			v[k] = k;
		bench_shuffle(v, 4, &seed);
		for (k = 0; k < 4; k++)
			count[k][v[k]]++;
	}
	for (i = 0; i < 4; i++)
		for (k = 0; k < 4; k++)
			assert_in_range(count[i][k], 9600, 10400);
}

static void us_is_grouped_by_thousands(void **state)
{
	char buf[32];

	(void)state;
	assert_string_equal(bench_us(0, buf, sizeof(buf)), "0.0");
	assert_string_equal(bench_us(42123, buf, sizeof(buf)), "42.1");
	assert_string_equal(bench_us(99949, buf, sizeof(buf)), "99.9");
	assert_string_equal(bench_us(99950, buf, sizeof(buf)), "100");
	assert_string_equal(bench_us(999499, buf, sizeof(buf)), "999");
	assert_string_equal(bench_us(999500, buf, sizeof(buf)), "1,000");
	assert_string_equal(bench_us(31667000, buf, sizeof(buf)), "31,667");
	assert_string_equal(bench_us(1031007000, buf, sizeof(buf)), "1,031,007");
}

static void cell_rounds_are_pooled_and_kept_apart(void **state)
{
	struct bench_cell c = { 0 };
	struct bench_run run = { 0 };
	uint64_t low[] = { 1000, 3000 }, high[] = { 9000, 2000, 5000 }, min, max;

	(void)state;
	run.asked = 3;
	run.wall_ns = 100;
	run.hogs_ns = 80;
	run.has_host = true;
	run.host.boosts = 2;
	run.host.boosted_ns = 5;
	pvsched_hist_add(&run.host.boost, 700);
	assert_int_equal(bench_samples_append(&run.samples, low, 2), 0);
	assert_int_equal(bench_cell_add(&c, &run), 0);
	bench_run_free(&run);
	assert_int_equal(bench_samples_append(&run.samples, high, 3), 0);
	assert_int_equal(bench_cell_add(&c, &run), 0);
	bench_run_free(&run);
	bench_cell_finish(&c);
	assert_int_equal(c.runs, 2);
	assert_int_equal(c.figures.n, 5);
	assert_int_equal(c.figures.p50, 3000);
	assert_int_equal(c.figures.max, 9000);
	assert_int_equal(c.rounds[0].max, 3000);
	assert_int_equal(c.rounds[1].p50, 5000);
	assert_int_equal(c.pooled.asked, 6);
	assert_int_equal(c.pooled.host.boosts, 4);
	assert_int_equal(c.pooled.host.boost.count, 2);
	bench_spread(&c, &min, &max);
	assert_int_equal(min, 3000);
	assert_int_equal(max, 9000);
	assert_true(fabs(bench_hogs_share(&c) - 0.8) < 1e-9);
	assert_true(fabs(bench_boosted_share(&c) - 0.05) < 1e-9);
	bench_cell_free(&c);
}

static char *text;
static size_t text_size;

static void json_strings_are_escaped(void **state)
{
	FILE *f = open_memstream(&text, &text_size);
	struct json j;

	(void)state;
	json_init(&j, f);
	json_array_inline(&j, NULL);
	json_str(&j, NULL, "a\"b\\c\nd\x01");
	json_str(&j, NULL, "\xc2\xb5s \xf0\x9f\x98\x80");
	/* a lone byte, an overlong form, a surrogate, a sequence cut short */
	json_str(&j, NULL, "\xff \xc0\x80 \xed\xa0\x80 \xe2\x82");
	json_str(&j, NULL, NULL);
	json_end(&j, ']');
	fclose(f);
	assert_string_equal(
		text, "[\"a\\\"b\\\\c\\nd\\u0001\", \"\xc2\xb5s \xf0\x9f\x98\x80\", "
		      "\"\\ufffd \\ufffd\\ufffd \\ufffd\\ufffd\\ufffd \\ufffd\\ufffd\", null]\n");
	free(text);
}

static void json_nesting_places_commas(void **state)
{
	FILE *f = open_memstream(&text, &text_size);
	struct json j;

	(void)state;
	json_init(&j, f);
	json_object(&j, NULL);
	json_array(&j, "none");
	json_end(&j, ']');
	json_array_inline(&j, "pairs");
	json_array(&j, NULL);
	json_u64(&j, NULL, UINT64_MAX);
	json_i64(&j, NULL, -1);
	json_end(&j, ']');
	json_object(&j, NULL);
	json_end(&j, '}');
	json_end(&j, ']');
	json_num(&j, "x", 1.5, 3);
	json_num(&j, "nan", NAN, 3);
	json_bool(&j, "b", true);
	json_end(&j, '}');
	fclose(f);
	assert_string_equal(text,
			    "{\n  \"none\": [],\n  \"pairs\": [[18446744073709551615, -1], {}]"
			    ",\n  \"x\": 1.500,\n  \"nan\": null,\n  \"b\": true\n}\n");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(percentile_of_none_is_zero),
		cmocka_unit_test(percentile_is_the_nearest_rank),
		cmocka_unit_test(samples_appended_are_all_kept),
		cmocka_unit_test(shuffle_same_seed_same_order),
		cmocka_unit_test(shuffle_many_times_is_fair),
		cmocka_unit_test(us_is_grouped_by_thousands),
		cmocka_unit_test(cell_rounds_are_pooled_and_kept_apart),
		cmocka_unit_test(json_strings_are_escaped),
		cmocka_unit_test(json_nesting_places_commas),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
