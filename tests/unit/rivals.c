// SPDX-License-Identifier: GPL-2.0-only
/* Who counts as a rival of a vCPU: the function that the BPF programs run. */
#include <helpers/unit.h>

#include <events/state.h>

#define HOG	 1000 /* utilisation of who never sleeps */
#define KTHREAD	 20
#define ORDINARY 120
#define REALTIME 19

static void rivals_nobody_is_none(void **state)
{
	(void)state;
	assert_int_equal(pvsched_rivals_of(0, HOG, HOG, ORDINARY), PVSCHED_RIVALS_NONE);
}

static void rivals_that_rarely_run_are_brief(void **state)
{
	(void)state;
	assert_int_equal(pvsched_rivals_of(1, KTHREAD, KTHREAD, ORDINARY), PVSCHED_RIVALS_BRIEF);
	assert_int_equal(pvsched_rivals_of(3, KTHREAD, 3 * KTHREAD, ORDINARY),
			 PVSCHED_RIVALS_BRIEF);
	assert_int_equal(pvsched_rivals_of(50, 1, 50, ORDINARY), PVSCHED_RIVALS_BRIEF);
	/* one alone, though a hog has just left: that one's utilisation is still there */
	assert_int_equal(pvsched_rivals_of(1, KTHREAD, HOG, ORDINARY), PVSCHED_RIVALS_BRIEF);
	assert_int_equal(pvsched_rivals_of(1, HOG, KTHREAD, REALTIME), PVSCHED_RIVALS_BRIEF);
}

static void rivals_hogs_are_many(void **state)
{
	(void)state;
	assert_int_equal(pvsched_rivals_of(1, HOG, HOG, ORDINARY), PVSCHED_RIVALS_MANY);
	assert_int_equal(pvsched_rivals_of(2, HOG / 2, HOG, ORDINARY), PVSCHED_RIVALS_MANY);
}

/* A real-time task of the host, another vCPU's boost, a kernel thread: gone soon, and then it is the
 * hogs' turn. */
static void rivals_hogs_behind_a_brief_one_are_many(void **state)
{
	(void)state;
	assert_int_equal(pvsched_rivals_of(3, KTHREAD, HOG, REALTIME), PVSCHED_RIVALS_MANY);
	assert_int_equal(pvsched_rivals_of(2, KTHREAD, HOG, ORDINARY), PVSCHED_RIVALS_MANY);
	assert_int_equal(pvsched_rivals_of(2, KTHREAD, PVSCHED_BUSY_UTIL, ORDINARY),
			 PVSCHED_RIVALS_MANY);
	assert_int_equal(pvsched_rivals_of(2, KTHREAD, PVSCHED_BUSY_UTIL - 1, ORDINARY),
			 PVSCHED_RIVALS_BRIEF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rivals_nobody_is_none),
		cmocka_unit_test(rivals_that_rarely_run_are_brief),
		cmocka_unit_test(rivals_hogs_are_many),
		cmocka_unit_test(rivals_hogs_behind_a_brief_one_are_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
