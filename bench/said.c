// SPDX-License-Identifier: GPL-2.0-only
/*
 * The first error that was said, under its own lock.
 */
#include <stdarg.h>
#include <stdio.h>

#include "said.h"

void said_say(struct said *s, const char *format, ...)
{
	va_list args;

	pthread_mutex_lock(&s->lock);
	if (!s->line[0]) {
		va_start(args, format);
		vsnprintf(s->line, sizeof(s->line), format, args);
		va_end(args);
	}
	pthread_mutex_unlock(&s->lock);
}

void said_print(enum pvsched_log_level level, const char *line, void *ctx)
{
	if (level == PVSCHED_LOG_ERROR)
		said_say(ctx, "%s", line);
}

void said_forget(struct said *s)
{
	pthread_mutex_lock(&s->lock);
	s->line[0] = '\0';
	pthread_mutex_unlock(&s->lock);
}
