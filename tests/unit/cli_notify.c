// SPDX-License-Identifier: GPL-2.0-only
/* What the service manager is told, and when it wants to hear something. */
#include <helpers/unit.h>

#include <notify.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void told(const char *name)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char got[128] = "";

	strcpy(addr.sun_path, name);
	if (*name == '@')
		addr.sun_path[0] = 0;
	assert_int_equal(bind(fd, (struct sockaddr *)&addr,
			      offsetof(struct sockaddr_un, sun_path) + strlen(name)),
			 0);
	setenv("NOTIFY_SOCKET", name, 1);
	notify("READY=1");
	assert_true(recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT) > 0);
	assert_non_null(strstr(got, "READY=1\nMONOTONIC_USEC="));
	close(fd);
	unsetenv("NOTIFY_SOCKET");
}

static void notify_reaches_the_managers_socket(void **state)
{
	char dir[] = "/tmp/pvsched-notify-XXXXXX", name[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(name, sizeof(name), "%s/sock", dir);
	told(name);
	unlink(name);
	rmdir(dir);
	snprintf(name, sizeof(name), "@pvsched-notify-%d", getpid());
	told(name);
}

static void notify_without_a_manager_does_nothing(void **state)
{
	char longer[200];

	(void)state;
	unsetenv("NOTIFY_SOCKET");
	notify("READY=1");
	setenv("NOTIFY_SOCKET", "", 1);
	notify("READY=1");
	setenv("NOTIFY_SOCKET", "/nonexistent/sock", 1);
	notify("READY=1");
	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	setenv("NOTIFY_SOCKET", longer, 1);
	notify("READY=1");
	unsetenv("NOTIFY_SOCKET");
}

static void notify_watchdog_wants_half_of_its_time(void **state)
{
	char pid[16];

	(void)state;
	unsetenv("WATCHDOG_PID");
	unsetenv("WATCHDOG_USEC");
	assert_int_equal(notify_watchdog_ms(), -1);
	setenv("WATCHDOG_USEC", "60000000", 1);
	assert_int_equal(notify_watchdog_ms(), 30000);
	setenv("WATCHDOG_USEC", "1", 1);
	assert_int_equal(notify_watchdog_ms(), 1);
	setenv("WATCHDOG_USEC", "18446744073709551615", 1);
	assert_int_equal(notify_watchdog_ms(), 2147483647);
	setenv("WATCHDOG_USEC", "0", 1);
	assert_int_equal(notify_watchdog_ms(), -1);
	setenv("WATCHDOG_USEC", "60000000", 1);
	setenv("WATCHDOG_PID", "1", 1); /* somebody else's */
	assert_int_equal(notify_watchdog_ms(), -1);
	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("WATCHDOG_PID", pid, 1);
	assert_int_equal(notify_watchdog_ms(), 30000);
	unsetenv("WATCHDOG_PID");
	unsetenv("WATCHDOG_USEC");
}

/* What is done meanwhile, a reload for one, puts it off by nothing. */
static void notify_watchdog_comes_due_whatever_happens_meanwhile(void **state)
{
	const unsigned long long told = 5000000000ull, ms = 1000000;

	(void)state;
	unsetenv("WATCHDOG_PID");
	unsetenv("WATCHDOG_USEC");
	assert_int_equal(notify_watchdog_left(told, told + 100000 * ms), -1);
	setenv("WATCHDOG_USEC", "2000000", 1);
	assert_int_equal(notify_watchdog_left(told, told), 1000);
	assert_int_equal(notify_watchdog_left(told, told + 400 * ms), 600);
	assert_int_equal(notify_watchdog_left(told, told + 1000 * ms), 0);
	assert_int_equal(notify_watchdog_left(told, told + 90000 * ms), 0);
	unsetenv("WATCHDOG_USEC");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(notify_reaches_the_managers_socket),
		cmocka_unit_test(notify_without_a_manager_does_nothing),
		cmocka_unit_test(notify_watchdog_wants_half_of_its_time),
		cmocka_unit_test(notify_watchdog_comes_due_whatever_happens_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
