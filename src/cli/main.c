// SPDX-License-Identifier: GPL-2.0-only
/* pvsched: the host's side. */
#include "program.h"

int main(int argc, char **argv)
{
	static const struct cmd *const commands[] = { &cmd_check,  &cmd_run,	&cmd_bench,
						      &cmd_serve,  &cmd_list,	&cmd_stat,
						      &cmd_policy, &cmd_budget, NULL };
	static const struct cli_program program = {
		.name = "pvsched",
		.about = "pvsched lets a KVM guest and its Linux host schedule together.",
		.commands = commands,
	};

	return cli_program_run(&program, argc, argv);
}
