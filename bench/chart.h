/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inline SVG of latency distributions. Draws into the stream, reads cells, owns nothing.
 */
#ifndef BENCH_CHART_H
#define BENCH_CHART_H

#include "result.h"

/*
 * One curve per variant that ran this workload with so many hogs: x is the latency, y the share
 * of samples above it, both logarithmic, so that each gridline down is one nine more.
 */
void bench_chart(const struct bench_report *r, enum bench_workload workload, unsigned int hogs,
		 FILE *f);

#endif
