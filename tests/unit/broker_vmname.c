// SPDX-License-Identifier: GPL-2.0-only
/* VMs' names out of their VMMs' command lines. */
#include <helpers/unit.h>

#include <broker/vmname.h>
#include <string.h>

/* A literal with its last NUL. */
#define NAME(line) pvsched_vm_name(line, sizeof(line), name, sizeof(name))

static void vm_name_of_qemu_is_found(void **state)
{
	char name[64] = "";

	(void)state;
	assert_true(NAME("/usr/bin/qemu-system-x86_64\0-name\0web 1\0-m\0"
			 "512"));
	assert_string_equal(name, "web 1");
	assert_true(NAME("qemu\0--name\0db,debug-threads=on\0-enable-kvm"));
	assert_string_equal(name, "db");
}

static void vm_name_of_libvirt_is_its_guest(void **state)
{
	char name[64] = "";

	(void)state;
	assert_true(NAME("qemu\0-name\0guest=vm-1,debug-threads=on\0-S"));
	assert_string_equal(name, "vm-1");
	assert_true(NAME("qemu\0-name\0debug-threads=on,guest=a,,b,process=x"));
	assert_string_equal(name, "a,b");
}

static void vm_name_of_firecracker_is_its_id(void **state)
{
	char name[64] = "";

	(void)state;
	assert_true(NAME("firecracker\0--api-sock\0/s\0--id\0abc=1"));
	assert_string_equal(name, "abc=1");
}

static void vm_name_that_is_absent_is_none(void **state)
{
	char name[64] = "kept";

	(void)state;
	assert_false(NAME("qemu\0-m\0"
			  "512"));
	assert_false(NAME("qemu\0-name"));
	assert_false(NAME("qemu\0-name\0"));
	assert_false(NAME("qemu\0-name\0debug-threads=on"));
	assert_false(NAME("qemu\0-name\0guest="));
	assert_false(NAME("-name\0x")); /* the program's own name is no option */
	assert_false(pvsched_vm_name("", 0, name, sizeof(name)));
	assert_string_equal(name, "kept");
}

static void vm_name_that_is_cut_off_is_none(void **state)
{
	static const char line[] = "qemu\0-name\0guest=abc,x=y";
	char name[64] = "", copy[sizeof(line)];

	(void)state;
	for (size_t len = 0; len < sizeof(line); len++) {
		memcpy(copy, line, len);
		assert_false(pvsched_vm_name(copy, len, name, sizeof(name)));
	}
	assert_true(pvsched_vm_name(line, sizeof(line), name, sizeof(name)));
}

static void vm_name_is_bounded_and_printable(void **state)
{
	char line[400] = "qemu\0-name\0\x1b[2Jx", name[8];

	(void)state;
	assert_true(pvsched_vm_name(line, sizeof(line), name, sizeof(name)));
	assert_string_equal(name, "?[2Jx");
	memcpy(line + 11, "a\xc2\x9bJ\xc2\xa9", 7); /* CSI in UTF-8, and a letter */
	assert_true(pvsched_vm_name(line, sizeof(line), name, sizeof(name)));
	assert_string_equal(name, "a??J\xc2\xa9");
	memset(line + 11, 'a', 380);
	assert_true(pvsched_vm_name(line, sizeof(line), name, sizeof(name)));
	assert_string_equal(name, "aaaaaaa");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vm_name_of_qemu_is_found),
		cmocka_unit_test(vm_name_of_libvirt_is_its_guest),
		cmocka_unit_test(vm_name_of_firecracker_is_its_id),
		cmocka_unit_test(vm_name_that_is_absent_is_none),
		cmocka_unit_test(vm_name_that_is_cut_off_is_none),
		cmocka_unit_test(vm_name_is_bounded_and_printable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
