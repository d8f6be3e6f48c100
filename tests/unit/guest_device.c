// SPDX-License-Identifier: GPL-2.0-only
/* The device as the guest's daemon sees it: when a page is still the host's, and who may have the function at
 * all, which is files of a directory here. */
#include <helpers/child.h>
#include <helpers/unit.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/guest/linux/device.h"

#define SYSFS	 "/sys/bus/pci/devices"
#define SLOT	 "0000:00:01.0"
#define STRANGER 65534

static struct pvsched_page page;

/* A PCI function of which only STATUS is asked. */
static bool lives_on(uint32_t device_status, uint64_t status)
{
	uint32_t bar[PVSCHED_REG_STATUS / 4 + 1] = { [PVSCHED_REG_STATUS / 4] = device_status };
	struct device d = { .config = -1, .stream = -1, .bar = bar };

	page.status = status;
	return device_has_page(&d, 0, &page);
}

#define DRIVEN                                                                                     \
	(PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER | PVSCHED_S_FEATURES_OK | PVSCHED_S_DRIVER_OK)

static bool lives(uint64_t status)
{
	return lives_on(DRIVEN, status);
}

static void guest_page_enabled_lives(void **state)
{
	(void)state;
	assert_true(lives(PVSCHED_PAGE_ENABLED));
}

/* END-8: the host goes on by itself; who starts over loses what he published. */
static void guest_page_paused_lives(void **state)
{
	(void)state;
	assert_true(lives(PVSCHED_PAGE_PAUSED));
}

static void guest_page_given_up_does_not(void **state)
{
	(void)state;
	assert_false(lives(PVSCHED_PAGE_OFF));
	assert_false(lives(PVSCHED_PAGE_ATTACHED));
	assert_false(lives(PVSCHED_PAGE_DEAD));
}

/* As after hibernation: the memory says ENABLED, and the machine is another one. */
static void guest_page_of_a_function_that_was_not_told_of_it_does_not_live(void **state)
{
	(void)state;
	assert_false(lives_on(0, PVSCHED_PAGE_ENABLED));
	assert_false(lives_on(DRIVEN & ~PVSCHED_S_DRIVER_OK, PVSCHED_PAGE_ENABLED));
	assert_false(lives_on(DRIVEN | PVSCHED_S_NEEDS_RESET, PVSCHED_PAGE_ENABLED));
	assert_false(lives_on(~0u, PVSCHED_PAGE_ENABLED)); /* it does not decode */
}

/* --- one function in sysfs */

static char dir[32];

/* As the kernel makes them, drivers/pci/pci-sysfs.c. */
static const struct {
	const char *name;
	mode_t mode;
	off_t size;
} files[] = {
	{ "vendor", 0444, 0 },	 { "device", 0444, 0 },	  { "enable", 0644, 0 },
	{ "config", 0644, 256 }, { "resource", 0444, 0 }, { "resource0", 0600, PVSCHED_BAR_SIZE },
};

DIR *__real_opendir(const char *path);
FILE *__real_fopen64(const char *path, const char *mode);
int __real_open64(const char *path, int flags, mode_t mode);

static const char *translate(const char *path, char *space, size_t size)
{
	if (strncmp(path, SYSFS, strlen(SYSFS)))
		return path;
	snprintf(space, size, "%s%s", dir, path + strlen(SYSFS));
	return space;
}

DIR *__wrap_opendir(const char *path)
{
	char space[128];

	return __real_opendir(translate(path, space, sizeof(space)));
}

FILE *__wrap_fopen64(const char *path, const char *mode)
{
	char space[128];

	return __real_fopen64(translate(path, space, sizeof(space)), mode);
}

int __wrap_open64(const char *path, int flags, mode_t mode)
{
	char space[128];

	return __real_open64(translate(path, space, sizeof(space)), flags, mode);
}

static const char *path_of(unsigned int file)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/" SLOT "/%s", dir, files[file].name);
	return path;
}

static int make_function(void **state)
{
	char path[64];
	int fd;

	(void)state;
	strcpy(dir, "/tmp/pvsched-device-XXXXXX");
	if (!mkdtemp(dir) || chmod(dir, 0755))
		return -1;
	snprintf(path, sizeof(path), "%s/" SLOT, dir);
	if (mkdir(path, 0755) || chmod(path, 0755))
		return -1;
	for (unsigned int i = 0; i < ARRAY_SIZE(files); i++) {
		fd = __real_open64(path_of(i), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		if (fd < 0 || fchmod(fd, files[i].mode) || ftruncate(fd, files[i].size))
			return -1;
		if (i < 2)
			dprintf(fd, "0x%04x\n", i ? PVSCHED_PCI_DEVICE : PVSCHED_PCI_VENDOR);
		close(fd);
	}
	return 0;
}

static int remove_function(void **state)
{
	char path[64];

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(files); i++)
		unlink(path_of(i));
	snprintf(path, sizeof(path), "%s/" SLOT, dir);
	return rmdir(path) | rmdir(dir);
}

static void guest_device_is_one_daemons_until_it_closes_it(void **state)
{
	struct device first, second;
	struct cli_error e = { 0 };

	(void)state;
	assert_int_equal(device_open(&first, &e), 0);
	assert_true(device_is_open(&first));
	assert_int_equal(device_open(&second, &e), CLI_FAILED);
	assert_string_equal(e.why, "another pvsched-guest run has it");
	assert_false(device_is_open(&second));
	device_close(&first);
	e = (struct cli_error){ 0 };
	assert_int_equal(device_open(&second, &e), 0);
	device_close(&second);
}

/* That user locks what he can open, and keeps it. */
static void lock_all(void *arg)
{
	int fd;

	(void)arg;
	if (setresgid(STRANGER, STRANGER, STRANGER) || setresuid(STRANGER, STRANGER, STRANGER))
		_exit(1);
	for (unsigned int i = 0; i < ARRAY_SIZE(files); i++) {
		fd = __real_open64(path_of(i), O_RDONLY | O_CLOEXEC, 0);
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB))
			_exit(1);
	}
}

static void guest_device_cannot_be_kept_from_the_daemon(void **state)
{
	struct cli_error e = { 0 };
	struct device d;
	pid_t pid;
	int exit;

	(void)state;
	if (geteuid())
		skip(); /* to be another user */
	pid = child_start(lock_all, NULL);
	exit = device_open(&d, &e);
	device_close(&d);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_string_equal(e.why, "");
	assert_int_equal(exit, 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, make_function, remove_function)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(guest_page_enabled_lives),
		cmocka_unit_test(guest_page_paused_lives),
		cmocka_unit_test(guest_page_given_up_does_not),
		cmocka_unit_test(guest_page_of_a_function_that_was_not_told_of_it_does_not_live),
		CASE(guest_device_is_one_daemons_until_it_closes_it),
		CASE(guest_device_cannot_be_kept_from_the_daemon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
