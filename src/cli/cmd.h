/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A subcommand of pvsched: one file cmd_NAME.c, one row in main.c.
 */
#ifndef CLI_CMD_H
#define CLI_CMD_H

#include "options.h"

struct cmd {
	const char *name;
	const char *summary; /* one line, lower case */
	const char *operands; /* as --help shows them; NULL = none */
	const char *details; /* paragraphs of --help after the options; NULL = none */
	/* An option "json" makes errors JSON on stdout too: a flag when given, a file when "-". */
	const struct option *options;
	size_t size; /* of the values; the options' offsets point into it */
	unsigned int max_operands;
	/* Returns 0, or an exit status with e filled (an e left empty exits silently with it). */
	int (*run)(const void *values, const char **operands, unsigned int count,
		   struct cli_error *e);
};

/* Of an option "actuator"; as table.c has them. */
#define ACTUATOR_NAMES                                                                             \
	"agent, scx, kmod, kmod-policy, or auto: kmod where its module is loaded, else agent"

extern const struct cmd cmd_bench, cmd_budget, cmd_check, cmd_list, cmd_policy, cmd_run, cmd_serve,
	cmd_stat;

/* Says which command line this is, for a report to repeat it: "pvsched bench --rounds 3". */
extern char cli_command_line[256];

#endif
