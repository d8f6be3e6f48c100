// SPDX-License-Identifier: GPL-2.0-only
/*
 * Errors of the command, as text and as JSON. State is the caller's.
 */
#include <stdarg.h>

#include "error.h"
#include "core/plain.h"

const char *cli_name = "pvsched";

int cli_fail(struct cli_error *e, int exit, const char *what, const char *on, const char *next,
	     const char *why, ...)
{
	va_list args;

	if (e->exit)
		return e->exit;
	e->exit = exit;
	snprintf(e->what, sizeof(e->what), "%s", what);
	snprintf(e->on, sizeof(e->on), "%s", on ? on : "");
	snprintf(e->next, sizeof(e->next), "%s", next ? next : "");
	va_start(args, why);
	vsnprintf(e->why, sizeof(e->why), why, args);
	va_end(args);
	return exit;
}

/* An operand may hold anything: one line stays one line. */
static void put_line(const char *s, FILE *f)
{
	for (unsigned int n; *s; s += n ? n : 1) {
		n = pvsched_obeyed(s);
		fputc(n ? '?' : *s, f);
	}
}

void cli_error_print(const struct cli_error *e, FILE *f)
{
	const char *parts[] = { e->what, e->on, e->why, e->next };
	unsigned int i;

	fputs(cli_name, f);
	for (i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		if (!*parts[i])
			continue;
		fputs(": ", f);
		put_line(parts[i], f);
	}
	fputc('\n', f);
}

void cli_error_member(const struct cli_error *e, struct json *j)
{
	json_object(j, "error");
	json_str(j, "what", e->what);
	json_str(j, "on", e->on);
	json_str(j, "why", e->why);
	json_str(j, "next", e->next);
	json_i64(j, "exit", e->exit);
	json_end(j, '}');
}

void cli_error_json(const struct cli_error *e, FILE *f)
{
	struct json j;

	json_init(&j, f);
	json_object(&j, NULL);
	cli_error_member(e, &j);
	json_end(&j, '}');
}
