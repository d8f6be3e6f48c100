// SPDX-License-Identifier: GPL-2.0-only
/*
 * pvsched: finds the subcommand, parses its options, prints its error. One thread; subcommands
 * own what they start.
 */
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "version.h"

static const struct cmd *const commands[] = { &cmd_check, &cmd_run,  &cmd_bench,
					      &cmd_serve, &cmd_list, &cmd_policy };

#define COMMANDS (sizeof(commands) / sizeof(*commands))

char cli_command_line[256];

static void keep_command_line(int argc, char **argv)
{
	size_t used = snprintf(cli_command_line, sizeof(cli_command_line), "pvsched");
	int i;

	for (i = 1; i < argc && used < sizeof(cli_command_line); i++)
		used += snprintf(cli_command_line + used, sizeof(cli_command_line) - used,
				 strpbrk(argv[i], " \t\n'\"\\$*?") ? " '%s'" : " %s", argv[i]);
}

static void print_help(FILE *f)
{
	size_t i;

	fputs("pvsched lets a KVM guest and its Linux host schedule together.\n\n"
	      "usage: pvsched COMMAND [OPTIONS]\n"
	      "       pvsched COMMAND --help | --help | --version\n\n"
	      "commands:\n",
	      f);
	for (i = 0; i < COMMANDS; i++)
		fprintf(f, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
	fputs("\nExit status: 0 done, 1 failed (the line on stderr says what, why and what to do),\n"
	      "2 wrong usage.\n",
	      f);
}

static void print_command_help(const struct cmd *c, FILE *f)
{
	fprintf(f, "pvsched %s: %s\n\nusage: pvsched %s [OPTIONS]%s%s\n\n", c->name, c->summary,
		c->name, c->operands ? " " : "", c->operands ? c->operands : "");
	options_help(c->options, f);
	fprintf(f, "  %-22s%s\n", "--help", "this text");
	if (c->details)
		fprintf(f, "\n%s", c->details);
}

static const struct cmd *find_command(const char *name)
{
	size_t i;

	for (i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	return NULL;
}

/* Anywhere before "--", so that it also helps who has something else wrong. */
static bool asks_help(int argc, char **argv)
{
	int i;

	for (i = 0; i < argc && strcmp(argv[i], "--"); i++)
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return true;
	return false;
}

/* Looked for in the words themselves: it counts when another one of them is wrong, too. */
static bool asks_json(const struct option *table, int argc, char **argv)
{
	bool file;
	int i;

	for (; table->name && strcmp(table->name, "json"); table++)
		;
	if (!table->name)
		return false;
	file = table->kind != OPTION_FLAG;
	for (i = 0; i < argc && strcmp(argv[i], "--"); i++) {
		if (!file && !strcmp(argv[i], "--json"))
			return true;
		if (file &&
		    (!strcmp(argv[i], "--json=-") ||
		     (!strcmp(argv[i], "--json") && i + 1 < argc && !strcmp(argv[i + 1], "-"))))
			return true;
	}
	return false;
}

static int run_command(const struct cmd *c, int argc, char **argv, struct cli_error *e,
		       bool *ret_json)
{
	const char *operands[8] = { NULL };
	unsigned int count = 0;
	void *values;
	int status;

	*ret_json = asks_json(c->options, argc, argv);
	values = calloc(1, c->size);
	if (!values)
		return cli_fail(e, CLI_FAILED, "start", c->name, NULL, "out of memory");
	options_defaults(c->options, values);
	status = options_parse(c->options, values, argc, argv, operands, c->max_operands, &count,
			       c->name, e);
	if (!status)
		status = c->run(values, operands, count, e);
	free(values);
	return status;
}

static int dispatch(int argc, char **argv, struct cli_error *e, bool *ret_json)
{
	const struct cmd *c;

	if (argc < 2)
		return cli_fail(e, CLI_USAGE, "wrong usage", NULL, "see 'pvsched --help'",
				"which command?");
	if (!strcmp(argv[1], "--version")) {
		printf("pvsched %s (%s)\n", PVSCHED_RELEASE, PVSCHED_COMMIT);
		return 0;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		c = argc > 2 ? find_command(argv[2]) : NULL;
		if (c)
			print_command_help(c, stdout);
		else
			print_help(stdout);
		return 0;
	}
	c = find_command(argv[1]);
	if (!c)
		return cli_fail(e, CLI_USAGE, "wrong usage", NULL, "see 'pvsched --help'",
				"there is no command '%.100s'", argv[1]);
	if (asks_help(argc - 2, argv + 2)) {
		print_command_help(c, stdout);
		return 0;
	}
	return run_command(c, argc - 2, argv + 2, e, ret_json);
}

int main(int argc, char **argv)
{
	struct cli_error e = { 0 };
	bool json = false;
	int status;

	keep_command_line(argc, argv);
	status = dispatch(argc, argv, &e, &json);
	if (e.exit && json)
		cli_error_json(&e, stdout);
	else if (e.exit)
		cli_error_print(&e, stderr);
	/* a full disk or a closed pipe shows here at the latest */
	if (fflush(stdout) || ferror(stdout)) {
		if (!e.exit) {
			cli_fail(&e, CLI_FAILED, "write", "standard output",
				 "free space, or keep the reader open", "it was not all written");
			cli_error_print(&e, stderr);
		}
		status = CLI_FAILED;
	}
	return status;
}
