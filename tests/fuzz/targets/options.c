// SPDX-License-Identifier: GPL-2.0-only
/*
 * The command line: words, one per line of the input, against a table with every kind of option.
 * What is accepted is in its range; what is refused says why in one line and names what to do.
 */
#include <helpers/fuzz.h>

#include <options.h>

#define WORDS_MAX    24
#define OPERANDS_MAX 3

struct values {
	uint64_t number, any, one, set, size;
	unsigned int choice;
	struct option_numbers numbers;
	const char *string;
	bool flag;
	uint8_t beyond; /* stays 0x5a */
};

static const char *const names[] = { "red", "green", "blue", "greenish", NULL };

#define AT(member) offsetof(struct values, member)

static const struct option table[] = {
	{ "number", OPTION_NUMBER, AT(number), "N", "7", "a number", 2, 40, NULL },
	{ "any", OPTION_NUMBER, AT(any), "N", NULL, "any number", 0, UINT64_MAX, NULL },
	{ "one", OPTION_NUMBER, AT(one), "N", "9", "one number", 9, 9, NULL },
	{ "set", OPTION_SET, AT(set), "S", "all", "a set", 0, 0, names },
	{ "choice", OPTION_CHOICE, AT(choice), "C", "green", "a choice", 0, 0, names },
	{ "numbers", OPTION_NUMBERS, AT(numbers), "N,N", "4,0", "numbers", 0, 64, NULL },
	{ "size", OPTION_SIZE, AT(size), "SIZE", "64M", "a size", 16ull << 20, 4096ull << 20,
	  NULL },
	{ "string", OPTION_STRING, AT(string), "S", NULL, "a string", 0, 0, NULL },
	{ "flag", OPTION_FLAG, AT(flag), NULL, NULL, "a flag", 0, 0, NULL },
	OPTIONS_END
};

static void check_values(const struct values *v)
{
	FUZZ_CHECK(v->number >= 2 && v->number <= 40 && v->one == 9);
	FUZZ_CHECK(v->set > 0 && v->set < 16 && v->choice < 4);
	FUZZ_CHECK(v->size >= 16ull << 20 && v->size <= 4096ull << 20);
	FUZZ_CHECK(v->numbers.n >= 1 && v->numbers.n <= OPTION_NUMBERS_MAX);
	for (unsigned int i = 0; i < v->numbers.n; i++) {
		FUZZ_CHECK(v->numbers.v[i] <= 64);
		for (unsigned int j = 0; j < i; j++)
			FUZZ_CHECK(v->numbers.v[i] != v->numbers.v[j]);
	}
	FUZZ_CHECK(!v->string || *v->string);
}

static void check_error(const struct cli_error *e)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	FUZZ_CHECK(f);
	cli_error_print(e, f);
	fclose(f);
	FUZZ_CHECK(e->exit == CLI_USAGE && *e->what && *e->on && *e->why);
	FUZZ_CHECK(size == strlen(text) && strchr(text, '\n') == text + size - 1);
	free(text);
	text = NULL;
	f = open_memstream(&text, &size);
	FUZZ_CHECK(f);
	cli_error_json(e, f);
	fclose(f);
	for (size_t i = 0; i + 1 < size; i++)
		FUZZ_CHECK((uint8_t)text[i] >= 0x20 || text[i] == '\n');
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *operands[OPERANDS_MAX];
	unsigned int count = 77;
	struct cli_error e = { 0 };
	struct values v = { .beyond = 0x5a };
	char *argv[WORDS_MAX], *words = malloc(size + 1), *rest = words;
	int argc = 0, status;

	FUZZ_CHECK(words);
	memcpy(words, data, size);
	words[size] = 0;
	while (rest && argc < WORDS_MAX)
		argv[argc++] = strsep(&rest, "\n");
	options_defaults(table, &v);
	check_values(&v);
	status = options_parse(table, &v, argc, argv, operands, OPERANDS_MAX, &count, "test", &e);
	FUZZ_CHECK(v.beyond == 0x5a);
	if (status) {
		FUZZ_CHECK(status == CLI_USAGE && count == 77);
		check_error(&e);
	} else {
		FUZZ_CHECK(!e.exit && count <= OPERANDS_MAX);
		check_values(&v);
		for (unsigned int i = 0; i < count; i++)
			FUZZ_CHECK(operands[i] >= words && operands[i] <= words + size);
	}
	free(words);
	fuzz_steps++;
	return 0;
}
