// SPDX-License-Identifier: GPL-2.0-only
/* A vCPU under a CPU quota gets no more than that because it is boosted, and no less. */
/* timeout: 240 */
#include <helpers/cgroup.h>
#include <helpers/threads.h>
#include <helpers/unit.h>

#define PERCENT 20
#define SECONDS 3 /* at least */
#define ENOUGH_NS                                                                                  \
	(SECONDS * PERCENT * 10000000ull * 3 /                                                     \
	 4) /* for the twin to have run; on a busy machine    \
						  * that takes longer */
#define PATIENCE_S 90

struct scene {
	struct pvsched_broker *broker;
	struct threads_bed bed;
	struct cgroup_bed group;
	/* a process of the same quota and CPU that nobody boosts */
	struct cgroup_bed twins;
	pid_t twin;
};

static unsigned int said; /* that a group has no real-time time */

static void hear(enum pvsched_log_level level, const char *line, void *ctx)
{
	if (strstr(line, "its cgroup has no real-time time"))
		__atomic_fetch_add(&said, 1, __ATOMIC_RELEASE);
	bed_say(level, line, ctx);
}

static int setup(void **state)
{
	static struct scene s;
	struct pvsched_broker_opts o = { .print = hear };

	*state = &s;
	said = 0;
	/* where real-time groups are scheduled, a new one has none: let nothing but the quota be in a
	 * boost's way */
	if (cgroup_open(&s.group, "test", PERCENT) || cgroup_realtime(s.group.dir, "500000") ||
	    cgroup_open(&s.twins, "twin", PERCENT) || bed_broker(&o, &s.broker))
		return -1;
	return bed_open(&s.bed, NULL);
}

static int teardown(void **state)
{
	struct scene *s = *state;

	for (int i = 0; i < BED_VCPUS; i++)
		cgroup_move(&s->group, s->bed.vcpu[i].tid, false);
	bed_stop_child(&s->twin);
	bed_close(&s->bed);
	pvsched_broker__stop(s->broker);
	cgroup_close(&s->group);
	cgroup_close(&s->twins);
	return 0;
}

static int setup_below(void **state)
{
	struct scene *s;

	if (setup(state))
		return -1;
	s = *state;
	if (!cgroup_nest(&s->group))
		return 0;
	teardown(state);
	return -1;
}

static uint64_t ran_ns(pid_t tid)
{
	unsigned long long ns = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", tid);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%llu", &ns), 1);
	fclose(f);
	return ns;
}

static void expect_quota_holds(struct scene *s)
{
	struct bed_vcpu *v = &s->bed.vcpu[0];
	uint64_t boosts, ran, ran_twin, start, twin, took;
	double share;

	s->bed.hog = bed_start_hog(s->bed.cpu);
	s->twin = bed_start_hog(s->bed.cpu);
	assert_int_equal(cgroup_move(&s->twins, s->twin, true), 0);
	bed_mode(v, BED_CRITICAL);
	assert_true(bed_await_boosted(v, true, 5000));
	assert_int_equal(cgroup_move(&s->group, v->tid, true), 0);
	bed_sleep_ms(200); /* what was boosted before is over, and so is the first period */
	boosts = bed_stats(v).boosts;
	start = bed_now();
	ran = ran_ns(v->tid);
	ran_twin = ran_ns(s->twin);
	do {
		bed_sleep_ms(SECONDS * 1000);
		twin = ran_ns(s->twin) - ran_twin;
		took = bed_now() - start;
	} while (twin < ENOUGH_NS && took < PATIENCE_S * 1000000000ull);
	ran = ran_ns(v->tid) - ran;
	took = bed_now() - start;
	share = (double)ran / (double)took;
	printf("# ran %.1f %% of %.1f s, its twin without boosts %.1f %%, quota %d %%\n",
	       share * 100, took / 1e9, (double)twin / (double)took * 100, PERCENT);
	/* The kernel hands a quota out in slices of 5 ms, and a period may lie across the end. */
	assert_true(share < (PERCENT + 3) / 100.0);
	/* Each is alone in its group, and shares with what is outside alike: on a machine that gives groups
	 * nothing for seconds, neither has anything. */
	assert_true(ran > twin / 2);
	/* it still is helped, by nice */
	assert_true(bed_stats(v).boosts > boosts);
	if (twin < ENOUGH_NS) {
		print_message("this CPU had no time for who is not boosted\n");
		skip();
	}
}

static void quota_of_a_boosted_vcpu_holds(void **state)
{
	expect_quota_holds(*state);
}

/* Its own group has none: who looks at that one only makes it real-time, and that escapes the one above. */
static void quota_above_the_group_of_a_boosted_vcpu_holds(void **state)
{
	struct scene *s = *state;
	char text[32] = "";

	assert_int_equal(cgroup_read(s->group.child, s->group.v2 ? "cpu.max" : "cpu.cfs_quota_us",
				     text, sizeof(text)),
			 0);
	assert_int_equal(strncmp(text, s->group.v2 ? "max" : "-1", 2), 0);
	expect_quota_holds(s);
}

/* RT group scheduling: a thread of a group without real-time time cannot be made SCHED_FIFO. */
static void group_without_realtime_is_boosted_by_nice(void **state)
{
	struct scene *s = *state;
	struct bed_vcpu *v = &s->bed.vcpu[0];
	struct pvsched_vcpu_report r;
	uint64_t end, boosts;
	int err;

	if (s->group.v2 || cgroup_write(s->group.dir, "cpu.rt_runtime_us", "0")) {
		print_message("needs RT group scheduling: cgroup v1's cpu.rt_runtime_us\n");
		skip();
	}
	assert_int_equal(cgroup_write(s->group.dir, "cpu.cfs_quota_us", "-1"), 0);
	s->bed.hog = bed_start_hog(s->bed.cpu);
	bed_mode(v, BED_CRITICAL);
	/* while a boost is on, the kernel keeps the thread out of such a group */
	for (end = bed_now() + 20000000000ull, err = 0; err != -EINVAL;) {
		assert_true(bed_now() < end);
		assert_true(bed_await_boosted(v, true, 20000));
		err = cgroup_move(&s->group, v->tid, true);
		assert_true(!err || err == -EINVAL);
		if (!err) /* it was over */
			cgroup_move(&s->group, v->tid, false);
	}
	bed_mode(v, BED_SLEEP);
	while (__atomic_load_n(&v->seen, __ATOMIC_ACQUIRE) != BED_SLEEP)
		bed_sleep_ms(1);
	bed_publish(v, 0);
	assert_true(bed_await_boosted(v, false, 20000));
	assert_int_equal(cgroup_move(&s->group, v->tid, true), 0);
	boosts = bed_stats(v).boosts;
	bed_mode(v, BED_CRITICAL);
	/* tried again now and then, and not each time; and said once */
	end = bed_now() + 20000000000ull;
	do {
		assert_true(bed_now() < end);
		assert_false(bed_is_boosted(v));
		bed_sleep_ms(1);
		assert_int_equal(pvsched_broker__vcpu_report(s->broker, v->tid, &r), 0);
	} while (r.boosts < boosts + 50 || r.failed < 3);
	assert_true(r.failed < (r.boosts - boosts) / 2);
	/* given some, it is real-time again */
	assert_int_equal(cgroup_write(s->group.dir, "cpu.rt_runtime_us", "100000"), 0);
	boosts = bed_stats(v).boosts;
	assert_true(bed_await_boosted(v, true, 20000));
	assert_true(bed_stats(v).boosts > boosts);
	assert_int_equal(__atomic_load_n(&said, __ATOMIC_ACQUIRE), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(quota_of_a_boosted_vcpu_holds, setup, teardown),
		cmocka_unit_test_setup_teardown(quota_above_the_group_of_a_boosted_vcpu_holds,
						setup_below, teardown),
		cmocka_unit_test_setup_teardown(group_without_realtime_is_boosted_by_nice, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
