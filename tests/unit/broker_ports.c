// SPDX-License-Identifier: GPL-2.0-only
/* The port's socket when the system fails it. Nobody has a page here. */
#include <helpers/passing.h>
#include <helpers/unit.h>

#include <helpers/fail.h>

#include <broker/port.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define TAG 1

static struct bed {
	struct pvsched_server server;
	struct pvsched_found_vms found;
	pthread_mutex_t mutex;
	struct pvsched_ports ports;
	char dir[32];
} bed;

/* --- what ports are without pages, and a host without VMs */

const struct pvsched_device_ops pvsched_area_ops;

void *pvsched_areas_write(void *arg)
{
	return arg;
}

void pvsched_areas_check(struct pvsched_port *p)
{
	assert_non_null(p);
}

int pvsched_finder_scan(struct pvsched_finder *f, pid_t tgid, struct pvsched_found **ret_rows,
			bool *ret_cut)
{
	assert_null(f);
	assert_true(tgid);
	*ret_rows = NULL;
	*ret_cut = false;
	return 0;
}

/* --- */

static int setup(void **state)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = TAG };
	char broker[64];
	mode_t old;

	(void)state;
	memset(&bed, 0, sizeof(bed));
	strcpy(bed.dir, "/tmp/pvsched-ports-XXXXXX");
	if (!mkdtemp(bed.dir))
		return -1;
	pthread_mutex_init(&bed.mutex, NULL);
	bed.server.mutex = &bed.mutex;
	bed.ports = (struct pvsched_ports){ .server = &bed.server,
					    .found = &bed.found,
					    .ep = epoll_create1(EPOLL_CLOEXEC),
					    .tag = TAG + 1,
					    .listen_tag = TAG };
	snprintf(broker, sizeof(broker), "%s/broker.sock", bed.dir);
	old = umask(077); /* the sockets' modes are not by it */
	if (pvsched_ports_open(&bed.ports, broker))
		return -1;
	umask(old);
	return epoll_ctl(bed.ports.ep, EPOLL_CTL_ADD, bed.ports.listen_fd, &ev);
}

static int teardown(void **state)
{
	(void)state;
	pvsched_ports_close(&bed.ports);
	close(bed.ports.ep);
	return rmdir(bed.dir);
}

static int join(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strcpy(addr.sun_path, bed.ports.path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* Whether the main thread is told at once that somebody waits. */
static bool is_told(void)
{
	struct epoll_event ev;

	return epoll_wait(bed.ports.ep, &ev, 1, 0) == 1;
}

/* One round of the main thread in which somebody waits. */
static void accept_and_run(void)
{
	pvsched_ports_accept(&bed.ports);
	pvsched_ports_run(&bed.ports);
}

/* Else the main thread would be told of it without end. */
static void ports_byte_out_of_band_is_read(void **state)
{
	int client = join();

	(void)state;
	accept_and_run();
	assert_non_null(bed.ports.port[0]);
	if (send(client, "x", 1, MSG_OOB) < 0 && errno == EOPNOTSUPP) {
		print_message("needs CONFIG_AF_UNIX_OOB\n");
		skip();
	}
	assert_true(is_told());
	pvsched_ports_serve(&bed.ports, 0);
	assert_false(is_told());
	close(client);
	pvsched_ports_serve(&bed.ports, 0);
}

/* Else it would not sleep until there are some. */
static void ports_without_descriptors_are_deaf_for_a_while(void **state)
{
	struct rlimit old, low;
	int client = join();

	(void)state;
	assert_true(is_told());
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = client; /* the numbers below are taken */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	accept_and_run();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_false(is_told());
	assert_in_range(pvsched_ports_timeout(&bed.ports), 1, 1001);
	pvsched_ports_run(&bed.ports); /* another event comes before */
	assert_false(is_told());

	bed.ports.deaf_ns = 1; /* a second later */
	assert_int_equal(pvsched_ports_timeout(&bed.ports), 0);
	pvsched_ports_run(&bed.ports);
	assert_true(is_told());
	assert_int_equal(pvsched_ports_timeout(&bed.ports), -1);
	accept_and_run();
	assert_non_null(bed.ports.port[0]);
	assert_false(is_told());
	close(client);
}

static void ports_without_room_to_bury_are_deaf_until_there_is(void **state)
{
	int client = join();

	(void)state;
	bed.ports.porters.graves = PVSCHED_GRAVES_SOCKETS;
	pvsched_ports_accept(&bed.ports);
	assert_false(is_told());
	bed.ports.porters.graves = 0;
	bed.ports.deaf_ns = 1;
	pvsched_ports_run(&bed.ports);
	assert_true(is_told());
	accept_and_run();
	assert_non_null(bed.ports.port[0]);
	close(client);
}

/* Else each connection that is refused could be one that cannot be closed. */
static void ports_descriptor_cannot_be_passed(void **state)
{
	int client = join();

	(void)state;
	if (!passing_can_be_refused(client)) {
		print_message("needs SO_PASSRIGHTS, of Linux 6.16\n");
		skip();
	}
	assert_int_equal(passing_send(client, "x", 1, &client, 1), -1); /* before it is accepted */
	assert_int_equal(errno, EPERM);
	accept_and_run();
	assert_non_null(bed.ports.port[0]);
	assert_int_equal(passing_send(client, "x", 1, &client, 1), -1);
	assert_int_equal(errno, EPERM);
	assert_false(is_told());
	assert_int_equal(passing_send(client, "x", 1, NULL, 0), 1);
	assert_true(is_told());
	pvsched_ports_serve(&bed.ports, 0);
	close(client);
}

/* It is shut down and still open, so it would be told of for as long as it is. */
static void ports_that_nobody_can_close_yet_wake_nobody(void **state)
{
	struct pvsched_porters *p = &bed.ports.porters;
	int client;

	(void)state;
	assert_true(passing_let(getpid(), bed.ports.path));
	client = join();
	accept_and_run();
	assert_non_null(bed.ports.port[0]);
	for (int i = 0; i < PVSCHED_PORTERS; i++)
		p->porter[i].out = true;
	assert_int_equal(passing_send(client, "x", 1, &client, 1), 1);
	pvsched_ports_serve(&bed.ports, 0);
	assert_null(bed.ports.port[0]);
	assert_int_equal(p->graves, 1);
	assert_false(is_told());
	for (int i = 0; i < PVSCHED_PORTERS; i++)
		p->porter[i].out = false;
	pvsched_porters_reap(p);
	close(client);
}

/* A port of a VM that says more than is heard of it now; the VMM's end. */
static int make_mute(void)
{
	int client = join();
	struct pvsched_port *p;

	accept_and_run();
	p = bed.ports.port[0];
	assert_non_null(p);
	p->place = 0;
	p->heard_ns = now_ns() + 60000000000ull;
	assert_int_equal(send(client, "x", 1, 0), 1);
	pvsched_ports_serve(&bed.ports, 0);
	assert_true(p->mute_ns);
	assert_int_equal(p->held, 1);
	return client;
}

/* A while later. */
static void time_is_up(void)
{
	bed.ports.port[0]->heard_ns = 0;
	bed.ports.port[0]->mute_ns = 1;
	assert_int_equal(pvsched_ports_timeout(&bed.ports), 0);
	pvsched_ports_run(&bed.ports);
}

/* Else the main thread would be told of it without end, and not hear what it is told. */
static void ports_mute_one_that_hangs_up_wakes_nobody(void **state)
{
	int client = make_mute();

	(void)state;
	assert_int_equal(send(client, "x", 1, 0), 1);
	assert_false(is_told());
	assert_int_equal(shutdown(client, SHUT_RDWR), 0);
	assert_false(is_told());
	assert_in_range(pvsched_ports_timeout(&bed.ports), 1, 60001);

	time_is_up();
	assert_int_equal(pvsched_ports_timeout(&bed.ports), -1);
	assert_true(is_told());
	pvsched_ports_serve(&bed.ports, 0); /* what it said */
	assert_non_null(bed.ports.port[0]);
	pvsched_ports_serve(&bed.ports, 0);
	assert_null(bed.ports.port[0]);
	assert_false(is_told());
	close(client);
}

static void ports_mute_one_that_cannot_be_watched_again_is_later(void **state)
{
	int client = make_mute();

	(void)state;
	assert_int_equal(send(client, "x", 1, 0), 1);
	fail_mine = true;
	fail_arm_kind("epoll_ctl", 1);
	time_is_up();
	fail_mine = false;
	assert_true(fail_disarm());
	assert_false(is_told());
	assert_in_range(pvsched_ports_timeout(&bed.ports), 1, 1001);

	time_is_up();
	assert_int_equal(pvsched_ports_timeout(&bed.ports), -1);
	assert_true(is_told());
	pvsched_ports_serve(&bed.ports, 0);
	assert_false(is_told());
	close(client);
}

/* A QEMU of any user connects; whoever says something there and is no VM's process is sent away. */
static void ports_are_anybodys_to_connect_to_and_a_vms_to_speak_at(void **state)
{
	struct stat st;
	int client;
	char c = 0;

	(void)state;
	assert_int_equal(stat(bed.ports.path, &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0666);
	client = join();
	accept_and_run();
	assert_non_null(bed.ports.port[0]);
	assert_int_equal(send(client, &c, 1, 0), 1);
	pvsched_ports_serve(&bed.ports, 0);
	assert_null(bed.ports.port[0]);
	assert_int_equal(bed.ports.refused, 1);
	close(client);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(ports_byte_out_of_band_is_read),
		CASE(ports_without_descriptors_are_deaf_for_a_while),
		CASE(ports_descriptor_cannot_be_passed),
		CASE(ports_that_nobody_can_close_yet_wake_nobody),
		CASE(ports_without_room_to_bury_are_deaf_until_there_is),
		CASE(ports_mute_one_that_hangs_up_wakes_nobody),
		CASE(ports_mute_one_that_cannot_be_watched_again_is_later),
		CASE(ports_are_anybodys_to_connect_to_and_a_vms_to_speak_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
