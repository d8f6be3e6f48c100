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

/* As found.c has it; the policy `latency` is that of all. Returns its place. */
static int find_vm(const char *name)
{
	int place = pvsched_server_place(&bed.server);
	struct pvsched_client *c;

	assert_true(place >= 0);
	c = &bed.server.client[place];
	c->pid = getpid();
	c->kvm = 0x1000 + place;
	strcpy(c->name, name);
	c->policy = pvsched_server_choose(&bed.server, c);
	assert_true(c->policy >= 0);
	assert_int_equal(pvsched_server_admit(&bed.server, c), 0);
	c->hello = true;
	return place;
}

static const char *policy_of(int place)
{
	return bed.policies.set[bed.server.client[place].policy].name;
}

/* One message of the client at that place, and its answer's error. */
static int ask(int fd, int place, struct pvsched_msg *m)
{
	assert_int_equal(send(fd, m, sizeof(*m), MSG_NOSIGNAL), sizeof(*m));
	pvsched_server_serve(&bed.server, place);
	assert_int_equal(recv(fd, m, sizeof(*m), MSG_DONTWAIT), sizeof(*m));
	return m->error;
}

static void server_policy_of_an_operator_stays_when_a_guest_speaks(void **state)
{
	struct pvsched_msg m = { .type = PVSCHED_MSG_POLICY };
	int fd, operator, one, other;

	(void)state;
	bed.policies.found = bed.policies.standard;
	assert_int_equal(pvsched_server_open(&bed.server, bed.path), 0);
	fd = join();
	operator= pvsched_server_accept(&bed.server);
	one = find_vm("one");
	assert_string_equal(policy_of(one), "latency");
	m.index = one;
	strcpy(m.policy.name, "off");
	assert_int_equal(ask(fd, operator, & m), 0);
	pvsched_server_speak(&bed.server, &bed.server.client[one], true);
	assert_string_equal(policy_of(one), "off");
	pvsched_server_speak(&bed.server, &bed.server.client[one], false);
	assert_string_equal(policy_of(one), "off");

	/* and of all VMs, whatever the configuration says of one that comes */
	assert_int_equal(pvsched_conf_parse("[vm other]\npolicy = latency\n", "test",
					    &bed.server.conf, bed.server.said,
					    sizeof(bed.server.said)),
			 0);
	m = (struct pvsched_msg){ .type = PVSCHED_MSG_POLICY, .index = PVSCHED_ALL_VMS };
	strcpy(m.policy.name, "off");
	assert_int_equal(ask(fd, operator, & m), 0);
	other = find_vm("other");
	assert_string_equal(policy_of(other), "off");
	pvsched_server_speak(&bed.server, &bed.server.client[other], true);
	assert_string_equal(policy_of(other), "off");
	close(fd);
	pvsched_server_close(&bed.server, bed.path);
	bed.server.overruled = false;
	bed.server.conf.n = 0;
	bed.policies.standard = 0;
	bed.policies.found = -1;
}

static int taken;

static void on_taken(void *ctx, int place)
{
	assert_ptr_equal(ctx, &bed);
	assert_true(bed.server.client[place].kvm); /* it is told before */
	taken = place;
}

static void server_client_takes_over_what_was_found(void **state)
{
	struct pvsched_msg m = { .type = PVSCHED_MSG_HELLO };
	int fd, client, found;

	(void)state;
	bed.policies.found = bed.policies.standard;
	bed.server.on_taken = on_taken;
	bed.server.ctx = &bed;
	assert_int_equal(pvsched_server_open(&bed.server, bed.path), 0);
	found = find_vm("found");
	taken = -1;
	fd = join();
	client = pvsched_server_accept(&bed.server);
	m.hello.version = PVSCHED_WIRE_VERSION;
	m.hello.vcpus = 1;
	assert_int_equal(ask(fd, client, &m), 0);
	assert_int_equal(taken, found);
	assert_false(bed.server.client[found].hello);
	assert_int_equal(bed.server.client[found].kvm, 0);
	assert_int_equal(bed.server.changed, getpid());
	close(fd);
	pvsched_server_close(&bed.server, bed.path);
	bed.policies.found = -1;
	bed.server.on_taken = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(server_that_cannot_open_leaves_no_socket),
		cmocka_unit_test(server_without_descriptors_refuses_and_goes_on),
		cmocka_unit_test(server_policy_of_an_operator_stays_when_a_guest_speaks),
		cmocka_unit_test(server_client_takes_over_what_was_found),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
