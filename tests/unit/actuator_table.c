// SPDX-License-Identifier: GPL-2.0-only
/* The table of actuators: what the broker relies on, whatever is in it. */
#include <helpers/unit.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include <actuator/actuator.h>

static void actuator_rows_have_names_of_their_own_and_what_the_broker_calls(void **state)
{
	const struct pvsched_actuator *const *a = pvsched_actuators();

	(void)state;
	assert_non_null(a[0]);
	for (int i = 0; a[i]; i++) {
		assert_non_null(a[i]->summary);
		assert_true(a[i]->usable && a[i]->start && a[i]->stop && a[i]->forget);
		assert_true(!a[i]->poll_fd == !a[i]->poll);
		for (int j = 0; j < i; j++)
			assert_string_not_equal(a[i]->name, a[j]->name);
		assert_ptr_equal(pvsched_actuator_find(a[i]->name), a[i]);
	}
}

static void actuator_unknown_name_is_not_found(void **state)
{
	(void)state;
	assert_null(pvsched_actuator_find("nope"));
	assert_null(pvsched_actuator_find(""));
}

static int can(char *why, size_t size)
{
	(void)why;
	(void)size;
	return 0;
}

static int cannot(char *why, size_t size)
{
	snprintf(why, size, "not here");
	return -ENOTSUP;
}

static void actuator_chosen_is_the_first_automatic_one_that_can_be_used(void **state)
{
	static const struct pvsched_actuator asked = { .usable = can },
					     absent = { .automatic = true, .usable = cannot },
					     first = { .automatic = true, .usable = can },
					     second = { .automatic = true, .usable = can };
	const struct pvsched_actuator *rows[] = { &asked, &absent, &first, &second, NULL };

	(void)state;
	assert_ptr_equal(pvsched_actuator_first(rows), &first);
	rows[2] = NULL;
	assert_ptr_equal(pvsched_actuator_first(rows), &pvsched_actuator_agent);
	/* what schedules a whole host, or is a module, is somebody's wish */
	assert_ptr_equal(pvsched_actuator_choose(), &pvsched_actuator_agent);
}

static void actuator_that_cannot_be_used_says_why_in_one_line(void **state)
{
	const struct pvsched_actuator *const *a = pvsched_actuators();
	char why[160];

	(void)state;
	for (int i = 0; a[i]; i++) {
		why[0] = 0;
		if (!a[i]->usable(why, sizeof(why)))
			continue;
		assert_true(strlen(why) > 10);
		assert_null(strchr(why, '\n'));
	}
}

static void attr_of_word_is_what_its_level_says(void **state)
{
	struct pvsched_attr a;

	(void)state;
	a = pvsched_attr_of_word(pvsched_word(1, PVSCHED_LEVEL_RT, 1, 2, 1000000));
	assert_int_equal(a.policy, SCHED_FIFO);
	assert_int_equal(a.priority, 1);
	a = pvsched_attr_of_word(pvsched_word(1, PVSCHED_LEVEL_NICE, -20, 2, 1000000));
	assert_int_equal(a.policy, SCHED_OTHER);
	assert_int_equal(a.nice, -20);
	a = pvsched_attr_of_word(pvsched_word(1, PVSCHED_LEVEL_IDLE, 0, 2, 1000000));
	assert_int_equal(a.policy, SCHED_IDLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(actuator_rows_have_names_of_their_own_and_what_the_broker_calls),
		cmocka_unit_test(actuator_unknown_name_is_not_found),
		cmocka_unit_test(actuator_chosen_is_the_first_automatic_one_that_can_be_used),
		cmocka_unit_test(actuator_that_cannot_be_used_says_why_in_one_line),
		cmocka_unit_test(attr_of_word_is_what_its_level_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
