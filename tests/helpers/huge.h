/* SPDX-License-Identifier: GPL-2.0-only */
/* Reserved 2 MiB pages, for hugetlbfs. Who reserves some gives them back. */
#ifndef TESTS_HELPERS_HUGE_H
#define TESTS_HELPERS_HUGE_H

#include <stdio.h>

/* set < 0: only look. Returns how many there are now, fewer than asked for where memory is in pieces; -1 = not to be
 * had (needs root). */
static inline long huge_pages(long set)
{
	FILE *file = fopen("/proc/sys/vm/nr_hugepages", set < 0 ? "re" : "r+e");
	long n = -1;

	if (!file)
		return -1;
	if (set >= 0) {
		fprintf(file, "%ld", set);
		fflush(file);
		rewind(file);
	}
	if (fscanf(file, "%ld", &n) != 1)
		n = -1;
	fclose(file);
	return n;
}

#endif
