// SPDX-License-Identifier: GPL-2.0-only
/* Affinity that is put back: what was set by a wish, and what the kernel made of it. */
#include <helpers/unit.h>

#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "../../src/actuator/place.h"

#define GONE (CPU_SETSIZE - 1) /* a CPU that no host has */

/* This thread, which had `own`, as if it had been moved to a CPU. */
static struct pvsched_slot moved(int to, const cpu_set_t *own)
{
	struct pvsched_slot s = { .tid = gettid(), .moved = 1, .own = *own };

	assert_int_equal(sched_getaffinity(0, sizeof(s.may), &s.may), 0);
	CPU_ZERO(&s.moved_to);
	CPU_SET(to, &s.moved_to);
	return s;
}

/* One CPU of those that this thread has; -1 = it has no other one. */
static int one_of(const cpu_set_t *set, int but)
{
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (cpu != but && CPU_ISSET(cpu, set))
			return cpu;
	return -1;
}

static bool has(const cpu_set_t *set)
{
	cpu_set_t now;

	assert_int_equal(sched_getaffinity(0, sizeof(now), &now), 0);
	return CPU_EQUAL(&now, set);
}

static void place_back_restores_after_its_cpu_has_gone(void **state)
{
	cpu_set_t all, own;
	struct pvsched_slot s;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&own);
	CPU_SET(one_of(&all, -1), &own);
	s = moved(GONE, &own); /* the kernel has let it run everywhere since */
	pvsched_place_back(&s);
	assert_false(s.moved);
	assert_true(has(&own));
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

static void place_back_leaves_what_somebody_else_set(void **state)
{
	cpu_set_t all, own, theirs;
	struct pvsched_slot s;
	int cpu;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	cpu = one_of(&all, -1);
	if (one_of(&all, cpu) < 0)
		skip(); /* one CPU: nothing to tell apart */
	CPU_ZERO(&own);
	CPU_SET(cpu, &own);
	CPU_ZERO(&theirs);
	CPU_SET(one_of(&all, cpu), &theirs);
	/* less than it had, though its CPU has gone */
	s = moved(GONE, &own);
	assert_int_equal(sched_setaffinity(0, sizeof(theirs), &theirs), 0);
	pvsched_place_back(&s);
	assert_false(s.moved);
	assert_true(has(&theirs));
	/* or all, while its CPU is on */
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	s = moved(cpu, &own);
	pvsched_place_back(&s);
	assert_true(has(&all));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(place_back_restores_after_its_cpu_has_gone),
		cmocka_unit_test(place_back_leaves_what_somebody_else_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
