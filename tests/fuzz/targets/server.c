// SPDX-License-Identifier: GPL-2.0-only
/*
 * The broker's socket: any messages, with any descriptors, from a few clients, into the real
 * server, registry and policy sets. Replaced is what lies below: programs and maps of BPF, by
 * memory that remembers what it was told, and of which any call may fail once. Threads, pidfds and
 * sockets are real. After each message the registry is what the clients were told it is.
 */
#include <helpers/fuzz.h>

#include <helpers/bpf_edge.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <broker/server.h>
#include <broker/wire.h>

#define CLIENTS 3
#define THREADS 4

static struct {
	struct pvsched_server server;
	struct pvsched_registry reg;
	struct pvsched_policies policies;
	pthread_mutex_t mutex;
	char path[64];
	int client[CLIENTS]; /* the other ends; -1 = none */
	pid_t tid[THREADS];
	int pidfd[THREADS];
	uint32_t seq;
} w;

/* --- what must hold */

static void check_slot(const struct pvsched_client *c, unsigned int index, unsigned int slot)
{
	const struct pvsched_slot *s = &w.reg.act.slots[slot];
	const struct pvsched_vcpu *v = &edge.vcpu[slot];
	const struct pvsched_policy_set *set = &w.policies.set[c->policy];

	FUZZ_CHECK(slot < PVSCHED_SLOTS && s->used && w.reg.page_fd[slot] >= 0);
	FUZZ_CHECK(s->tgid == c->pid && fcntl(s->pidfd, F_GETFD) >= 0 &&
		   fcntl(s->doorbell_fd, F_GETFD) >= 0);
	FUZZ_CHECK(edge.has_page[slot] && v->flags & PVSCHED_V_USED);
	FUZZ_CHECK(v->tid == (uint32_t)s->tid && v->vm == c->vm && v->index == index);
	FUZZ_CHECK(!(v->flags & PVSCHED_V_ENABLED) == !s->page);
	FUZZ_CHECK(v->policy == set->id);
	FUZZ_CHECK(edge.slot_of_tid[s->tid & (PVSCHED_TIDS - 1)] == slot + 1);
}

static void check(void)
{
	unsigned int vms = 0, used = 0, slots = 0, uses[PVSCHED_POLICIES_MAX] = { 0 };

	for (unsigned int i = 0; i < PVSCHED_PLACES; i++) {
		const struct pvsched_client *c = &w.server.client[i];

		if (c->fd < 0) {
			FUZZ_CHECK(!c->hello);
			continue;
		}
		if (c->hello) {
			vms++;
			uses[c->policy]++;
			FUZZ_CHECK(w.reg.vm_used[c->vm] && c->vcpus <= PVSCHED_VCPUS_MAX);
		}
		for (unsigned int v = 0; v < PVSCHED_VCPUS_MAX; v++) {
			if (c->slot[v] < 0)
				continue;
			FUZZ_CHECK(c->hello && v < c->vcpus);
			check_slot(c, v, c->slot[v]);
			slots++;
		}
	}
	for (unsigned int i = 0; i < PVSCHED_VMS; i++)
		used += w.reg.vm_used[i];
	FUZZ_CHECK(used == vms);
	used = 0;
	for (unsigned int i = 0; i < 4 * THREADS; i++)
		used += w.reg.act.slots[i].used;
	FUZZ_CHECK(used == slots);
	for (unsigned int i = 0; i < PVSCHED_POLICIES_MAX; i++) {
		const struct pvsched_policy_set *set = &w.policies.set[i];

		FUZZ_CHECK(set->programs ? set->vms == uses[i] : !uses[i]);
		FUZZ_CHECK(!set->programs || set->programs->attached == (uses[i] > 0));
	}
}

/* --- clients */

/* Until nobody is on an errand: what is passed here keeps no porter for long. */
static void serve_all(void)
{
	struct pollfd home = { .fd = w.server.porters.home_fd, .events = POLLIN };
	bool out;
	int came;

	do {
		for (unsigned int i = 0; i < CLIENTS; i++)
			pvsched_server_serve(&w.server, i);
		out = false;
		for (unsigned int i = 0; i < PVSCHED_PORTERS; i++)
			out |= w.server.porters.porter[i].out;
		do /* libFuzzer has an alarm every few seconds */
			came = out ? poll(&home, 1, 5000) : 1;
		while (came < 0 && errno == EINTR);
		FUZZ_CHECK(came == 1);
		pvsched_server_ported(&w.server);
	} while (out);
}

static void drop(unsigned int c)
{
	if (w.client[c] < 0)
		return;
	close(w.client[c]);
	w.client[c] = -1;
	serve_all();
}

static void join(unsigned int c, bool privileged)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const int small = 1;
	int index;

	if (w.client[c] >= 0)
		return;
	strcpy(addr.sun_path, w.path);
	w.client[c] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	FUZZ_CHECK(!connect(w.client[c], (struct sockaddr *)&addr, sizeof(addr)));
	index = pvsched_server_accept(&w.server);
	FUZZ_CHECK(index >= 0);
	/* a few replies fill it: whoever does not read them is soon known */
	setsockopt(w.server.client[index].fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	if (!privileged)
		w.server.client[index].uid = geteuid() + 1;
}

/* sent: what it answers, if anything; NULL: whatever comes. Returns false: there was none. */
static bool take_reply(unsigned int c, const struct pvsched_msg *sent)
{
	union {
		char buf[CMSG_SPACE(8 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct pvsched_msg m;
	struct iovec iov = { &m, sizeof(m) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg;
	int fd = -1;

	if (recvmsg(w.client[c], &msg, MSG_CMSG_CLOEXEC) <= 0)
		return false;
	FUZZ_CHECK(!(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)));
	FUZZ_CHECK(m.error <= 0 && m.error > -4096);
	FUZZ_CHECK(!sent || (m.seq == sent->seq && m.type == sent->type));
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg) {
		FUZZ_CHECK(cmsg->cmsg_len == CMSG_LEN(sizeof(fd)));
		memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	}
	FUZZ_CHECK((fd >= 0) == (m.type == PVSCHED_MSG_ADD_VCPU && !m.error));
	if (fd >= 0)
		close(fd);
	return true;
}

/* fds: one nibble each, what kind; 15 ends them. */
static void send_to(unsigned int c, const void *data, size_t size, uint32_t kinds)
{
	union {
		char buf[CMSG_SPACE(8 * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (void *)data, size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fds[8], made[8], n = 0, n_made = 0;

	for (; n < 8 && (kinds & 15) != 15; kinds >>= 4) {
		unsigned int kind = kinds & 15;

		if (kind < THREADS) {
			fds[n++] = w.pidfd[kind];
			continue;
		}
		if (kind < 12)
			made[n_made] = eventfd(0, EFD_CLOEXEC | (kind & 1 ? EFD_NONBLOCK : 0));
		else if (kind == 12)
			made[n_made] = syscall(SYS_pidfd_open, getppid() > 0 ? getppid() : 1, 0);
		else
			made[n_made] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		FUZZ_CHECK(made[n_made] >= 0);
		fds[n++] = made[n_made++];
	}
	if (n) {
		struct cmsghdr *cmsg;

		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, n * sizeof(int));
	}
	if (sendmsg(w.client[c], &msg, MSG_NOSIGNAL) < 0)
		FUZZ_CHECK(errno == EPIPE || errno == ECONNRESET);
	while (n_made)
		close(made[--n_made]);
}

static void request(unsigned int c, struct pvsched_msg *m, uint32_t kinds)
{
	if (w.client[c] < 0)
		join(c, true);
	m->seq = ++w.seq;
	send_to(c, m, sizeof(*m), kinds);
	serve_all();
	take_reply(c, m);
}

static void set_name(struct fuzz *f, char *name, size_t size)
{
	static const char *const known[] = { "latency", "off", "mine.bpf.o", "" };
	uint8_t kind = fuzz_u8(f);

	if (kind < 128)
		strcpy(name, known[kind % 4]);
	else
		memset(name, kind, size); /* without an end */
}

static void step(struct fuzz *f)
{
	uint8_t op = fuzz_u8(f), low = op >> 4;
	unsigned int c = low % CLIENTS;
	struct pvsched_msg m = { 0 };
	uint32_t kinds = 0xffffffff;

	switch (op & 15) {
	case 0:
		join(c, !(low & 8));
		return;
	case 1:
		drop(c);
		return;
	case 2:
	case 3:
		m.type = PVSCHED_MSG_HELLO;
		m.hello.version = low & 8 ? fuzz_u8(f) : PVSCHED_WIRE_VERSION;
		m.hello.vcpus = low & 8 ? fuzz_u16(f) : 4;
		set_name(f, m.hello.name, sizeof(m.hello.name));
		break;
	case 4: /* as the library does */
	case 5:
		m.type = PVSCHED_MSG_ADD_VCPU;
		m.index = fuzz_u8(f) % 5;
		m.add.tid = w.tid[m.index % THREADS];
		m.add.apic_id = m.index & low;
		kinds = 0xffffff50 | m.index % THREADS;
		break;
	case 6: /* another thread's, or none */
		m.type = PVSCHED_MSG_ADD_VCPU;
		m.index = fuzz_u8(f) % 5;
		m.add.tid = low & 8 ? (int32_t)fuzz_number(f) : getpid();
		kinds = fuzz_u32(f);
		break;
	case 7:
		m.type = PVSCHED_MSG_REMOVE_VCPU;
		m.index = fuzz_u8(f) % 5;
		break;
	case 8:
		m.type = PVSCHED_MSG_ENABLE;
		m.index = fuzz_u8(f) % 5;
		m.enable.features = fuzz_u8(f);
		break;
	case 9:
		m.type = PVSCHED_MSG_DISABLE;
		m.index = fuzz_u8(f) % 5;
		break;
	case 10:
		m.type = PVSCHED_MSG_STATS;
		m.index = fuzz_u8(f) % 5;
		break;
	case 11:
		m.type = low & 8 ? PVSCHED_MSG_BUDGET : PVSCHED_MSG_LIST;
		m.index = fuzz_number(f);
		if (!(low & 8))
			break;
		m.index = low & 4 ? m.index : low & 2 ? PVSCHED_ALL_VMS : 0;
		m.budget.vcpu = fuzz_u8(f) % 5 ? PVSCHED_ALL_VCPUS : fuzz_u8(f) % 5;
		m.budget.set = fuzz_u8(f);
		m.budget.inherit = fuzz_u8(f);
		for (unsigned int i = 0; i < PVSCHED_BUDGET_N; i++)
			m.budget.value[i] = fuzz_number(f);
		break;
	case 12:
		m.type = PVSCHED_MSG_POLICY;
		m.index = low & 4 ? fuzz_u8(f) % 8 : PVSCHED_ALL_VMS;
		set_name(f, m.policy.name, sizeof(m.policy.name));
		kinds = low & 8 ? 0xfffffffd : kinds;
		break;
	case 13: /* any bytes, any length */
		for (size_t i = 0; i < sizeof(m) / 8 && fuzz_left(f); i++)
			((uint64_t *)&m)[i] = fuzz_number(f);
		if (low < 4)
			break;
		if (w.client[c] < 0)
			return;
		send_to(c, &m, 16 * low, fuzz_u32(f));
		serve_all();
		while (take_reply(c, NULL))
			;
		return;
	case 14: /* the next call below the registry fails */
		edge.fail = true;
		return;
	case 15: /* a client that does not read what it is told */
		m.type = PVSCHED_MSG_LIST;
		for (unsigned int i = 0; i < 8 && w.client[c] >= 0; i++) {
			send_to(c, &m, sizeof(m), kinds);
			serve_all();
		}
		while (w.client[c] >= 0 && take_reply(c, NULL))
			;
		return;
	}
	request(c, &m, kinds);
}

/* Whatever was asked: what holds is within its range, and no ceiling is above the agents. */
static void check_budgets(void)
{
	char why[96];

	for (unsigned int i = 0; i < PVSCHED_BUDGET_N; i++)
		FUZZ_CHECK(!pvsched_budget_check(i, w.reg.host.value[i], why, sizeof(why)));
	for (uint32_t slot = 0; slot < 4 * THREADS; slot++)
		FUZZ_CHECK(!w.reg.act.slots[slot].used ||
			   pvsched_limits_now(&w.reg.act, slot)->ceiling <= w.server.ceiling);
}

/* --- the machine */

static int open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 128; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void say(void *ctx, const char *line)
{
	FUZZ_CHECK(!ctx && *line);
}

static void *sleep_for_ever(void *arg)
{
	__atomic_store_n((pid_t *)arg, gettid(), __ATOMIC_RELEASE);
	for (;;)
		pause();
	return NULL;
}

static int set_ceiling(void *ctx, unsigned int ceiling)
{
	(void)ctx;
	FUZZ_CHECK(ceiling >= 1 && ceiling <= 90);
	return edge_fails() ? -EPERM : 0;
}

static void make(void)
{
	char dir[] = "/tmp/pvsched-fuzz-XXXXXX";
	pthread_t thread;
	int fd;

	for (int i = 0; i < THREADS; i++) {
		FUZZ_CHECK(!pthread_create(&thread, NULL, sleep_for_ever, &w.tid[i]));
		while (!__atomic_load_n(&w.tid[i], __ATOMIC_ACQUIRE))
			sched_yield();
		w.pidfd[i] = syscall(SYS_pidfd_open, w.tid[i], O_EXCL);
		if (w.pidfd[i] < 0) /* before Linux 6.9: of the process */
			w.pidfd[i] = syscall(SYS_pidfd_open, getpid(), 0);
		FUZZ_CHECK(w.pidfd[i] >= 0);
	}
	for (int i = 0; i < CLIENTS; i++)
		w.client[i] = -1;
	edge_open();
	pthread_mutex_init(&w.mutex, NULL);
	w.server = (struct pvsched_server){ .reg = &w.reg,
					    .policies = &w.policies,
					    .mutex = &w.mutex,
					    .features = 7,
					    .set_ceiling = set_ceiling,
					    .ceiling = 1 };
	FUZZ_CHECK(mkdtemp(dir));
	snprintf(w.path, sizeof(w.path), "%s/sock", dir);
	FUZZ_CHECK(!pvsched_server_open(&w.server, w.path));
	/* reachable without its name, so that nothing is left behind, however this ends */
	fd = open(w.path, O_PATH | O_CLOEXEC);
	FUZZ_CHECK(fd >= 0 && !unlink(w.path) && !rmdir(dir));
	snprintf(w.path, sizeof(w.path), "/proc/self/fd/%d", fd);
}

static void check_nothing_is_left(int fds)
{
	for (unsigned int i = 0; i < 4 * THREADS; i++)
		FUZZ_CHECK(!edge.vcpu[i].flags && w.reg.page_fd[i] < 0);
	for (unsigned int i = 0; i < THREADS; i++)
		FUZZ_CHECK(!edge.slot_of_tid[w.tid[i] & (PVSCHED_TIDS - 1)]);
	for (unsigned int i = 0; i < EDGE_APICS; i++)
		FUZZ_CHECK(!edge.apic[i].key.tgid);
	FUZZ_CHECK(!edge.programs);
	FUZZ_CHECK(open_fds() == fds);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { data, data + size };
	int fds;

	if (!w.path[0])
		make();
	fds = open_fds();
	w.policies = (struct pvsched_policies){ .say = say };
	FUZZ_CHECK(!pvsched_policies_open(&w.policies, "latency", -1));
	if (!w.reg.act.slots)
		FUZZ_CHECK(!pvsched_registry_open(&w.reg, pvsched_policies_base(&w.policies)));
	w.reg.programs = pvsched_policies_base(&w.policies);
	while (fuzz_left(&f)) {
		step(&f);
		check();
		check_budgets();
		fuzz_steps++;
	}
	for (unsigned int c = 0; c < CLIENTS; c++)
		drop(c);
	check();
	pvsched_policies_close(&w.policies);
	edge.fail = false;
	check_nothing_is_left(fds);
	return 0;
}
