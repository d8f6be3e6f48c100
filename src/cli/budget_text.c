// SPDX-License-Identifier: GPL-2.0-only
/* Budgets as text, see budget_text.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "budget_text.h"

/* Digits, and up to three more behind a point: thousandths. */
static int parse_milli(const char *text, size_t length, uint64_t *ret)
{
	uint64_t v = 0, scale = 1000;
	bool point = false, digit = false;

	for (size_t i = 0; i < length; i++) {
		if (text[i] == '.' && !point) {
			point = true;
			continue;
		}
		if (text[i] < '0' || text[i] > '9' || (point && scale == 1) || v > 1ull << 50)
			return -1;
		digit = true;
		v = v * 10 + (text[i] - '0');
		scale /= point ? 10 : 1;
	}
	*ret = v * scale;
	return digit ? 0 : -1;
}

static int parse_time(const char *text, uint64_t *ret)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = { { "us", 1000 }, { "ms", 1000000 }, { "s", 1000000000 } };
	size_t length = strlen(text), n;
	uint64_t milli;

	for (unsigned int i = 0; i < 3; i++) {
		n = strlen(units[i].name);
		if (length > n && !strcmp(text + length - n, units[i].name) &&
		    !parse_milli(text, length - n, &milli) && milli < UINT64_MAX / units[i].ns) {
			*ret = milli * units[i].ns / 1000;
			return 0;
		}
	}
	return -1;
}

static int parse_whole(const char *text, size_t length, uint64_t *ret)
{
	uint64_t milli;

	if (memchr(text, '.', length) || parse_milli(text, length, &milli))
		return -1;
	*ret = milli / 1000;
	return 0;
}

int budget_parse(unsigned int i, const char *text, uint64_t *ret_value, bool *ret_inherit,
		 struct cli_error *e)
{
	const struct pvsched_budget_row *r = &pvsched_budget_rows[i];
	const char *next = "give a whole number, or 'default'";
	size_t length = strlen(text);
	char on[32], why[128];
	uint64_t value = 0;
	int err;

	snprintf(on, sizeof(on), "--%s", r->name);
	*ret_inherit = !strcmp(text, "default");
	if (*ret_inherit)
		return 0;
	if (!strcmp(r->unit, "ns")) {
		next = "give a time with its unit: 500us, 1.5ms, or 'default'";
		err = parse_time(text, &value);
	} else if (!strcmp(r->unit, "fifo:")) {
		next = "give fifo:N, or 'default'";
		err = strncmp(text, "fifo:", 5) ? -1 : parse_whole(text + 5, length - 5, &value);
	} else {
		if (!strcmp(r->unit, "%") && length && text[length - 1] == '%')
			length--;
		err = parse_whole(text, length, &value);
	}
	if (err)
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
