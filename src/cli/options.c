// SPDX-License-Identifier: GPL-2.0-only
/*
 * The option parser. No state: tables are constant, values the caller's.
 */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "options.h"

#define ROWS_MAX 64

static void *value_of(const struct option *o, void *values)
{
	return (char *)values + o->offset;
}

static int bad(struct cli_error *e, const struct option *o, const char *next, const char *given,
	       const char *why)
{
	char on[96];

	snprintf(on, sizeof(on), "--%s", o->name);
	return cli_fail(e, CLI_USAGE, "wrong option", on, next, "'%.100s' %s", given, why);
}

static void list_names(const struct option *o, char *buf, size_t size)
{
	size_t used = 0;
	unsigned int i;

	for (i = 0; o->names[i] && used < size; i++)
		used += snprintf(buf + used, size - used, "%s%s", i ? ", " : "", o->names[i]);
}

/* Decimal digits only: no sign, no blanks, no suffix, no octal surprise. */
static int parse_number(const struct option *o, const char *text, size_t length, uint64_t *ret,
			struct cli_error *e)
{
	char given[64], range[96];
	uint64_t v = 0;
	bool over = false;
	size_t i;

	snprintf(given, sizeof(given), "%.*s", length < 60 ? (int)length : 60, text);
	snprintf(range, sizeof(range), "give a whole number from %" PRIu64 " to %" PRIu64, o->min,
		 o->max);
	for (i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9')
			return bad(e, o, range, given, "is not a number");
		over |= __builtin_mul_overflow(v, 10u, &v);
		over |= __builtin_add_overflow(v, (uint64_t)(text[i] - '0'), &v);
	}
	if (!length)
		return bad(e, o, range, given, "is not a number");
	if (over || v < o->min || v > o->max)
		return bad(e, o, range, given, "is out of range");
	*ret = v;
	return 0;
}

/* A number of bytes, or of what its last letter says. Ranges are whole MiB. */
static int parse_size(const struct option *o, const char *text, uint64_t *ret, struct cli_error *e)
{
	static const char units[] = "KMG";
	const struct option any = { .name = o->name, .max = UINT64_MAX };
	size_t length = strlen(text);
	const char *unit = length ? strchr(units, text[length - 1]) : NULL;
	unsigned int shift = unit ? 10 * (unit - units + 1) : 0;
	char range[96];
	uint64_t v = 0;
	int err;

	snprintf(range, sizeof(range),
		 "give a whole number with K, M or G behind it, from %" PRIu64 "M to %" PRIu64 "M",
		 o->min >> 20, o->max >> 20);
	err = parse_number(&any, text, length - !!unit, &v, e);
	if (err) {
		snprintf(e->next, sizeof(e->next), "%s", range);
		return err;
	}
	if (v > UINT64_MAX >> shift || v << shift < o->min || v << shift > o->max)
		return bad(e, o, range, text, "is out of range");
	*ret = v << shift;
	return 0;
}

static int parse_name(const struct option *o, const char *text, size_t length, unsigned int *ret,
		      struct cli_error *e)
{
	char given[64], next[280] = "one of: ";
	unsigned int i;

	for (i = 0; o->names[i]; i++) {
		if (strlen(o->names[i]) == length && !memcmp(o->names[i], text, length)) {
			*ret = i;
			return 0;
		}
	}
	snprintf(given, sizeof(given), "%.*s", length < 60 ? (int)length : 60, text);
	list_names(o, next + strlen(next), sizeof(next) - strlen(next));
	return bad(e, o, next, given, "is none of the known names");
}

static int parse_set(const struct option *o, const char *text, uint64_t *ret, struct cli_error *e)
{
	uint64_t set = 0;
	unsigned int i;
	size_t length;
	int err;

	if (!strcmp(text, "all")) {
		for (i = 0; o->names[i]; i++)
			set |= 1ull << i;
		*ret = set;
		return 0;
	}
	for (;; text += length + 1) {
		length = strcspn(text, ",");
		err = parse_name(o, text, length, &i, e);
		if (err)
			return err;
		set |= 1ull << i;
		if (!text[length])
			break;
	}
	*ret = set;
	return 0;
}

static int parse_numbers(const struct option *o, const char *text, struct option_numbers *ret,
			 struct cli_error *e)
{
	struct option_numbers list = { 0 };
	unsigned int i;
	uint64_t v = 0;
	size_t length;
	int err;

	for (;; text += length + 1) {
		length = strcspn(text, ",");
		err = parse_number(o, text, length, &v, e);
		if (err)
			return err;
		for (i = 0; i < list.n && list.v[i] != v; i++)
			;
		if (i == OPTION_NUMBERS_MAX)
			return bad(e, o, "give at most 16", text, "is one too many");
		if (i == list.n)
			list.v[list.n++] = v;
		if (!text[length])
			break;
	}
	*ret = list;
	return 0;
}

static int set_value(const struct option *o, void *value, const char *text, struct cli_error *e)
{
	switch (o->kind) {
	case OPTION_FLAG:
		*(bool *)value = true;
		return 0;
	case OPTION_NUMBER:
		return parse_number(o, text, strlen(text), value, e);
	case OPTION_SIZE:
		return parse_size(o, text, value, e);
	case OPTION_STRING:
		if (!*text)
			return bad(e, o, NULL, text, "is empty");
		*(const char **)value = text;
		return 0;
	case OPTION_CHOICE:
		return parse_name(o, text, strlen(text), value, e);
	case OPTION_SET:
		return parse_set(o, text, value, e);
	case OPTION_NUMBERS:
		return parse_numbers(o, text, value, e);
	}
	return 0;
}

static size_t size_of(enum option_kind kind)
{
	switch (kind) {
	case OPTION_FLAG:
		return sizeof(bool);
	case OPTION_STRING:
		return sizeof(const char *);
	case OPTION_CHOICE:
		return sizeof(unsigned int);
	case OPTION_NUMBERS:
		return sizeof(struct option_numbers);
	default:
		return sizeof(uint64_t);
	}
}

void options_defaults(const struct option *table, void *values)
{
	struct cli_error e = { 0 };
	int err;

	for (; table->name; table++) {
		memset(value_of(table, values), 0, size_of(table->kind));
		if (!table->initial)
			continue;
		err = set_value(table, value_of(table, values), table->initial, &e);
		assert(!err);
		(void)err;
	}
}

static const struct option *find(const struct option *table, const char *name, size_t length)
{
	for (; table->name; table++)
		if (strlen(table->name) == length && !memcmp(table->name, name, length))
			return table;
	return NULL;
}

int options_parse(const struct option *table, void *values, int argc, char **argv,
		  const char **operands, unsigned int max_operands, unsigned int *ret_operands,
		  const char *command, struct cli_error *e)
{
	char hint[96], on[96];
	const struct option *o;
	const char *name, *text;
	unsigned int count = 0;
	bool seen[ROWS_MAX] = { false }, ended = false;
	size_t length;
	int i, err;

	snprintf(hint, sizeof(hint), "see '%s %s --help'", cli_name, command);
	for (i = 0; i < argc; i++) {
		if (!ended && !strcmp(argv[i], "--")) {
			ended = true;
			continue;
		}
		if (ended || argv[i][0] != '-' || !argv[i][1]) {
			if (count == max_operands)
				return cli_fail(e, CLI_USAGE, "wrong usage", command, hint,
						"'%.100s' is one operand too many", argv[i]);
			operands[count++] = argv[i];
			continue;
		}
		name = argv[i] + 1 + (argv[i][1] == '-');
		length = strcspn(name, "=");
		o = argv[i][1] == '-' ? find(table, name, length) : NULL;
		if (!o)
			return cli_fail(e, CLI_USAGE, "wrong usage", command, hint,
					"there is no option '%.*s'",
					(int)(name - argv[i] + (length < 80 ? length : 80)),
					argv[i]);
		snprintf(on, sizeof(on), "--%s", o->name);
		assert(o - table < ROWS_MAX);
		if (seen[o - table])
			return cli_fail(e, CLI_USAGE, "wrong option", on, "give it once",
					"it was given twice");
		seen[o - table] = true;
		text = name[length] == '=' ? name + length + 1 : NULL;
		if (o->kind == OPTION_FLAG) {
			if (text)
				return cli_fail(e, CLI_USAGE, "wrong option", on, hint,
						"it takes no argument");
		} else if (!text) {
			if (++i == argc)
				return cli_fail(e, CLI_USAGE, "wrong option", on, hint,
						"its argument %s is missing", o->arg);
			text = argv[i];
		}
		err = set_value(o, value_of(o, values), text, e);
		if (err)
			return err;
	}
	*ret_operands = count;
	return 0;
}

/* Fills lines of at most 80 columns, indented. */
static void put_wrapped(const char *text, unsigned int indent, FILE *f)
{
	unsigned int column = indent;
	size_t word;

	while (*text) {
		word = strcspn(text, " ");
		if (column > indent && column + 1 + word > 80) {
			fprintf(f, "\n%*s", (int)indent, "");
			column = indent;
		} else if (column > indent) {
			fputc(' ', f);
			column++;
		}
		fprintf(f, "%.*s", (int)word, text);
		column += word;
		text += word;
		text += strspn(text, " ");
	}
	fputc('\n', f);
}

#define HELP_COLUMN 24

void options_help(const struct option *table, FILE *f)
{
	char left[80], text[600], names[280];
	const struct option *o;
	size_t used;

	for (o = table; o->name; o++) {
		snprintf(left, sizeof(left), "  --%s%s%s", o->name, o->arg ? " " : "",
			 o->arg ? o->arg : "");
		used = snprintf(text, sizeof(text), "%s", o->help);
		if (o->kind == OPTION_NUMBER || o->kind == OPTION_NUMBERS)
			used += snprintf(text + used, sizeof(text) - used,
					 " (%" PRIu64 "..%" PRIu64 ")", o->min, o->max);
		if (o->kind == OPTION_SIZE)
			used += snprintf(text + used, sizeof(text) - used,
					 " (%" PRIu64 "M..%" PRIu64 "M)", o->min >> 20,
					 o->max >> 20);
		if (o->kind == OPTION_SET || o->kind == OPTION_CHOICE) {
			list_names(o, names, sizeof(names));
			used += snprintf(text + used, sizeof(text) - used, ": %s", names);
		}
		if (o->initial && strcmp(o->initial, "0"))
			snprintf(text + used, sizeof(text) - used, " [%s]", o->initial);
		if (strlen(left) + 2 > HELP_COLUMN)
			fprintf(f, "%s\n%*s", left, HELP_COLUMN, "");
		else
			fprintf(f, "%-*s", HELP_COLUMN, left);
		put_wrapped(text, HELP_COLUMN, f);
	}
}
