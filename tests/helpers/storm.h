/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For tests that measure what a guest can take or harm: short and long forms, figures, L, and a
 * watcher that sees from outside how long threads are boosted. Figures are printed, and judged where
 * nothing else runs; a case asserts only what holds on a busy machine, too.
 */
#ifndef PVSCHED_TESTS_STORM_H
#define PVSCHED_TESTS_STORM_H

#include <helpers/threads.h>
#include <helpers/unit.h>

#include <core/hist.h>

#define STORM_CAP_NS   1000000ull /* the broker's defaults */
#define STORM_BURST_NS 10000000ull
#define STORM_PERCENT  40
#define STORM_SLACK_NS                                                                             \
	4000000ull /* after an expiry that nobody met: the second line's, and its wait for a lock */

/* PVSCHED_SOAK=1 is the long form. */
static inline unsigned int storm_long(unsigned int brief, unsigned int thorough)
{
	const char *soak = getenv("PVSCHED_SOAK");

	return soak && *soak == '1' ? thorough : brief;
}

/* A line that the lab keeps; for the test runner a remark. */
static inline void storm_figure(const char *name, double value)
{
	printf("figure %s %.3f\n", name, value);
	fflush(stdout);
}

static inline uint64_t storm_random(uint64_t *seed, uint64_t below)
{
	/* xorshift64: Marsaglia, "Xorshift RNGs", 2003 */
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (*seed >> 16) % below;
}

/* L, as `pvsched check` says it; 0 = it does not. */
static inline uint64_t storm_lateness_ns(void)
{
	const char *build = getenv("PVSCHED_BUILD");
	char command[512], line[1024], *at;
	double us = 0;
	FILE *f;

	snprintf(command, sizeof(command), "%s/src/cli/pvsched check --json 2>/dev/null",
		 build ? build : "build");
	f = popen(command, "r");
	while (f && fgets(line, sizeof(line), f)) {
		at = strstr(line, "us (worst of");
		if (!at)
			continue;
		while (at > line && at[-1] != ',')
			at--;
		us = strtod(at, NULL);
	}
	if (f)
		pclose(f);
	return us * 1000;
}

/*
 * Looks each 0.1 ms whether the threads are boosted: SCHED_FIFO above everybody, and where there are
 * two CPUs on the other one. A look that comes late begins a new stretch, so that what the watcher
 * itself missed is nobody's boost.
 */
#define WATCH_THREADS	8
#define WATCH_PERIOD_NS 100000
#define WATCH_LATE_NS	600000

struct watcher {
	pthread_t thread;
	int avoid_cpu;
	bool stop;
	pid_t tid[WATCH_THREADS]; /* 0 = none; atomic */
	uint64_t longest_ns; /* since watcher_longest(); atomic */
	uint64_t boosted_ns; /* of tid[0], in all; atomic */
	struct pvsched_hist stretches; /* lengths; of the watcher's thread until it has ended */
};

static inline void watcher_end_stretch(struct watcher *w, uint64_t ns)
{
	uint64_t longest = __atomic_load_n(&w->longest_ns, __ATOMIC_RELAXED);

	pvsched_hist_add(&w->stretches, ns);
	while (ns > longest && !__atomic_compare_exchange_n(&w->longest_ns, &longest, ns, false,
							    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

static inline void *watcher_thread(void *arg)
{
	struct sched_param param = { .sched_priority = 50 };
	uint64_t since[WATCH_THREADS] = { 0 }, last[WATCH_THREADS] = { 0 }, now, next = bed_now();
	struct watcher *w = arg;
	struct timespec ts;
	cpu_set_t set;

	sched_getaffinity(0, sizeof(set), &set);
	CPU_CLR(w->avoid_cpu, &set);
	if (CPU_COUNT(&set))
		sched_setaffinity(0, sizeof(set), &set);
	sched_setscheduler(0, SCHED_FIFO, &param);
	while (!__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE)) {
		for (int i = 0; i < WATCH_THREADS; i++) {
			pid_t tid = __atomic_load_n(&w->tid[i], __ATOMIC_ACQUIRE);
			bool boosted = tid && bed_tid_is_boosted(tid);

			now = bed_now();
			if (since[i] && (!boosted || now - last[i] > WATCH_LATE_NS)) {
				watcher_end_stretch(w, last[i] - since[i]);
				since[i] = 0;
			} else if (since[i] && !i) {
				__atomic_fetch_add(&w->boosted_ns, now - last[i], __ATOMIC_RELAXED);
			}
			if (boosted && !since[i])
				since[i] = now;
			last[i] = now;
		}
		next += WATCH_PERIOD_NS;
		if (next < bed_now())
			next = bed_now() + WATCH_PERIOD_NS;
		ts = (struct timespec){ next / 1000000000, next % 1000000000 };
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
	}
	for (int i = 0; i < WATCH_THREADS; i++)
		if (since[i]) /* as far as it was seen */
			watcher_end_stretch(w, last[i] - since[i]);
	return NULL;
}

static inline int watcher_start(struct watcher *w, int avoid_cpu)
{
	memset(w, 0, sizeof(*w));
	w->avoid_cpu = avoid_cpu;
	return pthread_create(&w->thread, NULL, watcher_thread, w);
}

static inline void watcher_stop(struct watcher *w)
{
	__atomic_store_n(&w->stop, true, __ATOMIC_RELEASE);
	pthread_join(w->thread, NULL);
}

static inline void watcher_see(struct watcher *w, unsigned int place, pid_t tid)
{
	__atomic_store_n(&w->tid[place], tid, __ATOMIC_RELEASE);
}

/* The longest that ended since the last call. */
static inline uint64_t watcher_longest(struct watcher *w)
{
	return __atomic_exchange_n(&w->longest_ns, 0, __ATOMIC_RELAXED);
}

static inline uint64_t watcher_boosted(const struct watcher *w)
{
	return __atomic_load_n(&w->boosted_ns, __ATOMIC_RELAXED);
}

#endif
