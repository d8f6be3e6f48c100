// SPDX-License-Identifier: GPL-2.0-only
/* The control protocol's answers to what may come over its socket; no broker behind it. */
#include <helpers/child.h>
#include <helpers/passing.h>
#include <helpers/unit.h>

#include <broker/control.h>
#include <errno.h>
#include <json/parse.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static struct pvsched_server server;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* The parsed answer to these bytes; always one object on one line. */
static struct json_value *answer(const char *request, size_t len, uid_t uid)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);
	struct json_value *v;

	server.mutex = &mutex;
	pvsched_control_answer(&server, uid, request, len, f);
	fclose(f);
	assert_ptr_equal(memchr(text, '\n', size), text + size - 1);
	v = json_parse(text, size - 1, 8);
	assert_true(json_is_object(v));
	assert_int_equal(json_number(json_get(v, "pvsched")), PVSCHED_CONTROL_VERSION);
	free(text);
	return v;
}

static void refused(const char *request, size_t len, const char *code)
{
	struct json_value *v = answer(request, len, 0);

	assert_string_equal(json_text(json_get(json_get(v, "error"), "code")), code);
	assert_non_null(json_text(json_get(json_get(v, "error"), "why")));
	json_free(v);
}
#define REFUSED(request, code) refused(request, sizeof(request) - 1, code)

static void control_list_and_stat_of_nobody_are_empty(void **state)
{
	static const char *const requests[] = {
		"{\"pvsched\": 1, \"command\": \"list\"}",
		"{\"command\":\"stat\",\"pvsched\":1,\"more\":[]}"
	};
	struct json_value *v;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		v = answer(requests[i], strlen(requests[i]), 1000);
		assert_null(json_get(v, "error"));
		assert_non_null(json_get(v, "vms"));
		assert_int_equal(json_len(json_get(v, "vms")), 0);
		assert_true(json_number(json_get(v, "now_ns")) > 0);
		json_free(v);
	}
}

static void control_what_is_no_request_is_refused(void **state)
{
	(void)state;
	REFUSED("", "EINVAL");
	REFUSED("list", "EINVAL");
	REFUSED("[1]", "EINVAL");
	REFUSED("{\"pvsched\": 1, \"command\": \"list\"", "EINVAL");
	REFUSED("{\"pvsched\": 1}", "EINVAL");
	REFUSED("{\"pvsched\": 1, \"command\": 7}", "EINVAL");
	REFUSED("{\"pvsched\": 1, \"command\": \"\xff\"}", "EINVAL");
	REFUSED("{\"pvsched\": 1, \"a\": [[[[[[[[1]]]]]]]]}", "EINVAL");
	REFUSED("{\0}", "EINVAL");
}

/* Which takes the broker's own socket: here one looks only, root too. */
static void control_what_would_change_something_is_no_command(void **state)
{
	(void)state;
	REFUSED("{\"pvsched\": 1, \"command\": \"halt\"}", "ENOENT");
	REFUSED("{\"pvsched\": 1, \"command\": \"policy\", \"name\": \"off\"}", "ENOENT");
	REFUSED("{\"pvsched\": 1, \"command\": \"budget\", \"boost\": 90}", "ENOENT");
}

/* The names of the VMs that this user is told of. */
static void expect_vms(uid_t uid, const char *first, const char *second)
{
	static const char request[] = "{\"pvsched\": 1, \"command\": \"stat\"}";
	const char *const names[] = { first, second };
	struct json_value *v = answer(request, sizeof(request) - 1, uid);
	const struct json_value *vms = json_get(v, "vms");
	unsigned int n = !!first + !!second;

	assert_int_equal(json_len(vms), n);
	for (unsigned int i = 0; i < n; i++)
		assert_string_equal(json_text(json_get(json_at(vms, i), "name")), names[i]);
	json_free(v);
}

static void control_user_is_told_of_his_own_vms_alone(void **state)
{
	const uid_t own = geteuid() + 1;

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct pvsched_client *c = &server.client[i];

		memset(c->slot, -1, sizeof(c->slot));
		snprintf(c->name, sizeof(c->name), "%s", i ? "other" : "own");
		c->uid = own + i;
		c->hello = true;
	}
	expect_vms(own, "own", NULL);
	expect_vms(own + 1, "other", NULL);
	expect_vms(own + 2, NULL, NULL);
	expect_vms(0, "own", "other");
	expect_vms(geteuid(), "own", "other");
	memset(server.client, 0, 2 * sizeof(*server.client));
}

static void control_another_version_is_refused(void **state)
{
	(void)state;
	REFUSED("{\"command\": \"list\"}", "EPROTO");
	REFUSED("{\"pvsched\": 2, \"command\": \"list\"}", "EPROTO");
	REFUSED("{\"pvsched\": \"1\", \"command\": \"list\"}", "EPROTO");
}

static void control_cut_requests_are_answered(void **state)
{
	static const char request[] = "{\"pvsched\": 1, \"command\": \"list\"}";

	(void)state;
	for (size_t len = 0; len < sizeof(request) - 1; len++)
		refused(request, len, "EINVAL");
}

static void control_path_is_beside_the_brokers(void **state)
{
	char path[64], small[8];

	(void)state;
	assert_int_equal(pvsched_control_path("/run/pvsched/broker.sock", path, sizeof(path)), 0);
	assert_string_equal(path, "/run/pvsched/control.sock");
	assert_int_equal(pvsched_control_path("b.sock", path, sizeof(path)), 0);
	assert_string_equal(path, "./control.sock");
	assert_int_equal(pvsched_control_path("/run/x", small, sizeof(small)), -ENAMETOOLONG);
}

#define SILENT 24 /* more than are served */

static char dir[] = "/tmp/pvsched-control-XXXXXX", path[64];

static int dial(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	return connect(fd, (struct sockaddr *)&addr, sizeof(addr)) ? -1 : fd;
}

/* All of the answer is awaited. False: it was closed. */
static bool is_answered(int fd)
{
	static const char request[] = "{\"pvsched\": 1, \"command\": \"list\"}\n";
	char c = 0;

	if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0)
		return false;
	while (c != '\n')
		if (recv(fd, &c, 1, 0) != 1)
			return false;
	return true;
}

/* Else there would always be something to read, and never anything. */
static void control_byte_out_of_band_is_one_of_the_request(void **state)
{
	char text[256] = "";
	int fd = dial();

	(void)state;
	if (send(fd, " ", 1, MSG_OOB) < 0 && errno == EOPNOTSUPP) {
		print_message("needs CONFIG_AF_UNIX_OOB\n");
		skip();
	}
	usleep(20000); /* it is looked at alone */
	assert_int_equal(send(fd, "{\"pvsched\": 1, \"command\": \"none\"", 32, 0), 32);
	assert_int_equal(send(fd, "}", 1, MSG_OOB), 1); /* the object's end */
	assert_int_equal(send(fd, "\n", 1, 0), 1);
	for (size_t n = 0; !n || text[n - 1] != '\n'; n++)
		assert_int_equal(recv(fd, text + n, n + 1 < sizeof(text), 0), 1);
	assert_non_null(strstr(text, "\"ENOENT\""));
	close(fd);
}

/* Else each connection could be one that cannot be closed. */
static void control_descriptor_cannot_be_passed(void **state)
{
	int fd = dial();

	(void)state;
	if (!passing_can_be_refused(fd)) {
		print_message("needs SO_PASSRIGHTS, of Linux 6.16\n");
		skip();
	}
	assert_int_equal(passing_send(fd, "{", 1, &fd, 1), -1);
	assert_int_equal(errno, EPERM);
	assert_true(is_answered(fd));
	assert_int_equal(passing_send(fd, "{", 1, &fd, 1), -1);
	assert_int_equal(errno, EPERM);
	close(fd);
}

/* One descriptor with half of a request; left behind, where it stays unread. */
static void control_descriptor_that_blocks_keeps_nobody(void **state)
{
	static const char request[] = "{\"pvsched\": 1, \"command\": \"list\"}\n";
	int fd[2], peer[2], other, busy, status, unread = 0;
	struct timespec from, to;
	bool passed = true;
	pid_t pid[2];
	char c;

	(void)state;
	assert_true(passing_let(getpid(), path));
	fd[0] = dial();
	fd[1] = dial();
	busy = dial();
	clock_gettime(CLOCK_MONOTONIC, &from);
	/* Who serves waits here: he is the last to close what comes meanwhile. */
	pthread_mutex_lock(&mutex);
	assert_true(send(busy, request, sizeof(request) - 1, 0) > 0);
	while (!ioctl(busy, SIOCOUTQ, &unread) && unread)
		usleep(1000);
	for (int i = 0; i < 2; i++) {
		pid[i] = passing_leave(fd[i], &peer[i]);
		if (pid[i] < 0) {
			pthread_mutex_unlock(&mutex);
			skip();
		}
	}
	close(fd[1]);
	for (int i = 0; i < 2; i++) {
		status = -1;
		waitpid(pid[i], &status, 0);
		passed &= !status;
	}
	pthread_mutex_unlock(&mutex);
	assert_true(passed);
	assert_true(recv(fd[0], &c, 1, 0) <= 0); /* it costs the connection */
	other = dial();
	assert_true(is_answered(other));
	clock_gettime(CLOCK_MONOTONIC, &to);
	assert_in_range(to.tv_sec - from.tv_sec, 0, 20); /* of the minute that a close takes */
	for (int i = 0; i < 2; i++)
		close(peer[i]);
	close(fd[0]);
	close(other);
	close(busy);
}

static atomic_bool reads;

/* An answer now and then: just enough that each is taken within the time it has. */
static void *read_slowly(void *arg)
{
	int fd = *(int *)arg;
	char data[512];

	while (reads) {
		if (recv(fd, data, sizeof(data), MSG_DONTWAIT) == 0)
			break;
		usleep(300000);
	}
	return NULL;
}

static void control_peer_that_reads_slowly_keeps_nobody(void **state)
{
	const struct timeval patience = { .tv_sec = 20 };
	char lines[PVSCHED_CONTROL_LINE];
	int slow = dial(), other;
	pthread_t reader;

	(void)state;
	memset(lines, '\n', sizeof(lines)); /* each is answered that it is no request */
	assert_int_equal(send(slow, lines, sizeof(lines), 0), sizeof(lines));
	reads = true;
	assert_int_equal(pthread_create(&reader, NULL, read_slowly, &slow), 0);
	for (int i = 0; i < 3; i++) {
		other = dial();
		assert_int_equal(
			setsockopt(other, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
		assert_true(is_answered(other));
		close(other);
		usleep(200000);
	}
	reads = false;
	pthread_join(reader, NULL);
	close(slow);
}

static void control_peer_that_does_not_read_is_dropped(void **state)
{
	const struct timeval patience = { .tv_sec = 20 };
	char lines[PVSCHED_CONTROL_LINE], data[512];
	int silent = dial();
	ssize_t n;

	(void)state;
	memset(lines, '\n', sizeof(lines));
	assert_int_equal(send(silent, lines, sizeof(lines), 0), sizeof(lines));
	sleep(3); /* of the second that an answer has */
	setsockopt(silent, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	/* what had been sent, and then the end */
	while ((n = recv(silent, data, sizeof(data), 0)) > 0)
		;
	assert_true(n == 0 || errno == ECONNRESET);
	close(silent);
}

/* What a user is told is his own, so anybody may ask. */
static void control_socket_is_anybodys_to_ask_at(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0666);
}

static int start_control(void **state)
{
	struct pvsched_control *c = NULL;
	mode_t old;

	server.mutex = &mutex;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/sock", dir);
	old = umask(077); /* the socket's mode is not by it */
	if (pvsched_control_start(&server, path, &c))
		return -1;
	umask(old);
	*state = c;
	return 0;
}

static int stop_control(void **state)
{
	pvsched_control_stop(*state);
	rmdir(dir);
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	return 0;
}

static void control_silent_connections_give_way(void **state)
{
	int fd[SILENT], asks = dial();

	(void)state;
	for (int i = 0; i < SILENT; i++) {
		assert_true(is_answered(asks)); /* now and then, as a monitor does */
		fd[i] = dial();
		assert_true(fd[i] >= 0);
	}
	assert_true(is_answered(fd[SILENT - 1]));
	assert_true(is_answered(asks));
	assert_false(is_answered(fd[0]));
	for (int i = 0; i < SILENT; i++)
		close(fd[i]);
	close(asks);
}

/* That user connects, and is silent. */
static void hold(void *arg)
{
	uid_t uid = *(uid_t *)arg;

	if (setresuid(uid, uid, uid))
		_exit(1);
	for (int i = 0; i < SILENT; i++)
		dial();
}

static void control_others_cannot_keep_root_out(void **state)
{
	pid_t pid[4];
	int fd[4];

	(void)state;
	if (geteuid()) {
		printf("# not root: there is one user only\n");
		skip();
	}
	chmod(dir, 0755);
	fd[0] = dial();
	for (uid_t i = 0; i < 4; i++)
		pid[i] = child_start(hold, &(uid_t){ 65530 + i });
	for (int i = 1; i < 4; i++)
		fd[i] = dial();
	for (int i = 0; i < 4; i++)
		assert_true(is_answered(fd[i]));
	for (int i = 0; i < 4; i++) {
		close(fd[i]);
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(control_list_and_stat_of_nobody_are_empty),
		cmocka_unit_test(control_what_is_no_request_is_refused),
		cmocka_unit_test(control_what_would_change_something_is_no_command),
		cmocka_unit_test(control_user_is_told_of_his_own_vms_alone),
		cmocka_unit_test(control_another_version_is_refused),
		cmocka_unit_test(control_cut_requests_are_answered),
		cmocka_unit_test(control_path_is_beside_the_brokers),
		cmocka_unit_test_setup_teardown(control_socket_is_anybodys_to_ask_at, start_control,
						stop_control),
		cmocka_unit_test_setup_teardown(control_silent_connections_give_way, start_control,
						stop_control),
		cmocka_unit_test_setup_teardown(control_others_cannot_keep_root_out, start_control,
						stop_control),
		cmocka_unit_test_setup_teardown(control_byte_out_of_band_is_one_of_the_request,
						start_control, stop_control),
		cmocka_unit_test_setup_teardown(control_descriptor_cannot_be_passed, start_control,
						stop_control),
		cmocka_unit_test_setup_teardown(control_descriptor_that_blocks_keeps_nobody,
						start_control, stop_control),
		cmocka_unit_test_setup_teardown(control_peer_that_reads_slowly_keeps_nobody,
						start_control, stop_control),
		cmocka_unit_test_setup_teardown(control_peer_that_does_not_read_is_dropped,
						start_control, stop_control),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
