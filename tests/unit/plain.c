// SPDX-License-Identifier: GPL-2.0-only
/* What of a text of somebody else's a terminal gets to see. */
#include <helpers/unit.h>

#include <core/plain.h>
#include <string.h>

static void expect(const char *from, const char *to)
{
	char text[32];

	strcpy(text, from);
	pvsched_plain(text);
	assert_string_equal(text, to);
}

static void plain_text_is_left_as_it_is(void **state)
{
	(void)state;
	expect("", "");
	expect("web-1 ~", "web-1 ~");
	expect("\xc2\xa0\xc2\xa9 \xc3\xa4 \xe2\x80\x9b", "\xc2\xa0\xc2\xa9 \xc3\xa4 \xe2\x80\x9b");
	expect("\xc2", "\xc2"); /* cut off: a terminal waits for the rest, and the next is none */
	expect("\xc2z", "\xc2z");
}

static void plain_text_holds_no_control(void **state)
{
	(void)state;
	expect("\x1b[2J\n\x7f", "?[2J??");
	expect("\xc2\x80\xc2\x9b\xc2\x9f", "??????"); /* C1 in UTF-8 */
	assert_int_equal(pvsched_obeyed("\xc2\x9b"), 2);
	assert_int_equal(pvsched_obeyed("\x1f"), 1);
	assert_int_equal(pvsched_obeyed(" "), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_text_is_left_as_it_is),
		cmocka_unit_test(plain_text_holds_no_control),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
