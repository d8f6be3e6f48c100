/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Threads that begin with less than their maker has. No state; reentrant. About 60 us, two threads: not
 * for a hot path.
 */
#ifndef PVSCHED_PRIVILEGE_THREAD_H
#define PVSCHED_PRIVILEGE_THREAD_H

#include <pthread.h>
#include <stdint.h>

/*
 * pthread_create(), for a thread that has of the caller's capabilities only `caps` and `dormant` (see
 * pvsched_caps_keep()) from its first instruction on: where they cannot be given away there is no thread.
 * It is not waited for: it may be one whose CPU somebody else has. Scheduling and affinity of `attr` are
 * set with what it keeps. Returns 0 or -errno.
 */
int pvsched_thread_start(pthread_t *ret, const pthread_attr_t *attr, uint64_t caps,
			 uint64_t dormant, void *(*run)(void *), void *arg);

#endif
