// SPDX-License-Identifier: GPL-2.0-only
/* See table.h. */
#include "table.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t copied = PTHREAD_MUTEX_INITIALIZER;

void pvsched_table_hold(void)
{
	pthread_mutex_lock(&copied);
}

void pvsched_table_release(void)
{
	pthread_mutex_unlock(&copied);
}

static void close_between(unsigned int first, unsigned int last)
{
	struct rlimit most = { .rlim_cur = 1024 };

	if (first > last || !syscall(SYS_close_range, first, last, 0))
		return;
	/* where a sandbox forbids it: one by one */
	getrlimit(RLIMIT_NOFILE, &most);
	for (unsigned int fd = first; fd <= last && fd < most.rlim_cur; fd++)
		close(fd);
}

static void sort(int *a, unsigned int n)
{
	for (unsigned int i = 1; i < n; i++)
		for (unsigned int j = i; j > 0 && a[j - 1] > a[j]; j--) {
			int t = a[j];

			a[j] = a[j - 1];
			a[j - 1] = t;
		}
}

void pvsched_table_keep(int *keep, unsigned int n)
{
	unsigned int from = 0;

	sort(keep, n);
	for (unsigned int i = 0; i < n; i++) {
		if ((unsigned int)keep[i] > from)
			close_between(from, keep[i] - 1);
		from = keep[i] + 1;
	}
	close_between(from, ~0u);
}
