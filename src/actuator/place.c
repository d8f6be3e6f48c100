// SPDX-License-Identifier: GPL-2.0-only
/* See place.h. */
#include "place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOAD(x)	    __atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define STORE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELEASE)

/* of `moved` */
#define OURS 1
#define ENDS 2 /* somebody puts it back; ours still, should he die on the way */

/* The mask as it was set. sched_getaffinity leaves out what is offline now; what it told were lost to
 * the thread for ever. The line is 32-bit words in hexadecimal, the highest first. */
static int read_mask(pid_t tid, cpu_set_t *ret)
{
	static const char key[] = "Cpus_allowed:";
	char path[64], line[1024], *p, *end;
	unsigned long word;
	cpu_set_t set;
	int err = -ENOENT, at;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (err && fgets(line, sizeof(line), f))
		err = strncmp(line, key, sizeof(key) - 1) ? -ENOENT : 0;
	fclose(f);
	if (err)
		return err;
	CPU_ZERO(&set);
	line[strcspn(line, "\n")] = 0;
	for (at = 0; (p = strrchr(line, ',')) || (p = strchr(line, ':')); at += 32) {
		word = strtoul(p + 1, &end, 16);
		if (end == p + 1 || *end || at + 32 > CPU_SETSIZE)
			return -EINVAL;
		for (int bit = 0; bit < 32; bit++)
			if (word >> bit & 1)
				CPU_SET(at + bit, &set);
		if (*p == ':')
			break;
		*p = 0;
	}
	*ret = set;
	return 0;
}

int pvsched_place_move(struct pvsched_slot *s, const struct pvsched_shared *sh,
		       const cpu_set_t *free)
{
	cpu_set_t may, to;
	int cpu, err;

	if (!pvsched_slot_boosted(s, sh))
		return -ECANCELED;
	if (s->moved || sched_getaffinity(s->tid, sizeof(may), &may))
		return s->moved ? -EALREADY : -errno;
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, free) && CPU_ISSET(cpu, &may))
			break;
	if (cpu == CPU_SETSIZE)
		return -ENOENT;
	if (!CPU_EQUAL(&may, &s->may)) {
		err = read_mask(s->tid, &s->own);
		if (err)
			return err;
		s->may = may;
	}
	CPU_ZERO(&to);
	CPU_SET(cpu, &to);
	s->moved_to = to;
	STORE(s->moved, OURS); /* first: whoever finds it so puts back what was not changed yet */
	if (sched_setaffinity(s->tid, sizeof(to), &to)) {
		err = -errno;
		STORE(s->moved, 0);
		return err;
	}
	/* This thread may have been late, and the boost ended beside it. Who ended it either saw the change
	 * above, or has said before he looked what is seen here: pairs with put_back() and restore(). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (LOAD(s->moved) == OURS && pvsched_slot_boosted(s, sh))
		return cpu;
	sched_setaffinity(s->tid, sizeof(s->own), &s->own);
	STORE(s->moved, 0);
	return -ECANCELED;
}

/* The kernel's list is "0-3,6". */
static int read_online(cpu_set_t *ret)
{
	char line[1024] = "", *at = line;
	FILE *f = fopen("/sys/devices/system/cpu/online", "re");
	unsigned long from, to;

	if (!f)
		return -errno;
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	fclose(f);
	CPU_ZERO(ret);
	while (*at >= '0' && *at <= '9') {
		from = to = strtoul(at, &at, 10);
		if (*at == '-')
			to = strtoul(at + 1, &at, 10);
		for (; from <= to && from < CPU_SETSIZE; from++)
			CPU_SET(from, ret);
		at += *at == ',';
	}
	return 0;
}

/* The CPU that it was moved to has gone: then the kernel lets a thread run wherever it may at all, which
 * is no less than it had. Less is what somebody else has set. */
static bool was_driven_out(const struct pvsched_slot *s, const cpu_set_t *now)
{
	cpu_set_t online;

	if (read_online(&online))
		return false;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &online))
			continue;
		if (CPU_ISSET(cpu, &s->moved_to) ||
		    (CPU_ISSET(cpu, &s->may) && !CPU_ISSET(cpu, now)))
			return false;
	}
	return true;
}

bool pvsched_place_back(struct pvsched_slot *s)
{
	__typeof__(s->moved) ends = ENDS;
	bool theirs = false;
	cpu_set_t now;

	if (!LOAD(s->moved))
		return false;
	/* before the look: who moves it just now sees this after his change. See pvsched_place_move(). */
	__atomic_store_n(&s->moved, ENDS, __ATOMIC_SEQ_CST);
	if (!sched_getaffinity(s->tid, sizeof(now), &now)) {
		if (CPU_EQUAL(&now, &s->moved_to) || was_driven_out(s, &now))
			sched_setaffinity(s->tid, sizeof(s->own), &s->own);
		else /* as it was: another of us put it back, or was killed before it moved it */
			theirs = !CPU_EQUAL(&now, &s->may);
	}
	/* Who was late here, without the lock, leaves what was moved for the next boost to its own end. */
	__atomic_compare_exchange_n(&s->moved, &ends, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	return theirs;
}
