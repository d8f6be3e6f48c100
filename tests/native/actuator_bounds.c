// SPDX-License-Identifier: GPL-2.0-only
/*
 * The actuator alone, without programs or broker: whatever the desired word asks, it keeps ceiling,
 * contiguous cap, rate and share by its own count, and restores the thread. Needs CAP_SYS_NICE.
 */
#include <helpers/threads.h>
#include <helpers/unit.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <actuator/place.h>
#include <broker/budget.h>

#define MS 1000000ull

static struct pvsched_slot slots[1];
static struct pvsched_shared shared[1];
static struct pvsched_debt debts[PVSCHED_DEBTS];
static struct pvsched_slot_limits limits[1];
static struct pvsched_config config = { .min_ns = 50000 };
static struct pvsched_actuation act = { slots, shared, debts, limits, &config, -1, false };

static struct {
	pthread_t thread;
	pid_t tid;
	bool end;
} victim;

static void *sleeper(void *arg)
{
	(void)arg;
	__atomic_store_n(&victim.tid, gettid(), __ATOMIC_RELEASE);
	while (!__atomic_load_n(&victim.end, __ATOMIC_ACQUIRE))
		bed_sleep_ms(1);
	return NULL;
}

static void limit(unsigned int percent, uint64_t cap_ns, unsigned int rate, unsigned int ceiling)
{
	struct pvsched_budget host, none = { 0 };

	pvsched_budget_init(&host);
	host.value[PVSCHED_BUDGET_BOOST] = percent;
	host.value[PVSCHED_BUDGET_CAP] = cap_ns;
	host.value[PVSCHED_BUDGET_RATE] = rate;
	host.value[PVSCHED_BUDGET_CEILING] = ceiling;
	pvsched_budget_resolve(&host, &none, &none, 1, &limits[0].copy[0]);
}

static int setup(void **state)
{
	(void)state;
	memset(slots, 0, sizeof(slots));
	memset(shared, 0, sizeof(shared));
	memset(debts, 0, sizeof(debts));
	victim.end = false;
	victim.tid = 0;
	if (pthread_create(&victim.thread, NULL, sleeper, NULL))
		return -1;
	while (!__atomic_load_n(&victim.tid, __ATOMIC_ACQUIRE))
		bed_sleep_ms(1);
	slots[0].tid = victim.tid;
	slots[0].doorbell_fd = -1;
	slots[0].used = 1;
	slots[0].slack_ns = PVSCHED_SLACK_DEFAULT_NS;
	limit(40, MS, 5000, 1);
	return pvsched_slot_lock_init(&slots[0]) || pvsched_attr_get(victim.tid, &slots[0].base);
}

static int teardown(void **state)
{
	(void)state;
	__atomic_store_n(&victim.end, true, __ATOMIC_RELEASE);
	pthread_join(victim.thread, NULL);
	return 0;
}

/* What BPF would ask if it were wrong. Returns whether the thread is boosted afterwards, and until
 * when. */
static bool ask(int priority, uint64_t for_ns, uint64_t *ret_until)
{
	static uint16_t seq;
	struct pvsched_applied r;

	shared[0].desired = pvsched_word(++seq, PVSCHED_LEVEL_RT, priority, PVSCHED_REASON_CRITICAL,
					 bed_now() + for_ns);
	pvsched_apply(&act, 0, 0, false, &r);
	*ret_until = r.until_ns;
	assert_int_equal(r.boosted, bed_tid_is_boosted(victim.tid));
	return r.boosted;
}

static void end(void)
{
	struct pvsched_applied r;

	shared[0].desired = 0;
	pvsched_apply(&act, 0, 0, false, &r);
	assert_false(r.boosted);
	assert_false(bed_tid_is_boosted(victim.tid));
}

static void actuator_refuses_a_priority_above_the_ceiling(void **state)
{
	static const int priorities[] = { 2, 50, 99, 0, -1, 127 };
	struct pvsched_attr before = slots[0].base, after;
	uint64_t until;

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(priorities); i++)
		assert_false(ask(priorities[i], 1000 * MS, &until));
	assert_int_equal(shared[0].refused, ARRAY_SIZE(priorities));
	assert_int_equal(pvsched_attr_get(victim.tid, &after), 0);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_true(ask(1, 100 * MS, &until));
	/* in force, and then asked for more */
	assert_false(ask(2, 100 * MS, &until));
	limit(40, MS, 5000, 2);
	memset(debts, 0, sizeof(debts));
	assert_true(ask(2, 100 * MS, &until));
	end();
}

static void actuator_cuts_a_boost_to_the_contiguous_cap(void **state)
{
	uint64_t until, start = bed_now();

	(void)state;
	assert_true(ask(1, 1000 * MS, &until));
	assert_true(until <= bed_now() + MS);
	/* asked again all the time, it still ends */
	while (ask(1, 1000 * MS, &until))
		assert_true(bed_now() < start + 5000 * MS);
	assert_true(shared[0].refused > 0);
	/* and stays refused as long as was taken */
	assert_false(ask(1, 1000 * MS, &until));
}

static void actuator_bounds_the_number_of_boosts(void **state)
{
	uint64_t until, start = bed_now();
	unsigned int boosts = 0;

	(void)state;
	limit(90, 100 * MS, 10, 1);
	while (bed_now() < start + 700 * MS) {
		if (!ask(1, 20 * MS, &until))
			continue;
		boosts++;
		end();
	}
	/* 10/s with one at once; its own count allows twice as many of those */
	assert_true(boosts >= 2);
	assert_true(boosts <= (bed_now() - start) * 10 / 1000000000 + 2 + 1);
}

static void actuator_bounds_the_share_by_wall_time(void **state)
{
	uint64_t until, start = bed_now(), took;

	(void)state;
	limit(5, 2 * MS, 5000, 1);
	while (bed_now() < start + 1000 * MS) {
		if (!ask(1, 20 * MS, &until))
			continue;
		while (bed_now() < until)
			;
		end();
	}
	took = shared[0].boosted_wall_ns;
	printf("# %.1f of %.1f ms boosted at 5 %% and 20 ms at once\n", took / 1e6,
	       (bed_now() - start) / 1e6);
	assert_true(took > 20 * MS);
	assert_true(took <= (bed_now() - start) * 5 / 100 + 20 * MS + slots[0].boost.max);
}

static pthread_barrier_t held;

/* The holder of the lock that was late, and is no more when `late` is open. */
static void *holder(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&slots[0].lock);
	pthread_barrier_wait(&held);
	pthread_barrier_wait(&held);
	pthread_mutex_unlock(&slots[0].lock);
	return NULL;
}

static void hold_the_lock(pthread_t *ret_late)
{
	pthread_barrier_init(&held, NULL, 2);
	assert_int_equal(pthread_create(ret_late, NULL, holder, NULL), 0);
	pthread_barrier_wait(&held);
}

/* While another one has the lock and is late: restores without it. */
static void restore_beside_a_late_one(pthread_t *ret_late)
{
	struct pvsched_applied r;

	hold_the_lock(ret_late);
	pvsched_apply(&act, 0, 0, true, &r);
	assert_false(bed_tid_is_boosted(victim.tid));
}

static void late_one_is_done(pthread_t late)
{
	pthread_barrier_wait(&held);
	pthread_join(late, NULL);
	pthread_barrier_destroy(&held);
}

/* Whatever two of ours left behind that changed the thread at once is nobody else's. */
static void actuator_that_raced_with_a_late_one_takes_it_for_its_own(void **state)
{
	const struct pvsched_attr fifo = { .policy = SCHED_FIFO, .priority = 1, .flags = 1 };
	struct pvsched_attr before = slots[0].base, after;
	uint64_t until, word;
	pthread_t late;

	(void)state;
	limit(90, 100 * MS, 5000, 1);
	for (int order = 0; order < 2; order++) {
		assert_true(ask(1, 50 * MS, &until));
		word = shared[0].applied;
		restore_beside_a_late_one(&late);
		/* the late one has set the thread, or noted it, after that */
		if (order)
			assert_int_equal(pvsched_attr_set(victim.tid, &fifo), 0);
		else
			shared[0].applied = word;
		late_one_is_done(late);
		end();
		assert_int_equal(shared[0].external, 0);
		assert_int_equal(shared[0].foreign, 0);
		assert_int_equal(pvsched_attr_get(victim.tid, &after), 0);
		assert_memory_equal(&before, &after, sizeof(before));
		memset(debts, 0, sizeof(debts));
	}
}

/* A nice that somebody sets in mid-boost is theirs, too, when the boost's end did not wait for a late
 * one of us, whatever that does to the thread afterwards. */
static void actuator_that_raced_with_a_late_one_keeps_the_nice_of_others(void **state)
{
	const struct pvsched_attr fifo = { .policy = SCHED_FIFO, .priority = 1, .flags = 1 };
	struct pvsched_attr after;
	uint64_t until, word;
	pthread_t late;

	(void)state;
	limit(90, 100 * MS, 5000, 1);
	for (int order = 0; order < 3; order++) {
		assert_true(ask(1, 50 * MS, &until));
		word = shared[0].applied;
		assert_int_equal(setpriority(PRIO_PROCESS, victim.tid, 4 + order), 0);
		restore_beside_a_late_one(&late);
		assert_int_equal(pvsched_attr_get(victim.tid, &after), 0);
		assert_int_equal(after.nice, 4 + order);
		if (order == 1)
			assert_int_equal(pvsched_attr_set(victim.tid, &fifo), 0);
		if (order == 2)
			shared[0].applied = word;
		late_one_is_done(late);
		end();
		assert_int_equal(shared[0].foreign, PVSCHED_FOREIGN_NICE);
		assert_int_equal(pvsched_attr_get(victim.tid, &after), 0);
		assert_int_equal(after.policy, SCHED_OTHER);
		assert_int_equal(after.nice, 4 + order);
		assert_int_equal(slots[0].base.nice, 4 + order);
		memset(debts, 0, sizeof(debts));
	}
}

/* Where one of ours is, inside the actuator: called once, and then no more. */
static void (*on_read)(void), (*on_restored)(void), (*on_set)(void), (*after_set)(void);

int __real_pvsched_attr_get(pid_t tid, struct pvsched_attr *ret_attr);
int __wrap_pvsched_attr_get(pid_t tid, struct pvsched_attr *ret_attr);
int __wrap_pvsched_attr_get(pid_t tid, struct pvsched_attr *ret_attr)
{
	void (*hook)(void) = __atomic_exchange_n(&on_read, NULL, __ATOMIC_ACQ_REL);

	if (hook)
		hook();
	return __real_pvsched_attr_get(tid, ret_attr);
}

int __real_pvsched_attr_set(pid_t tid, const struct pvsched_attr *attr);
int __wrap_pvsched_attr_set(pid_t tid, const struct pvsched_attr *attr);
int __wrap_pvsched_attr_set(pid_t tid, const struct pvsched_attr *attr)
{
	void (*hook)(void) = __atomic_exchange_n(&on_set, NULL, __ATOMIC_ACQ_REL);

	int err;

	if (hook)
		hook();
	hook = hook ? __atomic_exchange_n(&after_set, NULL, __ATOMIC_ACQ_REL) : NULL;
	err = __real_pvsched_attr_set(tid, attr);
	if (hook)
		hook();
	return err;
}

bool __real_pvsched_place_back(struct pvsched_slot *s);
bool __wrap_pvsched_place_back(struct pvsched_slot *s);
bool __wrap_pvsched_place_back(struct pvsched_slot *s)
{
	void (*hook)(void) = __atomic_exchange_n(&on_restored, NULL, __ATOMIC_ACQ_REL);

	if (hook)
		hook();
	return __real_pvsched_place_back(s);
}

static void *restorer(void *arg)
{
	struct pvsched_applied r;

	(void)arg;
	pvsched_apply(&act, 0, 0, true, &r);
	return NULL;
}

static void done_by_another(void *(*what)(void *))
{
	pthread_t other;

	assert_int_equal(pthread_create(&other, NULL, what, NULL), 0);
	pthread_join(other, NULL);
}

static void restore_by_another(void)
{
	done_by_another(restorer);
}

/* The holder is late in the middle of its look at the thread. */
static void actuator_whose_look_was_overtaken_takes_what_it_sees_for_its_own(void **state)
{
	struct pvsched_attr before = slots[0].base, after;
	uint64_t until;

	(void)state;
	limit(90, 100 * MS, 5000, 1);
	assert_true(ask(1, 50 * MS, &until));
	__atomic_store_n(&on_read, restore_by_another, __ATOMIC_RELEASE);
	end();
	assert_null(on_read);
	assert_int_equal(shared[0].foreign, 0);
	assert_int_equal(pvsched_attr_get(victim.tid, &after), 0);
	assert_memory_equal(&before, &after, sizeof(before));
}

static pthread_barrier_t looking, done;

static void is_looking(void)
{
	pthread_barrier_wait(&looking);
	pthread_barrier_wait(&looking);
}

static void is_done(void)
{
	pthread_barrier_wait(&done);
	pthread_barrier_wait(&done);
}

/* One of us that did not wait for the lock is late itself: others have had the lock before it changes the
 * thread, and have it again before it notes that. */
static void
actuator_beside_a_late_one_without_the_lock_takes_what_that_did_for_its_own(void **state)
{
	struct pvsched_attr before = slots[0].base, after;
	pthread_t late, other;
	uint64_t until;

	(void)state;
	limit(90, 100 * MS, 5000, 1);
	pthread_barrier_init(&looking, NULL, 2);
	pthread_barrier_init(&done, NULL, 2);
	assert_true(ask(1, 50 * MS, &until));
	hold_the_lock(&late);
	__atomic_store_n(&on_read, is_looking, __ATOMIC_RELEASE);
	__atomic_store_n(&on_restored, is_done, __ATOMIC_RELEASE);
	assert_int_equal(pthread_create(&other, NULL, restorer, NULL), 0);
	pthread_barrier_wait(&looking);
	late_one_is_done(late);
	assert_true(ask(1, 40 * MS, &until));
	pthread_barrier_wait(&looking);
	pthread_barrier_wait(&done);
	end();
	pthread_barrier_wait(&done);
	pthread_join(other, NULL);
	assert_int_equal(shared[0].foreign, 0);
	assert_int_equal(pvsched_attr_get(victim.tid, &after), 0);
	assert_memory_equal(&before, &after, sizeof(before));
	pthread_barrier_destroy(&looking);
	pthread_barrier_destroy(&done);
}

static pthread_t late_holder;

/* Of who does not wait for the lock, and is late itself: boosts, or pays a boost back. */
static void apply_beside_a_late_one(uint8_t level, uint8_t value)
{
	struct pvsched_applied r;

	hold_the_lock(&late_holder);
	shared[0].desired =
		pvsched_word(1000, level, value, PVSCHED_REASON_CRITICAL, bed_now() + 50 * MS);
	pvsched_apply(&act, 0, 0, false, &r);
}

static void *boost_and_end_and_boost(void *arg)
{
	uint64_t until;

	(void)arg;
	assert_true(ask(1, 40 * MS, &until));
	end();
	assert_true(ask(1, 40 * MS, &until));
	return NULL;
}

static void be_overtaken_by_three_changes(void)
{
	late_one_is_done(late_holder);
	done_by_another(boost_and_end_and_boost);
}

/* What it sets then is neither what was set last, nor what was before that. */
static void actuator_that_is_late_by_more_than_a_change_is_taken_for_its_own(void **state)
{
	static const struct {
		uint8_t level;
		int value;
	} late[] = { { PVSCHED_LEVEL_IDLE, 0 },
		     { PVSCHED_LEVEL_NICE, PVSCHED_PAYBACK_STEPS },
		     { PVSCHED_LEVEL_NICE, -20 } };
	struct pvsched_attr before = slots[0].base, after;

	(void)state;
	limit(90, 100 * MS, 5000, 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(late); i++) {
		__atomic_store_n(&after_set, restore_by_another, __ATOMIC_RELEASE);
		__atomic_store_n(&on_set, be_overtaken_by_three_changes, __ATOMIC_RELEASE);
		apply_beside_a_late_one(late[i].level, late[i].value);
		assert_null(on_set);
		assert_null(after_set);
		end();
		assert_int_equal(shared[0].external, 0);
		assert_int_equal(shared[0].foreign, 0);
		assert_int_equal(pvsched_attr_get(victim.tid, &after), 0);
		assert_memory_equal(&before, &after, sizeof(before));
		memset(debts, 0, sizeof(debts));
	}
}

static void *end_it(void *arg)
{
	(void)arg;
	end();
	return NULL;
}

/* By one who does not wait either, and is done; and by who has the lock then. */
static void be_overtaken_without_the_lock(void)
{
	restore_by_another();
	late_one_is_done(late_holder);
	done_by_another(end_it);
}

static void *boost_it(void *arg)
{
	struct pvsched_applied r;

	(void)arg;
	shared[0].desired = pvsched_word(1001, PVSCHED_LEVEL_RT, 1, PVSCHED_REASON_CRITICAL,
					 bed_now() + 40 * MS);
	pvsched_apply(&act, 0, 0, false, &r);
	return NULL;
}

static void boost_by_another(void)
{
	done_by_another(boost_it);
}

/* Of two without the lock one is done: the other is not. */
static void actuator_beside_another_that_is_done_is_taken_for_its_own(void **state)
{
	struct pvsched_attr before = slots[0].base, after;

	(void)state;
	limit(90, 100 * MS, 5000, 1);
	__atomic_store_n(&after_set, boost_by_another, __ATOMIC_RELEASE);
	__atomic_store_n(&on_set, be_overtaken_without_the_lock, __ATOMIC_RELEASE);
	apply_beside_a_late_one(PVSCHED_LEVEL_RT, 1);
	assert_null(on_set);
	assert_null(after_set);
	end();
	assert_int_equal(shared[0].external, 0);
	assert_int_equal(shared[0].foreign, 0);
	assert_int_equal(pvsched_attr_get(victim.tid, &after), 0);
	assert_memory_equal(&before, &after, sizeof(before));
}

/* The guardian cannot reach a guest's page: whoever comes to the slot next says what it did. */
static void boost_that_the_guardian_ended_is_told_by_the_next_agent(void **state)
{
	static struct pvsched_page page;
	struct pvsched_actuation guardian = act;
	struct pvsched_applied r;
	uint64_t until;

	(void)state;
	guardian.guardian = true;
	slots[0].page = &page;
	slots[0].starttime = 0;
	assert_int_equal(pvsched_starttime(victim.tid, &slots[0].starttime), 0);
	assert_true(ask(1, 50 * MS, &until));
	assert_true(page.grant >> PVSCHED_TASK_FLAGS_SHIFT & PVSCHED_GRANT_BOOSTED);
	pvsched_apply(&guardian, 0, 0, true, &r);
	assert_false(bed_tid_is_boosted(victim.tid));
	assert_true(page.grant >> PVSCHED_TASK_FLAGS_SHIFT & PVSCHED_GRANT_BOOSTED);
	end();
	assert_false(page.grant >> PVSCHED_TASK_FLAGS_SHIFT & PVSCHED_GRANT_BOOSTED);
	assert_int_equal(page.grant >> PVSCHED_TASK_FLAGS_SHIFT & PVSCHED_GRANT_REASON,
			 PVSCHED_REASON_EXPIRED);
}

/* A guest under `mirror` changes its nice as it likes: that is one boost, and one count of rings. */
static void boost_that_changes_its_level_keeps_the_count_of_its_rings(void **state)
{
	struct pvsched_applied r;

	(void)state;
	limit(90, 100 * MS, 5000, 1);
	for (int nice = -10; nice < -5; nice++) {
		shared[0].desired = pvsched_word(100 + nice, PVSCHED_LEVEL_NICE, nice,
						 PVSCHED_REASON_MIRROR, bed_now() + 50 * MS);
		pvsched_apply(&act, 0, 0, false, &r);
		assert_true(r.boosted && r.changed);
		assert_int_equal(slots[0].bells, nice + 10);
		slots[0].bells++; /* as an agent that hears one */
	}
	end();
	shared[0].desired = pvsched_word(1, PVSCHED_LEVEL_NICE, -10, PVSCHED_REASON_MIRROR,
					 bed_now() + 50 * MS);
	pvsched_apply(&act, 0, 0, false, &r);
	assert_true(r.boosted);
	assert_int_equal(slots[0].bells, 0);
	end();
}

/* What a policy asks in its own scale may be less than what the owner gave. */
static void actuator_lowers_no_realtime_thread(void **state)
{
	static const struct {
		uint8_t level;
		int8_t value;
	} ask_for[] = { { PVSCHED_LEVEL_NICE, -20 },
			{ PVSCHED_LEVEL_NICE, 10 },
			{ PVSCHED_LEVEL_IDLE, 0 },
			{ PVSCHED_LEVEL_RT, 1 },
			{ PVSCHED_LEVEL_RT, 50 } };
	const struct pvsched_attr fifo = { .policy = SCHED_FIFO, .priority = 50 };
	struct pvsched_applied r;
	struct pvsched_attr now;

	(void)state;
	limit(90, 100 * MS, 5000, 50);
	assert_int_equal(pvsched_attr_set(victim.tid, &fifo), 0);
	assert_int_equal(pvsched_attr_get(victim.tid, &slots[0].base), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(ask_for); i++) {
		shared[0].desired = pvsched_word(i + 1, ask_for[i].level, ask_for[i].value,
						 PVSCHED_REASON_MIRROR, bed_now() + 50 * MS);
		assert_int_equal(pvsched_apply(&act, 0, 0, false, &r), -EALREADY);
		assert_false(r.boosted || r.changed);
		assert_int_equal(pvsched_attr_get(victim.tid, &now), 0);
		assert_int_equal(now.policy, SCHED_FIFO);
		assert_int_equal(now.priority, 50);
	}
	/* better than what it has is a boost */
	limit(90, 100 * MS, 5000, 60);
	shared[0].desired =
		pvsched_word(9, PVSCHED_LEVEL_RT, 60, PVSCHED_REASON_MIRROR, bed_now() + 50 * MS);
	assert_int_equal(pvsched_apply(&act, 0, 0, false, &r), 0);
	assert_true(r.boosted);
	shared[0].desired = 0;
	assert_int_equal(pvsched_apply(&act, 0, 0, false, &r), 0);
	assert_int_equal(pvsched_attr_get(victim.tid, &now), 0);
	assert_int_equal(now.priority, 50);
}

/* An owner without rights may always go down: from FIFO 5 to 4, from nice -20 to -19, and from either to BATCH. */
static void owner_that_lowers_a_boost_keeps_nothing_of_it(void **state)
{
	static const struct {
		uint8_t level;
		int8_t value;
		struct pvsched_attr set;
		uint32_t foreign, policy;
	} cases[] = {
		{ PVSCHED_LEVEL_RT, 5, { .policy = SCHED_FIFO, .priority = 4 }, 0, SCHED_OTHER },
		{ PVSCHED_LEVEL_NICE, -20, { .policy = SCHED_OTHER, .nice = -19 }, 0, SCHED_OTHER },
		{ PVSCHED_LEVEL_NICE,
		  -20,
		  { .policy = SCHED_BATCH, .nice = -20 },
		  PVSCHED_FOREIGN_POLICY,
		  SCHED_BATCH },
		/* under which it would come back with SCHED_OTHER */
		{ PVSCHED_LEVEL_NICE,
		  -20,
		  { .policy = SCHED_FIFO, .priority = 50 },
		  PVSCHED_FOREIGN_POLICY,
		  SCHED_FIFO },
		/* what is no better than its own is theirs, as ever */
		{ PVSCHED_LEVEL_NICE,
		  -20,
		  { .policy = SCHED_OTHER, .nice = 3 },
		  PVSCHED_FOREIGN_NICE,
		  SCHED_OTHER },
	};
	struct pvsched_applied r;
	struct pvsched_attr now;

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pvsched_attr a = cases[i].set;

		if (i) {
			teardown(state);
			setup(state);
		}
		limit(90, 100 * MS, 5000, 5);
		shared[0].desired = pvsched_word(1, cases[i].level, cases[i].value,
						 PVSCHED_REASON_MIRROR, bed_now() + 50 * MS);
		assert_int_equal(pvsched_apply(&act, 0, 0, false, &r), 0);
		assert_true(r.boosted);
		a.flags = SCHED_FLAG_RESET_ON_FORK;
		assert_int_equal(pvsched_attr_set(victim.tid, &a), 0);
		shared[0].desired = 0;
		assert_int_equal(pvsched_apply(&act, 0, 0, false, &r), 0);
		assert_false(r.boosted);
		assert_int_equal(pvsched_attr_get(victim.tid, &now), 0);
		assert_int_equal(now.policy, cases[i].policy);
		assert_int_equal(getpriority(PRIO_PROCESS, victim.tid),
				 cases[i].foreign == PVSCHED_FOREIGN_NICE ? 3 : 0);
		assert_int_equal(shared[0].foreign, cases[i].foreign);
	}
}

/* Late, as after a kill: the thread has ended, and its number is another's, who has a nice of that kind. */
static void boost_of_an_ended_thread_changes_nobody_of_its_number(void **state)
{
	const struct pvsched_attr batch = { .policy = SCHED_BATCH, .nice = -5 };
	struct pvsched_applied r;

	(void)state;
	shared[0].desired = pvsched_word(1, PVSCHED_LEVEL_NICE, -20, PVSCHED_REASON_MIRROR,
					 bed_now() + 50 * MS);
	assert_int_equal(pvsched_apply(&act, 0, 0, false, &r), 0);
	assert_true(r.boosted);
	assert_int_equal(pvsched_attr_set(victim.tid, &batch), 0);
	shared[0].gone = 1;
	slots[0].starttime = 1;
	pvsched_apply(&act, 0, 0, true, &r);
	assert_int_equal(getpriority(PRIO_PROCESS, victim.tid), -5);
}

/* In the child: a thread that tells its tid and executes `sleep` when told to; its leader has ended. */
static void *executor(void *arg)
{
	int *pipes = arg;
	pid_t tid = gettid();
	char go;

	if (write(pipes[1], &tid, sizeof(tid)) == sizeof(tid) && read(pipes[2], &go, 1) == 1)
		execlp("sleep", "sleep", "30", NULL);
	_exit(1);
}

static bool is_called(pid_t pid, const char *name)
{
	char path[32], comm[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "re");
	if (f && fgets(comm, sizeof(comm), f))
		comm[strcspn(comm, "\n")] = 0;
	if (f)
		fclose(f);
	return !strcmp(comm, name);
}

static void boosted_thread_that_executes_a_program_is_restored(void **state)
{
	struct pvsched_applied r;
	struct pvsched_attr now;
	int pipes[4];
	pthread_t t;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(pipes, O_CLOEXEC) | pipe2(pipes + 2, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		pthread_create(&t, NULL, executor, pipes);
		pthread_exit(NULL);
	}
	assert_int_equal(read(pipes[0], &slots[0].tid, sizeof(pid_t)), sizeof(pid_t));
	slots[0].tgid = pid;
	assert_int_equal(pvsched_starttime(pid, &slots[0].leader_start), 0);
	limit(90, 100 * MS, 5000, 1);
	shared[0].desired =
		pvsched_word(1, PVSCHED_LEVEL_RT, 1, PVSCHED_REASON_CRITICAL, bed_now() + 50 * MS);
	assert_int_equal(pvsched_apply(&act, 0, 0, false, &r), 0);
	assert_true(r.boosted);
	assert_int_equal(write(pipes[3], "", 1), 1);
	for (int i = 0; i < 5000 && !is_called(pid, "sleep"); i++)
		bed_sleep_ms(1);
	assert_true(is_called(pid, "sleep"));
	assert_int_equal(pvsched_attr_get(pid, &now), 0);
	assert_int_equal(now.policy, SCHED_FIFO); /* it has taken its boost with it */
	shared[0].desired = 0;
	assert_int_equal(pvsched_apply(&act, 0, 0, false, &r), 0);
	assert_int_equal(pvsched_attr_get(pid, &now), 0);
	assert_int_equal(now.policy, SCHED_OTHER);
	assert_int_equal(now.flags & SCHED_FLAG_RESET_ON_FORK, 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(pipes); i++)
		close(pipes[i]);
}

/* A decision that is written late: the slot is nobody's then, and its thread as it was. */
static void actuator_boosts_nobody_whose_slot_was_given_up(void **state)
{
	struct pvsched_attr before = slots[0].base, after;
	struct pvsched_applied r;
	uint64_t until;

	(void)state;
	assert_true(ask(1, 50 * MS, &until));
	pvsched_release(&act, 0);
	assert_false(slots[0].used);
	assert_int_equal(pvsched_attr_get(victim.tid, &after), 0);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_false(ask(1, 50 * MS, &until));
	/* one who did not wait for the lock had begun to boost it */
	slots[0].used = 1;
	memset(debts, 0, sizeof(debts));
	assert_true(ask(1, 50 * MS, &until));
	slots[0].used = 0;
	assert_int_equal(pvsched_apply(&act, 0, 0, false, &r), 0);
	assert_false(r.boosted);
	assert_false(bed_tid_is_boosted(victim.tid));
}

static void *releaser(void *arg)
{
	(void)arg;
	pvsched_release(&act, 0);
	return NULL;
}

static void release_by_another(void)
{
	done_by_another(releaser);
	assert_false(slots[0].used);
	assert_false(bed_tid_is_boosted(victim.tid));
}

/* One who has begun to boost it is late, and given no time by who gives the slot up. */
static void actuator_that_boosts_late_takes_back_what_was_given_up(void **state)
{
	struct pvsched_attr before = slots[0].base, after;
	uint64_t until;

	(void)state;
	__atomic_store_n(&on_set, release_by_another, __ATOMIC_RELEASE);
	assert_false(ask(1, 1000 * MS, &until));
	assert_null(on_set);
	assert_int_equal(PVSCHED_WORD_LEVEL(shared[0].applied), PVSCHED_LEVEL_BASE);
	assert_int_equal(pvsched_attr_get(victim.tid, &after), 0);
	assert_memory_equal(&before, &after, sizeof(before));
}

static void *die_with_the_lock(void *arg)
{
	(void)arg;
	assert_true(pvsched_slot_lock(&slots[0]));
	return NULL;
}

static void actuator_lock_of_one_who_died_is_taken_again_and_again(void **state)
{
	pthread_t dead;

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pthread_create(&dead, NULL, die_with_the_lock, NULL), 0);
		pthread_join(dead, NULL);
		for (int again = 0; again < 2; again++) {
			assert_true(pvsched_slot_lock(&slots[0]));
			pvsched_slot_unlock(&slots[0]);
		}
	}
}

static void *hold_the_lock_for_a_while(void *arg)
{
	bool *held = arg;

	assert_true(pvsched_slot_lock(&slots[0]));
	__atomic_store_n(held, true, __ATOMIC_RELEASE);
	bed_sleep_ms(20);
	pvsched_slot_unlock(&slots[0]);
	return NULL;
}

/* Restored for a hint of that time, while the lock is held for 20 ms. Returns whether that was waited for. */
static bool guardian_waits(uint64_t since_ns)
{
	struct pvsched_actuation guardian = act;
	struct pvsched_applied r;
	bool held = false;
	pthread_t holder;
	uint64_t until;

	memset(debts, 0, sizeof(debts));
	assert_true(ask(1, 1000 * MS, &until));
	shared[0].desired = 0;
	slots[0].raced = slots[0].doubt = 0;
	assert_int_equal(pthread_create(&holder, NULL, hold_the_lock_for_a_while, &held), 0);
	while (!__atomic_load_n(&held, __ATOMIC_ACQUIRE))
		sched_yield();
	guardian.guardian = true;
	assert_int_equal(pvsched_apply(&guardian, 0, since_ns, true, &r), 0);
	assert_false(bed_tid_is_boosted(victim.tid));
	pthread_join(holder, NULL);
	return !slots[0].raced;
}

/* Called for many slots at once, whose holders may all have stopped, it waits for all of them together. */
static void guardian_waits_for_locks_from_when_it_was_called(void **state)
{
	(void)state;
	assert_int_equal(pvsched_starttime(victim.tid, &slots[0].starttime), 0);
	assert_true(guardian_waits(bed_now() + 60000 * MS));
	assert_false(guardian_waits(bed_now() - PVSCHED_LOCK_NS));
}

/* Who leaves a real-time policy loses his slack: one who had been real-time for a moment would show. */
static void agent_asked_whether_it_can_act_leaves_its_asker_alone(void **state)
{
	unsigned long slack = prctl(PR_GET_TIMERSLACK);
	char why[200] = "";

	(void)state;
	assert_int_equal(prctl(PR_SET_TIMERSLACK, 123456), 0);
	assert_int_equal(pvsched_actuator_agent.usable(why, sizeof(why)), 0);
	assert_int_equal(prctl(PR_GET_TIMERSLACK), 123456);
	prctl(PR_SET_TIMERSLACK, slack);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(actuator_refuses_a_priority_above_the_ceiling),
		CASE(actuator_cuts_a_boost_to_the_contiguous_cap),
		CASE(actuator_bounds_the_number_of_boosts),
		CASE(actuator_bounds_the_share_by_wall_time),
		CASE(actuator_that_raced_with_a_late_one_takes_it_for_its_own),
		CASE(actuator_that_raced_with_a_late_one_keeps_the_nice_of_others),
		CASE(actuator_whose_look_was_overtaken_takes_what_it_sees_for_its_own),
		CASE(actuator_beside_a_late_one_without_the_lock_takes_what_that_did_for_its_own),
		CASE(actuator_that_is_late_by_more_than_a_change_is_taken_for_its_own),
		CASE(actuator_beside_another_that_is_done_is_taken_for_its_own),
		CASE(boost_that_the_guardian_ended_is_told_by_the_next_agent),
		CASE(boost_that_changes_its_level_keeps_the_count_of_its_rings),
		CASE(actuator_lowers_no_realtime_thread),
		CASE(owner_that_lowers_a_boost_keeps_nothing_of_it),
		CASE(boost_of_an_ended_thread_changes_nobody_of_its_number),
		CASE(boosted_thread_that_executes_a_program_is_restored),
		CASE(actuator_boosts_nobody_whose_slot_was_given_up),
		CASE(actuator_that_boosts_late_takes_back_what_was_given_up),
		CASE(actuator_lock_of_one_who_died_is_taken_again_and_again),
		CASE(guardian_waits_for_locks_from_when_it_was_called),
		CASE(agent_asked_whether_it_can_act_leaves_its_asker_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
