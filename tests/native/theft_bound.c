// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a guest that asks for everything, always, gets of a CPU that it shares with hogs: at most
 * B + (1 - B) * its fair share, B = min(budget of the VM, bound of the CPU). Alone and in a crowd.
 */
/* timeout: 120, soak: 300 */
#include <helpers/crowd.h>

#define GUESTS_MAX 4
#define HOGS_MAX   4
/* By which the bound may be missed, in percent of the CPU: slices weigh ten times as much in two
 * seconds as in twenty. */
#define POINTS storm_long(5, 2)

struct scene {
	struct pvsched_broker *broker;
	struct crowd_guest guest[GUESTS_MAX];
	pid_t hog[HOGS_MAX];
};

static int setup(void **state)
{
	static struct scene s;
	struct pvsched_broker_opts o = { .print = bed_say };

	*state = &s;
	return bed_broker(&o, &s.broker);
}

static int teardown(void **state)
{
	struct scene *s = *state;

	for (int i = 0; i < GUESTS_MAX; i++)
		crowd_stop(&s->guest[i]);
	for (int i = 0; i < HOGS_MAX; i++)
		bed_stop_child(&s->hog[i]);
	pvsched_broker__stop(s->broker);
	return 0;
}

static void measure(struct scene *s, unsigned int guests, unsigned int hogs)
{
	const double b = STORM_PERCENT, fair = 100.0 / (guests + hogs);
	uint64_t ran[GUESTS_MAX], boosted[GUESTS_MAX], from, took;
	double most = 0, sum = 0, sum_boosted = 0;
	pid_t tid[GUESTS_MAX];
	char name[64];

	for (unsigned int i = 0; i < guests; i++) {
		snprintf(name, sizeof(name), "greedy%u", i);
		assert_int_equal(crowd_start(&s->guest[i], CROWD_GREEDY, VMM_SCHED_OTHER, name), 0);
		tid[i] = crowd_tid(&s->guest[i]);
	}
	for (unsigned int i = 0; i < hogs; i++)
		s->hog[i] = bed_start_hog(bed_last_cpu());
	bed_sleep_ms(500); /* what the boot left of budgets and shares is gone */
	for (unsigned int i = 0; i < guests; i++) {
		ran[i] = crowd_ran_ns(tid[i]);
		boosted[i] = crowd_stats(&s->guest[i]).boosted_ns;
	}
	from = bed_now();
	bed_sleep_ms(storm_long(2000, 20000));
	took = bed_now() - from;
	for (unsigned int i = 0; i < guests; i++) {
		struct pvsched_vcpu_stats st = crowd_stats(&s->guest[i]);
		double share = 100.0 * (crowd_ran_ns(tid[i]) - ran[i]) / took;

		sum += share;
		sum_boosted += 100.0 * (st.boosted_ns - boosted[i]) / took;
		most = share > most ? share : most;
		assert_true(st.boosts > 10); /* it did ask, and got what there is */
		assert_true(st.denied_gap + st.denied_throttle > 10);
	}
	snprintf(name, sizeof(name), "theft_%u_of_%u_percent", guests, guests + hogs);
	storm_figure(name, most);
	snprintf(name, sizeof(name), "theft_%u_of_%u_boosted_percent", guests, guests + hogs);
	storm_figure(name, sum_boosted);
	snprintf(name, sizeof(name), "theft_%u_of_%u_bound_percent", guests, guests + hogs);
	storm_figure(name, b + (100 - b) * fair / 100);
	snprintf(name, sizeof(name), "theft_%u_of_%u_sum_percent", guests, guests + hogs);
	storm_figure(name, sum);
	/* others on this machine only ever make these smaller */
	assert_true(most <= b + (100 - b) * fair / 100 + POINTS);
	assert_true(sum_boosted <= b + 100.0 * STORM_BURST_NS / took + POINTS);
}

static void theft_of_one_beside_a_hog_is_bounded(void **state)
{
	measure(*state, 1, 1);
}

static void theft_of_one_beside_four_is_bounded(void **state)
{
	measure(*state, 1, 4);
}

static void theft_of_four_beside_four_is_bounded(void **state)
{
	measure(*state, 4, 4);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(theft_of_one_beside_a_hog_is_bounded),
		CASE(theft_of_one_beside_four_is_bounded),
		CASE(theft_of_four_beside_four_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
