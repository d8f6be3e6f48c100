/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The values of budgets: the host's, which are also the defaults, and those that a VM or a vCPU has
 * of its own. What holds for a vCPU is worked out when one of them changes, not when it is asked
 * for. Ranges are checked here, for command line and socket alike. Pure; the caller owns all.
 */
#ifndef PVSCHED_BROKER_BUDGET_H
#define PVSCHED_BROKER_BUDGET_H

#include <stddef.h>

#include "../core/account.h"
#include "wire.h"

#define PVSCHED_BUDGET_BURST_NS 10000000ull /* of a vCPU and a CPU: what may be taken at once */

struct pvsched_budget {
	uint32_t own; /* bit i: value[i] is set here; else the next level's holds */
	uint64_t value[PVSCHED_BUDGET_N];
};

struct pvsched_budget_row {
	const char *name; /* of the option */
	const char *unit; /* "%", "ns", "fifo:", "/s" */
	uint64_t initial, min, max;
};
extern const struct pvsched_budget_row pvsched_budget_rows[PVSCHED_BUDGET_N];

/* Every value at its default, and own. */
void pvsched_budget_init(struct pvsched_budget *host);
/* As it is typed: "40", "40%"; "1500us", "1.5ms"; "fifo:1". -EINVAL; its range is not looked at. */
int pvsched_budget_read(unsigned int i, const char *text, uint64_t *ret);
/* -ERANGE, and err says which, and its range. */
int pvsched_budget_check(unsigned int i, uint64_t value, char *err, size_t size);
/* What holds where `level` has nothing of its own. */
uint64_t pvsched_budget_value(unsigned int i, const struct pvsched_budget *level,
			      const struct pvsched_budget *above);
/* vcpus: so many vCPUs of the VM may run at once, each of which brings the VM its share. */
void pvsched_budget_resolve(const struct pvsched_budget *host, const struct pvsched_budget *vm,
			    const struct pvsched_budget *vcpu, unsigned int vcpus,
			    struct pvsched_limits *ret);

#endif
