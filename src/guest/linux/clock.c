// SPDX-License-Identifier: GPL-2.0-only
#include <stdint.h>
#include <time.h>
#include <x86intrin.h>

#include "clock.h"

#define TRIES	 16
#define FIRST_NS 50000000

struct pair {
	uint64_t mono_ns, tsc;
};

static uint64_t mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + ts.tv_nsec;
}

/* The pair that took least: a preemption in the middle of one is not in it. */
static struct pair take(void)
{
	struct pair best = { 0 };
	uint64_t least = UINT64_MAX;

	for (unsigned int i = 0; i < TRIES; i++) {
		uint64_t before = __rdtsc(), ns = mono_ns(), after = __rdtsc();

		if (after - before < least) {
			least = after - before;
			best = (struct pair){ ns, before + least / 2 };
		}
	}
	return best;
}

static void store(struct publish_clock *c, struct pair at, uint64_t mult)
{
	volatile struct publish_clock *v = c;

	v->seq++;
	__asm__ volatile("" ::: "memory"); /* x86 keeps the order of stores */
	v->mult = (uint32_t)mult;
	v->mono_ns = at.mono_ns;
	v->tsc = at.tsc;
	__asm__ volatile("" ::: "memory");
	v->seq++;
}

/* TSC ticks a ns between two pairs, << PUBLISH_SHIFT. 0 = not to be trusted. */
static uint64_t slope(struct pair a, struct pair b)
{
	uint64_t mult;

	if (b.mono_ns <= a.mono_ns || b.tsc <= a.tsc || (b.tsc - a.tsc) >> (64 - PUBLISH_SHIFT))
		return 0;
	mult = ((b.tsc - a.tsc) << PUBLISH_SHIFT) / (b.mono_ns - a.mono_ns);
	return mult >> 32 ? 0 : mult;
}

void clock_start(struct publish_clock *c)
{
	struct timespec pause = { .tv_nsec = FIRST_NS };
	struct pair a, b;

	c->seq = 0; /* a daemon that was killed in the middle leaves it odd */
	a = take();
	nanosleep(&pause, NULL);
	b = take();
	store(c, b, slope(a, b));
}

void clock_update(struct publish_clock *c)
{
	struct pair a = { c->mono_ns, c->tsc }, b = take();

	store(c, b, slope(a, b));
}
