// SPDX-License-Identifier: GPL-2.0-only
/* Affinity that is put back: what was set by a wish, what the kernel made of it, and what somebody else did. */
#include <helpers/unit.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
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

static bool thread_has(pid_t tid, const cpu_set_t *set)
{
	cpu_set_t now;

	assert_int_equal(sched_getaffinity(tid, sizeof(now), &now), 0);
	return CPU_EQUAL(&now, set);
}

static bool has(const cpu_set_t *set)
{
	return thread_has(0, set);
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
	assert_false(pvsched_place_back(&s));
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
	assert_true(pvsched_place_back(&s));
	assert_false(s.moved);
	assert_true(has(&theirs));
	assert_false(pvsched_place_back(&s)); /* it is not ours any more */
	/* or more, while its CPU is on */
	s = moved(cpu, &own);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	assert_true(pvsched_place_back(&s));
	assert_true(has(&all));
}

/* Whoever boosts it may be killed between the note and the move, or another one has put it back. */
static void place_back_of_what_was_not_moved_is_nobodys_change(void **state)
{
	struct pvsched_slot s;
	cpu_set_t all;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	s = moved(one_of(&all, -1), &all);
	if (CPU_EQUAL(&s.moved_to, &all))
		skip();
	assert_false(pvsched_place_back(&s));
	assert_false(s.moved);
	assert_true(has(&all));
}

/* An actuator with this thread in slot 0. */
static struct pvsched_actuation *actuation(void)
{
	struct pvsched_actuation *a = calloc(1, sizeof(*a));
	struct pvsched_config *config = calloc(1, sizeof(*config));

	assert_true(a && config);
	config->actuator = PVSCHED_ACTUATOR_AGENT;
	a->config = config;
	a->slots = calloc(1, sizeof(*a->slots));
	a->shared = calloc(1, sizeof(*a->shared));
	a->debts = calloc(1, sizeof(*a->debts));
	a->limits = calloc(1, sizeof(*a->limits));
	a->foreign_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(a->slots && a->shared && a->debts && a->limits && a->foreign_fd >= 0);
	return a;
}

static void free_actuation(struct pvsched_actuation *a)
{
	close(a->foreign_fd);
	free(a->limits);
	free(a->debts);
	free(a->shared);
	free(a->slots);
	free((void *)a->config);
	free(a);
}

/* Ends a boost of this thread, which has `theirs` since. */
static void end_boost(struct pvsched_actuation *a, const cpu_set_t *own, const cpu_set_t *theirs)
{
	struct pvsched_slot *s = &a->slots[0];
	struct pvsched_applied done;

	assert_int_equal(sched_setaffinity(0, sizeof(*own), own), 0);
	*s = moved(GONE, own);
	s->used = 1;
	s->slack_ns = PVSCHED_SLACK_DEFAULT_NS;
	assert_int_equal(pvsched_slot_lock_init(s), 0);
	/* a boost to what it has anyway, which anybody may set */
	assert_int_equal(pvsched_attr_get(s->tid, &s->base), 0);
	s->boosted = s->was = s->base;
	s->under = s->base.nice;
	a->shared[0].applied = pvsched_word(1, PVSCHED_LEVEL_NICE, 0, PVSCHED_REASON_POLICY, 0);
	assert_int_equal(sched_setaffinity(0, sizeof(*theirs), theirs), 0);
	assert_int_equal(pvsched_apply(a, 0, 0, true, &done), 0);
	assert_true(done.changed && !done.boosted && !s->moved);
	assert_true(has(theirs));
	pthread_mutex_destroy(&s->lock);
}

static void affinity_set_during_a_boost_is_told_to_the_broker(void **state)
{
	struct pvsched_actuation *a = actuation();
	cpu_set_t all, own, theirs;
	eventfd_t told;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&own);
	CPU_SET(one_of(&all, -1), &own);
	if (CPU_EQUAL(&own, &all))
		skip(); /* one CPU: nothing to tell apart */
	CPU_ZERO(&theirs);
	CPU_SET(one_of(&all, one_of(&all, -1)), &theirs);
	end_boost(a, &own, &own); /* nobody has: it is as it was */
	assert_int_equal(a->shared[0].foreign, 0);
	assert_int_equal(a->shared[0].external, 0);
	assert_int_equal(eventfd_read(a->foreign_fd, &told), -1);
	end_boost(a, &own, &theirs);
	assert_int_equal(a->shared[0].foreign, PVSCHED_FOREIGN_AFFINITY);
	assert_int_equal(a->shared[0].external, 1);
	assert_int_equal(eventfd_read(a->foreign_fd, &told), 0);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	free_actuation(a);
}

/* Where this thread is late, inside the actuator: called once, and then no more. */
static __thread void (*before_move)(void), (*after_move)(void), (*after_look)(void),
	(*after_back)(void);

static void call(void (**hook)(void))
{
	void (*f)(void) = *hook;

	*hook = NULL;
	if (f)
		f();
}

int __real_sched_setaffinity(pid_t tid, size_t size, const cpu_set_t *set);
int __wrap_sched_setaffinity(pid_t tid, size_t size, const cpu_set_t *set);
int __wrap_sched_setaffinity(pid_t tid, size_t size, const cpu_set_t *set)
{
	int err;

	call(&before_move);
	err = __real_sched_setaffinity(tid, size, set);
	call(&after_move);
	return err;
}

int __real_sched_getaffinity(pid_t tid, size_t size, cpu_set_t *ret);
int __wrap_sched_getaffinity(pid_t tid, size_t size, cpu_set_t *ret);
int __wrap_sched_getaffinity(pid_t tid, size_t size, cpu_set_t *ret)
{
	int err = __real_sched_getaffinity(tid, size, ret);

	call(&after_look);
	return err;
}

bool __real_pvsched_place_back(struct pvsched_slot *s);
bool __wrap_pvsched_place_back(struct pvsched_slot *s);
bool __wrap_pvsched_place_back(struct pvsched_slot *s)
{
	bool theirs = __real_pvsched_place_back(s);

	call(&after_back);
	return theirs;
}

static struct {
	struct pvsched_actuation *a;
	cpu_set_t to;
} next;

static void be_moved_for_the_next_boost(void)
{
	struct pvsched_slot *s = &next.a->slots[0];

	pvsched_place_back(s);
	assert_true(pvsched_place_move(s, &next.a->shared[0], &next.to) >= 0);
}

static void place_back_that_is_late_leaves_the_next_move_to_its_own_end(void **state)
{
	struct pvsched_slot *s;
	cpu_set_t all;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&next.to);
	CPU_SET(one_of(&all, -1), &next.to);
	if (CPU_EQUAL(&next.to, &all))
		skip(); /* one CPU: nothing to tell apart */
	next.a = actuation();
	s = &next.a->slots[0];
	s->tid = gettid();
	s->used = 1;
	assert_int_equal(pvsched_attr_get(s->tid, &s->boosted), 0);
	s->base = s->boosted;
	s->base.nice++;
	next.a->shared[0].applied =
		pvsched_word(1, PVSCHED_LEVEL_NICE, s->boosted.nice, PVSCHED_REASON_POLICY, 0);
	assert_true(pvsched_place_move(s, &next.a->shared[0], &next.to) >= 0);
	after_move = be_moved_for_the_next_boost;
	assert_false(pvsched_place_back(s));
	assert_null(after_move);
	assert_true(s->moved);
	assert_true(has(&next.to));
	assert_false(pvsched_place_back(s));
	assert_false(s->moved);
	assert_true(has(&all));
	free_actuation(next.a);
}

/* Who moves it, late, has the lock; who ends the boost does not wait for that. */
static struct {
	struct pvsched_actuation *a;
	pthread_t ender;
	pthread_barrier_t turn;
	bool release, at_look, at_back;
} late;

static void pause_here(void)
{
	pthread_barrier_wait(&late.turn);
	pthread_barrier_wait(&late.turn);
}

static void *end_it(void *arg)
{
	struct pvsched_applied done;

	(void)arg;
	after_look = late.at_look ? pause_here : NULL;
	after_back = late.at_back ? pause_here : NULL;
	if (late.release)
		pvsched_release(late.a, 0);
	else
		pvsched_apply(late.a, 0, 0, true, &done);
	return NULL;
}

static void begin_its_end(void)
{
	assert_int_equal(pthread_create(&late.ender, NULL, end_it, NULL), 0);
	if (late.at_look || late.at_back)
		pthread_barrier_wait(&late.turn);
	else
		pthread_join(late.ender, NULL);
}

static void go_on_with_its_end(void)
{
	if (!late.at_look && !late.at_back)
		return;
	pthread_barrier_wait(&late.turn);
	pthread_join(late.ender, NULL);
}

static pid_t sleeper_tid;

static void *sleep_on(void *arg)
{
	__atomic_store_n(&sleeper_tid, gettid(), __ATOMIC_RELEASE);
	pthread_barrier_wait(arg);
	return NULL;
}

static void place_move_that_is_late_leaves_nothing_when_the_boost_has_ended(void **state)
{
	static const struct {
		bool release, at_look, at_back, before_mark;
		int ret;
	} ends[] = {
		{ .ret = -ECANCELED },
		{ .release = true, .ret = -ECANCELED },
		/* looked at the thread before it was moved, and says that it is as it was afterwards */
		{ .at_look = true, .ret = -ECANCELED },
		{ .at_look = true, .release = true, .ret = -ECANCELED },
		/* found nothing to put back, and has not noted yet that the boost has ended: it goes on */
		{ .at_back = true, .before_mark = true, .ret = 0 },
		{ .at_back = true, .before_mark = true, .release = true, .ret = 0 },
	};
	struct pvsched_slot *s;
	pthread_barrier_t end;
	pthread_t sleeper;
	cpu_set_t all, to;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&to);
	CPU_SET(one_of(&all, -1), &to);
	if (CPU_EQUAL(&to, &all))
		skip(); /* one CPU: nothing to tell apart */
	pthread_barrier_init(&end, NULL, 2);
	pthread_barrier_init(&late.turn, NULL, 2);
	assert_int_equal(pthread_create(&sleeper, NULL, sleep_on, &end), 0);
	while (!__atomic_load_n(&sleeper_tid, __ATOMIC_ACQUIRE))
		sched_yield();
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		late.a = actuation();
		late.release = ends[i].release;
		late.at_look = ends[i].at_look;
		late.at_back = ends[i].at_back;
		s = &late.a->slots[0];
		s->tid = sleeper_tid;
		s->used = 1;
		s->slack_ns = PVSCHED_SLACK_DEFAULT_NS;
		assert_int_equal(pvsched_slot_lock_init(s), 0);
		/* boosted to the nice that it has; to end that anybody may */
		assert_int_equal(pvsched_attr_get(s->tid, &s->boosted), 0);
		s->base = s->boosted;
		s->base.nice++;
		s->under = s->base.nice;
		late.a->shared[0].applied = pvsched_word(1, PVSCHED_LEVEL_NICE, s->boosted.nice,
							 PVSCHED_REASON_POLICY, 0);
		assert_true(pvsched_slot_lock(s));
		*(ends[i].before_mark ? &after_look : &before_move) = begin_its_end;
		assert_int_equal(pvsched_place_move(s, &late.a->shared[0], &to),
				 ends[i].ret ? ends[i].ret : one_of(&to, -1));
		go_on_with_its_end();
		pvsched_slot_unlock(s);
		assert_false(s->moved);
		assert_true(thread_has(s->tid, &all));
		/* nor is it moved afterwards */
		assert_int_equal(pvsched_place_move(s, &late.a->shared[0], &to), -ECANCELED);
		assert_true(thread_has(s->tid, &all));
		pthread_mutex_destroy(&s->lock);
		free_actuation(late.a);
	}
	pthread_barrier_wait(&end);
	pthread_join(sleeper, NULL);
	pthread_barrier_destroy(&end);
	pthread_barrier_destroy(&late.turn);
}

/* Also where a case failed: the next one would take what is left for all there is. */
static cpu_set_t allowed;

static int setup(void **state)
{
	(void)state;
	return sched_getaffinity(0, sizeof(allowed), &allowed);
}

static int teardown(void **state)
{
	(void)state;
	return sched_setaffinity(0, sizeof(allowed), &allowed);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(place_back_restores_after_its_cpu_has_gone),
		CASE(place_back_leaves_what_somebody_else_set),
		CASE(place_back_of_what_was_not_moved_is_nobodys_change),
		CASE(affinity_set_during_a_boost_is_told_to_the_broker),
		CASE(place_move_that_is_late_leaves_nothing_when_the_boost_has_ended),
		CASE(place_back_that_is_late_leaves_the_next_move_to_its_own_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
