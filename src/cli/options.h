/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Declarative option tables: one row says how an option is typed, its range, its default, where
 * it goes and what --help says. Defaults go through the same code as what a user types, so help
 * and behaviour cannot disagree. The values belong to the caller; strings point into argv.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "error.h"

enum option_kind {
	OPTION_FLAG, /* bool */
	OPTION_NUMBER, /* uint64_t, decimal, min..max */
	OPTION_SIZE, /* uint64_t, bytes: decimal, with K, M or G behind it; min..max */
	OPTION_STRING, /* const char *, not empty */
	OPTION_CHOICE, /* unsigned int: index into names */
	OPTION_SET, /* uint64_t: bit i = names[i]; comma-separated, or "all" */
	OPTION_NUMBERS, /* struct option_numbers, comma-separated, each min..max */
};

#define OPTION_NUMBERS_MAX 16

struct option_numbers {
	unsigned int n;
	uint64_t v[OPTION_NUMBERS_MAX]; /* in the order given, each once */
};

struct option {
	const char *name; /* without the dashes; NULL ends a table */
	enum option_kind kind;
	size_t offset; /* of the value in the command's struct */
	const char *arg; /* what --help calls the argument; NULL for flags */
	const char *initial; /* as a user would type it; NULL = zero */
	const char *help;
	uint64_t min, max;
	const char *const *names; /* NULL-terminated */
};

#define OPTIONS_END                                                                                \
	{                                                                                          \
		.name = NULL                                                                       \
	}

/* Sets every value of the table to its default. A table whose default is no valid value is a
 * defect of the program: asserted. */
void options_defaults(const struct option *table, void *values);

/*
 * Takes "--name=value", "--name value" and flags out of argv; "--" ends them. What is left are
 * operands, at most max_operands of them, *ret_operands says how many. A table's row may be given
 * once. Returns 0 or CLI_USAGE with e filled. `command` is for the hint.
 */
int options_parse(const struct option *table, void *values, int argc, char **argv,
		  const char **operands, unsigned int max_operands, unsigned int *ret_operands,
		  const char *command, struct cli_error *e);

/* The options part of --help. */
void options_help(const struct option *table, FILE *f);

#endif
