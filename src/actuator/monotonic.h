/* SPDX-License-Identifier: GPL-2.0-only */
/* The clock of the host's deadlines, debts and rates: CLOCK_MONOTONIC in ns, which is BPF's
 * bpf_ktime_get_ns(). No state. */
#ifndef PVSCHED_ACTUATOR_MONOTONIC_H
#define PVSCHED_ACTUATOR_MONOTONIC_H

#include <stdint.h>
#include <time.h>

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

#endif
