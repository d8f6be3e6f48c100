/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * A log-linear histogram: 16 buckets per power of two, so a value is known to 1/16 of itself,
 * in 2.6 KiB, one increment per sample. Single writer; readers may see a sample late.
 */
#ifndef PVSCHED_CORE_HIST_H
#define PVSCHED_CORE_HIST_H

#ifdef __bpf__ /* whose compiler has no stdint.h of its own */
#include <linux/types.h>
typedef __u32 uint32_t;
typedef __u64 uint64_t;
#else
#include <stdint.h>
#endif

#define PVSCHED_HIST_SUB 16
#define PVSCHED_HIST_N	 (PVSCHED_HIST_SUB * 40) /* up to 2^43 ns */

struct pvsched_hist {
	uint32_t n[PVSCHED_HIST_N];
	uint64_t count, max;
};

/* Number of the highest bit that is set; v is not 0. clang-14 for BPF has no __builtin_clzll. */
static inline unsigned int pvsched_hist_msb(uint64_t v)
{
	unsigned int n = 0;

	for (unsigned int step = 32; step; step >>= 1)
		if (v >> step) {
			v >>= step;
			n += step;
		}
	return n;
}

static inline unsigned int pvsched_hist_bucket(uint64_t v)
{
	unsigned int shift, i;

	if (v < PVSCHED_HIST_SUB)
		return v;
	shift = pvsched_hist_msb(v) - 4;
	i = (shift + 1) * PVSCHED_HIST_SUB + (v >> shift) - PVSCHED_HIST_SUB;
	return i < PVSCHED_HIST_N ? i : PVSCHED_HIST_N - 1;
}

/* Largest value of a bucket: percentiles err upwards, never to our advantage. */
static inline uint64_t pvsched_hist_value(unsigned int bucket)
{
	unsigned int shift = bucket / PVSCHED_HIST_SUB;

	if (!shift)
		return bucket;
	return ((uint64_t)(bucket % PVSCHED_HIST_SUB + PVSCHED_HIST_SUB + 1) << (shift - 1)) - 1;
}

static inline void pvsched_hist_add(struct pvsched_hist *h, uint64_t v)
{
	h->n[pvsched_hist_bucket(v)]++;
	h->count++;
	if (v > h->max)
		h->max = v;
}

/* Nearest rank; per_mille of 1000 = max. 0 without samples. */
static inline uint64_t pvsched_hist_percentile(const struct pvsched_hist *h, unsigned int per_mille)
{
	uint64_t rank = (h->count * per_mille + 999) / 1000, seen = 0;

	for (unsigned int i = 0; i < PVSCHED_HIST_N && h->count; i++) {
		seen += h->n[i];
		if (seen >= rank)
			return pvsched_hist_value(i) < h->max ? pvsched_hist_value(i) : h->max;
	}
	return h->max;
}

#endif
