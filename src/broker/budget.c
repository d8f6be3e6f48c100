// SPDX-License-Identifier: GPL-2.0-only
/* Values of budgets and what follows from them. See budget.h. */
#include "budget.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

const struct pvsched_budget_row pvsched_budget_rows[PVSCHED_BUDGET_N] = {
	[PVSCHED_BUDGET_BOOST] = { "boost", "%", 40, 1, 90 },
	[PVSCHED_BUDGET_CS] = { "cs", "ns", 10000000, 100000, 10000000 },
	[PVSCHED_BUDGET_CAP] = { "cap", "ns", 1000000, 100000, 100000000 },
	[PVSCHED_BUDGET_GAP] = { "gap", "ns", 0, 0, 1000000000 },
	/* agents and guardian run above it, and the kernel's own threads at 99 above those */
	[PVSCHED_BUDGET_CEILING] = { "ceiling", "fifo:", 1, 1, 90 },
	/* the cost of an actuation times this is what agents may take of a CPU for one vCPU */
	[PVSCHED_BUDGET_RATE] = { "rate", "/s", 5000, 1, 20000 },
};

void pvsched_budget_init(struct pvsched_budget *host)
{
	host->own = (1u << PVSCHED_BUDGET_N) - 1;
	for (unsigned int i = 0; i < PVSCHED_BUDGET_N; i++)
		host->value[i] = pvsched_budget_rows[i].initial;
}

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

int pvsched_budget_read(unsigned int i, const char *text, uint64_t *ret)
{
	const char *unit = pvsched_budget_rows[i].unit;
	size_t length = strlen(text);
	uint64_t value;
	int err;

	if (!strcmp(unit, "ns")) {
		err = parse_time(text, &value);
	} else if (!strcmp(unit, "fifo:")) {
		err = strncmp(text, "fifo:", 5) ? -1 : parse_whole(text + 5, length - 5, &value);
	} else {
		if (!strcmp(unit, "%") && length && text[length - 1] == '%')
			length--;
		err = parse_whole(text, length, &value);
	}
	if (err)
		return -EINVAL;
	*ret = value;
	return 0;
}

int pvsched_budget_check(unsigned int i, uint64_t value, char *err, size_t size)
{
	const struct pvsched_budget_row *r = &pvsched_budget_rows[i];

	if (value >= r->min && value <= r->max)
		return 0;
	if (!strcmp(r->unit, "ns"))
		snprintf(err, size, "--%s: it may be %" PRIu64 " to %" PRIu64 " us", r->name,
			 r->min / 1000, r->max / 1000);
	else
		snprintf(err, size, "--%s: it may be %s%" PRIu64 " to %" PRIu64 "%s", r->name,
			 !strcmp(r->unit, "fifo:") ? r->unit : "", r->min, r->max,
			 !strcmp(r->unit, "%") ? " %" : "");
	return -ERANGE;
}

uint64_t pvsched_budget_value(unsigned int i, const struct pvsched_budget *level,
			      const struct pvsched_budget *above)
{
	return level->own >> i & 1 ? level->value[i] : above->value[i];
}

void pvsched_budget_resolve(const struct pvsched_budget *host, const struct pvsched_budget *vm,
			    const struct pvsched_budget *vcpu, unsigned int vcpus,
			    struct pvsched_limits *ret)
{
	struct pvsched_budget v;
	uint64_t vm_percent = pvsched_budget_value(PVSCHED_BUDGET_BOOST, vm, host);

	for (unsigned int i = 0; i < PVSCHED_BUDGET_N; i++) {
		v.value[i] = pvsched_budget_value(i, vm, host);
		v.value[i] = pvsched_budget_value(i, vcpu, &v);
	}
	memset(ret, 0, sizeof(*ret));
	ret->cs = pvsched_bucket_conf(v.value[PVSCHED_BUDGET_BOOST], v.value[PVSCHED_BUDGET_CS]);
	ret->all = pvsched_bucket_conf(v.value[PVSCHED_BUDGET_BOOST], PVSCHED_BUDGET_BURST_NS);
	ret->vm = pvsched_bucket_conf(vm_percent * vcpus, PVSCHED_BUDGET_BURST_NS * vcpus);
	ret->cpu = pvsched_bucket_conf(host->value[PVSCHED_BUDGET_BOOST], PVSCHED_BUDGET_BURST_NS);
	/* a tenth of a second's at once */
	ret->rate = pvsched_rate_conf(v.value[PVSCHED_BUDGET_RATE],
				      (v.value[PVSCHED_BUDGET_RATE] + 9) / 10);
	ret->cap_ns = v.value[PVSCHED_BUDGET_CAP];
	ret->gap_ns = v.value[PVSCHED_BUDGET_GAP];
	ret->ceiling = v.value[PVSCHED_BUDGET_CEILING];
}
