// SPDX-License-Identifier: GPL-2.0-only
/*
 * Actuators for `pvsched check`: can this host do what the agent does, and how long does a
 * demotion take? Measured with two threads of this process that end before it returns.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <actuator/actuator.h>

#include "check.h"
#include "stats.h"
#include "../actuator/monotonic.h"

#define DEMOTIONS  200
#define BUSY_NS	   1000000
#define REST_NS	   1500000
#define GIVE_UP_NS 50000000ull

struct probe {
	int cpu;
	int err;
	volatile bool go, end; /* a data race by design: one writer each, and a pause is enough */
	volatile pid_t tid;
	uint64_t late[DEMOTIONS];
	unsigned int n;
};

static void sleep_until(uint64_t ns)
{
	struct timespec ts = { .tv_sec = ns / 1000000000u, .tv_nsec = ns % 1000000000u };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

static int pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) < 0 ? errno : 0;
}

/* The boosted thread: burns the CPU while it is SCHED_FIFO, as a vCPU would. */
static void *busy(void *arg)
{
	struct probe *p = arg;
	uint64_t from;

	p->err = pin(p->cpu);
	p->tid = gettid();
	while (!p->end) {
		while (!p->go && !p->end)
			sleep_until(now_ns() + 100000);
		/* never longer than this, whatever becomes of the other thread */
		from = now_ns();
		while (p->go && !p->end && now_ns() - from < GIVE_UP_NS)
			;
		p->go = false;
	}
	return NULL;
}

/* Above it, asleep until the boost's expiry: what the agent does. */
static void *demote(void *arg)
{
	const struct sched_param boosted = { .sched_priority = 1 }, base = { 0 };
	const struct sched_param own = { .sched_priority = 2 };
	struct probe *p = arg;
	uint64_t expiry;
	unsigned int i;

	p->err = pin(p->cpu);
	if (!p->err && sched_setscheduler(0, SCHED_FIFO, &own) < 0)
		p->err = errno;
	for (i = 0; !p->err && i < DEMOTIONS; i++) {
		if (sched_setscheduler(p->tid, SCHED_FIFO, &boosted) < 0) {
			p->err = errno;
			break;
		}
		p->go = true;
		expiry = now_ns() + BUSY_NS;
		sleep_until(expiry);
		if (sched_setscheduler(p->tid, SCHED_OTHER, &base) < 0)
			p->err = errno;
		p->late[p->n++] = now_ns() - expiry;
		p->go = false;
		sleep_until(now_ns() + REST_NS);
	}
	p->end = true;
	return NULL;
}

static int measure(struct probe *p)
{
	pthread_t threads[2];
	int err;

	err = pthread_create(&threads[0], NULL, busy, p);
	if (err)
		return err;
	while (!p->tid)
		sleep_until(now_ns() + 100000);
	err = p->err;
	if (!err)
		err = pthread_create(&threads[1], NULL, demote, p);
	if (!err)
		pthread_join(threads[1], NULL);
	p->end = true;
	pthread_join(threads[0], NULL);
	return err ? err : p->err;
}

void check_actuators(struct check_list *l)
{
	static const char section[] = "Actuators";
	struct bench_samples s = { 0 };
	struct probe *p = calloc(1, sizeof(*p));
	cpu_set_t set;
	char why[PVSCHED_ACTUATOR_WHY];
	int err = ENOMEM;

	if (p && !sched_getaffinity(0, sizeof(set), &set)) {
		for (p->cpu = CPU_SETSIZE - 1; p->cpu > 0 && !CPU_ISSET(p->cpu, &set); p->cpu--)
			;
		err = measure(p);
	}
	if (!err)
		err = -bench_samples_append(&s, p->late, p->n);
	if (err) {
		check_add(l, section, "agent", CHECK_NO,
			  "SCHED_FIFO: %s: needs CAP_SYS_NICE, and real-time time in this cgroup",
			  strerror(err));
	} else {
		bench_samples_sort(&s);
		check_add(
			l, section, "agent", CHECK_OK,
			"ends a boost %.0f us (p50), %.0f us (p99), %.0f us (worst of %zu, this is "
			"L) after its expiry",
			(double)bench_percentile(s.v, s.n, BENCH_P50) / 1000,
			(double)bench_percentile(s.v, s.n, BENCH_P99) / 1000,
			(double)s.v[s.n - 1] / 1000, s.n);
	}
	for (const struct pvsched_actuator *const *a = pvsched_actuators(); *a; a++) {
		if (*a == &pvsched_actuator_agent)
			continue;
		if ((*a)->usable(why, sizeof(why)))
			check_add(l, section, (*a)->name, CHECK_NOTE, "not here: %s", why);
		else
			check_add(l, section, (*a)->name, CHECK_OK, "%s: --actuator %s",
				  (*a)->summary, (*a)->name);
	}
	check_add(l, section, "chosen", CHECK_NOTE, "%s, where nobody names one",
		  pvsched_actuator_choose()->name);
	bench_samples_free(&s);
	free(p);
}
