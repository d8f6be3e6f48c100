/* SPDX-License-Identifier: GPL-2.0-only */
/* Values of budgets as an operator types and reads them. buf is the caller's and what is returned. */
#ifndef CLI_BUDGET_TEXT_H
#define CLI_BUDGET_TEXT_H

#include "broker/budget.h"
#include "error.h"

/* Value i as typed: "40", "40%"; "1500us", "1.5ms"; "fifo:1"; "default" for the next level's.
 * Within its range, or CLI_USAGE and e. */
int budget_parse(unsigned int i, const char *text, uint64_t *ret_value, bool *ret_inherit,
		 struct cli_error *e);
/* As it would be typed, but with a blank before units: "40 %", "1.5 ms", "fifo:1". */
const char *budget_show(unsigned int i, uint64_t value, char *buf, size_t size);
const char *budget_time(uint64_t ns, char *buf, size_t size);

#endif
