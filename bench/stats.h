/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Samples and percentiles of the bench. Values are nanoseconds. The owner of a
 * struct serialises; nothing here locks, prints or reads a clock.
 */
#ifndef BENCH_STATS_H
#define BENCH_STATS_H

#include <stddef.h>
#include <stdint.h>

struct bench_samples {
	uint64_t *v;
	size_t n, cap;
};

/* -ENOMEM leaves the samples as they were. */
int bench_samples_append(struct bench_samples *s, const uint64_t *v, size_t n);
void bench_samples_sort(struct bench_samples *s);
void bench_samples_free(struct bench_samples *s);

/* Percentiles are given in parts per 100,000. */
#define BENCH_P50   50000u
#define BENCH_P99   99000u
#define BENCH_P999  99900u
#define BENCH_PARTS 100000u

/*
 * Nearest rank: the smallest sample such that at least `parts` of all samples are not above it,
 * v[ceil(n * parts / 100000) - 1]. It is always a value that was measured, never interpolated.
 * sorted ascending; 0 when n is 0.
 */
uint64_t bench_percentile(const uint64_t *sorted, size_t n, unsigned int parts);

/* A small seeded generator (splitmix64) and a Fisher-Yates shuffle on it: the same seed gives
 * the same order on every machine. */
uint64_t bench_random(uint64_t *state);
void bench_shuffle(unsigned int *v, size_t n, uint64_t *state);

#endif
