// SPDX-License-Identifier: GPL-2.0-only
/* The JSON reader: what it takes is printed, and is then the same again. */
#include <helpers/fuzz.h>

#include <json/json.h>
#include <json/parse.h>
#include <stdlib.h>
#include <string.h>

static char *print(const struct json_value *v, size_t *size)
{
	char *text;
	FILE *f = open_memstream(&text, size);

	json_print(v, f);
	fclose(f);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json_value *v = json_parse((const char *)data, size, JSON_DEPTH_MAX - 1), *again;
	size_t first_size, second_size;
	char *first, *second;

	if (!v)
		return 0;
	fuzz_steps++;
	first = print(v, &first_size);
	again = json_parse(first, first_size, JSON_DEPTH_MAX - 1);
	FUZZ_CHECK(again);
	second = print(again, &second_size);
	FUZZ_CHECK(first_size == second_size && !memcmp(first, second, first_size));
	free(first);
	free(second);
	json_free(again);
	json_free(v);
	return 0;
}
