// SPDX-License-Identifier: GPL-2.0-only
/* What `pvsched-guest status` prints, of pages that this test makes. */
#include <helpers/unit.h>

#include <cmd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "../../src/guest/linux/publisher.h"

extern const struct cmd cmd_guest_status;

#define CPUS 2

static struct pvsched_page pages[2][CPUS]; /* of the first daemon, and of the next */
static struct publish_state states[2];
static unsigned int looks,
	without; /* from the look `without` on there is no daemon; 0 = there is */

/* A second that is over at once. */
int __wrap_nanosleep(const struct timespec *pause, struct timespec *left)
{
	(void)pause, (void)left;
	return 0;
}

/* Of the publisher, what the command uses. Its third look is its last. */
int publisher_look(struct publisher *p, struct cli_error *e)
{
	unsigned int life = looks++ > 0;

	*p = (struct publisher){ 0 };
	if (looks == 3)
		raise(SIGTERM);
	if (without && looks >= without)
		return cli_fail(e, CLI_FAILED, "look at the pages", NULL, NULL, "none");
	*p = (struct publisher){ .cpus = CPUS, .pages = pages[life], .state = &states[life] };
	return 0;
}

void publisher_close(struct publisher *p)
{
	*p = (struct publisher){ 0 };
}

static int setup(void **state)
{
	(void)state;
	looks = without = 0;
	memset(pages, 0, sizeof(pages));
	memset(states, 0, sizeof(states));
	for (unsigned int life = 0; life < 2; life++)
		for (unsigned int i = 0; i < CPUS; i++) {
			states[life].cpu[i].on = 1;
			states[life].cpu[i].stores = 12345;
			states[life].cpu[i].rings = 67;
			pages[life][i].boosts = 100 + life;
			pages[life][i].throttles = 89;
			pages[life][i].state = 4321ull << PVSCHED_STATE_INS_SHIFT;
		}
	return 0;
}

/* What it says; the caller frees it. The options are two flags, in the order of the table. */
static char *say(bool watch, bool json)
{
	bool values[2] = { watch, json };
	struct cli_error e = { 0 };
	char *text = calloc(1, 65536);
	FILE *out = tmpfile();
	int kept = dup(STDOUT_FILENO), status;

	assert_true(text && out && kept >= 0);
	fflush(stdout);
	assert_true(dup2(fileno(out), STDOUT_FILENO) >= 0);
	status = cmd_guest_status.run(values, NULL, 0, &e);
	fflush(stdout);
	dup2(kept, STDOUT_FILENO);
	close(kept);
	assert_int_equal(status, 0);
	rewind(out);
	assert_true(fread(text, 1, 65535, out) > 0);
	fclose(out);
	return text;
}

static void status_text_shows_counters(void **state)
{
	char *text = say(false, false);

	(void)state;
	assert_non_null(strstr(text, "100"));
	assert_non_null(strstr(text, "89"));
	assert_non_null(strstr(text, "4321"));
	assert_non_null(strstr(text, "12345"));
	assert_non_null(strstr(text, "67"));
	free(text);
}

static void status_watched_json_is_a_line_each(void **state)
{
	char *text = say(true, true), *end;

	(void)state;
	assert_int_equal(looks, 3);
	for (char *line = text; *line; line = end + 1) {
		end = strchr(line, '\n');
		assert_non_null(end);
		assert_true(line[0] == '[' && end[-1] == ']');
	}
	free(text);
}

static void status_watched_shows_the_next_daemons_pages(void **state)
{
	char *text = say(true, true);

	(void)state;
	assert_non_null(strstr(text, "\"boosts\": 100"));
	assert_non_null(strstr(text, "\"boosts\": 101"));
	free(text);
}

static void status_watched_without_a_daemon_goes_on(void **state)
{
	char *text;

	(void)state;
	without = 2;
	text = say(true, true);
	assert_int_equal(looks, 3);
	assert_non_null(strstr(text, "]\n[]\n"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(status_text_shows_counters, setup),
		cmocka_unit_test_setup(status_watched_json_is_a_line_each, setup),
		cmocka_unit_test_setup(status_watched_shows_the_next_daemons_pages, setup),
		cmocka_unit_test_setup(status_watched_without_a_daemon_goes_on, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
