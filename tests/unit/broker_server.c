// SPDX-License-Identifier: GPL-2.0-only
/* The broker's socket when the system fails it, and when a client means it ill: over maps and programs that
 * are memory. */
#include <helpers/unit.h>

#include <helpers/bpf_edge.h>
#include <helpers/fail.h>
#include <helpers/passing.h>

#include <actuator/monotonic.h>
#include <broker/server.h>
#include <grp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define PATIENCE_NS                                                                                \
	10000000000ull /* for what takes microseconds, of the minute that a close takes */

#define STRANGER 65534 /* neither root nor the broker's user */

static struct bed {
	struct pvsched_server server;
	struct pvsched_registry reg;
	struct pvsched_policies policies;
	pthread_mutex_t mutex;
	char dir[32], path[64];
	struct pvsched_msg answer; /* the last one that came */
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
	struct pvsched_msg *m = &bed.answer;

	do {
		pvsched_server_serve(&bed.server, index);
		pvsched_server_ported(&bed.server);
		if (recv(client, m, sizeof(*m), 0) == sizeof(*m))
			return m->error;
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

/* Its client need not say so, and may let others wait for the number for as long as it likes. */
static void server_thread_that_ended_keeps_nobody_from_its_number(void **state)
{
	int index, other_index, client = enter(&index, 65534), other = enter(&other_index, 65533);
	const struct pvsched_msg add = add_self();
	int fds[2] = { own_pidfd(), eventfd(0, EFD_CLOEXEC) };

	(void)state;
	assert_int_equal(ask(client, index, &add, fds, 2), 0);
	assert_int_equal(ask(other, other_index, &add, fds, 2), -EEXIST); /* it lives */
	/* as one of that number would look that was there before */
	bed.reg.act.slots[bed.server.client[index].slot[0]].starttime = 1;
	assert_int_equal(ask(other, other_index, &add, fds, 2), 0);
	assert_int_equal(bed.server.client[index].slot[0], -1);
	close(fds[0]);
	close(fds[1]);
	leave(client, index);
	leave(other, other_index);
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

/* Nor by the end of one that is as it should be, and watched: when the thread leaves, is refused, or its VM goes. */
static void server_is_not_kept_by_an_eventfd_that_cannot_be_closed(void **state)
{
	struct pvsched_msg add = add_self(), remove = { .type = PVSCHED_MSG_REMOVE_VCPU };
	struct pvsched_msg list = { .type = PVSCHED_MSG_LIST };
	int index, other_index, client, other, fds[2];
	struct passing_held held[3];
	uint64_t from;

	(void)state;
	client = enter(&index, 65534);
	other = enter(&other_index, 0);
	list.index = other_index;
	fds[0] = own_pidfd();
	from = now_ns();
	for (int i = 0; i < 3; i++) {
		if (passing_hold(&held[i])) {
			print_message("needs userfaultfd\n");
			skip();
		}
		fds[1] = held[i].fd;
		assert_int_equal(ask(client, index, &add, fds, 2), 0);
		if (i == 1) { /* its index is taken */
			assert_int_equal(ask(client, index, &remove, NULL, 0), 0);
			assert_int_equal(ask(client, index, &add, fds, 2), 0);
			assert_int_equal(ask(client, index, &add, fds, 2), -EEXIST);
		}
		close(held[i].fd);
		if (i < 2)
			assert_int_equal(ask(client, index, &remove, NULL, 0), 0);
		else
			pvsched_server_drop(&bed.server, index);
		assert_int_equal(ask(other, other_index, &list, NULL, 0), 0);
	}
	assert_true(now_ns() - from < PATIENCE_NS);
	for (int i = 0; i < 3; i++)
		passing_let_go(&held[i]);
	await_porters();
	assert_int_equal(bed.server.porters.graves, 0);
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

/* --- who may ask for what is the operator's */

static int set_ceiling(void *ctx, unsigned int ceiling)
{
	assert_ptr_equal(ctx, &bed);
	assert_in_range(ceiling, 1, 90);
	return 0;
}

/* What operators' requests change. */
struct standing {
	struct pvsched_budget host, vm[PVSCHED_VMS], vcpu[PVSCHED_SLOTS];
	struct pvsched_policies policies;
	struct pvsched_conf conf;
	bool overruled, chosen;
	int policy;
	unsigned int ceiling;
};

static void look(struct standing *s, int vm)
{
	memset(s, 0, sizeof(*s)); /* it is compared with its gaps */
	s->host = bed.reg.host;
	memcpy(s->vm, bed.reg.vm_budget, sizeof(s->vm));
	memcpy(s->vcpu, bed.reg.budget, sizeof(s->vcpu));
	s->policies = bed.policies;
	s->conf = bed.server.conf;
	s->overruled = bed.server.overruled;
	s->chosen = bed.server.client[vm].chosen;
	s->policy = bed.server.client[vm].policy;
	s->ceiling = bed.server.ceiling;
}

/* A VM of the same user is there, so it is not whose VM it is that decides. */
static struct {
	int client, vm; /* of a VM, which asks itself, and its place */
	int fd, index; /* one without */
	int policy_fd;
	struct standing before, after;
} asked;

static int open_operators(void **state)
{
	if (open_server(state))
		return -1;
	bed.server.ctx = &bed;
	bed.server.set_ceiling = set_ceiling;
	bed.server.ceiling = bed.reg.host.value[PVSCHED_BUDGET_CEILING];
	asked.client = enter(&asked.vm, STRANGER);
	asked.fd = join();
	asked.index = pvsched_server_accept(&bed.server);
	asked.policy_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return asked.index < 0 || asked.policy_fd < 0;
}

static int close_operators(void **state)
{
	close(asked.policy_fd);
	leave(asked.client, asked.vm);
	leave(asked.fd, asked.index);
	close_server(state);
	pvsched_budget_init(&bed.reg.host);
	bed.server.set_ceiling = NULL;
	bed.server.ctx = NULL;
	bed.server.overruled = false;
	bed.policies.standard = 0;
	return 0;
}

/* By who has a VM and by who has none, with a file where there is one. */
static void expect_refusal(struct pvsched_msg *m, int file, int error)
{
	look(&asked.before, asked.vm);
	bed.server.client[asked.index].uid = STRANGER;
	assert_int_equal(ask(asked.fd, asked.index, m, &file, file >= 0), error);
	m->error = error;
	assert_memory_equal(&bed.answer, m, sizeof(*m)); /* nor is anything told */
	assert_int_equal(ask(asked.client, asked.vm, m, &file, file >= 0), error);
	assert_memory_equal(&bed.answer, m, sizeof(*m));
	look(&asked.after, asked.vm);
	assert_memory_equal(&asked.after, &asked.before, sizeof(asked.before));
	assert_int_equal(bed.server.pending.target, -1);
}

/* The same of an operator: it was refused for who asked, and not for what was. */
static void expect_leave(const struct pvsched_msg *m)
{
	bed.server.client[asked.index].uid = geteuid();
	assert_int_equal(ask(asked.fd, asked.index, m, NULL, 0), 0);
	look(&asked.after, asked.vm);
}

static void server_list_by_no_operator_is_refused(void **state)
{
	struct pvsched_msg m = { .type = PVSCHED_MSG_LIST, .index = asked.vm };

	(void)state;
	expect_refusal(&m, -1, -EPERM);
	expect_leave(&m);
	assert_string_equal(bed.answer.list.name, "unit");
}

static void server_budget_by_no_operator_is_neither_told_nor_changed(void **state)
{
	const uint32_t all = (1u << PVSCHED_BUDGET_N) - 1, whose[] = { PVSCHED_ALL_VMS, asked.vm };
	struct pvsched_msg m;

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(whose); i++) {
		m = (struct pvsched_msg){ .type = PVSCHED_MSG_BUDGET,
					  .index = whose[i],
					  .budget.vcpu = PVSCHED_ALL_VCPUS };
		expect_refusal(&m, -1, -EPERM);
		expect_leave(&m);
		assert_true(bed.answer.budget.value[PVSCHED_BUDGET_BOOST] > 0);
		assert_memory_equal(&asked.after, &asked.before, sizeof(asked.before));

		m.budget.set = all;
		for (unsigned int v = 0; v < PVSCHED_BUDGET_N; v++)
			m.budget.value[v] = pvsched_budget_rows[v].max;
		expect_refusal(&m, -1, -EPERM);
		expect_leave(&m);
		assert_memory_not_equal(&asked.after, &asked.before, sizeof(asked.before));

		m.budget.set = 0;
		m.budget.inherit = all;
		expect_refusal(&m, -1, -EPERM);
		expect_leave(&m);
		assert_memory_not_equal(&asked.after, &asked.before, sizeof(asked.before));
	}
}

static void server_policy_by_no_operator_is_not_set(void **state)
{
	const uint32_t whose[] = { asked.vm, PVSCHED_ALL_VMS };
	struct pvsched_msg m;

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(whose); i++) {
		m = (struct pvsched_msg){ .type = PVSCHED_MSG_POLICY, .index = whose[i] };
		strcpy(m.policy.name, "latency");
		expect_refusal(&m, -1, -EPERM);
		strcpy(m.policy.name, "off");
		expect_refusal(&m, -1, -EPERM);
		expect_leave(&m);
		assert_string_equal(bed.policies.set[asked.after.policy].name, "off");
		assert_int_equal(asked.after.overruled, whose[i] == PVSCHED_ALL_VMS);
	}
}

/* One that would have to be loaded first: by its path, and by what is passed. */
static void server_policy_by_no_operator_is_not_loaded(void **state)
{
	struct pvsched_msg m = { .type = PVSCHED_MSG_POLICY, .index = asked.vm };
	unsigned int loaded = edge.programs;
	uint64_t end;

	(void)state;
	strcpy(m.policy.name, "/dev/null/own.bpf.o");
	expect_refusal(&m, -1, -EPERM);
	expect_refusal(&m, asked.policy_fd, -EBADF); /* before anybody looks at it */
	assert_int_equal(edge.programs, loaded);

	bed.server.client[asked.index].uid = geteuid();
	send_with(asked.fd, &m, &asked.policy_fd, 1);
	end = now_ns() + PATIENCE_NS;
	for (; !bed.policies.loading.running && now_ns() < end; sched_yield()) {
		pvsched_server_serve(&bed.server, asked.index);
		pvsched_server_ported(&bed.server);
	}
	assert_true(bed.policies.loading.running);
	pvsched_server_loaded(&bed.server);
	assert_int_equal(served(asked.fd, asked.index), 0);
	assert_int_equal(edge.programs, loaded + 1);
}

/* A broker without root serves root and its own user alike; to one with it they are the same. */
static void server_operator_is_root_or_the_brokers_own_user(void **state)
{
	const struct pvsched_msg list = { .type = PVSCHED_MSG_LIST, .index = asked.vm };
	const uid_t own = geteuid(), who[] = { 0, own, STRANGER, STRANGER - 1 };
	uid_t *uid = &bed.server.client[asked.index].uid, broker[] = { own, STRANGER };
	int error[ARRAY_SIZE(broker)][ARRAY_SIZE(who)];

	(void)state;
	for (unsigned int b = 0; b < ARRAY_SIZE(broker); b++) {
		if (b && (own || seteuid(broker[b])))
			skip(); /* to be another user */
		for (unsigned int i = 0; i < ARRAY_SIZE(who); i++) {
			*uid = who[i];
			error[b][i] = ask(asked.fd, asked.index, &list, NULL, 0);
		}
		assert_int_equal(seteuid(own), 0); /* whatever the answers are */
		for (unsigned int i = 0; i < ARRAY_SIZE(who); i++)
			assert_int_equal(error[b][i], who[i] && who[i] != broker[b] ? -EPERM : 0);
	}
}

/* Who connected, as the kernel has it; not who sends. */
static void server_peer_is_the_user_who_connected(void **state)
{
	const struct pvsched_msg list = { .type = PVSCHED_MSG_LIST, .index = asked.vm };
	int fd, index;

	(void)state;
	if (geteuid())
		skip(); /* to be another user */
	assert_int_equal(chmod(bed.dir, 0755) | chmod(bed.path, 0666), 0);
	assert_int_equal(seteuid(STRANGER), 0);
	fd = join();
	assert_int_equal(seteuid(0), 0);
	index = pvsched_server_accept(&bed.server);
	assert_true(index >= 0);
	assert_int_equal(bed.server.client[index].uid, STRANGER);
	assert_int_equal(ask(fd, index, &list, NULL, 0), -EPERM);
	leave(fd, index);
}

/* Whatever the umask is. */
static void server_socket_is_of_mode_0660_whatever_the_umask(void **state)
{
	const mode_t masks[] = { 0, 077 };
	struct stat st;
	mode_t old;

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(masks); i++) {
		old = umask(masks[i]);
		assert_int_equal(open_server(state), 0);
		umask(old);
		assert_int_equal(stat(bed.path, &st), 0);
		assert_int_equal(st.st_mode, S_IFSOCK | 0660);
		assert_int_equal(st.st_uid, geteuid());
		assert_int_equal(st.st_gid, getegid());
		close_server(state);
	}
}

/* Another user's process, in that group alone, connects: 0 or its errno. */
static int connect_from(gid_t gid)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int status, fd;
	pid_t pid;

	strcpy(addr.sun_path, bed.path);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		if (setgroups(0, NULL) || setresgid(gid, gid, gid) ||
		    setresuid(STRANGER, STRANGER, STRANGER))
			_exit(255);
		_exit(connect(fd, (struct sockaddr *)&addr, sizeof(addr)) ? errno : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void server_socket_lets_its_group_in_and_others_not(void **state)
{
	const gid_t group = 65500;

	(void)state;
	if (geteuid())
		skip(); /* to be another user */
	assert_int_equal(chmod(bed.dir, 0755), 0);
	assert_int_equal(chown(bed.path, -1, group), 0); /* as the operator does */
	assert_int_equal(connect_from(group), 0);
	assert_int_equal(connect_from(group + 1), EACCES);
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

/* By a thread that is registered anew each time, and changed again. */
static void server_says_no_more_of_a_user_than_a_log_can_take(void **state)
{
	int fds[2] = { own_pidfd(), eventfd(0, EFD_CLOEXEC) }, index, client;
	const struct pvsched_msg add = add_self();
	uid_t user = 65533; /* of whom nothing was said yet */

	(void)state;
	foreign_lines = 0;
	for (int i = 0; i < 100; i++, user = i == 99 ? 65532 : user) {
		client = enter(&index, user);
		assert_int_equal(ask(client, index, &add, fds, 2), 0);
		bed.reg.act.shared[bed.server.client[index].slot[0]].foreign = PVSCHED_FOREIGN_NICE;
		pvsched_server_foreign(&bed.server, on_foreign, &bed);
		leave(client, index);
		if (i == 98) {
			assert_int_equal(foreign_lines, 11);
			assert_non_null(strstr(foreign_said, "user 65533"));
		}
	}
	assert_int_equal(foreign_lines, 12); /* the other one's */
	assert_non_null(strstr(foreign_said, "nice"));
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
		CASE(server_thread_that_ended_keeps_nobody_from_its_number),
		CASE(server_is_not_kept_by_a_descriptor_that_blocks),
		CASE(server_is_not_kept_by_an_eventfd_that_cannot_be_closed),
		CASE(server_user_who_blocks_porters_waits_alone),
		CASE(server_silent_client_loses_its_place),
		CASE(server_user_has_but_a_share_of_the_places),
		CASE(server_user_has_but_a_share_of_the_threads),
		CASE(server_full_of_vms_is_still_the_operators),
		CASE(server_client_whose_process_is_another_now_registers_nothing),
		CASE(server_says_once_what_somebody_else_changed),
		CASE(server_says_no_more_of_a_user_than_a_log_can_take),
#define ASKED(f) cmocka_unit_test_setup_teardown(f, open_operators, close_operators)
		ASKED(server_list_by_no_operator_is_refused),
		ASKED(server_budget_by_no_operator_is_neither_told_nor_changed),
		ASKED(server_policy_by_no_operator_is_not_set),
		ASKED(server_policy_by_no_operator_is_not_loaded),
		ASKED(server_operator_is_root_or_the_brokers_own_user),
		ASKED(server_peer_is_the_user_who_connected),
		cmocka_unit_test(server_socket_is_of_mode_0660_whatever_the_umask),
		CASE(server_socket_lets_its_group_in_and_others_not),
		cmocka_unit_test(server_policy_of_an_operator_stays_when_a_guest_speaks),
		cmocka_unit_test(server_client_takes_over_what_was_found),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
