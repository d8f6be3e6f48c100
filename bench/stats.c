// SPDX-License-Identifier: GPL-2.0-only
/*
 * Samples and percentiles of the bench: pure arithmetic on memory that the caller
 * owns.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stats.h"

int bench_samples_append(struct bench_samples *s, const uint64_t *v, size_t n)
{
	size_t cap = s->cap ? s->cap : 1024;
	uint64_t *p;

	if (n > SIZE_MAX / sizeof(*v) / 4 - s->n)
		return -ENOMEM;
	while (cap < s->n + n)
		cap *= 2;
	if (cap != s->cap) {
		p = realloc(s->v, cap * sizeof(*p));
		if (!p)
			return -ENOMEM;
		s->v = p;
		s->cap = cap;
	}
	if (n)
		memcpy(s->v + s->n, v, n * sizeof(*v));
	s->n += n;
	return 0;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void bench_samples_sort(struct bench_samples *s)
{
	if (s->n)
		qsort(s->v, s->n, sizeof(*s->v), compare_u64);
}

void bench_samples_free(struct bench_samples *s)
{
	free(s->v);
	memset(s, 0, sizeof(*s));
}

static uint64_t nearest_rank(uint64_t n, unsigned int parts)
{
	uint64_t rank = ((unsigned __int128)n * parts + BENCH_PARTS - 1) / BENCH_PARTS;

	if (rank < 1)
		rank = 1;
	return rank < n ? rank : n;
}

uint64_t bench_percentile(const uint64_t *sorted, size_t n, unsigned int parts)
{
	return n ? sorted[nearest_rank(n, parts) - 1] : 0;
}

/* Sebastiano Vigna's splitmix64, public domain: 2^64 period, every seed is good. */
uint64_t bench_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

void bench_shuffle(unsigned int *v, size_t n, uint64_t *state)
{
	unsigned int tmp;
	size_t i, j;

	for (i = n; i > 1; i--) {
		j = (size_t)(((unsigned __int128)bench_random(state) * i) >> 64);
		tmp = v[i - 1];
		v[i - 1] = v[j];
		v[j] = tmp;
	}
}
