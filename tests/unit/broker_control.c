// SPDX-License-Identifier: GPL-2.0-only
/* The control protocol's answers to what may come over its socket; no broker behind it. */
#include <helpers/unit.h>

#include <broker/control.h>
#include <errno.h>
#include <json/parse.h>
#include <stdlib.h>
#include <unistd.h>

static struct pvsched_server server;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* The parsed answer to these bytes; always one object on one line. */
static struct json_value *answer(const char *request, size_t len, uid_t uid)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);
	struct json_value *v;

	server.mutex = &mutex;
	pvsched_control_answer(&server, uid, request, len, f);
	fclose(f);
	assert_ptr_equal(memchr(text, '\n', size), text + size - 1);
	v = json_parse(text, size - 1, 8);
	assert_true(json_is_object(v));
	assert_int_equal(json_number(json_get(v, "pvsched")), PVSCHED_CONTROL_VERSION);
	free(text);
	return v;
}

static void refused(const char *request, size_t len, const char *code)
{
	struct json_value *v = answer(request, len, 0);

	assert_string_equal(json_text(json_get(json_get(v, "error"), "code")), code);
	assert_non_null(json_text(json_get(json_get(v, "error"), "why")));
	json_free(v);
}
#define REFUSED(request, code) refused(request, sizeof(request) - 1, code)

static void control_list_and_stat_of_nobody_are_empty(void **state)
{
	static const char *const requests[] = {
		"{\"pvsched\": 1, \"command\": \"list\"}",
		"{\"command\":\"stat\",\"pvsched\":1,\"more\":[]}"
	};
	struct json_value *v;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		v = answer(requests[i], strlen(requests[i]), 1000);
		assert_null(json_get(v, "error"));
		assert_non_null(json_get(v, "vms"));
		assert_int_equal(json_len(json_get(v, "vms")), 0);
		assert_true(json_number(json_get(v, "now_ns")) > 0);
		json_free(v);
	}
}

static void control_what_is_no_request_is_refused(void **state)
{
	(void)state;
	REFUSED("", "EINVAL");
	REFUSED("list", "EINVAL");
	REFUSED("[1]", "EINVAL");
	REFUSED("{\"pvsched\": 1, \"command\": \"list\"", "EINVAL");
	REFUSED("{\"pvsched\": 1}", "EINVAL");
	REFUSED("{\"pvsched\": 1, \"command\": 7}", "EINVAL");
	REFUSED("{\"pvsched\": 1, \"command\": \"\xff\"}", "EINVAL");
	REFUSED("{\"pvsched\": 1, \"a\": [[[[[[[[1]]]]]]]]}", "EINVAL");
	REFUSED("{\0}", "EINVAL");
	REFUSED("{\"pvsched\": 1, \"command\": \"halt\"}", "ENOENT");
}

static void control_another_version_is_refused(void **state)
{
	(void)state;
	REFUSED("{\"command\": \"list\"}", "EPROTO");
	REFUSED("{\"pvsched\": 2, \"command\": \"list\"}", "EPROTO");
	REFUSED("{\"pvsched\": \"1\", \"command\": \"list\"}", "EPROTO");
}

static void control_cut_requests_are_answered(void **state)
{
	static const char request[] = "{\"pvsched\": 1, \"command\": \"list\"}";

	(void)state;
	for (size_t len = 0; len < sizeof(request) - 1; len++)
		refused(request, len, "EINVAL");
}

static void control_path_is_beside_the_brokers(void **state)
{
	char path[64], small[8];

	(void)state;
	assert_int_equal(pvsched_control_path("/run/pvsched/broker.sock", path, sizeof(path)), 0);
	assert_string_equal(path, "/run/pvsched/control.sock");
	assert_int_equal(pvsched_control_path("b.sock", path, sizeof(path)), 0);
	assert_string_equal(path, "./control.sock");
	assert_int_equal(pvsched_control_path("/run/x", small, sizeof(small)), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(control_list_and_stat_of_nobody_are_empty),
		cmocka_unit_test(control_what_is_no_request_is_refused),
		cmocka_unit_test(control_another_version_is_refused),
		cmocka_unit_test(control_cut_requests_are_answered),
		cmocka_unit_test(control_path_is_beside_the_brokers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
