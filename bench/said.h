/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Keeps the first error that VMM, broker or library say: that one is the cause, later ones are
 * consequences. They speak from their own threads; the lock is inside.
 */
#ifndef BENCH_SAID_H
#define BENCH_SAID_H

#include <pthread.h>
#include <pvsched/pvsched.h>

struct said {
	pthread_mutex_t lock;
	char line[600]; /* "" = nothing yet; read it when who may speak has ended */
};

#define SAID_INIT                                                                                  \
	{                                                                                          \
		.lock = PTHREAD_MUTEX_INITIALIZER                                                  \
	}

__attribute__((format(printf, 2, 3))) void said_say(struct said *s, const char *format, ...);
/* A pvsched_print_fn; ctx: struct said. Errors are kept, the rest is dropped. */
void said_print(enum pvsched_log_level level, const char *line, void *ctx);
void said_forget(struct said *s);

#endif
