// SPDX-License-Identifier: GPL-2.0-only
/* Values by json-c, see parse.h. */
#include <json-c/json.h>

#include "parse.h"

static struct json_object *object(const struct json_value *v)
{
	return (struct json_object *)v;
}

struct json_value *json_parse(const char *text, size_t len, int depth)
{
	struct json_tokener *tok = json_tokener_new_ex(depth);
	struct json_object *o = NULL;

	if (tok && len <= INT32_MAX) {
		json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
		o = json_tokener_parse_ex(tok, text, len);
		/* a number alone may go on, so it is no whole value: not an object, so no loss */
		if (json_tokener_get_error(tok) != json_tokener_success) {
			json_object_put(o);
			o = NULL;
		}
	}
	if (tok)
		json_tokener_free(tok);
	return (struct json_value *)o;
}

void json_free(struct json_value *v)
{
	json_object_put(object(v));
}

bool json_is_object(const struct json_value *v)
{
	return json_object_is_type(object(v), json_type_object);
}

const struct json_value *json_get(const struct json_value *v, const char *key)
{
	struct json_object *o = NULL;

	if (json_is_object(v))
		json_object_object_get_ex(object(v), key, &o);
	return (void *)o;
}

static bool is_array(const struct json_value *v)
{
	return json_object_is_type(object(v), json_type_array);
}

size_t json_len(const struct json_value *v)
{
	return is_array(v) ? json_object_array_length(object(v)) : 0;
}

const struct json_value *json_at(const struct json_value *v, size_t i)
{
	return i < json_len(v) ? (void *)json_object_array_get_idx(object(v), i) : NULL;
}

const char *json_text(const struct json_value *v)
{
	return json_object_is_type(object(v), json_type_string) ? json_object_get_string(object(v))
								: NULL;
}

int64_t json_number(const struct json_value *v)
{
	return json_object_is_type(object(v), json_type_int) ? json_object_get_int64(object(v)) : 0;
}

double json_real(const struct json_value *v)
{
	return json_object_is_type(object(v), json_type_double) ||
			       json_object_is_type(object(v), json_type_int)
		       ? json_object_get_double(object(v))
		       : 0;
}

bool json_true(const struct json_value *v)
{
	return json_object_is_type(object(v), json_type_boolean) &&
	       json_object_get_boolean(object(v));
}

void json_members(const struct json_value *v,
		  void (*fn)(void *ctx, const char *key, const struct json_value *v), void *ctx)
{
	if (!json_is_object(v))
		return;
	json_object_object_foreach(object(v), key, value) fn(ctx, key, (void *)value);
}

void json_print(const struct json_value *v, FILE *f)
{
	fputs(json_object_to_json_string_ext(object(v), JSON_C_TO_STRING_PRETTY |
								JSON_C_TO_STRING_SPACED |
								JSON_C_TO_STRING_NOSLASHESCAPE),
	      f);
	fputc('\n', f);
}
