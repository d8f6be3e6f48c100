// SPDX-License-Identifier: GPL-2.0-only
/* Reads the configuration file by libinih, see conf.h. */
#include "conf.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ini.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../events/programs.h"

#define FILE_MAX 65536

struct reading {
	struct pvsched_conf *conf;
	char why[160]; /* of the first error */
};

static int wrong(struct reading *r, const char *fmt, const char *a, const char *b)
{
	if (!r->why[0])
		snprintf(r->why, sizeof(r->why), fmt, a, b);
	return 0;
}

static bool read_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || v < min || v > max)
		return false;
	*ret = v;
	return true;
}

/* A built-in policy, or the path of one from outside. */
static bool read_policy(const char *text, char *to)
{
	const char *dot = strstr(text, ".bpf.o");
	bool found = dot && !dot[strlen(".bpf.o")];

	for (const char *const *name = pvsched_policies(); *name && !found; name++)
		found = !strcmp(text, *name);
	if (!found || strlen(text) >= PVSCHED_NAME_MAX)
		return false;
	strcpy(to, text);
	return true;
}

/* "0,2-5": at least one, each below PVSCHED_VCPUS_MAX. */
static bool read_vcpus(const char *text, uint8_t *to)
{
	unsigned long first, last;
	char *end;

	memset(to, 0, PVSCHED_VCPUS_MAX / 8);
	do {
		if (*text < '0' || *text > '9')
			return false;
		first = last = strtoul(text, &end, 10);
		if (*end == '-') {
			if (end[1] < '0' || end[1] > '9')
				return false;
			last = strtoul(end + 1, &end, 10);
		}
		if (first > last || last >= PVSCHED_VCPUS_MAX)
			return false;
		for (unsigned long i = first; i <= last; i++)
			to[i / 8] |= 1u << (i % 8);
		text = end + (*end == ',');
	} while (*end == ',');
	return !*end;
}

static bool read_yes(const char *text, bool *ret)
{
	*ret = !strcmp(text, "yes");
	return *ret || !strcmp(text, "no");
}

#define BUDGETS "boost, cs, cap, gap, ceiling, rate"

static bool is_budget(const char *key)
{
	for (unsigned int i = 0; i < PVSCHED_BUDGET_N; i++)
		if (!strcmp(pvsched_budget_rows[i].name, key))
			return true;
	return false;
}

static int set_budget(struct reading *r, struct pvsched_budget *to, const char *key,
		      const char *value)
{
	unsigned int i = 0;
	char why[128];

	while (strcmp(pvsched_budget_rows[i].name, key))
		i++;
	if (pvsched_budget_read(i, value, &to->value[i]))
		return wrong(r, "%s: '%s' is no such value: see pvsched-budget(1)", key, value);
	if (pvsched_budget_check(i, to->value[i], why, sizeof(why)))
		return wrong(r, "%s%s", key, strchr(why, ':'));
	to->own |= 1u << i;
	return 1;
}

static int set_broker(struct reading *r, const char *key, const char *value)
{
	struct pvsched_conf *c = r->conf;
	static const char *const keys = "policy, found-policy, lead-us, " BUDGETS;

	if (!strcmp(key, "policy"))
		return read_policy(value, c->policy) ||
		       wrong(r,
			     "%s: no policy '%s': use a built-in one or a file that ends in .bpf.o",
			     key, value);
	if (!strcmp(key, "found-policy"))
		return read_policy(value, c->found_policy) ||
		       (!strcmp(value, "none") && strcpy(c->found_policy, value)) ||
		       wrong(r,
			     "%s: no policy '%s': use a built-in one or a file that ends in .bpf.o",
			     key, value);
	if (!strcmp(key, "lead-us"))
		return read_number(value, 1, 10000, &c->lead_us) ||
		       wrong(r, "%s: '%s' is not 1 to 10000", key, value);
	if (is_budget(key))
		return set_budget(r, &c->budget, key, value);
	return wrong(r, "no key '%s' in [broker]: there are %s", key, keys);
}

static int set_rule(struct reading *r, struct pvsched_rule *rule, const char *key,
		    const char *value)
{
	if (!strcmp(key, "serve")) {
		rule->set |= PVSCHED_RULE_SERVE;
		return read_yes(value, &rule->serve) ||
		       wrong(r, "%s: '%s' is not yes or no", key, value);
	}
	if (!strcmp(key, "policy")) {
		rule->set |= PVSCHED_RULE_POLICY;
		return read_policy(value, rule->policy) ||
		       wrong(r,
			     "%s: no policy '%s': use a built-in one or a file that ends in .bpf.o",
			     key, value);
	}
	if (!strcmp(key, "vcpus")) {
		rule->set |= PVSCHED_RULE_VCPUS;
		return read_vcpus(value, rule->vcpus) ||
		       wrong(r, "%s: '%s' is no list like 0,2-5 (0 to 255)", key, value);
	}
	if (is_budget(key))
		return set_budget(r, &rule->budget, key, value);
	return wrong(r, "no key '%s' in a section of VMs or users: there are %s", key,
		     "serve, policy, vcpus, " BUDGETS);
}

/* The rule of this section, which is made when it is new. Users' come before VMs', so that those win. */
static struct pvsched_rule *rule_of(struct reading *r, const char *vm, uid_t uid)
{
	struct pvsched_conf *c = r->conf;
	unsigned int i;

	for (i = 0; i < c->n; i++)
		if (!strcmp(c->rule[i].vm, vm) && (*vm || c->rule[i].uid == uid))
			return &c->rule[i];
	if (c->n == PVSCHED_RULES_MAX) {
		wrong(r, "more than %s sections%s", "64", "");
		return NULL;
	}
	for (i = c->n++; !*vm && i && *c->rule[i - 1].vm; i--)
		c->rule[i] = c->rule[i - 1];
	c->rule[i] = (struct pvsched_rule){ .uid = uid };
	snprintf(c->rule[i].vm, sizeof(c->rule[i].vm), "%s", vm);
	return &c->rule[i];
}

static bool read_user(const char *name, uid_t *ret)
{
	struct passwd *pw;
	uint64_t uid;

	if (read_number(name, 0, UINT32_MAX - 1, &uid)) {
		*ret = uid;
		return true;
	}
	pw = getpwnam(name);
	if (pw)
		*ret = pw->pw_uid;
	return pw;
}

/* libinih's: 0 is an error in this line. */
static int on_key(void *ctx, const char *section, const char *key, const char *value)
{
	struct reading *r = ctx;
	struct pvsched_rule *rule;
	uid_t uid = 0;

	if (!strcmp(section, "broker"))
		return set_broker(r, key, value);
	if (!strncmp(section, "vm ", 3) && section[3]) {
		rule = rule_of(r, section + 3, 0);
	} else if (!strncmp(section, "user ", 5) && section[5]) {
		if (!read_user(section + 5, &uid))
			return wrong(r, "[%s]: no such user%s", section, "");
		rule = rule_of(r, "", uid);
	} else {
		return wrong(r, "no section [%s]: there are %s", section,
			     "[broker], [vm NAME], [user NAME]");
	}
	return rule && set_rule(r, rule, key, value);
}

int pvsched_conf_parse(const char *text, const char *file, struct pvsched_conf *ret, char *error,
		       size_t size)
{
	struct pvsched_conf *c = calloc(1, sizeof(*c));
	struct reading r = { .conf = c };
	int line = c ? ini_parse_string(text, on_key, &r) : -1;

	if (!line)
		*ret = *c;
	else if (line > 0)
		snprintf(error, size, "%s: line %d: %s", file, line,
			 r.why[0] ? r.why : "neither [SECTION] nor KEY = VALUE");
	else
		snprintf(error, size, "%s: out of memory", file);
	free(c);
	return !line ? 0 : line > 0 ? -EINVAL : -ENOMEM;
}

int pvsched_conf_read(const char *file, struct pvsched_conf *ret, char *error, size_t size)
{
	char *text = calloc(1, FILE_MAX + 1);
	int fd = open(file, O_RDONLY | O_CLOEXEC), err = 0;
	ssize_t n = 0;

	if (!text)
		err = -ENOMEM;
	else if (fd < 0 || (n = read(fd, text, FILE_MAX)) < 0)
		err = -errno;
	if (err)
		snprintf(error, size, "%s: %s", file, strerror(-err));
	else if (n == FILE_MAX || memchr(text, 0, n)) {
		err = -EINVAL;
		snprintf(error, size, "%s: no text of less than 64 KiB", file);
	} else {
		err = pvsched_conf_parse(text, file, ret, error, size);
	}
	if (fd >= 0)
		close(fd);
	free(text);
	return err;
}

struct pvsched_choice pvsched_conf_choose(const struct pvsched_conf *conf, const char *vm,
					  uid_t uid)
{
	struct pvsched_choice c = { .serve = true };

	for (unsigned int i = 0; i < conf->n; i++) {
		const struct pvsched_rule *r = &conf->rule[i];

		if (*r->vm ? fnmatch(r->vm, vm, 0) != 0 : r->uid != uid)
			continue;
		if (r->set & PVSCHED_RULE_SERVE)
			c.serve = r->serve;
		if (r->set & PVSCHED_RULE_POLICY)
			c.policy = r->policy;
		if (r->set & PVSCHED_RULE_VCPUS) {
			c.some = true;
			memcpy(c.vcpus, r->vcpus, sizeof(c.vcpus));
		}
		for (unsigned int b = 0; b < PVSCHED_BUDGET_N; b++)
			if (r->budget.own >> b & 1)
				c.budget.value[b] = r->budget.value[b];
		c.budget.own |= r->budget.own;
	}
	return c;
}

bool pvsched_choice_has(const struct pvsched_choice *c, unsigned int vcpu)
{
	return !c->some || (vcpu < PVSCHED_VCPUS_MAX && c->vcpus[vcpu / 8] >> (vcpu % 8) & 1);
}
