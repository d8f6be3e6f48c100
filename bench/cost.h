/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What pvsched costs the host on a context switch: of a registered vCPU, and of any other task.
 */
#ifndef BENCH_COST_H
#define BENCH_COST_H

#include "cell.h"

/* Fills the report's cost. Takes about three seconds on the measured CPU. */
int bench_cost_measure(struct bench_context *x);

#endif
