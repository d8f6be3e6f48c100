/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * JSON as values, by json-c, whose names its header and ours could not both have. A value belongs to
 * the one that was parsed and lives as long; absent members are NULL, and NULL may be asked for
 * everything. Any thread, no state.
 */
#ifndef PVSCHED_JSON_PARSE_H
#define PVSCHED_JSON_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct json_value;

/* All of text is one value, not nested deeper than depth; NULL otherwise. */
struct json_value *json_parse(const char *text, size_t len, int depth);
void json_free(struct json_value *v); /* what json_parse returned */

bool json_is_object(const struct json_value *v);
const struct json_value *json_get(const struct json_value *v, const char *key);
size_t json_len(const struct json_value *v); /* of an array; else 0 */
const struct json_value *json_at(const struct json_value *v, size_t i);
const char *json_text(const struct json_value *v); /* of a string; else NULL */
int64_t json_number(const struct json_value *v); /* 0 if it is none; cut to 64 bits */
double json_real(const struct json_value *v); /* 0 if it is none */
bool json_true(const struct json_value *v);

/* Calls fn for each member of an object. */
void json_members(const struct json_value *v,
		  void (*fn)(void *ctx, const char *key, const struct json_value *v), void *ctx);
void json_print(const struct json_value *v, FILE *f); /* indented, with a newline */

#endif
