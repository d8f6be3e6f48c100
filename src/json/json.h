/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A streaming JSON writer: the caller opens and closes, the writer places commas, indents and
 * escapes. It owns nothing but its nesting; errors of the stream are kept by stdio and asked for
 * once with ferror(). Not for several threads.
 */
#ifndef PVSCHED_JSON_H
#define PVSCHED_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_DEPTH_MAX 16

struct json {
	FILE *f;
	unsigned int depth;
	unsigned int inline_from; /* at this depth and below all stands on one line; 0 = nowhere */
	bool some[JSON_DEPTH_MAX]; /* the level has a member already */
};

void json_init(struct json *j, FILE *f);

/* key NULL: inside an array, or the outermost value. */
void json_object(struct json *j, const char *key);
void json_array(struct json *j, const char *key);
void json_array_inline(struct json *j, const char *key);
void json_object_inline(struct json *j, const char *key);
void json_end(struct json *j, char close); /* '}' or ']' */

/* Bytes that are no UTF-8 come out as U+FFFD; NULL is null. */
void json_str(struct json *j, const char *key, const char *value);
void json_u64(struct json *j, const char *key, uint64_t value);
void json_i64(struct json *j, const char *key, int64_t value);
/* decimals after the point; not finite is null. */
void json_num(struct json *j, const char *key, double value, int decimals);
/* A number as somebody wrote it. */
void json_digits(struct json *j, const char *key, const char *text, size_t len);
void json_bool(struct json *j, const char *key, bool value);
void json_null(struct json *j, const char *key);

#endif
