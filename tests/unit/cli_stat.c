// SPDX-License-Identifier: GPL-2.0-only
/* What 'pvsched stat' makes of the broker's answers. */
#include <helpers/unit.h>

#include <stat.h>
#include <stdlib.h>

static void read_text(const char *text, struct stat_sample *s)
{
	struct json_value *v = json_parse(text, strlen(text), 16);

	assert_non_null(v);
	assert_int_equal(stat_read(v, s), 0);
	json_free(v);
}

#define VCPU(index, tid, run, ins, boosts, wake)                                                       \
	"{\"vcpu\": " #index ", \"tid\": " #tid ", \"run_ns\": " #run ", \"sched_ins\": " #ins         \
	", \"boosts\": " #boosts ", \"granted\": {\"interrupt\": " #boosts "},"                        \
	" \"throttled\": {\"task\": 2}, \"gaps\": {}, \"wake\": {\"max_ns\": 5000, \"buckets\": " wake \
	"}}"
#define VM(n, name, vcpus)                                                                         \
	"{\"vm\": " #n ", \"name\": \"" name "\", \"pid\": 7, \"vcpu\": [" vcpus "]}"

static const char early[] = "{\"now_ns\": 1000, \"vms\": [" VM(
	0, "a", VCPU(0, 10, 100, 5, 1, "[[100, 3]]") "," VCPU(1, 11, 10, 5, 0, "[]")) "]}";
static const char late[] = "{\"now_ns\": 3000, \"vms\": [" VM(
	0, "a",
	VCPU(0, 10, 400, 9, 4, "[[100, 3], [2000, 7]]") "," VCPU(
		1, 12, 50, 1, 2, "[[100, 1]]")) "," VM(3, "b",
						       VCPU(0, 20, 9, 1, 1, "[[5000, 1]]")) "]}";

static void stat_reads_an_answer(void **state)
{
	struct stat_sample s;

	(void)state;
	read_text(late, &s);
	assert_int_equal(s.count, 3);
	assert_int_equal(s.now_ns, 3000);
	assert_string_equal(s.vcpu[2].name, "b");
	assert_int_equal(s.vcpu[0].n.run_ns, 400);
	assert_int_equal(s.vcpu[0].n.granted[3], 4);
	assert_int_equal(s.vcpu[0].n.throttled[1], 2);
	assert_int_equal(s.vcpu[0].n.wake.count, 10);
	stat_free(&s);
}

/* Whatever the broker counts for a vCPU is printed. */
static void stat_json_has_every_counter(void **state)
{
	static const char *const names[] = { "run_ns",	   "delay_ns", "sched_ins", "boosts",
					     "boosted_ns", "harm_ns",  "expired",   "refused",
					     "failed",	   "external", "bad_words", "missed",
					     "doorbells" };
	char text[1024] = "{\"vms\": [{\"vm\": 0, \"vcpu\": [{\"vcpu\": 0", *printed = NULL,
	     want[64];
	struct stat_sample s;
	struct json j;
	size_t size;
	FILE *f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		sprintf(text + strlen(text), ", \"%s\": %zu", names[i], 70 + i);
	strcat(text, "}]}]}");
	read_text(text, &s);
	f = open_memstream(&printed, &size);
	json_init(&j, f);
	stat_print_json(&s, -1, &j);
	fclose(f);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(want, sizeof(want), "\"%s\": %zu", names[i], 70 + i);
		if (!strstr(printed, want))
			fail_msg("no %s in: %s", want, printed);
	}
	free(printed);
	stat_free(&s);
}

/* Of a VM that has one, and whatever is refused there by its name. */
static void stat_port_is_the_vms_and_the_difference(void **state)
{
	static const char said[] =
		"{\"vms\": [{\"vm\": 0, \"port\": {\"refused\": {\"BAD_GFN\": %d, \"RATE\": 7}, "
		"\"skipped\": %d, \"resets\": 3, \"held\": 2, \"ports\": 1}, \"vcpu\": [{\"vcpu\": 0}]}, "
		"{\"vm\": 1, \"vcpu\": [{\"vcpu\": 0}]}]}";
	char text[512], *printed = NULL;
	struct stat_sample a, b;
	struct json j;
	size_t size;
	FILE *f;

	(void)state;
	snprintf(text, sizeof(text), said, 5, 100);
	read_text(text, &a);
	snprintf(text, sizeof(text), said, 9, 160);
	read_text(text, &b);
	stat_subtract(&b, &a);
	f = open_memstream(&printed, &size);
	json_init(&j, f);
	stat_print_json(&b, 1, &j);
	fclose(f);
	if (!strstr(printed, "\"port\": {\"refused\": {\"BAD_GFN\": 4}, \"skipped\": 60, "
			     "\"resets\": 0, \"held\": 0, \"ports\": 0}"))
		fail_msg("%s", printed);
	assert_null(strstr(strstr(printed, "\"vm\": 1"), "\"port\""));
	free(printed);
	stat_free(&a);
	stat_free(&b);
}

static void stat_interval_is_the_difference(void **state)
{
	struct stat_sample a, b;

	(void)state;
	read_text(early, &a);
	read_text(late, &b);
	stat_subtract(&b, &a);
	assert_int_equal(b.vcpu[0].n.run_ns, 300);
	assert_int_equal(b.vcpu[0].n.granted[3], 3);
	assert_int_equal(b.vcpu[0].n.throttled[1], 0);
	/* the three of 100 ns were before; 2000 is known to its bucket */
	assert_int_equal(b.vcpu[0].n.wake.count, 7);
	assert_in_range(pvsched_hist_percentile(&b.vcpu[0].n.wake, 10), 2000, 2125);
	assert_in_range(b.vcpu[0].n.wake.max, 2000, 2125);
	stat_free(&a);
	stat_free(&b);
}

static void stat_new_thread_counts_from_its_beginning(void **state)
{
	struct stat_sample a, b;

	(void)state;
	read_text(early, &a);
	read_text(late, &b);
	stat_subtract(&b, &a);
	assert_int_equal(b.vcpu[1].tid, 12);
	assert_int_equal(b.vcpu[1].n.run_ns, 50);
	assert_int_equal(b.vcpu[2].n.boosts, 1);
	/* the same thread, registered anew: its counters began again */
	stat_subtract(&a, &b);
	stat_free(&a);
	read_text(early, &a);
	stat_free(&b);
	read_text(late, &b);
	stat_subtract(&a, &b);
	assert_int_equal(a.vcpu[0].n.run_ns, 100);
	stat_free(&a);
	stat_free(&b);
}

static void stat_vm_is_the_sum_of_its_vcpus(void **state)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);
	const struct json_value *vms;
	struct json_value *v;
	struct stat_sample s;
	struct json j;

	(void)state;
	read_text(late, &s);
	json_init(&j, f);
	stat_print_json(&s, 0.5, &j);
	fclose(f);
	v = json_parse(text, size - 1, 16);
	vms = json_get(v, "vms");
	assert_int_equal(json_len(vms), 2);
	assert_int_equal(json_number(json_get(json_at(vms, 0), "run_ns")), 450);
	assert_int_equal(json_number(json_get(json_get(json_at(vms, 0), "granted"), "interrupt")),
			 6);
	assert_int_equal(json_number(json_get(json_get(json_at(vms, 0), "wake"), "count")), 11);
	assert_int_equal(json_len(json_get(json_at(vms, 0), "vcpu")), 2);
	json_free(v);
	free(text);
	stat_free(&s);
}

static void stat_answer_that_lacks_members_is_zero(void **state)
{
	struct stat_sample s;

	(void)state;
	read_text("{}", &s);
	assert_int_equal(s.count, 0);
	stat_free(&s);
	read_text("{\"vms\": [{\"vcpu\": [7, {}]}, 3, {\"vcpu\": 5}]}", &s);
	assert_int_equal(s.count, 2);
	assert_int_equal(s.vcpu[1].n.run_ns, 0);
	stat_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stat_reads_an_answer),
		cmocka_unit_test(stat_json_has_every_counter),
		cmocka_unit_test(stat_port_is_the_vms_and_the_difference),
		cmocka_unit_test(stat_interval_is_the_difference),
		cmocka_unit_test(stat_new_thread_counts_from_its_beginning),
		cmocka_unit_test(stat_vm_is_the_sum_of_its_vcpus),
		cmocka_unit_test(stat_answer_that_lacks_members_is_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
