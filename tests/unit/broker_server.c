// SPDX-License-Identifier: GPL-2.0-only
/* The broker's socket when the system fails it, and when a client means it ill: over maps and programs that
 * are memory. */
#include <helpers/unit.h>

#include <helpers/bpf_edge.h>
#include <helpers/fail.h>
#include <helpers/passing.h>

#include <actuator/monotonic.h>
#include <broker/server.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <sys/wait.h>

#define PATIENCE_NS                                                                                \
	10000000000ull /* for what takes microseconds, of the minute that a close takes */

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

/* --- what clients pass */

static void send_with(int fd, const struct pvsched_msg *m, const int *fds, int n)
{
	assert_int_equal(passing_send(fd, m, sizeof(*m), fds, n), sizeof(*m));
}

/* What the main thread does until this client has its answer, or nothing comes for long: its error. */
static int served(int client, int index)
{
	uint64_t end = now_ns() + PATIENCE_NS;
	struct pvsched_msg m;

	do {
		pvsched_server_serve(&bed.server, index);
		pvsched_server_ported(&bed.server);
		if (recv(client, &m, sizeof(m), 0) == sizeof(m))
			return m.error;
		sched_yield();
	} while (now_ns() < end);
	return -ETIMEDOUT;
}

static int ask(int client, int index, const struct pvsched_msg *m, const int *fds, int n)
{
	send_with(client, m, fds, n);
	return served(client, index);
}

/* A client with a VM of a name; as if of another user, if uid is not 0. */
static int enter(int *ret_index, uid_t uid)
{
	const struct pvsched_msg hello = {
		.type = PVSCHED_MSG_HELLO,
		.hello = { .version = PVSCHED_WIRE_VERSION, .vcpus = 4, .name = "unit" }
	};
	int client = join();

	*ret_index = pvsched_server_accept(&bed.server);
	assert_true(*ret_index >= 0);
	if (uid)
		bed.server.client[*ret_index].uid = uid;
	assert_int_equal(ask(client, *ret_index, &hello, NULL, 0), 0);
	return client;
}

static void leave(int client, int index)
{
	pvsched_server_drop(&bed.server, index);
	close(client);
}

static struct pvsched_msg add_self(void)
{
	return (struct pvsched_msg){ .type = PVSCHED_MSG_ADD_VCPU, .add.tid = gettid() };
}

static int own_pidfd(void)
{
	return syscall(SYS_pidfd_open, getpid(), 0);
}

static int open_server(void **state)
{
	(void)state;
	memset(&bed.server.client, 0, sizeof(bed.server.client));
	bed.server.refused = 0;
	bed.policies.standard = 0;
	return pvsched_server_open(&bed.server, bed.path);
}

static int close_server(void **state)
{
	(void)state;
	pvsched_server_close(&bed.server, bed.path);
	return 0;
}

static void server_takes_a_pidfd_and_an_eventfd_and_nothing_else(void **state)
{
	int pipes[2], index, client = enter(&index, 0), fds[100];
	int doorbell = eventfd(0, EFD_CLOEXEC), pidfd = own_pidfd(), ep = epoll_create1(0);
	const struct pvsched_msg add = add_self(), list = { .type = PVSCHED_MSG_LIST };
	const int bad[][3] = {
		{ doorbell, pidfd }, { pidfd, pidfd }, { doorbell, doorbell },
		{ pidfd, ep },	     { pidfd },	       { pidfd, doorbell, doorbell }
	};

	(void)state;
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ask(client, index, &add, bad[i],
				     i == 4   ? 1
				     : i == 5 ? 3
					      : 2),
				 -EBADF);
	fds[0] = pidfd;
	fds[1] = pipes[1];
	assert_int_equal(ask(client, index, &add, fds, 2), -EBADF);
	for (int i = 0; i < 100; i++)
		fds[i] = doorbell;
	assert_int_equal(ask(client, index, &add, fds, 100), -EBADF);
	assert_int_equal(ask(client, index, &list, fds, 1), -EBADF);
	assert_int_equal(bed.server.refused, 9);
	assert_int_equal(ask(client, index, &list, NULL, 0), 0);
	fds[0] = pidfd;
	fds[1] = doorbell;
	assert_int_equal(ask(client, index, &add, fds, 2), 0);
	assert_true(bed.server.client[index].slot[0] >= 0);
	leave(client, index);
	close(pipes[0]);
	close(pipes[1]);
	close(doorbell);
	close(pidfd);
	close(ep);
}

static void await_porters(void)
{
	uint64_t end = now_ns() + 2 * PATIENCE_NS;
	bool out = true;

	while (out && now_ns() < end) {
		pvsched_server_ported(&bed.server);
		out = bed.server.porters.graves > 0;
		for (int i = 0; i < PVSCHED_PORTERS; i++)
			out |= bed.server.porters.porter[i].out;
		sched_yield();
	}
	assert_false(out);
}

/* Passed as a doorbell, among too many, and left in a connection that ends: whoever closes it waits. */
static void server_is_not_kept_by_a_descriptor_that_blocks(void **state)
{
	struct pvsched_msg add = add_self(), list = { .type = PVSCHED_MSG_LIST };
	int index, other_index, client, other, peer[3], fds[3];
	uint64_t from;

	(void)state;
	fds[1] = passing_lingering(&peer[0]);
	if (fds[1] < 0)
		skip();
	client = enter(&index, 65534);
	other = enter(&other_index, 0);
	fds[0] = own_pidfd();
	fds[2] = fds[1];
	from = now_ns();
	send_with(client, &add, fds, 2);
	close(fds[1]);
	assert_int_equal(served(client, index), -EBADF);
	fds[1] = fds[2] = passing_lingering(&peer[1]);
	send_with(client, &list, fds, 3);
	close(fds[1]);
	assert_int_equal(served(client, index), -EBADF);
	fds[1] = passing_lingering(&peer[2]);
	send_with(client, &add, fds, 2);
	close(fds[1]);
	pvsched_server_drop(&bed.server, index); /* with that unread */
	list.index = other_index;
	assert_int_equal(ask(other, other_index, &list, NULL, 0), 0);
	assert_true(now_ns() - from < PATIENCE_NS);
	for (int i = 0; i < 3; i++)
		close(peer[i]); /* it is over */
	await_porters();
	close(fds[0]);
	close(client);
	leave(other, other_index);
}

/* All porters that a user has are kept: he waits, another does not, and nor does the main thread. */
static void server_user_who_blocks_porters_waits_alone(void **state)
{
	int index[PVSCHED_PORTERS_UID + 1], client[PVSCHED_PORTERS_UID + 1],
		peer[PVSCHED_PORTERS_UID];
	int other_index, other, fds[2] = { own_pidfd(), -1 };
	const struct pvsched_msg add = add_self();

	(void)state;
	for (int i = 0; i < PVSCHED_PORTERS_UID; i++) {
		client[i] = enter(&index[i], 65534);
		fds[1] = passing_lingering(&peer[i]);
		if (fds[1] < 0)
			skip();
		send_with(client[i], &add, fds, 2);
		close(fds[1]);
		assert_int_equal(served(client[i], index[i]), -EBADF);
	}
	client[PVSCHED_PORTERS_UID] = enter(&index[PVSCHED_PORTERS_UID], 65534);
	fds[1] = eventfd(0, EFD_CLOEXEC);
	send_with(client[PVSCHED_PORTERS_UID], &add, fds, 2);
	pvsched_server_serve(&bed.server, index[PVSCHED_PORTERS_UID]);
	assert_true(bed.server.client[index[PVSCHED_PORTERS_UID]].waits);
	other = enter(&other_index, 65533);
	assert_int_equal(ask(other, other_index, &add, fds, 2), 0);
	leave(other, other_index);
	close(peer[0]);
	assert_int_equal(served(client[PVSCHED_PORTERS_UID], index[PVSCHED_PORTERS_UID]), 0);
	for (int i = 1; i < PVSCHED_PORTERS_UID; i++)
		close(peer[i]);
	for (int i = 0; i <= PVSCHED_PORTERS_UID; i++)
		leave(client[i], index[i]);
	await_porters();
	close(fds[0]);
	close(fds[1]);
}

/* --- who may come, and stay */

static void server_silent_client_loses_its_place(void **state)
{
	int index, silent = join(), vm, vm_index;
	char c;

	(void)state;
	index = pvsched_server_accept(&bed.server);
	assert_true(index >= 0);
	vm = enter(&vm_index, 65534);
	assert_in_range(pvsched_server_timeout(&bed.server), 1, 10000);
	pvsched_server_run(&bed.server);
	assert_true(bed.server.client[index].fd >= 0);
	bed.server.client[index].joined_ns -= PATIENCE_NS;
	assert_int_equal(pvsched_server_timeout(&bed.server), 0);
	pvsched_server_run(&bed.server);
	assert_int_equal(bed.server.client[index].fd, -1);
	assert_int_equal(recv(silent, &c, 1, 0), 0);
	assert_true(bed.server.client[vm_index].hello);
	assert_int_equal(pvsched_server_timeout(&bed.server), -1);
	close(silent);
	leave(vm, vm_index);
}

/* A user's process that connects and says nothing, until its end is told. */
static pid_t crowd(int n, int *ret_end)
{
	int ready[2], end[2];
	pid_t pid;
	char c;

	if (pipe2(ready, O_CLOEXEC) || pipe2(end, O_CLOEXEC))
		return -1;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		close(end[1]);
		if (setresuid(65534, 65534, 65534))
			_exit(1);
		while (n--)
			join();
		c = write(ready[1], "r", 1);
		_exit(read(end[0], &c, 1) != 0);
	}
	close(ready[1]);
	close(end[0]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	*ret_end = end[1];
	return pid;
}

static void server_user_has_but_a_share_of_the_places(void **state)
{
	int end[2], index = 0, used = 0, refused = 0, client, client_index;
	pid_t pid[2];

	(void)state;
	if (geteuid())
		skip(); /* for another user's process */
	assert_int_equal(chmod(bed.dir, 0755) | chmod(bed.path, 0666), 0);
	for (int i = 0; i < 2; i++) { /* what waits to be accepted is 65 at most */
		pid[i] = crowd(50, &end[i]);
		while ((index = pvsched_server_accept(&bed.server)) >= 0 ||
		       bed.server.refused > (uint64_t)refused) {
			used += index >= 0;
			refused = bed.server.refused;
		}
	}
	assert_in_range(used, 60, 70);
	assert_int_equal(used + refused, 100);
	for (int i = 0; i < 2; i++)
		close(end[i]);
	for (int i = 0; i < 2; i++)
		waitpid(pid[i], NULL, 0);
	client = enter(&client_index, 0);
	leave(client, client_index);
}

static void server_user_has_but_a_share_of_the_threads(void **state)
{
	int fds[2] = { own_pidfd(), eventfd(0, EFD_CLOEXEC) }, index[3], client[3];
	const struct pvsched_msg add = add_self();
	uint16_t *vcpus;

	(void)state;
	for (int i = 0; i < 3; i++)
		client[i] = enter(&index[i], i < 2 ? 65534 : 65533);
	vcpus = &bed.reg.vm_vcpus[bed.server.client[index[0]].vm];
	*vcpus = PVSCHED_SLOTS / 4 * 3;
	assert_int_equal(ask(client[1], index[1], &add, fds, 2), -EUSERS);
	assert_int_equal(ask(client[2], index[2], &add, fds, 2), 0);
	leave(client[2], index[2]);
	--*vcpus;
	assert_int_equal(ask(client[1], index[1], &add, fds, 2), 0);
	leave(client[1], index[1]);
	*vcpus = 0;
	leave(client[0], index[0]);
	close(fds[0]);
	close(fds[1]);
}

static void server_full_of_vms_is_still_the_operators(void **state)
{
	const struct pvsched_msg list = { .type = PVSCHED_MSG_LIST, .index = PVSCHED_VMS },
				 hello = { .type = PVSCHED_MSG_HELLO,
					   .hello = { .version = PVSCHED_WIRE_VERSION,
						      .vcpus = 1 } };
	int client[PVSCHED_VMS], n = 0, index, other;

	(void)state;
	for (; n < PVSCHED_VMS; n++) {
		client[n] = join();
		index = pvsched_server_accept(&bed.server);
		assert_int_equal(index, n);
		bed.server.client[index].uid = 65534 - n % 4;
	}
	other = join();
	index = pvsched_server_accept(&bed.server);
	assert_in_range(index, PVSCHED_VMS, PVSCHED_PLACES - 1);
	assert_int_equal(ask(other, index, &list, NULL, 0), -ERANGE);
	assert_int_equal(ask(other, index, &hello, NULL, 0), -ENOSPC);
	leave(other, index);
	while (n--)
		leave(client[n], n);
}

/* Another process has had its number since it connected. */
static void server_client_whose_process_is_another_now_registers_nothing(void **state)
{
	int fds[2] = { own_pidfd(), eventfd(0, EFD_CLOEXEC) }, index, client = enter(&index, 0);
	const struct pvsched_msg add = add_self();

	(void)state;
	bed.server.client[index].start--;
	assert_int_equal(ask(client, index, &add, fds, 2), -ESRCH);
	bed.server.client[index].start++;
	assert_int_equal(ask(client, index, &add, fds, 2), 0);
	leave(client, index);
	close(fds[0]);
	close(fds[1]);
}

/* --- VMs that were found */

/* As found.c has it; the policy `latency` is that of all. Returns its place. */
static char foreign_said[256];
static unsigned int foreign_lines;

static void on_foreign(void *ctx, const char *line)
{
	assert_ptr_equal(ctx, &bed);
	snprintf(foreign_said, sizeof(foreign_said), "%s", line);
	foreign_lines++;
}

/* What the actuator notes of somebody else's thread, twice; and all at once, for another one. */
static void server_says_once_what_somebody_else_changed(void **state)
{
	static const struct {
		uint32_t foreign;
		const char *word;
	} all[] = { { PVSCHED_FOREIGN_AFFINITY, "affinity" },
		    { PVSCHED_FOREIGN_NICE, "nice" },
		    { PVSCHED_FOREIGN_GROUP, "cgroup" },
		    { PVSCHED_FOREIGN_POLICY, "policy" } };
	int fds[2] = { own_pidfd(), eventfd(0, EFD_CLOEXEC) }, index, client = enter(&index, 0);
	const struct pvsched_msg add = add_self();
	struct pvsched_shared *shared;

	(void)state;
	foreign_lines = 0;
	assert_int_equal(ask(client, index, &add, fds, 2), 0);
	shared = &bed.reg.act.shared[bed.server.client[index].slot[0]];
	for (unsigned int i = 0; i < ARRAY_SIZE(all); i++) {
		shared->foreign |= all[i].foreign;
		pvsched_server_foreign(&bed.server, on_foreign, &bed);
		assert_non_null(strstr(foreign_said, all[i].word));
		assert_int_equal(foreign_lines, i + 1);
		pvsched_server_foreign(&bed.server, on_foreign, &bed);
		assert_int_equal(foreign_lines, i + 1);
	}
	leave(client, index);
	client = enter(&index, 0);
	assert_int_equal(ask(client, index, &add, fds, 2), 0);
	shared = &bed.reg.act.shared[bed.server.client[index].slot[0]];
	assert_int_equal(shared->foreign, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(all); i++)
		shared->foreign |= all[i].foreign;
	pvsched_server_foreign(&bed.server, on_foreign, &bed);
	assert_int_equal(foreign_lines, 2 * ARRAY_SIZE(all));
	leave(client, index);
	close(fds[0]);
	close(fds[1]);
}

static int find_vm(const char *name)
{
	int place = pvsched_server_place(&bed.server, getuid());
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
	assert_int_equal(ask(fd, operator, & m, NULL, 0), 0);
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
	assert_int_equal(ask(fd, operator, & m, NULL, 0), 0);
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
	assert_int_equal(ask(fd, client, &m, NULL, 0), 0);
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
#define CASE(f) cmocka_unit_test_setup_teardown(f, open_server, close_server)
		CASE(server_takes_a_pidfd_and_an_eventfd_and_nothing_else),
		CASE(server_is_not_kept_by_a_descriptor_that_blocks),
		CASE(server_user_who_blocks_porters_waits_alone),
		CASE(server_silent_client_loses_its_place),
		CASE(server_user_has_but_a_share_of_the_places),
		CASE(server_user_has_but_a_share_of_the_threads),
		CASE(server_full_of_vms_is_still_the_operators),
		CASE(server_client_whose_process_is_another_now_registers_nothing),
		CASE(server_says_once_what_somebody_else_changed),
		cmocka_unit_test(server_policy_of_an_operator_stays_when_a_guest_speaks),
		cmocka_unit_test(server_client_takes_over_what_was_found),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
