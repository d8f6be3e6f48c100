/* SPDX-License-Identifier: GPL-2.0-only */
/* A program of subcommands: its main() is one call. */
#ifndef CLI_PROGRAM_H
#define CLI_PROGRAM_H

#include "cmd.h"

struct cli_program {
	const char *name;
	const char *about; /* one paragraph */
	const struct cmd *const *commands; /* ends with NULL */
};

/* Returns the exit status. Subcommands own what they start. */
int cli_program_run(const struct cli_program *p, int argc, char **argv);

#endif
