// SPDX-License-Identifier: GPL-2.0-only
/* pvsched-guest: the guest's side, for a stock Linux kernel. */
#include "program.h"

extern const struct cmd cmd_guest_run, cmd_guest_status, cmd_guest_latency;

int main(int argc, char **argv)
{
	static const struct cmd *const commands[] = { &cmd_guest_run, &cmd_guest_status,
						      &cmd_guest_latency, NULL };
	static const struct cli_program program = {
		.name = "pvsched-guest",
		.about =
			"pvsched-guest tells the host how urgent the work of each of this guest's CPUs is.",
		.commands = commands,
	};

	return cli_program_run(&program, argc, argv);
}
