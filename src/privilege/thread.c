// SPDX-License-Identifier: GPL-2.0-only
/* A thread in between gives them away, as a new thread begins with its maker's. See thread.h. */
#include "thread.h"

#include <errno.h>

#include "caps.h"

#define STACK (64 * 1024)

struct start {
	pthread_t *ret;
	const pthread_attr_t *attr;
	uint64_t caps, dormant;
	void *(*run)(void *);
	void *arg;
	int err;
};

static void *make(void *arg)
{
	struct start *s = arg;

	s->err = pvsched_caps_keep(s->caps, s->dormant);
	if (!s->err)
		s->err = -pthread_create(s->ret, s->attr, s->run, s->arg);
	return NULL;
}

int pvsched_thread_start(pthread_t *ret, const pthread_attr_t *attr, uint64_t caps,
			 uint64_t dormant, void *(*run)(void *), void *arg)
{
	struct start s = {
		.ret = ret, .attr = attr, .caps = caps, .dormant = dormant, .run = run, .arg = arg
	};
	pthread_attr_t small;
	pthread_t maker;
	int err;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, STACK);
	err = pthread_create(&maker, &small, make, &s);
	pthread_attr_destroy(&small);
	if (err)
		return -err;
	pthread_join(maker, NULL);
	return s.err;
}
