// SPDX-License-Identifier: GPL-2.0-only
/*
 * A streaming JSON writer. State is the caller's struct json; output errors stay in the stream.
 */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/plain.h"
#include "json.h"
#include "utf8.h"

void json_init(struct json *j, FILE *f)
{
	memset(j, 0, sizeof(*j));
	j->f = f;
}

static void put_string(FILE *f, const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	unsigned int n;

	fputc('"', f);
	while (*p) {
		n = json_utf8_length(p);
		if (!n) {
			fputs("\\ufffd", f);
			n = 1;
		} else if (*p == '"' || *p == '\\') {
			fprintf(f, "\\%c", *p);
		} else if (*p == '\n') {
			fputs("\\n", f);
		} else if (pvsched_obeyed((const char *)p)) {
			fprintf(f, "\\u%04x", p[n - 1]); /* 0xc2 in front adds nothing */
		} else {
			fwrite(p, 1, n, f);
		}
		p += n;
	}
	fputc('"', f);
}

static bool is_inline(const struct json *j)
{
	return j->inline_from && j->depth >= j->inline_from;
}

static void new_line(struct json *j)
{
	unsigned int i;

	fputc('\n', j->f);
	for (i = 0; i < j->depth; i++)
		fputs("  ", j->f);
}

static void begin(struct json *j, const char *key)
{
	if (j->depth) {
		if (j->some[j->depth])
			fputs(is_inline(j) ? ", " : ",", j->f);
		if (!is_inline(j))
			new_line(j);
		j->some[j->depth] = true;
	}
	if (key) {
		put_string(j->f, key);
		fputs(": ", j->f);
	}
}

static void open_level(struct json *j, const char *key, char c, bool on_one_line)
{
	begin(j, key);
	fputc(c, j->f);
	assert(j->depth + 1 < JSON_DEPTH_MAX);
	j->depth++;
	j->some[j->depth] = false;
	if (on_one_line && !j->inline_from)
		j->inline_from = j->depth;
}

void json_object(struct json *j, const char *key)
{
	open_level(j, key, '{', false);
}

void json_array(struct json *j, const char *key)
{
	open_level(j, key, '[', false);
}

void json_array_inline(struct json *j, const char *key)
{
	open_level(j, key, '[', true);
}

void json_object_inline(struct json *j, const char *key)
{
	open_level(j, key, '{', true);
}

void json_end(struct json *j, char close)
{
	bool line = j->some[j->depth] && !is_inline(j);

	if (j->inline_from == j->depth)
		j->inline_from = 0;
	j->depth--;
	if (line)
		new_line(j);
	fputc(close, j->f);
	if (!j->depth)
		fputc('\n', j->f);
}

void json_str(struct json *j, const char *key, const char *value)
{
	if (!value) {
		json_null(j, key);
		return;
	}
	begin(j, key);
	put_string(j->f, value);
}

void json_u64(struct json *j, const char *key, uint64_t value)
{
	begin(j, key);
	fprintf(j->f, "%" PRIu64, value);
}

void json_i64(struct json *j, const char *key, int64_t value)
{
	begin(j, key);
	fprintf(j->f, "%" PRId64, value);
}

void json_num(struct json *j, const char *key, double value, int decimals)
{
	if (!isfinite(value)) {
		json_null(j, key);
		return;
	}
	begin(j, key);
	fprintf(j->f, "%.*f", decimals, value);
}

void json_digits(struct json *j, const char *key, const char *text, size_t len)
{
	begin(j, key);
	fwrite(text, 1, len, j->f);
}

void json_bool(struct json *j, const char *key, bool value)
{
	begin(j, key);
	fputs(value ? "true" : "false", j->f);
}

void json_null(struct json *j, const char *key)
{
	begin(j, key);
	fputs("null", j->f);
}
