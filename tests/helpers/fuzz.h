/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What fuzz targets share: taking the input apart (after its end everything reads as 0), a check
 * that ends the program with what was broken, and a count of what was done, told at exit.
 * One thread.
 */
#ifndef PVSCHED_TESTS_FUZZ_H
#define PVSCHED_TESTS_FUZZ_H

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUZZ_CHECK(condition)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition);    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

struct fuzz {
	const uint8_t *at, *end;
};

static uint64_t fuzz_steps; /* operations, words, messages: what one input has many of */

__attribute__((destructor)) static void fuzz_tell(void)
{
	fprintf(stderr, "steps: %" PRIu64 "\n", fuzz_steps);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline size_t fuzz_left(const struct fuzz *f)
{
	return f->end - f->at;
}

/* Little-endian; a short rest is zero-extended. */
static inline uint64_t fuzz_take(struct fuzz *f, size_t bytes)
{
	size_t n = fuzz_left(f) < bytes ? fuzz_left(f) : bytes;
	uint64_t v = 0;

	memcpy(&v, f->at, n);
	f->at += n;
	return v;
}

static inline uint8_t fuzz_u8(struct fuzz *f)
{
	return fuzz_take(f, 1);
}

static inline uint16_t fuzz_u16(struct fuzz *f)
{
	return fuzz_take(f, 2);
}

static inline uint32_t fuzz_u32(struct fuzz *f)
{
	return fuzz_take(f, 4);
}

static inline uint64_t fuzz_u64(struct fuzz *f)
{
	return fuzz_take(f, 8);
}

/* A number of any magnitude for two bytes or nine: near a power of two, or all bits given. */
static inline uint64_t fuzz_number(struct fuzz *f)
{
	uint8_t shape = fuzz_u8(f);

	if (shape >= 64)
		return shape & 1 ? fuzz_u64(f) : fuzz_u16(f);
	return (1ull << shape) + (int8_t)fuzz_u8(f);
}

#endif
