/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * A log-linear histogram: 16 buckets per power of two, so a value is known to 1/16 of itself,
 * in 2.6 KiB, one increment per sample. Single writer; readers may see a sample late. Programs in
 * BPF write some.
 */
#ifndef PVSCHED_CORE_HIST_H
#define PVSCHED_CORE_HIST_H

#include <linux/types.h>

#define PVSCHED_HIST_SUB 16
#define PVSCHED_HIST_N	 (PVSCHED_HIST_SUB * 40) /* up to 2^43 ns */

struct pvsched_hist {
	__u32 n[PVSCHED_HIST_N];
	__u64 count, max;
};

/* Of v > 0. By hand: clang 14 has no __builtin_clz for BPF. */
static inline unsigned int pvsched_log2(__u64 v)
{
	unsigned int r = (v > 0xffffffff) << 5, s;

	v >>= r;
	s = (v > 0xffff) << 4;
	v >>= s;
	r |= s;
	s = (v > 0xff) << 3;
	v >>= s;
	r |= s;
	s = (v > 0xf) << 2;
	v >>= s;
	r |= s;
	s = (v > 3) << 1;
	v >>= s;
	return r | s | v >> 1;
}

static inline unsigned int pvsched_hist_bucket(__u64 v)
{
	unsigned int shift, i;

	if (v < PVSCHED_HIST_SUB)
		return v;
	shift = pvsched_log2(v) - 4;
	i = (shift + 1) * PVSCHED_HIST_SUB + (v >> shift) - PVSCHED_HIST_SUB;
	return i < PVSCHED_HIST_N ? i : PVSCHED_HIST_N - 1;
}

/* Largest value of a bucket: percentiles err upwards, never to our advantage. */
static inline __u64 pvsched_hist_value(unsigned int bucket)
{
	unsigned int shift = bucket / PVSCHED_HIST_SUB;

	if (!shift)
		return bucket;
	return ((__u64)(bucket % PVSCHED_HIST_SUB + PVSCHED_HIST_SUB + 1) << (shift - 1)) - 1;
}

static inline void pvsched_hist_add(struct pvsched_hist *h, __u64 v)
{
	h->n[pvsched_hist_bucket(v)]++;
	h->count++;
	if (v > h->max)
		h->max = v;
}

/* Nearest rank; per_mille of 1000 = max. 0 without samples. */
static inline __u64 pvsched_hist_percentile(const struct pvsched_hist *h, unsigned int per_mille)
{
	__u64 rank = (h->count * per_mille + 999) / 1000, seen = 0;

	for (unsigned int i = 0; i < PVSCHED_HIST_N && h->count; i++) {
		seen += h->n[i];
		if (seen >= rank)
			return pvsched_hist_value(i) < h->max ? pvsched_hist_value(i) : h->max;
	}
	return h->max;
}

#endif
