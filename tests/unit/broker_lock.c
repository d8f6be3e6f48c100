// SPDX-License-Identifier: GPL-2.0-only
/* The host's lock, below a directory of the test's own: whose it is, and who may take it at all. */
#include <helpers/unit.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <broker/lock.h>

#define STRANGER 65534
#define LOCK_DIR "/run/pvsched"

static char dir[32], file[64], said[160];

/* --- the host's directory is this test's */

int __real_mkdir(const char *path, mode_t mode);
int __real_open64(const char *path, int flags, mode_t mode);

int __wrap_mkdir(const char *path, mode_t mode)
{
	assert_string_equal(path, LOCK_DIR);
	return __real_mkdir(dir, mode);
}

int __wrap_open64(const char *path, int flags, mode_t mode)
{
	assert_string_equal(path, LOCK_DIR "/broker.lock");
	return __real_open64(file, flags, mode);
}

/* --- */

static void say(void *ctx, const char *line)
{
	assert_null(ctx);
	snprintf(said, sizeof(said), "%s", line);
}

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/pvsched-lock-XXXXXX");
	if (!mkdtemp(dir) || chmod(dir, 0755))
		return -1;
	snprintf(file, sizeof(file), "%s/broker.lock", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(file);
	return rmdir(dir);
}

static void lock_is_one_brokers_and_tells_whose(void **state)
{
	char who[32];
	int fd, other;

	(void)state;
	assert_int_equal(pvsched_host_lock(say, NULL, &fd), 0);
	assert_int_equal(pvsched_host_lock(say, NULL, &other), -EEXIST);
	snprintf(who, sizeof(who), "(pid %d)", getpid());
	assert_non_null(strstr(said, who));
	close(fd);
	assert_int_equal(pvsched_host_lock(say, NULL, &other), 0);
	close(other);
}

/* Another user's process takes it, if it can open it in any way, and has it until it is told to end. */
static pid_t take(int *ret_end)
{
	int taken[2], end[2], fd;
	pid_t pid;
	char c;

	assert_int_equal(pipe2(taken, O_CLOEXEC) | pipe2(end, O_CLOEXEC), 0);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		close(end[1]);
		if (setresgid(STRANGER, STRANGER, STRANGER) ||
		    setresuid(STRANGER, STRANGER, STRANGER))
			_exit(1);
		fd = __real_open64(file, O_RDONLY | O_CLOEXEC, 0);
		if (fd < 0)
			fd = __real_open64(file, O_WRONLY | O_CLOEXEC, 0);
		if (fd >= 0)
			flock(fd, LOCK_EX | LOCK_NB);
		c = write(taken[1], "t", 1);
		_exit(read(end[0], &c, 1) != 0);
	}
	close(taken[1]);
	close(end[0]);
	assert_int_equal(read(taken[0], &c, 1), 1);
	close(taken[0]);
	*ret_end = end[1];
	return pid;
}

/* Who may read a file may lock it: neither one that is made, whatever the umask, nor one that is left. */
static void lock_cannot_be_taken_by_another_user(void **state)
{
	int fd, end, status, err;
	struct stat st;
	mode_t old;
	pid_t pid;

	(void)state;
	for (int left = 0; left < 2; left++) {
		if (left)
			assert_int_equal(chmod(file, 0644), 0);
		old = umask(0);
		err = pvsched_host_lock(say, NULL, &fd);
		umask(old);
		assert_int_equal(err, 0);
		close(fd);
		assert_int_equal(stat(file, &st), 0);
		assert_int_equal(st.st_mode, S_IFREG | 0600);
	}
	if (geteuid())
		skip(); /* to be another user */
	pid = take(&end);
	err = pvsched_host_lock(say, NULL, &fd);
	close(end);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(err, 0);
	close(fd);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(lock_is_one_brokers_and_tells_whose),
		CASE(lock_cannot_be_taken_by_another_user),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
