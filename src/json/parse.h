/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * JSON as values: RFC 8259, and texts without U+0000 or half a surrogate pair. A value belongs to the one that was parsed and lives as long; absent
 * members are NULL, and NULL may be asked for everything. Any thread, no state.
 *
 * No library: users' bytes are read by a process of root's, and Debian 12's json-c ends a process whose
 * memory fails (a key's strdup() is not looked at before 0.17). Here it is one allocation for a whole text.
 */
#ifndef PVSCHED_JSON_PARSE_H
#define PVSCHED_JSON_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct json_value;

/*
 * All of text is one value, whose objects and arrays are not nested deeper than depth; NULL otherwise, and
 * where there is no memory: 32 bytes for each value, and the text again. O(len); recurses as deep as depth.
 */
struct json_value *json_parse(const char *text, size_t len, int depth);
void json_free(struct json_value *v); /* what json_parse returned */

bool json_is_object(const struct json_value *v);
const struct json_value *json_get(const struct json_value *v, const char *key); /* the first such */
size_t json_len(const struct json_value *v); /* of an array; else 0 */
const struct json_value *json_at(const struct json_value *v, size_t i); /* O(i) */
const struct json_value *
json_next(const struct json_value *v); /* of the same array; NULL at its end */
const char *json_text(const struct json_value *v); /* of a string; else NULL */
int64_t json_number(const struct json_value *v); /* 0 if it is no whole one; cut to 64 bits */
double json_real(const struct json_value *v); /* 0 if it is none */
bool json_true(const struct json_value *v);

/* An object or array, not deeper than JSON_DEPTH_MAX - 1: indented, with a newline. */
void json_print(const struct json_value *v, FILE *f);

#endif
