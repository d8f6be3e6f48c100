// SPDX-License-Identifier: GPL-2.0-only
/* The broker's socket when the system fails it: over maps and programs that are memory. */
#include <helpers/unit.h>

#include <helpers/bpf_edge.h>
#include <helpers/fail.h>

#include <broker/server.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/un.h>

static struct bed {
	struct pvsched_server server;
	struct pvsched_registry reg;
	struct pvsched_policies policies;
	pthread_mutex_t mutex;
	char dir[32], path[64];
} bed;

static int setup(void **state)
{
	(void)state;
	edge_open();
	strcpy(bed.dir, "/tmp/pvsched-server-XXXXXX");
	if (!mkdtemp(bed.dir) || pvsched_policies_open(&bed.policies, "latency", -1) ||
	    pvsched_registry_open(&bed.reg, pvsched_policies_base(&bed.policies)))
		return -1;
	snprintf(bed.path, sizeof(bed.path), "%s/sock", bed.dir);
	pthread_mutex_init(&bed.mutex, NULL);
	bed.server = (struct pvsched_server){ .reg = &bed.reg,
					      .policies = &bed.policies,
					      .mutex = &bed.mutex };
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pvsched_registry_close(&bed.reg);
	pvsched_policies_close(&bed.policies);
	edge_close();
	return rmdir(bed.dir);
}

static int join(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strcpy(addr.sun_path, bed.path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void server_that_cannot_open_leaves_no_socket(void **state)
{
	int n, err;

	(void)state;
	for (n = 1;; n++) {
		fail_mine = true;
		fail_arm(n);
		err = pvsched_server_open(&bed.server, bed.path);
		fail_mine = false;
		if (!fail_disarm())
			break;
		/* an existing directory is none of the failures */
		if (err)
			assert_int_equal(access(bed.path, F_OK), -1);
		pvsched_server_close(&bed.server, bed.path);
	}
	assert_int_equal(err, 0);
	assert_in_range(n, 5, 20);
	pvsched_server_close(&bed.server, bed.path);
}

static void server_without_descriptors_refuses_and_goes_on(void **state)
{
	struct rlimit old, low;
	int client, index;
	char c;

	(void)state;
	assert_int_equal(pvsched_server_open(&bed.server, bed.path), 0);
	client = join();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = client; /* the numbers below are taken */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	index = pvsched_server_accept(&bed.server);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(index, -EMFILE);
	assert_int_equal(bed.server.refused, 1);
	/* nobody waits any more: neither this client nor, in the broker's loop, epoll */
	assert_int_equal(recv(client, &c, 1, 0), 0);
	assert_int_equal(pvsched_server_accept(&bed.server), -EAGAIN);
	close(client);
	client = join();
	assert_int_equal(pvsched_server_accept(&bed.server), 0);
	pvsched_server_drop(&bed.server, 0);
	assert_int_equal(recv(client, &c, 1, 0), 0);
	close(client);
	pvsched_server_close(&bed.server, bed.path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(server_that_cannot_open_leaves_no_socket),
		cmocka_unit_test(server_without_descriptors_refuses_and_goes_on),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
