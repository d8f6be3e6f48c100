/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The configuration file (pvsched.conf(5)): what the broker does unless a VM, or its user, has a
 * section of its own. Reading has no side effect but look-ups of users; the value is the caller's.
 */
#ifndef PVSCHED_BROKER_CONF_H
#define PVSCHED_BROKER_CONF_H

#include <pvsched/abi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "budget.h"

#define PVSCHED_CONF	  "/etc/pvsched.conf"
#define PVSCHED_RULES_MAX 64
#define PVSCHED_NAME_MAX  64
#define PVSCHED_PATH_MAX  200 /* a whole line of the file has less */

enum pvsched_rule_key {
	PVSCHED_RULE_SERVE = 1,
	PVSCHED_RULE_POLICY = 2,
	PVSCHED_RULE_VCPUS = 4,
	PVSCHED_RULE_USER = 8,
};

/* A section: what it sets, and for whom. */
struct pvsched_rule {
	char vm[PVSCHED_NAME_MAX]; /* a pattern of names, as the shell has them; empty: by user */
	uid_t uid; /* with a pattern: only of this user's VMs, if it is set */
	uint32_t set; /* enum pvsched_rule_key */
	bool serve;
	char policy[PVSCHED_PATH_MAX];
	uint8_t vcpus[PVSCHED_VCPUS_MAX / 8];
	struct pvsched_budget budget;
};

struct pvsched_conf {
	/* section [broker]; empty and 0: not set */
	char policy[PVSCHED_PATH_MAX], found_policy[PVSCHED_PATH_MAX];
	uint64_t lead_us;
	struct pvsched_budget budget; /* the host's */
	struct pvsched_rule
		rule[PVSCHED_RULES_MAX]; /* users' first, then VMs', each in the file's order */
	unsigned int n;
};

/* What applies to one VM. */
struct pvsched_choice {
	bool serve;
	const char *policy; /* NULL: the broker's */
	bool some; /* vcpus says which; otherwise all */
	uint8_t vcpus[PVSCHED_VCPUS_MAX / 8];
	struct pvsched_budget budget; /* of its own */
};

/* text as a file of this name holds it. -EINVAL: error says file, line and what is wrong. */
int pvsched_conf_parse(const char *text, const char *file, struct pvsched_conf *ret, char *error,
		       size_t size);
/* -ENOENT and the like: said in error, too. */
int pvsched_conf_read(const char *file, struct pvsched_conf *ret, char *error, size_t size);

/* The user's section, then the VM's: a later one that sets a key wins. But a name is chosen by whoever
 * starts a VM: where his section sets a key, one of a VM that does not name him only takes away. */
struct pvsched_choice pvsched_conf_choose(const struct pvsched_conf *conf, const char *vm,
					  uid_t uid);
/* May a VM of this user be served, whatever its name? No: it need not be known. */
bool pvsched_conf_may_serve(const struct pvsched_conf *conf, uid_t uid);
bool pvsched_choice_has(const struct pvsched_choice *c, unsigned int vcpu);

#endif
