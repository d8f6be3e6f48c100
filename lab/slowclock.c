// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preloaded into QEMU: its clock runs PVSCHED_LAB_SLOWDOWN times slower than the system's, and what
 * it waits for takes so many times longer. The machine inside then seems so many times faster than
 * its emulation: an exit takes 10 us there and not 100, and what the neighbours take from the
 * emulator shrinks likewise. The TSC still is the host's, so the machine's kernel finds one of so
 * many times the frequency.
 */
#include <dlfcn.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

#define CLOCKS 12 /* clock ids of Linux */
#define SECOND 1000000000ll

static int (*real_clock_gettime)(clockid_t clock, struct timespec *ts);
static int (*real_ppoll)(struct pollfd *fds, nfds_t n, const struct timespec *ts,
			 const sigset_t *mask);
static long long base[CLOCKS], factor;

static long long ns_of(const struct timespec *ts)
{
	return ts->tv_sec * SECOND + ts->tv_nsec;
}

static struct timespec timespec_of(long long ns)
{
	return (struct timespec){ ns / SECOND, ns % SECOND };
}

__attribute__((constructor)) static void start(void)
{
	const char *slowdown = getenv("PVSCHED_LAB_SLOWDOWN");
	struct timespec ts;

	real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
	real_ppoll = dlsym(RTLD_NEXT, "ppoll");
	factor = slowdown ? atoll(slowdown) : 1;
	for (clockid_t clock = 0; clock < CLOCKS; clock++)
		if (!real_clock_gettime(clock, &ts))
			base[clock] = ns_of(&ts);
}

int clock_gettime(clockid_t clock, struct timespec *ts)
{
	int status;

	if (!real_clock_gettime) /* another library's constructor, before ours */
		start();
	status = real_clock_gettime(clock, ts);
	if (!status && clock >= 0 && clock < CLOCKS && clock != CLOCK_PROCESS_CPUTIME_ID &&
	    clock != CLOCK_THREAD_CPUTIME_ID)
		*ts = timespec_of(base[clock] + (ns_of(ts) - base[clock]) / factor);
	return status;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &ts);
	*tv = (struct timeval){ ts.tv_sec, ts.tv_nsec / 1000 };
	return 0;
}

int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *ts, const sigset_t *mask)
{
	struct timespec longer;

	if (ts) {
		longer = timespec_of(ns_of(ts) * factor);
		ts = &longer;
	}
	return real_ppoll(fds, n, ts, mask);
}

/* What a fortified build calls. */
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *ts, const sigset_t *mask,
		size_t size);
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *ts, const sigset_t *mask,
		size_t size)
{
	if (n > size / sizeof(*fds))
		abort();
	return ppoll(fds, n, ts, mask);
}
