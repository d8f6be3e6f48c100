// SPDX-License-Identifier: GPL-2.0-only
/* The words of a page, encoded and decoded: spec/protocol.md, "The page". */
#include <helpers/unit.h>

#include <core/page.h>

#define KNOWN (PVSCHED_TASK_LATENCY | PVSCHED_TASK_VALID)

static struct pvsched_task decode(__u64 word, int expect_bad)
{
	struct pvsched_task task;

	memset(&task, 0xa5, sizeof(task));
	assert_int_equal(pvsched_task_decode(word, KNOWN, &task), expect_bad);
	return task;
}

/* What a word that lies about anything is worth; its generation is not a claim and stays. */
static void assert_worthless(__u64 word, int bad)
{
	struct pvsched_task task = decode(word, bad);

	assert_int_equal(task.policy, PVSCHED_POLICY_NORMAL);
	assert_int_equal(task.nice, 0);
	assert_int_equal(task.rt_priority, 0);
	assert_int_equal(task.flags, 0);
	assert_int_equal(task.gen, (__u32)(word >> PVSCHED_TASK_GEN_SHIFT));
}

static void task_word_encoded_has_the_documented_bits(void **state)
{
	(void)state;
	assert_true(pvsched_task_word(PVSCHED_POLICY_FIFO, -20, 99, 0x81, 0x89abcdef) ==
		    0x89abcdef8163ec01ull);
	assert_true(pvsched_task_word(PVSCHED_POLICY_NORMAL, 19, 0, 0, 1) == 0x100001300ull);
	assert_true(pvsched_context_word(PVSCHED_CTX_CRITICAL, 0xffffffff) ==
		    0xffffffff00000008ull);
}

static void task_word_round_trip_keeps_every_field(void **state)
{
	static const __u8 policies[] = {
		PVSCHED_POLICY_NORMAL, PVSCHED_POLICY_FIFO, PVSCHED_POLICY_RR,
		PVSCHED_POLICY_BATCH,  PVSCHED_POLICY_IDLE, PVSCHED_POLICY_DEADLINE,
		PVSCHED_POLICY_EXT,
	};
	unsigned int i;
	int nice, prio;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(policies); i++) {
		__u8 policy = policies[i];
		bool rt = policy == PVSCHED_POLICY_FIFO || policy == PVSCHED_POLICY_RR;

		for (nice = -20; nice <= 19; nice++) {
			for (prio = rt ? 1 : 0; prio <= (rt ? 99 : 0); prio++) {
				struct pvsched_task task;

				task = decode(pvsched_task_word(policy, nice, prio, KNOWN, ~0u), 0);
				assert_int_equal(task.policy, policy);
				assert_int_equal(task.nice, nice);
				assert_int_equal(task.rt_priority, prio);
				assert_int_equal(task.flags, KNOWN);
				assert_int_equal(task.gen, ~0u);
			}
		}
	}
}

static void task_word_policy_out_of_range_is_worthless(void **state)
{
	int policy;

	(void)state;
	assert_worthless(pvsched_task_word(4, -20, 0, KNOWN, 7), 1);
	for (policy = PVSCHED_POLICY_EXT + 1; policy <= 255; policy++)
		assert_worthless(pvsched_task_word(policy, -20, 0, KNOWN, 7), 1);
}

static void task_word_nice_out_of_range_is_worthless(void **state)
{
	int nice;

	(void)state;
	for (nice = -128; nice < 128; nice++) {
		if (nice < -20 || nice > 19)
			assert_worthless(pvsched_task_word(PVSCHED_POLICY_FIFO, nice, 1, KNOWN, 7),
					 1);
	}
}

static void task_word_priority_out_of_range_is_worthless(void **state)
{
	int prio;

	(void)state;
	assert_worthless(pvsched_task_word(PVSCHED_POLICY_FIFO, 0, 0, KNOWN, 7), 1);
	assert_worthless(pvsched_task_word(PVSCHED_POLICY_RR, 0, 0, KNOWN, 7), 1);
	for (prio = 100; prio <= 255; prio++) {
		assert_worthless(pvsched_task_word(PVSCHED_POLICY_FIFO, 0, prio, KNOWN, 7), 1);
		assert_worthless(pvsched_task_word(PVSCHED_POLICY_RR, 0, prio, KNOWN, 7), 1);
	}
	/* A priority without a real-time policy is a contradiction. */
	assert_worthless(pvsched_task_word(PVSCHED_POLICY_NORMAL, 0, 1, KNOWN, 7), 1);
	assert_worthless(pvsched_task_word(PVSCHED_POLICY_DEADLINE, 0, 99, KNOWN, 7), 1);
}

static void task_word_several_lies_are_counted_each(void **state)
{
	(void)state;
	assert_worthless(pvsched_task_word(4, 100, 1, KNOWN, 7), 3);
	assert_worthless(~0ull, 2); /* nice -1 is a nice value */
}

static void task_word_unknown_flags_are_ignored(void **state)
{
	(void)state;
	assert_int_equal(decode(pvsched_task_word(0, 0, 0, 0xff, 0), 0).flags, KNOWN);
	assert_int_equal(decode(pvsched_task_word(0, 0, 0, 0x7e, 0), 0).flags, 0);
}

static void task_word_never_written_decodes_as_a_plain_task(void **state)
{
	struct pvsched_task task;

	(void)state;
	task = decode(0, 0);
	assert_int_equal(task.policy, PVSCHED_POLICY_NORMAL);
	assert_int_equal(task.nice, 0);
	assert_int_equal(task.flags, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(task_word_encoded_has_the_documented_bits),
		cmocka_unit_test(task_word_round_trip_keeps_every_field),
		cmocka_unit_test(task_word_policy_out_of_range_is_worthless),
		cmocka_unit_test(task_word_nice_out_of_range_is_worthless),
		cmocka_unit_test(task_word_priority_out_of_range_is_worthless),
		cmocka_unit_test(task_word_several_lies_are_counted_each),
		cmocka_unit_test(task_word_unknown_flags_are_ignored),
		cmocka_unit_test(task_word_never_written_decodes_as_a_plain_task),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
