// SPDX-License-Identifier: GPL-2.0-only
/* Words of a page as `pvsched run` shows them: a guest may have put anything there. */
#include <helpers/unit.h>

#include <stdlib.h>

#include <core/page.h>
#include <show.h>

static void show_task_names_class_and_priority(void **state)
{
	char buf[48];

	(void)state;
	show_task(pvsched_task_word(PVSCHED_POLICY_NORMAL, -5, 0, 0, 7), buf, sizeof(buf));
	assert_string_equal(buf, "normal, nice -5");
	show_task(pvsched_task_word(PVSCHED_POLICY_FIFO, 0, 42, PVSCHED_TASK_LATENCY, 7), buf,
		  sizeof(buf));
	assert_string_equal(buf, "FIFO 42, latency");
	show_task(pvsched_task_word(PVSCHED_POLICY_DEADLINE, 0, 0, 0, 0), buf, sizeof(buf));
	assert_string_equal(buf, "deadline");
}

static void show_task_out_of_range_says_so(void **state)
{
	char buf[48];

	(void)state;
	show_task(UINT64_MAX, buf, sizeof(buf));
	assert_string_equal(buf, "out of range");
	show_task(pvsched_task_word(PVSCHED_POLICY_FIFO, 0, 0, 0, 0), buf, sizeof(buf));
	assert_string_equal(buf, "out of range");
}

static void show_context_names_known_bits_only(void **state)
{
	char buf[64];

	(void)state;
	assert_string_equal(show_context(0, buf, sizeof(buf)), "");
	assert_string_equal(show_context(PVSCHED_CTX_CRITICAL | 0xe0, buf, sizeof(buf)),
			    "critical section");
	assert_string_equal(show_context(UINT64_MAX, buf, sizeof(buf)),
			    "NMI, hardirq, softirq, critical section, idle");
}

static void show_grant_names_the_reason(void **state)
{
	char buf[64];
	uint64_t own = pvsched_task_word(PVSCHED_POLICY_NORMAL, 0, 0, 0, 9);
	uint64_t boosted = pvsched_task_word(PVSCHED_POLICY_FIFO, 0, 1,
					     PVSCHED_GRANT_BOOSTED | PVSCHED_REASON_CRITICAL, 9);

	(void)state;
	assert_string_equal(show_grant(0, buf, sizeof(buf)), "nothing yet");
	assert_string_equal(show_grant(own, buf, sizeof(buf)), "normal, nice 0 (its own)");
	assert_string_equal(show_grant(boosted, buf, sizeof(buf)), "FIFO 1 (boosted: critical)");
	/* the guest owns the memory, so this may be anything, too */
	assert_string_equal(show_grant(UINT64_MAX, buf, sizeof(buf)), "out of range");
}

/* Every word random: whatever comes out is text of bounded width, and the JSON parses by eye of
 * its brackets: as many closed as opened. */
static void show_hostile_page_stays_bounded(void **state)
{
	struct show_vcpu *v = calloc(1, sizeof(*v));
	unsigned int i, round, depth;
	char *text, *p;
	size_t size;
	struct json j;
	FILE *f;

	(void)state;
	assert_non_null(v);
	srandom(1);
	for (round = 0; round < 200; round++) {
		for (i = 0; i < sizeof(*v); i++)
			((unsigned char *)v)[i] = random();
		v->has_report = false;
		f = open_memstream(&text, &size);
		assert_non_null(f);
		json_init(&j, f);
		json_array(&j, NULL);
		show_vcpu_json(&j, 0, v);
		json_end(&j, ']');
		fclose(f);
		for (depth = 0, p = text; *p; p++)
			depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
		assert_int_equal(depth, 0);
		free(text);
		f = open_memstream(&text, &size);
		assert_non_null(f);
		show_vcpu(0, v, random(), random(), "\n", f);
		show_vcpu_line(1, 0, v, f);
		fclose(f);
		for (p = text; *p; p++)
			assert_true(*p == '\n' || (*p >= 0x20 && *p < 0x7f));
		assert_in_range(size, 1, 1200);
		free(text);
	}
	free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(show_task_names_class_and_priority),
		cmocka_unit_test(show_task_out_of_range_says_so),
		cmocka_unit_test(show_context_names_known_bits_only),
		cmocka_unit_test(show_grant_names_the_reason),
		cmocka_unit_test(show_hostile_page_stays_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
