/* SPDX-License-Identifier: GPL-2.0-only */
/* For qsort() of doubles, where a median is taken. */
#ifndef PVSCHED_TESTS_MEDIAN_H
#define PVSCHED_TESTS_MEDIAN_H

static inline int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

#endif
