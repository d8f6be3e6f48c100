// SPDX-License-Identifier: GPL-2.0-only
/* The configuration file: what it says, whom it is for, and that what it cannot mean is refused. */
#include <helpers/unit.h>

#include <broker/conf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct pvsched_conf conf;
static char why[256];

#define LONG_NAME "a-name-of-a-virtual-machine-that-is-rather-long-in-the-end"

static int parse(const char *text)
{
	why[0] = 0;
	return pvsched_conf_parse(text, "t.conf", &conf, why, sizeof(why));
}

static void conf_empty_file_sets_nothing(void **state)
{
	struct pvsched_choice c;

	(void)state;
	assert_int_equal(parse(""), 0);
	assert_int_equal(parse("# nothing\n\n; and nothing\n[broker]\n"), 0);
	assert_string_equal(conf.policy, "");
	assert_int_equal(conf.budget.own, 0);
	c = pvsched_conf_choose(&conf, "any", 0);
	assert_true(c.serve);
	assert_null(c.policy);
	assert_true(pvsched_choice_has(&c, 255));
}

static void conf_broker_section_is_read(void **state)
{
	(void)state;
	assert_int_equal(parse("[broker]\npolicy = mirror ; comment\nfound-policy=none\n"
			       "cap = 500us\nlead-us = 80\nboost = 30%\nceiling = fifo:2\n"),
			 0);
	assert_string_equal(conf.policy, "mirror");
	assert_string_equal(conf.found_policy, "none");
	assert_int_equal(conf.budget.value[PVSCHED_BUDGET_CAP], 500000);
	assert_int_equal(conf.lead_us, 80);
	assert_int_equal(conf.budget.value[PVSCHED_BUDGET_BOOST], 30);
	assert_int_equal(conf.budget.value[PVSCHED_BUDGET_CEILING], 2);
	assert_int_equal(conf.budget.own, 1u << PVSCHED_BUDGET_CAP | 1u << PVSCHED_BUDGET_BOOST |
						  1u << PVSCHED_BUDGET_CEILING);
}

static void conf_vm_that_names_its_user_wins_over_his_section(void **state)
{
	struct pvsched_choice c;

	(void)state;
	assert_int_equal(parse("[vm web-*]\nuser = 1000\nserve = yes\nvcpus = 0,2-3\n"
			       "[user 1000]\nserve = no\npolicy = off\n"
			       "[vm web-9]\npolicy = irq\nuser = 1000\n"),
			 0);
	c = pvsched_conf_choose(&conf, "web-1", 1000);
	assert_true(c.serve);
	assert_string_equal(c.policy, "off");
	assert_true(pvsched_choice_has(&c, 0));
	assert_false(pvsched_choice_has(&c, 1));
	assert_true(pvsched_choice_has(&c, 3));
	assert_false(pvsched_choice_has(&c, 4));
	c = pvsched_conf_choose(&conf, "web-9", 1000);
	assert_string_equal(c.policy, "irq");
	c = pvsched_conf_choose(&conf, "db", 1000);
	assert_false(c.serve);
	c = pvsched_conf_choose(&conf, "db", 1001);
	assert_true(c.serve);
	assert_null(c.policy);
	/* another user's of that name has nothing of it */
	c = pvsched_conf_choose(&conf, "web-9", 1001);
	assert_null(c.policy);
	assert_true(pvsched_choice_has(&c, 1));
	assert_int_equal(parse("[vm a]\nuser = root\nserve = no\n[vm a]\nuser = 7\n"), -EINVAL);
	assert_non_null(strstr(why, "line 5: user: [vm a] has another one already"));
	assert_int_equal(parse("[user root]\nuser = root\n"), -EINVAL);
	assert_int_equal(parse("[vm a]\nuser = no-such-user\n"), -EINVAL);
}

/* What is asked before the name is known. */
static void conf_user_may_be_served_by_his_section_or_a_vm_that_names_him(void **state)
{
	(void)state;
	assert_int_equal(parse("[vm *]\nserve = no\n"), 0);
	assert_true(pvsched_conf_may_serve(&conf, 0)); /* its name is to be looked at */
	assert_int_equal(
		parse("[vm a]\nserve = yes\n[user 1000]\nserve = no\n[user 0]\nserve = no\n"), 0);
	assert_false(pvsched_conf_may_serve(&conf, 1000));
	assert_false(pvsched_conf_may_serve(&conf, 0));
	assert_true(pvsched_conf_may_serve(&conf, 1001));
	assert_int_equal(parse("[user 1000]\nserve = no\n[vm a]\nuser = 1000\nserve = yes\n"
			       "[vm b]\nuser = 1000\nserve = no\n"),
			 0);
	assert_true(pvsched_conf_may_serve(&conf, 1000));
	assert_int_equal(parse("[user 1000]\npolicy = off\n"), 0);
	assert_true(pvsched_conf_may_serve(&conf, 1000));
}

/* Whoever is denied something may call his VM as one that is not. */
static void conf_name_of_a_vm_gains_nothing_that_its_user_is_denied(void **state)
{
	struct pvsched_choice c;

	(void)state;
	assert_int_equal(parse("[user 1000]\nserve = no\n[vm pbx]\nserve = yes\n"), 0);
	assert_false(pvsched_conf_choose(&conf, "pbx", 1000).serve);
	assert_true(pvsched_conf_choose(&conf, "pbx", 1001).serve);
	assert_int_equal(parse("[user 1000]\npolicy = irq\nvcpus = 0-1\nboost = 20\ngap = 5ms\n"
			       "[vm pbx]\npolicy = latency\nvcpus = 1-3\nboost = 60\ngap = 1ms\n"
			       "rate = 9\n"),
			 0);
	c = pvsched_conf_choose(&conf, "pbx", 1000);
	assert_string_equal(c.policy, "irq");
	assert_false(pvsched_choice_has(&c, 0));
	assert_true(pvsched_choice_has(&c, 1));
	assert_false(pvsched_choice_has(&c, 2));
	assert_int_equal(c.budget.value[PVSCHED_BUDGET_BOOST], 20);
	assert_int_equal(c.budget.value[PVSCHED_BUDGET_GAP], 5000000);
	assert_int_equal(c.budget.value[PVSCHED_BUDGET_RATE], 9); /* of which his says nothing */
	c = pvsched_conf_choose(&conf, "pbx", 1001);
	assert_string_equal(c.policy, "latency");
	assert_int_equal(c.budget.value[PVSCHED_BUDGET_BOOST], 60);
	/* less it may give */
	assert_int_equal(parse("[user 1000]\nserve = yes\npolicy = latency\nboost = 20\n"
			       "[vm b-*]\npolicy = off\nboost = 10\n[vm c]\nserve = no\n"),
			 0);
	c = pvsched_conf_choose(&conf, "b-1", 1000);
	assert_true(c.serve);
	assert_string_equal(c.policy, "off");
	assert_int_equal(c.budget.value[PVSCHED_BUDGET_BOOST], 10);
	assert_false(pvsched_conf_choose(&conf, "c", 1000).serve);
}

static void conf_budgets_of_a_vm_win_over_its_user_s(void **state)
{
	struct pvsched_choice c;

	(void)state;
	assert_int_equal(parse("[vm web-*]\nuser = 1000\nboost = 30\n"
			       "[user 1000]\nboost = 20\nrate = 100\n"),
			 0);
	c = pvsched_conf_choose(&conf, "web-1", 1000);
	assert_int_equal(c.budget.own, 1u << PVSCHED_BUDGET_BOOST | 1u << PVSCHED_BUDGET_RATE);
	assert_int_equal(c.budget.value[PVSCHED_BUDGET_BOOST], 30);
	assert_int_equal(c.budget.value[PVSCHED_BUDGET_RATE], 100);
	c = pvsched_conf_choose(&conf, "pbx", 7);
	assert_int_equal(c.budget.own, 0);
}

static void conf_user_is_a_name_or_a_number(void **state)
{
	(void)state;
	assert_int_equal(parse("[user root]\nserve = no\n"), 0);
	assert_false(pvsched_conf_choose(&conf, "x", 0).serve);
	assert_int_equal(parse("[user no-such-user]\nserve = no\n"), -EINVAL);
	assert_non_null(strstr(why, "no such user"));
}

static void conf_errors_name_their_line(void **state)
{
	static const struct {
		const char *text, *line, *what;
	} cases[] = {
		{ "[broker]\npolice = off\n", "t.conf: line 2:", "no key 'police'" },
		{ "\n\n[brokers]\npolicy = off\n", "line 4:", "no section [brokers]" },
		{ "policy = off\n", "line 1:", "no section []" },
		{ "[broker]\nboost = 91\n", "line 2:", "boost: it may be 1 to 90 %" },
		{ "[broker]\nboost = -1\n", "line 2:", "no such value" },
		{ "[broker]\nboost = 5x\n", "line 2:", "no such value" },
		{ "[broker]\nboost =\n", "line 2:", "no such value" },
		{ "[broker]\ncap = 99us\n", "line 2:", "cap: it may be 100 to 100000 us" },
		{ "[vm a]\ncap = 500\n", "line 2:", "cap: '500' is no such value" },
		{ "[vm a]\nceiling = fifo:0\n", "line 2:", "fifo:1 to 90" },
		{ "[broker]\nlead-us = 0\n", "line 2:", "1 to 10000" },
		{ "[broker]\npolicy =\n", "line 2:", "no policy ''" },
		{ "[broker]\nfound-policy =\n", "line 2:", "no policy ''" },
		{ "[vm a]\nbudgets = 5\n", "line 2:", "no key 'budgets'" },
		{ "[vm a]\nserve = maybe\n", "line 2:", "yes or no" },
		{ "[vm a]\npolicy =\n", "line 2:", "no policy ''" },
		{ "[broker]\npolicy = none\n", "line 2:", "no policy 'none'" },
		{ "[vm a]\npolicy = irqs\n", "line 2:", "no policy 'irqs'" },
		{ "[vm a]\npolicy = x.bpf.o.c\n", "line 2:", "no policy" },
		{ "[vm a]\nvcpus = 3-1\n", "line 2:", "no list" },
		{ "[vm a]\nvcpus = 0-256\n", "line 2:", "no list" },
		{ "[vm a]\nvcpus = 1,\n", "line 2:", "no list" },
		{ "[vm a]\nvcpus = 1-\n", "line 2:", "no list" },
		{ "[vm a]\nvcpus = a\n", "line 2:", "no list" },
		{ "[vm a]\nvcpus = 1 2\n", "line 2:", "no list" },
		{ "[vm ]\nserve = no\n", "line 2:", "no section" },
		{ "[broker]\nnonsense\n", "line 2:", "neither" },
		{ "[broker\n", "line 1:", "neither" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		conf.budget.own = 77;
		assert_int_equal(parse(cases[i].text), -EINVAL);
		if (!strstr(why, cases[i].line) || !strstr(why, cases[i].what))
			fail_msg("%s: said '%s'", cases[i].text, why);
		assert_int_equal(conf.budget.own, 77); /* untouched */
	}
}

/* libinih would cut them off and say nothing. */
static void conf_what_would_be_cut_is_refused(void **state)
{
	char text[512];

	(void)state;
	snprintf(text, sizeof(text), "# a\n[vm %.46s]\nserve = no\n", LONG_NAME);
	assert_int_equal(parse(text), 0);
	assert_false(pvsched_conf_choose(&conf, conf.rule[0].vm, 0).serve);
	assert_int_equal(strlen(conf.rule[0].vm), 46);
	snprintf(text, sizeof(text), "# a\n [vm %.47s]\nserve = no\n", LONG_NAME);
	assert_int_equal(parse(text), -EINVAL);
	assert_non_null(strstr(why, "line 2: a section's name is longer than 49"));
	/* the rest of a comment is none */
	snprintf(text, sizeof(text), "[broker]\n#%-198s\n", "policy = off");
	assert_int_equal(parse(text), -EINVAL);
	assert_non_null(strstr(why, "line 2: longer than 198"));
	snprintf(text, sizeof(text), "[broker]\n#%-197s\n", "policy = off");
	assert_int_equal(parse(text), 0);
	assert_string_equal(conf.policy, "");
}

static void conf_policy_of_a_line_is_kept_whole(void **state)
{
	char text[1024], path[200];

	(void)state;
	/* as long as a line allows */
	snprintf(path, sizeof(path), "/%0178d.bpf.o", 0);
	snprintf(text, sizeof(text), "[broker]\npolicy=%s\nfound-policy=%s\n[vm a]\npolicy=%s\n",
		 path, path, path);
	assert_int_equal(parse(text), 0);
	assert_string_equal(conf.policy, path);
	assert_string_equal(conf.found_policy, path);
	assert_string_equal(pvsched_conf_choose(&conf, "a", 0).policy, path);
}

static void conf_too_many_sections_are_refused(void **state)
{
	char text[8192] = "";

	(void)state;
	for (int i = 0; i < PVSCHED_RULES_MAX; i++)
		sprintf(text + strlen(text), "[vm v%d]\nserve = no\n", i);
	assert_int_equal(parse(text), 0);
	strcat(text, "[vm v0]\npolicy = off\n"); /* the same again is none more */
	assert_int_equal(parse(text), 0);
	strcat(text, "[vm more]\nserve = no\n");
	assert_int_equal(parse(text), -EINVAL);
	assert_non_null(strstr(why, "line 132: more than 64 sections"));
}

static void conf_file_that_cannot_be_read_says_why(void **state)
{
	char path[] = "/tmp/pvsched-conf-XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	assert_int_equal(pvsched_conf_read("/nonexistent/x", &conf, why, sizeof(why)), -ENOENT);
	assert_non_null(strstr(why, "/nonexistent/x: "));
	assert_int_equal(write(fd, "[broker]\nboost = 20\n", 20), 20);
	assert_int_equal(pvsched_conf_read(path, &conf, why, sizeof(why)), 0);
	assert_int_equal(conf.budget.value[PVSCHED_BUDGET_BOOST], 20);
	assert_int_equal(write(fd, "\0x", 2), 2);
	assert_int_equal(pvsched_conf_read(path, &conf, why, sizeof(why)), -EINVAL);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conf_empty_file_sets_nothing),
		cmocka_unit_test(conf_broker_section_is_read),
		cmocka_unit_test(conf_vm_that_names_its_user_wins_over_his_section),
		cmocka_unit_test(conf_user_may_be_served_by_his_section_or_a_vm_that_names_him),
		cmocka_unit_test(conf_name_of_a_vm_gains_nothing_that_its_user_is_denied),
		cmocka_unit_test(conf_budgets_of_a_vm_win_over_its_user_s),
		cmocka_unit_test(conf_user_is_a_name_or_a_number),
		cmocka_unit_test(conf_errors_name_their_line),
		cmocka_unit_test(conf_what_would_be_cut_is_refused),
		cmocka_unit_test(conf_policy_of_a_line_is_kept_whole),
		cmocka_unit_test(conf_too_many_sections_are_refused),
		cmocka_unit_test(conf_file_that_cannot_be_read_says_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
