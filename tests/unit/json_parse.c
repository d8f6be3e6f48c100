// SPDX-License-Identifier: GPL-2.0-only
/* What is JSON and what is not, and that a failed allocation is just no value. */
#include <helpers/unit.h>

#include <helpers/fail.h>

#include <json/parse.h>

#define DEPTH 4

static struct json_value *parse(const char *text)
{
	return json_parse(text, strlen(text), DEPTH);
}

static void json_parse_of_one_value_has_all_of_it(void **state)
{
	struct json_value *v = parse(
		" {\"a\" : [1, -20, 3.5e1, true, false, null, \"x\"],\t\"b\":{\"c\":\"\"}}\r\n");
	const struct json_value *a = json_get(v, "a");

	(void)state;
	assert_true(json_is_object(v) && !json_is_object(a));
	assert_int_equal(json_len(a), 7);
	assert_int_equal(json_number(json_at(a, 1)), -20);
	assert_true(json_real(json_at(a, 2)) == 35 && json_real(json_at(a, 0)) == 1);
	assert_int_equal(json_number(json_at(a, 2)), 0);
	assert_true(json_true(json_at(a, 3)) && !json_true(json_at(a, 4)));
	assert_string_equal(json_text(json_next(json_at(a, 5))), "x");
	assert_null(json_next(json_at(a, 6)));
	assert_null(json_at(a, 7));
	assert_string_equal(json_text(json_get(json_get(v, "b"), "c")), "");
	json_free(v);
	v = parse("{\"a\": 1, \"a\": 2}");
	assert_int_equal(json_number(json_get(v, "a")), 1);
	json_free(v);
}

static void json_value_that_is_not_there_may_be_asked(void **state)
{
	(void)state;
	assert_null(json_get(NULL, "a"));
	assert_null(json_at(NULL, 0));
	assert_null(json_next(NULL));
	assert_null(json_text(NULL));
	assert_int_equal(json_len(NULL), 0);
	assert_int_equal(json_number(NULL), 0);
	assert_true(json_real(NULL) == 0 && !json_true(NULL) && !json_is_object(NULL));
	json_free(NULL);
}

static void json_parse_of_what_is_none_is_null(void **state)
{
	static const char *const none[] = {
		"",
		" ",
		"{",
		"[",
		"[1",
		"[1,",
		"[1,]",
		"[,1]",
		"[1 2]",
		"{\"a\"}",
		"{\"a\":}",
		"{\"a\":1,}",
		"{a:1}",
		"{1:2}",
		"{\"a\":1]",
		"[1}",
		"]",
		"tru",
		"True",
		"nul",
		"truex",
		"1 2",
		"[1]x",
		"01",
		"-",
		"-01",
		"+1",
		".5",
		"1.",
		"1.e5",
		"1e",
		"1e+",
		"0x1",
		"nan",
		"Infinity",
		"'a'",
		"\"",
		"\"a",
		"\"a\\\"",
		"\"\\x\"",
		"\"\\\"",
		"\"\\u12\"",
		"\"\\u12g4\"",
		"\"\\u0000\"",
		"\"\\ud800\"",
		"\"\\ud800x\"",
		"\"\\ud800\\n\"",
		"\"\\ud800\\ud800\"",
		"\"\\udc00\"",
		"\"a\nb\"",
		"\"\x01\"",
		"\"\x80\"",
		"\"\xc0\xaf\"",
		"\"\xed\xa0\x80\"",
		"\"\xf4\x90\x80\x80\"",
		"\"\xe2\x82\"",
		"[\"\xc3\"]",
		"/**/1",
		"1//",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
		if (parse(none[i]))
			fail_msg("%s was taken", none[i]);
	assert_null(json_parse("1\0", 2, DEPTH));
	assert_null(json_parse("\"a\0\"", 4, DEPTH));
	assert_null(json_parse("[1]", 2, DEPTH)); /* no more than was given */
}

static void json_strings_are_unescaped(void **state)
{
	static const char *const pairs[][2] = {
		{ "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t" },
		{ "\"\\u0041\\u00e9\\u20ac\\ud83d\\uDE00.\"",
		  "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80." },
		{ "\"\\uffff\\u007f\\u0080\\u07ff\\u0800\"",
		  "\xef\xbf\xbf\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80" },
		{ "\"\xc3\xa9\\n\xf0\x9f\x98\x80\"", "\xc3\xa9\n\xf0\x9f\x98\x80" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		struct json_value *v = parse(pairs[i][0]);

		assert_non_null(v);
		assert_string_equal(json_text(v), pairs[i][1]);
		json_free(v);
	}
}

static void json_numbers_are_cut_to_64_bits(void **state)
{
	static const struct {
		const char *text;
		int64_t is;
	} numbers[] = { { "0", 0 },
			{ "-0", 0 },
			{ "9223372036854775807", INT64_MAX },
			{ "9223372036854775808", INT64_MAX },
			{ "-99999999999999999999", INT64_MIN } };

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		struct json_value *v = parse(numbers[i].text);

		assert_true(json_number(v) == numbers[i].is);
		json_free(v);
	}
}

static void json_parse_goes_as_deep_as_it_may(void **state)
{
	enum { DEEP = 1 << 20 };
	struct json_value *v = parse("[[[{\"[[[[[\":1}],[],{}]]");
	char *text = malloc(DEEP);

	(void)state;
	assert_true(v && text);
	json_free(v);
	assert_null(parse("[[[[[]]]]]"));
	assert_null(parse("[[[[{}]]]]"));
	memset(text, '[', DEEP);
	assert_null(json_parse(text, DEEP, DEPTH));
	free(text);
}

static void json_print_of_what_was_parsed_is_the_same(void **state)
{
	static const char text[] =
		"{\n  \"a\": [\n    1.50,\n    true,\n    null,\n    {}\n  ],\n"
		"  \"b\\n\": \"c\\u001b\\\"\",\n  \"d\": -18446744073709551615\n}\n";
	struct json_value *v = parse(text);
	char *printed;
	size_t size;
	FILE *f = open_memstream(&printed, &size);

	(void)state;
	assert_non_null(v);
	json_print(v, f);
	fclose(f);
	assert_string_equal(printed, text);
	free(printed);
	json_free(v);
}

/* One allocation is all that a text takes. */
static void json_parse_without_memory_is_null(void **state)
{
	struct json_value *v;
	int turn;

	(void)state;
	fail_mine = true;
	for (turn = 1;; turn++) {
		fail_arm(turn);
		v = parse("{\"pvsched\": 1, \"command\": \"list\", \"more\": [1, \"text\", {}]}");
		if (!fail_disarm())
			break;
		assert_null(v);
	}
	fail_mine = false;
	assert_non_null(v);
	json_free(v);
	assert_int_equal(turn, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_parse_of_one_value_has_all_of_it),
		cmocka_unit_test(json_value_that_is_not_there_may_be_asked),
		cmocka_unit_test(json_parse_of_what_is_none_is_null),
		cmocka_unit_test(json_strings_are_unescaped),
		cmocka_unit_test(json_numbers_are_cut_to_64_bits),
		cmocka_unit_test(json_parse_goes_as_deep_as_it_may),
		cmocka_unit_test(json_print_of_what_was_parsed_is_the_same),
		cmocka_unit_test(json_parse_without_memory_is_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
