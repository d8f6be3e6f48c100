// SPDX-License-Identifier: GPL-2.0-only
/* The guest's clock to TSC relation, with the code that the daemon runs; the division as in BPF. */
#include <helpers/unit.h>

#include <time.h>
#include <x86intrin.h>

#include "../../src/guest/linux/clock.h"

static uint64_t to_tsc(const struct publish_clock *c, uint64_t ns)
{
	return c->tsc + ((ns - c->mono_ns) * c->mult >> PUBLISH_SHIFT);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + ts.tv_nsec;
}

static void clock_started_tells_the_tsc_of_a_moment(void **state)
{
	struct publish_clock c = { .seq = 3 };
	uint64_t before, ns, after, us;

	(void)state;
	clock_start(&c);
	assert_int_equal(c.seq & 1, 0);
	assert_true(c.mult > 0);
	us = 1000ull * c.mult >> PUBLISH_SHIFT;
	for (int i = 0; i < 3; i++) {
		before = __rdtsc();
		ns = now_ns();
		after = __rdtsc();
		/* 100 us of slack: the slope was taken over 50 ms */
		assert_true(to_tsc(&c, ns) + 100 * us > before);
		assert_true(to_tsc(&c, ns) < after + 100 * us);
	}
}

static void clock_updated_moves_on_and_keeps_its_slope(void **state)
{
	struct timespec pause = { .tv_nsec = 100000000 };
	struct publish_clock c = { 0 };
	uint64_t mult, mono;

	(void)state;
	clock_start(&c);
	mult = c.mult;
	mono = c.mono_ns;
	nanosleep(&pause, NULL);
	clock_update(&c);
	assert_true(c.mono_ns > mono);
	assert_true(c.mult > mult - mult / 1000 && c.mult < mult + mult / 1000);
	assert_int_equal(c.seq & 1, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clock_started_tells_the_tsc_of_a_moment),
		cmocka_unit_test(clock_updated_moves_on_and_keeps_its_slope),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
