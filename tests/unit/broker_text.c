// SPDX-License-Identifier: GPL-2.0-only
/* Texts that grow, in pages of their own. */
#include <helpers/unit.h>

#include <broker/text.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>

static void text_of_any_length_is_what_was_written(void **state)
{
	static const size_t lines[] = { 0, 1, 1000, 100000 };
	struct pvsched_text t;
	char line[32];
	FILE *f;

	(void)state;
	for (unsigned int i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		f = pvsched_text_open(&t);
		assert_non_null(f);
		for (size_t n = 0; n < lines[i]; n++)
			fprintf(f, "%07zu\n", n);
		assert_false(ferror(f));
		assert_int_equal(fclose(f), 0);
		assert_int_equal(t.size, lines[i] * 8);
		for (size_t n = 0; n < lines[i]; n++) {
			snprintf(line, sizeof(line), "%07zu\n", n);
			assert_memory_equal(t.data + n * 8, line, 8);
		}
		pvsched_text_free(&t);
		assert_null(t.data);
	}
}

static size_t resident_pages(void)
{
	size_t all, resident;
	FILE *f = fopen("/proc/self/statm", "re");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%zu %zu", &all, &resident), 2);
	fclose(f);
	return resident;
}

/* In a thread's heap it would stay. */
static void *write_and_free(void *arg)
{
	static const char some[4096];
	struct pvsched_text t;
	FILE *f = pvsched_text_open(&t);

	for (int i = 0; f && i < 1000; i++)
		fwrite(some, sizeof(some), 1, f);
	if (f && !ferror(f) && !fclose(f) && t.size == 1000 * sizeof(some))
		*(bool *)arg = true;
	pvsched_text_free(&t);
	return NULL;
}

static void text_that_is_freed_leaves_nothing_in_memory(void **state)
{
	bool done = false;
	pthread_t thread;
	size_t before;

	(void)state;
	for (int i = 0; i < 2; i++) { /* what is allocated once is */
		before = resident_pages();
		assert_int_equal(pthread_create(&thread, NULL, write_and_free, &done), 0);
		pthread_join(thread, NULL);
		assert_true(done);
	}
	assert_true(resident_pages() < before + 100);
}

static void text_without_memory_is_not_whole(void **state)
{
	struct rlimit old, few;
	struct pvsched_text t;
	bool whole;
	FILE *f;

	(void)state;
	f = pvsched_text_open(&t);
	assert_non_null(f);
	fprintf(f, "before");
	assert_int_equal(fflush(f), 0);
	assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
	few = (struct rlimit){ 0, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_AS, &few), 0);
	for (int i = 0; i < 10000; i++)
		fprintf(f, "%07d\n", i);
	whole = !ferror(f);
	whole &= !fclose(f);
	assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
	assert_false(whole);
	assert_memory_equal(t.data, "before", 6);
	pvsched_text_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_of_any_length_is_what_was_written),
		cmocka_unit_test(text_that_is_freed_leaves_nothing_in_memory),
		cmocka_unit_test(text_without_memory_is_not_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
