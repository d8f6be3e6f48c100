/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A task of the host: a thread that sleeps until a time and tells how late it was, as cyclictest does.
 * No coordinated omission: a period that passed unseen is a sample of its own.
 */
#ifndef PVSCHED_TESTS_SLEEPER_H
#define PVSCHED_TESTS_SLEEPER_H

#include <helpers/threads.h>

#define SLEEPER_PERIOD_NS 2000000ull
#define SLEEPER_SAMPLES	  20000

struct sleeper {
	pthread_t thread;
	int cpu, fifo; /* 0 = SCHED_OTHER, else the priority */
	bool stop;
	unsigned int n; /* atomic */
	uint64_t late[SLEEPER_SAMPLES]; /* ns */
};

static inline void sleeper_add(struct sleeper *s, uint64_t late)
{
	if (s->n < SLEEPER_SAMPLES) {
		s->late[s->n] = late;
		__atomic_store_n(&s->n, s->n + 1, __ATOMIC_RELEASE);
	}
}

static inline void *sleeper_thread(void *arg)
{
	struct sleeper *s = arg;
	struct sched_param param = { .sched_priority = s->fifo };
	uint64_t next, now;
	struct timespec ts;

	bed_pin(s->cpu);
	prctl(PR_SET_TIMERSLACK, 1);
	if (s->fifo)
		sched_setscheduler(0, SCHED_FIFO, &param);
	next = bed_now() + SLEEPER_PERIOD_NS;
	while (!__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE)) {
		ts = (struct timespec){ next / 1000000000, next % 1000000000 };
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
		for (now = bed_now(); next <= now; next += SLEEPER_PERIOD_NS)
			sleeper_add(s, now - next);
		next += s->n % 7 * 50000; /* in step with nobody */
	}
	return NULL;
}

static inline int sleeper_start(struct sleeper *s, int cpu, int fifo)
{
	s->cpu = cpu;
	s->fifo = fifo;
	s->stop = false;
	s->n = 0;
	return pthread_create(&s->thread, NULL, sleeper_thread, s);
}

static inline int sleeper_compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Ends it; its samples are in order then. */
static inline void sleeper_stop(struct sleeper *s)
{
	__atomic_store_n(&s->stop, true, __ATOMIC_RELEASE);
	pthread_join(s->thread, NULL);
	qsort(s->late, s->n, sizeof(s->late[0]), sleeper_compare);
}

static inline uint64_t sleeper_percentile(const struct sleeper *s, unsigned int percent)
{
	return s->n ? s->late[(uint64_t)(s->n - 1) * percent / 100] : 0;
}

#endif
