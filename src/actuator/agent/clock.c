// SPDX-License-Identifier: GPL-2.0-only
/* TSC and CLOCK_MONOTONIC, see clock.h. Refreshes race benignly: one try-lock decides. */
#include "clock.h"

#include <stdbool.h>
#include <x86intrin.h>

#include "../monotonic.h"

#define REFRESH_NS 50000000ull
#define BASE_NS	   20000000ull /* of the first calibration: 100 ns of jitter are 5 ppm */

static int busy;
static uint64_t first_tsc, first_ns;
static bool anew; /* since the clocks stepped: the next rate is taken as it comes */

/* The tightest of a few pairs: an interrupt between the two readings would shift all of them. */
static void sample(uint64_t *ret_tsc, uint64_t *ret_ns)
{
	uint64_t best = ~0ull;

	for (int i = 0; i < 5; i++) {
		uint64_t a = __rdtsc(), ns = now_ns(), b = __rdtsc();

		if (b - a < best) {
			best = b - a;
			*ret_tsc = a + (b - a) / 2;
			*ret_ns = ns;
		}
	}
}

static void publish(volatile struct pvsched_clock *clocks, volatile uint32_t *idx, uint64_t tsc,
		    uint64_t ns, uint64_t mult)
{
	uint32_t next = (*idx & 1) ^ 1;

	clocks[next].tsc = tsc;
	clocks[next].ns = ns;
	clocks[next].mult = mult;
	/* pairs with the program's single read of clock_idx before the copy */
	__atomic_store_n(idx, next, __ATOMIC_RELEASE);
}

static uint64_t rate(uint64_t tsc, uint64_t ns)
{
	return ((unsigned __int128)(ns - first_ns) << PVSCHED_TSC_SHIFT) / (tsc - first_tsc);
}

void pvsched_clock_start(volatile struct pvsched_clock *clocks, volatile uint32_t *idx)
{
	struct timespec nap = { .tv_nsec = BASE_NS };
	uint64_t tsc = 0, ns = 0;

	sample(&first_tsc, &first_ns);
	nanosleep(&nap, NULL);
	sample(&tsc, &ns);
	publish(clocks, idx, tsc, ns, rate(tsc, ns));
}

void pvsched_clock_refresh(volatile struct pvsched_clock *clocks, volatile uint32_t *idx)
{
	uint64_t tsc = 0, ns = 0, mult;
	struct pvsched_clock last;

	if (now_ns() - clocks[*idx & 1].ns < REFRESH_NS)
		return;
	if (__atomic_exchange_n(&busy, 1, __ATOMIC_ACQUIRE))
		return;
	sample(&tsc, &ns);
	last = clocks[*idx & 1];
	mult = tsc > last.tsc ? rate(tsc, ns) : 0;
	if (!mult || (!anew && pvsched_rate_steps(mult, last.mult))) {
		/* the machine slept: its TSC began anew, or ran on while the clock stood still */
		first_tsc = tsc;
		first_ns = ns;
		anew = true;
		publish(clocks, idx, tsc, ns, last.mult);
		goto out;
	}
	anew = false;
	publish(clocks, idx, tsc, ns, mult);
	/* NTP slews: a base that is too old would average over different rates */
	if (ns - first_ns > 16000000000ull) {
		first_tsc = tsc;
		first_ns = ns - BASE_NS;
		first_tsc = tsc - (((unsigned __int128)BASE_NS << PVSCHED_TSC_SHIFT) /
				   clocks[*idx & 1].mult);
	}
out:
	__atomic_store_n(&busy, 0, __ATOMIC_RELEASE);
}
