// SPDX-License-Identifier: GPL-2.0-only
/*
 * A reader of JSON, see parse.h. The text is copied behind the values, and its strings are unescaped in
 * the copy, where they never grow.
 */
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "parse.h"
#include "utf8.h"

enum kind { NOTHING, FALSE, TRUE, NUMBER, STRING, ARRAY, OBJECT };

struct json_value {
	const char *key; /* of an object's member; else NULL */
	union {
		const char *text; /* of a string, ended by 0; of a number, `len` bytes */
		struct json_value *first; /* of an array or object */
	};
	struct json_value *next; /* of the same array or object */
	uint32_t len; /* of a number; members of the others */
	enum kind kind;
};

struct reader {
	char *at;
	struct json_value *free; /* as many as there can be values */
};

static struct json_value *read_value(struct reader *r, int depth);

/* Skips space, and says what comes then; 0 at the end. */
static char peek(struct reader *r)
{
	while (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')
		r->at++;
	return *r->at;
}

static bool take(struct reader *r, char c)
{
	if (peek(r) != c)
		return false;
	r->at++;
	return true;
}

/* Four hexadecimal digits at s; -1 when there are none. */
static int hex4(const char *s)
{
	int code = 0;

	for (int i = 0; i < 4; i++) {
		char c = s[i] | ' ';

		if (s[i] >= '0' && s[i] <= '9')
			code = code << 4 | (s[i] - '0');
		else if (c >= 'a' && c <= 'f')
			code = code << 4 | (c - 'a' + 10);
		else
			return -1;
	}
	return code;
}

static char *put_utf8(char *to, int code)
{
	if (code < 0x80) {
		*to++ = code;
		return to;
	}
	if (code < 0x800) {
		*to++ = 0xc0 | code >> 6;
	} else {
		if (code < 0x10000) {
			*to++ = 0xe0 | code >> 12;
		} else {
			*to++ = 0xf0 | code >> 18;
			*to++ = 0x80 | (code >> 12 & 0x3f);
		}
		*to++ = 0x80 | (code >> 6 & 0x3f);
	}
	*to++ = 0x80 | (code & 0x3f);
	return to;
}

/* What a backslash stands before. Returns where to go on writing, NULL when it is nothing. */
static char *unescape(struct reader *r, char *to)
{
	static const char says[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
	const char *found = r->at[1] ? strchr(says, r->at[1]) : NULL;
	int code, low;

	if (found) {
		*to = means[found - says];
		r->at += 2;
		return to + 1;
	}
	code = r->at[1] == 'u' ? hex4(r->at + 2) : -1;
	if (code <= 0 || (code >= 0xdc00 && code < 0xe000)) /* a text that ends at a 0 is none */
		return NULL;
	r->at += 6;
	if (code >= 0xd800 && code < 0xdc00) {
		low = r->at[0] == '\\' && r->at[1] == 'u' ? hex4(r->at + 2) : -1;
		if (low < 0xdc00 || low >= 0xe000)
			return NULL;
		r->at += 6;
		code = 0x10000 + ((code - 0xd800) << 10 | (low - 0xdc00));
	}
	return put_utf8(to, code);
}

/* From behind its first quote on. NULL when it is none. */
static char *read_string(struct reader *r)
{
	char *start = r->at, *to = start;
	unsigned int n;

	while (*r->at != '"') {
		if ((unsigned char)*r->at < ' ')
			return NULL;
		if (*r->at == '\\') {
			to = unescape(r, to);
			if (!to)
				return NULL;
			continue;
		}
		n = json_utf8_length((unsigned char *)r->at);
		if (!n)
			return NULL;
		memmove(to, r->at, n);
		to += n;
		r->at += n;
	}
	r->at++;
	*to = 0;
	return start;
}

static bool digits(struct reader *r)
{
	char *from = r->at;

	while (*r->at >= '0' && *r->at <= '9')
		r->at++;
	return r->at > from;
}

static bool read_number(struct reader *r)
{
	if (*r->at == '-')
		r->at++;
	if (*r->at == '0')
		r->at++;
	else if (!digits(r))
		return false;
	if (*r->at == '.') {
		r->at++;
		if (!digits(r))
			return false;
	}
	if (*r->at == 'e' || *r->at == 'E') {
		r->at++;
		if (*r->at == '+' || *r->at == '-')
			r->at++;
		return digits(r);
	}
	return true;
}

/* What is inside brackets, from behind the first on. */
static bool read_members(struct reader *r, struct json_value *v, int depth)
{
	char close = v->kind == OBJECT ? '}' : ']';
	struct json_value **next = &v->first;
	const char *key = NULL;

	if (take(r, close))
		return true;
	do {
		if (v->kind == OBJECT) {
			key = take(r, '"') ? read_string(r) : NULL;
			if (!key || !take(r, ':'))
				return false;
		}
		*next = read_value(r, depth);
		if (!*next)
			return false;
		(*next)->key = key;
		v->len++;
		next = &(*next)->next;
	} while (take(r, ','));
	return take(r, close);
}

static bool read_word(struct reader *r, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(r->at, word, len))
		return false;
	r->at += len;
	return true;
}

static struct json_value *read_value(struct reader *r, int depth)
{
	struct json_value *v = r->free++;
	char c = peek(r);
	bool ok;

	if (take(r, '{') || take(r, '[')) {
		v->kind = c == '{' ? OBJECT : ARRAY;
		ok = depth > 0 && read_members(r, v, depth - 1);
	} else if (take(r, '"')) {
		v->kind = STRING;
		v->text = read_string(r);
		ok = v->text;
	} else if (read_word(r, "true")) {
		v->kind = TRUE;
		ok = true;
	} else if (read_word(r, "false")) {
		v->kind = FALSE;
		ok = true;
	} else if (read_word(r, "null")) {
		ok = true;
	} else {
		v->kind = NUMBER;
		v->text = r->at;
		ok = read_number(r);
		v->len = r->at - v->text;
	}
	return ok ? v : NULL;
}

/* A value is the text itself, or comes behind one of these. */
static size_t values_at_most(const char *text, size_t len)
{
	size_t n = 1;

	for (size_t i = 0; i < len; i++)
		n += text[i] == ',' || text[i] == '[' || text[i] == '{';
	return n;
}

struct json_value *json_parse(const char *text, size_t len, int depth)
{
	size_t values = values_at_most(text, len);
	struct json_value *v = calloc(1, values * sizeof(*v) + len + 1);
	struct reader r = { .free = v };
	char *copy;

	if (!v)
		return NULL;
	r.at = copy = (char *)(v + values);
	memcpy(copy, text, len);
	if (read_value(&r, depth) && !peek(&r) && r.at == copy + len)
		return v;
	free(v);
	return NULL;
}

void json_free(struct json_value *v)
{
	free(v);
}

static bool is(const struct json_value *v, enum kind kind)
{
	return v && v->kind == kind;
}

bool json_is_object(const struct json_value *v)
{
	return is(v, OBJECT);
}

const struct json_value *json_get(const struct json_value *v, const char *key)
{
	const struct json_value *m = is(v, OBJECT) ? v->first : NULL;

	while (m && strcmp(m->key, key))
		m = m->next;
	return m;
}

size_t json_len(const struct json_value *v)
{
	return is(v, ARRAY) ? v->len : 0;
}

const struct json_value *json_at(const struct json_value *v, size_t i)
{
	const struct json_value *m = is(v, ARRAY) ? v->first : NULL;

	for (; m && i; i--)
		m = m->next;
	return m;
}

const struct json_value *json_next(const struct json_value *v)
{
	return v ? v->next : NULL;
}

const char *json_text(const struct json_value *v)
{
	return is(v, STRING) ? v->text : NULL;
}

int64_t json_number(const struct json_value *v)
{
	char *end;
	int64_t n;

	if (!is(v, NUMBER))
		return 0;
	n = strtoll(v->text, &end, 10); /* what is too large is the limit */
	return end == v->text + v->len ? n : 0;
}

double json_real(const struct json_value *v)
{
	return is(v, NUMBER) ? strtod(v->text, NULL) : 0;
}

bool json_true(const struct json_value *v)
{
	return is(v, TRUE);
}

static void print(const struct json_value *v, struct json *j)
{
	switch (v->kind) {
	case OBJECT:
	case ARRAY:
		(v->kind == OBJECT ? json_object : json_array)(j, v->key);
		for (const struct json_value *m = v->first; m; m = m->next)
			print(m, j);
		json_end(j, v->kind == OBJECT ? '}' : ']');
		break;
	case STRING:
		json_str(j, v->key, v->text);
		break;
	case NUMBER:
		json_digits(j, v->key, v->text, v->len);
		break;
	case NOTHING:
		json_null(j, v->key);
		break;
	default:
		json_bool(j, v->key, v->kind == TRUE);
	}
}

void json_print(const struct json_value *v, FILE *f)
{
	struct json j;

	json_init(&j, f);
	print(v, &j);
}
