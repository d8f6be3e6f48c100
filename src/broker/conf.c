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

#define FILE_MAX    65536
#define LINE_CUT    198 /* libinih takes what is longer for two lines */
#define SECTION_CUT 49 /* and only the beginning of a longer name */

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
	if (!found || strlen(text) >= PVSCHED_PATH_MAX)
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

static int set_user(struct reading *r, struct pvsched_rule *rule, const char *value)
{
	uid_t uid;

	if (!*rule->vm)
		return wrong(r, "user: %s names its user itself%s", "this section", "");
	if (!read_user(value, &uid))
		return wrong(r, "user: no such user: '%s'%s", value, "");
	if (rule->set & PVSCHED_RULE_USER && rule->uid != uid)
		return wrong(r, "user: [vm %s] has another one already%s", rule->vm, "");
	rule->set |= PVSCHED_RULE_USER;
	rule->uid = uid;
	return 1;
}

static int set_rule(struct reading *r, struct pvsched_rule *rule, const char *key,
		    const char *value)
{
	if (!strcmp(key, "user"))
		return set_user(r, rule, value);
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
		     "serve, policy, vcpus, user (of VMs), " BUDGETS);
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

/* The first line of which libinih would drop a part without a word; 0 = there is none. */
static int find_cut(struct reading *r, const char *text)
{
	const char *line = text, *end, *from;

	for (int n = 1; *line; n++) {
		end = strchrnul(line, '\n');
		from = line + strspn(line, " \t\r\v\f");
		if (end - line > LINE_CUT) {
			wrong(r, "longer than %s characters%s", "198", "");
			return n;
		}
		if (*from == '[' && strcspn(from + 1, "]\n") > SECTION_CUT) {
			wrong(r, "a section's name is longer than %s characters: %s", "49",
			      "use a pattern, as [vm long-name-*]");
			return n;
		}
		line = end + (*end == '\n');
	}
	return 0;
}

int pvsched_conf_parse(const char *text, const char *file, struct pvsched_conf *ret, char *error,
		       size_t size)
{
	struct pvsched_conf *c = calloc(1, sizeof(*c));
	struct reading r = { .conf = c };
	int line = c ? find_cut(&r, text) : -1;

	if (!line)
		line = ini_parse_string(text, on_key, &r);
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

static uint64_t narrower(unsigned int budget, uint64_t a, uint64_t b)
{
	bool less = budget != PVSCHED_BUDGET_GAP;

	return (a < b) == less ? a : b;
}

/* user: whose section is not to be widened; NULL = nobody's. */
static void apply(struct pvsched_choice *c, const struct pvsched_rule *r,
		  const struct pvsched_rule *user)
{
	uint32_t bound = user ? user->set : 0, budgets = user ? user->budget.own : 0;

	if (r->set & PVSCHED_RULE_SERVE)
		c->serve = r->serve && (c->serve || !(bound & PVSCHED_RULE_SERVE));
	if (r->set & PVSCHED_RULE_POLICY &&
	    (!(bound & PVSCHED_RULE_POLICY) || !strcmp(r->policy, "off")))
		c->policy = r->policy;
	if (r->set & PVSCHED_RULE_VCPUS) {
		for (size_t i = 0; i < sizeof(c->vcpus); i++)
			c->vcpus[i] = r->vcpus[i] &
				      (bound & PVSCHED_RULE_VCPUS ? c->vcpus[i] : 0xff);
		c->some = true;
	}
	for (unsigned int b = 0; b < PVSCHED_BUDGET_N; b++)
		if (r->budget.own >> b & 1)
			c->budget.value[b] = budgets >> b & 1 ? narrower(b, c->budget.value[b],
									 r->budget.value[b])
							      : r->budget.value[b];
	c->budget.own |= r->budget.own;
}

struct pvsched_choice pvsched_conf_choose(const struct pvsched_conf *conf, const char *vm,
					  uid_t uid)
{
	struct pvsched_choice c = { .serve = true };
	const struct pvsched_rule *user = NULL;

	for (unsigned int i = 0; i < conf->n; i++) {
		const struct pvsched_rule *r = &conf->rule[i];
		bool his = r->uid == uid && (!*r->vm || r->set & PVSCHED_RULE_USER);

		if (*r->vm ? fnmatch(r->vm, vm, 0) || (r->set & PVSCHED_RULE_USER && !his) : !his)
			continue;
		apply(&c, r, his ? NULL : user);
		if (!*r->vm)
			user = r;
	}
	return c;
}

bool pvsched_conf_may_serve(const struct pvsched_conf *conf, uid_t uid)
{
	bool may = true;

	for (unsigned int i = 0; i < conf->n; i++) {
		const struct pvsched_rule *r = &conf->rule[i];

		if (!(r->set & PVSCHED_RULE_SERVE) || r->uid != uid)
			continue;
		if (!*r->vm)
			may = r->serve;
		else if (r->set &
			 PVSCHED_RULE_USER) /* only one that names him adds to his section */
			may |= r->serve;
	}
	return may;
}

bool pvsched_choice_has(const struct pvsched_choice *c, unsigned int vcpu)
{
	return !c->some || (vcpu < PVSCHED_VCPUS_MAX && c->vcpus[vcpu / 8] >> (vcpu % 8) & 1);
}
