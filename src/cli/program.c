// SPDX-License-Identifier: GPL-2.0-only
/* Finds the subcommand, parses its options, prints its error. One thread. */
#include <stdlib.h>
#include <string.h>

#include "program.h"
#include "version.h"

char cli_command_line[256];

static void keep_command_line(int argc, char **argv)
{
	size_t used = snprintf(cli_command_line, sizeof(cli_command_line), "%s", cli_name);
	int i;

	for (i = 1; i < argc && used < sizeof(cli_command_line); i++)
		used += snprintf(cli_command_line + used, sizeof(cli_command_line) - used,
				 strpbrk(argv[i], " \t\n'\"\\$*?") ? " '%s'" : " %s", argv[i]);
}

static void print_help(const struct cli_program *p, FILE *f)
{
	fprintf(f,
		"%s\n\n"
		"usage: %s COMMAND [OPTIONS]\n"
		"       %s COMMAND --help | --help | --version\n\n"
		"commands:\n",
		p->about, p->name, p->name);
	for (unsigned int i = 0; p->commands[i]; i++)
		fprintf(f, "  %-10s %s\n", p->commands[i]->name, p->commands[i]->summary);
	fputs("\nExit status: 0 done, 1 failed (the line on stderr says what, why and what to do),\n"
	      "2 wrong usage.\n",
	      f);
}

static void print_command_help(const struct cmd *c, FILE *f)
{
	fprintf(f, "%s %s: %s\n\nusage: %s %s [OPTIONS]%s%s\n\n", cli_name, c->name, c->summary,
		cli_name, c->name, c->operands ? " " : "", c->operands ? c->operands : "");
	options_help(c->options, f);
	fprintf(f, "  %-22s%s\n", "--help", "this text");
	if (c->details)
		fprintf(f, "\n%s", c->details);
}

static const struct cmd *find_command(const struct cli_program *p, const char *name)
{
	for (unsigned int i = 0; p->commands[i]; i++)
		if (!strcmp(p->commands[i]->name, name))
			return p->commands[i];
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

static int dispatch(const struct cli_program *p, int argc, char **argv, struct cli_error *e,
		    bool *ret_json)
{
	const struct cmd *c;
	char hint[64];

	snprintf(hint, sizeof(hint), "see '%s --help'", p->name);
	if (argc < 2)
		return cli_fail(e, CLI_USAGE, "wrong usage", NULL, hint, "which command?");
	if (!strcmp(argv[1], "--version")) {
		printf("%s %s (%s)\n", p->name, PVSCHED_RELEASE, PVSCHED_COMMIT);
		return 0;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		c = argc > 2 ? find_command(p, argv[2]) : NULL;
		if (c)
			print_command_help(c, stdout);
		else
			print_help(p, stdout);
		return 0;
	}
	c = find_command(p, argv[1]);
	if (!c)
		return cli_fail(e, CLI_USAGE, "wrong usage", NULL, hint,
				"there is no command '%.100s'", argv[1]);
	if (asks_help(argc - 2, argv + 2)) {
		print_command_help(c, stdout);
		return 0;
	}
	return run_command(c, argc - 2, argv + 2, e, ret_json);
}

int cli_program_run(const struct cli_program *p, int argc, char **argv)
{
	struct cli_error e = { 0 };
	bool json = false;
	int status;

	cli_name = p->name;
	keep_command_line(argc, argv);
	status = dispatch(p, argc, argv, &e, &json);
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
