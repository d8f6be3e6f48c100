// SPDX-License-Identifier: GPL-2.0-only
/* Where pages and programs are pinned: only root may get at them. No program is loaded here. */
#include <helpers/unit.h>

#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../../src/guest/linux/publisher.h"

#define BPFFS_MAGIC 0xcafe4a11

static struct {
	bool mounted;
	char how[32]; /* it was mounted meanwhile */
	mode_t made; /* the directory's mode; 0 = it was there */
	struct stat st; /* what it is */
	unsigned int loads;
} bed;

int __wrap_statfs64(const char *path, struct statfs *fs)
{
	assert_string_equal(path, "/sys/fs/bpf");
	fs->f_type = bed.mounted ? BPFFS_MAGIC : 0;
	return 0;
}

int __wrap_mount(const char *source, const char *target, const char *type, unsigned long flags,
		 const void *data)
{
	assert_string_equal(source, "bpf");
	assert_string_equal(target, "/sys/fs/bpf");
	assert_string_equal(type, "bpf");
	assert_int_equal(flags, 0);
	assert_non_null(data);
	strncpy(bed.how, data, sizeof(bed.how) - 1);
	return 0;
}

int __wrap_mkdir(const char *path, mode_t mode)
{
	assert_string_equal(path, "/sys/fs/bpf/pvsched");
	errno = EEXIST;
	if (bed.st.st_mode)
		return -1;
	bed.st = (struct stat){ .st_mode = S_IFDIR | mode, .st_uid = geteuid() };
	bed.made = mode;
	return 0;
}

int __wrap_lstat64(const char *path, struct stat *st)
{
	assert_string_equal(path, "/sys/fs/bpf/pvsched");
	*st = bed.st;
	return 0;
}

/* A load that fails is cleared away: this machine may have pins of others there. */
DIR *__wrap_opendir(const char *path)
{
	assert_string_equal(path, "/sys/fs/bpf/pvsched");
	errno = ENOENT;
	return NULL;
}

int __wrap_unlink(const char *path)
{
	assert_non_null(path);
	errno = ENOENT;
	return -1;
}

struct bpf_object *__wrap_bpf_object__open_mem(const void *data, size_t size,
					       const struct bpf_object_open_opts *opts)
{
	assert_non_null(data);
	assert_true(size > 0);
	assert_null(opts);
	bed.loads++;
	errno = ENOMEM;
	return NULL;
}

static void ring(void *ctx, unsigned int cpu)
{
	assert_null(ctx);
	assert_true(!cpu);
}

/* Whether it goes as far as to load programs, which are pinned there. */
static bool goes_on(void)
{
	struct cli_error e = { 0 };
	struct publisher p;

	bed.loads = 0;
	assert_int_equal(publisher_open(&p, 1, ring, NULL, &e), CLI_FAILED);
	assert_string_equal(e.what, bed.loads ? "load the BPF programs" : "make room for pins");
	return bed.loads;
}

static int setup(void **state)
{
	(void)state;
	memset(&bed, 0, sizeof(bed));
	bed.mounted = true;
	return 0;
}

static void pins_room_that_is_made_is_roots_alone(void **state)
{
	(void)state;
	assert_true(goes_on());
	assert_int_equal(bed.made, 0700);
	assert_string_equal(bed.how, "");
	bed.mounted = false;
	assert_true(goes_on());
	assert_string_equal(bed.how, "mode=0700");
}

static void pins_room_of_another_user_is_refused(void **state)
{
	const struct stat bad[] = {
		{ .st_mode = S_IFDIR | 0700, .st_uid = geteuid() + 1 },
		{ .st_mode = S_IFDIR | 0777, .st_uid = geteuid() },
		{ .st_mode = S_IFDIR | 0770, .st_uid = geteuid() },
		{ .st_mode = S_IFLNK | 0777, .st_uid = geteuid() },
		{ .st_mode = S_IFREG | 0600, .st_uid = geteuid() },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		bed.st = bad[i];
		assert_false(goes_on());
	}
	bed.st = (struct stat){ .st_mode = S_IFDIR | 0755, .st_uid = geteuid() };
	assert_true(goes_on());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(pins_room_that_is_made_is_roots_alone, setup),
		cmocka_unit_test_setup(pins_room_of_another_user_is_refused, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
