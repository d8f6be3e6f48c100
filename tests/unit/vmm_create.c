// SPDX-License-Identifier: GPL-2.0-only
/* What the VMM says on hosts whose /dev/kvm does not open. */
#include <helpers/unit.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include <vmm/vmm.h>

static int kvm_error;

int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
	(void)flags;
	assert_string_equal(path, "/dev/kvm");
	errno = kvm_error;
	return -1;
}

static void keep_line(enum pvsched_log_level level, const char *line, void *ctx)
{
	assert_int_equal(level, PVSCHED_LOG_ERROR);
	snprintf(ctx, 320, "%s", line);
}

static void expect(int error, const char *words)
{
	char line[320] = "";
	struct vmm_opts opts = { .vcpus = 1, .print = keep_line, .print_ctx = line };
	struct vmm *vm = NULL;

	kvm_error = error;
	assert_int_equal(vmm_create(&opts, &vm), -error);
	assert_null(vm);
	if (strncmp(line, "/dev/kvm: ", 10) || !strstr(line, words))
		fail_msg("error %d: it says: %s", error, line);
}

static void create_on_a_host_without_kvm_says_what_to_do(void **state)
{
	(void)state;
	expect(ENOENT, "load kvm_intel or kvm_amd");
	expect(ENODEV, "enable virtualisation in the firmware, or nested virtualisation");
	expect(ENXIO, "enable virtualisation in the firmware, or nested virtualisation");
	expect(EACCES, "run as root or join the group");
	expect(EMFILE, "Too many open files");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(create_on_a_host_without_kvm_says_what_to_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
