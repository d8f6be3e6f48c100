// SPDX-License-Identifier: GPL-2.0-only
/* Budgets as text, see budget_text.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "budget_text.h"

int budget_parse(unsigned int i, const char *text, uint64_t *ret_value, bool *ret_inherit,
		 struct cli_error *e)
{
	const struct pvsched_budget_row *r = &pvsched_budget_rows[i];
	const char *next = "give a whole number, or 'default'";
	char on[32], why[128];
	uint64_t value = 0;

	snprintf(on, sizeof(on), "--%s", r->name);
	*ret_inherit = !strcmp(text, "default");
	if (*ret_inherit)
		return 0;
	if (!strcmp(r->unit, "ns"))
		next = "give a time with its unit: 500us, 1.5ms, or 'default'";
	else if (!strcmp(r->unit, "fifo:"))
		next = "give fifo:N, or 'default'";
	if (pvsched_budget_read(i, text, &value))
		return cli_fail(e, CLI_USAGE, "wrong option", on, next, "'%.60s' is no such value",
				text);
	if (pvsched_budget_check(i, value, why, sizeof(why)))
		return cli_fail(e, CLI_USAGE, "wrong option", on, NULL, "'%.60s' is out of range%s",
				text, strchr(why, ':'));
	*ret_value = value;
	return 0;
}

const char *budget_time(uint64_t ns, char *buf, size_t size)
{
	if (ns >= 1000000)
		snprintf(buf, size, "%.4g ms", (double)ns / 1e6);
	else
		snprintf(buf, size, "%" PRIu64 " us", ns / 1000);
	return buf;
}

const char *budget_show(unsigned int i, uint64_t value, char *buf, size_t size)
{
	const char *unit = pvsched_budget_rows[i].unit;

	if (!strcmp(unit, "ns"))
		return budget_time(value, buf, size);
	if (!strcmp(unit, "fifo:"))
		snprintf(buf, size, "fifo:%" PRIu64, value);
	else
		snprintf(buf, size, "%" PRIu64 "%s", value, !strcmp(unit, "%") ? " %" : unit);
	return buf;
}
