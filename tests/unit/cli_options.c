// SPDX-License-Identifier: GPL-2.0-only
/* The command's option parser: what it takes, what it refuses, and with which words. */
#include <helpers/unit.h>

#include <stdlib.h>

#include <options.h>

struct values {
	uint64_t number, set, size;
	unsigned int choice;
	struct option_numbers numbers;
	const char *string;
	bool flag;
};

static const char *const names[] = { "red", "green", "blue", NULL };

static const struct option table[] = {
	{ "number", OPTION_NUMBER, offsetof(struct values, number), "N", "7", "a number", 2, 40,
	  NULL },
	{ "any", OPTION_NUMBER, offsetof(struct values, number), "N", NULL, "any number", 0,
	  UINT64_MAX, NULL },
	{ "set", OPTION_SET, offsetof(struct values, set), "S", "all", "a set", 0, 0, names },
	{ "choice", OPTION_CHOICE, offsetof(struct values, choice), "C", "green", "a choice", 0, 0,
	  names },
	{ "numbers", OPTION_NUMBERS, offsetof(struct values, numbers), "N,N", "4,0", "numbers", 0,
	  64, NULL },
	{ "size", OPTION_SIZE, offsetof(struct values, size), "SIZE", "64M", "a size", 16ull << 20,
	  4096ull << 20, NULL },
	{ "string", OPTION_STRING, offsetof(struct values, string), "S", NULL, "a string", 0, 0,
	  NULL },
	{ "flag", OPTION_FLAG, offsetof(struct values, flag), NULL, NULL, "a flag", 0, 0, NULL },
	OPTIONS_END
};

struct bed {
	struct values values;
	struct cli_error error;
	const char *operands[2];
	unsigned int count;
};

#define PARSE(bed, ...)                                                                            \
	parse(bed, (char *[]){ __VA_ARGS__ },                                                      \
	      (int)(sizeof((char *[]){ __VA_ARGS__ }) / sizeof(char *)))

static int parse(struct bed *b, char **argv, int argc)
{
	memset(b, 0, sizeof(*b));
	/* `any` shares its place with `number`: defaults are taken by the rows in order */
	options_defaults(table + 1, &b->values);
	options_defaults(table, &b->values);
	b->values.number = 7;
	return options_parse(table, &b->values, argc, argv, b->operands, 2, &b->count, "test",
			     &b->error);
}

static void refused(struct bed *b, int status, const char *words)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	assert_int_equal(status, CLI_USAGE);
	assert_int_equal(b->error.exit, CLI_USAGE);
	assert_non_null(f);
	cli_error_print(&b->error, f);
	fclose(f);
	if (!strstr(text, words))
		fail_msg("'%s' does not say '%s'", text, words);
	assert_ptr_equal(strchr(text, '\n'), text + size - 1);
	free(text);
}

static void options_size_takes_units(void **state)
{
	struct bed b;

	(void)state;
	assert_int_equal(PARSE(&b, "--size", "16777216"), 0);
	assert_int_equal(b.values.size, 16ull << 20);
	assert_int_equal(PARSE(&b, "--size=20480K"), 0);
	assert_int_equal(b.values.size, 20ull << 20);
	assert_int_equal(PARSE(&b, "--size=17M"), 0);
	assert_int_equal(b.values.size, 17ull << 20);
	assert_int_equal(PARSE(&b, "--size=4G"), 0);
	assert_int_equal(b.values.size, 4096ull << 20);
	assert_int_equal(PARSE(&b), 0);
	assert_int_equal(b.values.size, 64ull << 20);
}

static void options_bad_size_is_refused(void **state)
{
	static const char *const bad[] = { "16",	   "5G",
					   "15M",	   "M",
					   "4096MM",	   "1T",
					   "-1M",	   "1.5G",
					   "17179869184G", "18446744073709551615G" };
	struct bed b;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		refused(&b, PARSE(&b, "--size", (char *)bad[i]), "from 16M to 4096M");
}

static void options_without_any_are_the_defaults(void **state)
{
	struct bed b;

	(void)state;
	assert_int_equal(parse(&b, NULL, 0), 0);
	assert_int_equal(b.values.number, 7);
	assert_int_equal(b.values.set, 7);
	assert_int_equal(b.values.choice, 1);
	assert_int_equal(b.values.numbers.n, 2);
	assert_int_equal(b.values.numbers.v[0], 4);
	assert_int_equal(b.values.numbers.v[1], 0);
	assert_null(b.values.string);
	assert_false(b.values.flag);
	assert_int_equal(b.count, 0);
}

static void options_both_spellings_are_taken(void **state)
{
	struct bed b;

	(void)state;
	assert_int_equal(PARSE(&b, "--number=2", "--string", "x=y", "--flag"), 0);
	assert_int_equal(b.values.number, 2);
	assert_string_equal(b.values.string, "x=y");
	assert_true(b.values.flag);
}

static void options_number_at_its_bounds_is_taken(void **state)
{
	struct bed b;

	(void)state;
	assert_int_equal(PARSE(&b, "--number", "40"), 0);
	assert_int_equal(b.values.number, 40);
	assert_int_equal(PARSE(&b, "--any", "18446744073709551615"), 0);
	assert_true(b.values.number == UINT64_MAX);
}

static void options_number_out_of_range_is_refused(void **state)
{
	static char *const bad[] = { "1", "41", "18446744073709551616", "99999999999999999999999" };
	struct bed b;
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		refused(&b, PARSE(&b, "--number", bad[i]), "is out of range");
		refused(&b, PARSE(&b, "--number", bad[i]), "from 2 to 40");
		assert_int_equal(b.values.number, 7);
	}
	refused(&b, PARSE(&b, "--any", "18446744073709551616"), "is out of range");
}

static void options_what_is_no_number_is_refused(void **state)
{
	static char *const bad[] = { "", "x", "3x", " 3", "-3", "+3", "3.0", "0x10" };
	struct bed b;
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		refused(&b, PARSE(&b, "--number", bad[i]), "is not a number");
}

static void options_missing_argument_is_refused(void **state)
{
	struct bed b;

	(void)state;
	refused(&b, PARSE(&b, "--flag", "--number"), "--number: its argument N is missing");
	refused(&b, PARSE(&b, "--string="), "is empty");
	refused(&b, PARSE(&b, "--flag=1"), "takes no argument");
}

static void options_unknown_is_refused(void **state)
{
	struct bed b;

	(void)state;
	refused(&b, PARSE(&b, "--numbe", "3"), "there is no option '--numbe'");
	refused(&b, PARSE(&b, "--nope=3"), "see 'pvsched test --help'");
	refused(&b, PARSE(&b, "-n"), "there is no option '-n'");
	refused(&b, PARSE(&b, "-flag"), "there is no option '-flag'");
}

static void options_given_twice_is_refused(void **state)
{
	struct bed b;

	(void)state;
	refused(&b, PARSE(&b, "--number", "3", "--number=4"), "twice");
}

static void options_set_of_names_is_their_bits(void **state)
{
	struct bed b;

	(void)state;
	assert_int_equal(PARSE(&b, "--set", "blue,red"), 0);
	assert_int_equal(b.values.set, 5);
	assert_int_equal(PARSE(&b, "--set", "red,red"), 0);
	assert_int_equal(b.values.set, 1);
}

static void options_unknown_name_is_refused(void **state)
{
	struct bed b;

	(void)state;
	refused(&b, PARSE(&b, "--set", "red,bleu"), "'bleu' is none of the known names");
	refused(&b, PARSE(&b, "--set", "red,"), "one of: red, green, blue");
	refused(&b, PARSE(&b, "--choice", "gree"), "'gree'");
	assert_int_equal(b.values.set, 7);
	assert_int_equal(b.values.choice, 1);
}

static void options_list_of_numbers_keeps_its_order(void **state)
{
	struct bed b;

	(void)state;
	assert_int_equal(PARSE(&b, "--numbers", "3,64,3,0"), 0);
	assert_int_equal(b.values.numbers.n, 3);
	assert_int_equal(b.values.numbers.v[0], 3);
	assert_int_equal(b.values.numbers.v[1], 64);
	assert_int_equal(b.values.numbers.v[2], 0);
	refused(&b, PARSE(&b, "--numbers", "3,65"), "out of range");
	refused(&b, PARSE(&b, "--numbers", "3,,4"), "not a number");
	refused(&b, PARSE(&b, "--numbers", "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16"),
		"at most 16");
}

static void options_operands_are_bounded(void **state)
{
	struct bed b;

	(void)state;
	assert_int_equal(PARSE(&b, "one", "--flag", "--", "--number"), 0);
	assert_int_equal(b.count, 2);
	assert_string_equal(b.operands[0], "one");
	assert_string_equal(b.operands[1], "--number");
	assert_true(b.values.flag);
	refused(&b, PARSE(&b, "1", "2", "3"), "'3' is one operand too many");
}

static void error_with_control_characters_stays_one_line(void **state)
{
	struct bed b;

	(void)state;
	refused(&b, PARSE(&b, "--set", "a\nb"), "a?b");
}

static void error_the_first_one_stands(void **state)
{
	struct cli_error e = { 0 };

	(void)state;
	assert_int_equal(cli_fail(&e, CLI_FAILED, "a", "b", NULL, "%s", "c"), CLI_FAILED);
	assert_int_equal(cli_fail(&e, CLI_USAGE, "x", NULL, "y", "z"), CLI_FAILED);
	assert_string_equal(e.what, "a");
	assert_string_equal(e.why, "c");
	assert_string_equal(e.next, "");
}

static void help_fits_a_terminal_and_names_every_option(void **state)
{
	char *text = NULL, *line, *save;
	char name[32];
	size_t size;
	FILE *f = open_memstream(&text, &size);
	unsigned int i;

	(void)state;
	assert_non_null(f);
	options_help(table, f);
	fclose(f);
	for (i = 0; table[i].name; i++) {
		snprintf(name, sizeof(name), "--%s", table[i].name);
		assert_non_null(strstr(text, name));
	}
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		assert_in_range(strlen(line), 1, 80);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_without_any_are_the_defaults),
		cmocka_unit_test(options_size_takes_units),
		cmocka_unit_test(options_bad_size_is_refused),
		cmocka_unit_test(options_both_spellings_are_taken),
		cmocka_unit_test(options_number_at_its_bounds_is_taken),
		cmocka_unit_test(options_number_out_of_range_is_refused),
		cmocka_unit_test(options_what_is_no_number_is_refused),
		cmocka_unit_test(options_missing_argument_is_refused),
		cmocka_unit_test(options_unknown_is_refused),
		cmocka_unit_test(options_given_twice_is_refused),
		cmocka_unit_test(options_set_of_names_is_their_bits),
		cmocka_unit_test(options_unknown_name_is_refused),
		cmocka_unit_test(options_list_of_numbers_keeps_its_order),
		cmocka_unit_test(options_operands_are_bounded),
		cmocka_unit_test(error_with_control_characters_stays_one_line),
		cmocka_unit_test(error_the_first_one_stands),
		cmocka_unit_test(help_fits_a_terminal_and_names_every_option),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
