/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An error as a user reads it: what failed, on what, why, what to do next. One line on stderr,
 * or one JSON object on stdout. The caller owns the struct; nothing locks.
 */
#ifndef CLI_ERROR_H
#define CLI_ERROR_H

#include <stdbool.h>
#include <stdio.h>

#include "json/json.h"

#define CLI_FAILED 1
#define CLI_USAGE  2

extern const char *cli_name; /* of the program: begins each line; set once, at its start */

struct cli_error {
	int exit; /* 0 = no error, CLI_FAILED, CLI_USAGE */
	char what[80];
	char on[200];
	char why[600];
	char next[300];
};

/* Sets it unless one is set already: the first error is the cause. `on` and `next` may be NULL.
 * Returns the exit status, to be returned on. why: printf format. */
__attribute__((format(printf, 6, 7))) int cli_fail(struct cli_error *e, int exit, const char *what,
						   const char *on, const char *next,
						   const char *why, ...);

/* "pvsched: what: on: why: next" and a newline. */
void cli_error_print(const struct cli_error *e, FILE *f);
/* "error": {...}, inside an object that is open. */
void cli_error_member(const struct cli_error *e, struct json *j);
/* {"error": {"what", "on", "why", "next", "exit"}} */
void cli_error_json(const struct cli_error *e, FILE *f);

#endif
