// SPDX-License-Identifier: GPL-2.0-only
/* Ports, their devices, and the host's words in guests' memory. See ports.h. */
#include "ports.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../privilege/caps.h"
#include "transport/stream.h"

#define PERIOD_MS  10 /* how old the host's words may be in the guest's memory */
#define LEASE_STEP 1000 /* by which a lease grows at most between two looks */
#define WORDS	   16 /* of lines 3 and 4 */
#define ALL_WORDS  ((1u << WORDS) - 1)
#define RETRIES	   8 /* of a look at slots that changed meanwhile */
/* REGISTER and ENABLE wait for grace periods: each vCPU twice at once, then 50 a second */
#define REGISTER_PER_S 50
#define REGISTER_BURST 512
/* Frames wake the broker: more than this of one port wait, in its VMM, for their turn. A handshake of 256
 * vCPUs is 40 KiB. */
#define BYTES_PER_MS	128
#define BYTES_BURST	131072
#define MEM_READONLY	2 /* KVM_MEM_READONLY */
#define MEM_GUEST_MEMFD 4 /* KVM_MEM_GUEST_MEMFD */

/* A page that is enabled. */
struct area {
	uint64_t hva; /* 0 = not attached */
	struct pvsched_page
		*copy; /* own mapping of what programs and agents write; NULL = not enabled */
	uint64_t lease, lease_ns;
	bool lapsed;
	__u64 told[WORDS];
};

struct pvsched_port {
	struct pvsched_ports *all;
	int fd;
	pid_t pid;
	uid_t uid;
	uint64_t start; /* of the process, since pids are reused */
	int mem_fd; /* its memory, which stays that one whatever it executes, and when it is gone */
	int place; /* of its VM among the server's clients; -1 = nothing was said yet */
	uint64_t kvm;
	bool deaf; /* an answer could not be sent */
	unsigned int enabled;
	uint64_t register_paid_at; /* the rate's word of REGISTER */
	uint64_t heard_ns; /* up to when what it said has been paid for; see BYTES_PER_MS */
	uint64_t mute_ns; /* it is not listened to until then; 0 = it is */
	struct pvsched_device dev;
	struct pvsched_stream stream;
	struct area area[PVSCHED_VCPUS_MAX];
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static bool peek(const struct pvsched_port *p, uint64_t hva, void *to, size_t size)
{
	return pread(p->mem_fd, to, size, hva) == (ssize_t)size;
}

/* Words of lines 3 and 4, each by itself, so that the guest reads none by halves. */
static bool poke(const struct pvsched_port *p, uint64_t hva, const __u64 *words, uint32_t which)
{
	hva += offsetof(struct pvsched_page, status);
	for (unsigned int i = 0; i < WORDS; i++)
		if (which >> i & 1 && pwrite(p->mem_fd, &words[i], 8, hva + i * 8) != 8)
			return false;
	return true;
}

static struct pvsched_client *client_of(const struct pvsched_port *p)
{
	return &p->all->server->client[p->place];
}

/* False: its VM has gone, and another may have its place. */
static bool has_vm(const struct pvsched_port *p)
{
	return client_of(p)->kvm == p->kvm && client_of(p)->pid == p->pid;
}

/* The guest numbers its vCPUs by their APIC ids, as QEMU gave them to KVM. */
static int slot_of(const struct pvsched_port *p, unsigned int vcpu)
{
	const struct pvsched_client *c = client_of(p);
	const struct pvsched_registry *r = p->all->server->reg;

	for (int i = 0; i < PVSCHED_VCPUS_MAX && has_vm(p); i++)
		if (c->slot[i] >= 0 && r->act.slots[c->slot[i]].apic_id == vcpu)
			return c->slot[i];
	return -ENOENT;
}

static uint32_t find_frame(struct pvsched_port *p, uint64_t gfn, uint64_t *ret_hva)
{
	struct pvsched_frame_at at;
	int err = -EAGAIN;

	for (int i = 0; i < RETRIES && err == -EAGAIN; i++)
		err = pvsched_finder_frame(p->all->found->finder, p->kvm, gfn, &at);
	if (err)
		return err == -ENOENT ? PVSCHED_R_BAD_GFN : PVSCHED_R_HOST;
	if (at.flags & MEM_GUEST_MEMFD)
		return PVSCHED_R_PRIVATE;
	if (at.flags & MEM_READONLY)
		return PVSCHED_R_READ_ONLY;
	*ret_hva = at.hva;
	return PVSCHED_R_OK;
}

static uint32_t op_read_header(void *ctx, uint64_t gfn, struct pvsched_page *ret_line0)
{
	struct pvsched_port *p = ctx;
	uint64_t hva;
	uint32_t result = find_frame(p, gfn, &hva);

	if (result == PVSCHED_R_OK && !peek(p, hva, ret_line0, PVSCHED_LINE))
		result = PVSCHED_R_BAD_GFN;
	return result;
}

static uint32_t op_attach(void *ctx, unsigned int vcpu, uint64_t gfn, uint64_t nonce)
{
	const __u64 words[WORDS] = { PVSCHED_PAGE_ATTACHED, nonce };
	struct pvsched_port *p = ctx;
	struct area *a = &p->area[vcpu];
	uint64_t hva;
	uint32_t result;

	if (slot_of(p, vcpu) < 0)
		return PVSCHED_R_BAD_VCPU;
	result = find_frame(p, gfn, &hva);
	if (result != PVSCHED_R_OK)
		return result;
	for (int i = 0; i < PVSCHED_VCPUS_MAX; i++)
		if (p->area[i].hva == hva)
			return PVSCHED_R_IN_USE;
	if (!poke(p, hva, words, ALL_WORDS))
		return PVSCHED_R_BAD_GFN;
	memset(a, 0, sizeof(*a));
	a->hva = hva;
	memcpy(a->told, words, sizeof(words));
	return PVSCHED_R_OK;
}

/* With pages a VM is served as clients are, without as those that are found. */
static void choose_policy(struct pvsched_port *p)
{
	struct pvsched_server *s = p->all->server;
	struct pvsched_client *c = client_of(p);
	int policy;

	if (!has_vm(p))
		return;
	c->speaks = p->enabled > 0;
	policy = pvsched_server_choose(s, c);
	if (policy >= 0)
		pvsched_server_move(s, c, policy);
}

static uint32_t op_enable(void *ctx, unsigned int vcpu, uint64_t features)
{
	struct pvsched_port *p = ctx;
	struct pvsched_registry *r = p->all->server->reg;
	struct area *a = &p->area[vcpu];
	int slot = slot_of(p, vcpu);
	void *copy;

	if (slot < 0)
		return PVSCHED_R_BAD_VCPU;
	if (!peek(p, a->hva + offsetof(struct pvsched_page, lease), &a->lease, 8))
		return PVSCHED_R_BAD_GFN;
	if (pvsched_registry_enable_copy(r, slot, a->hva, features))
		return PVSCHED_R_HOST;
	copy = mmap(NULL, PVSCHED_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, r->page_fd[slot],
		    0);
	if (copy == MAP_FAILED) {
		pvsched_registry_disable(r, slot);
		return PVSCHED_R_HOST;
	}
	if (!p->enabled++) /* which may take a while: the lease begins afterwards */
		choose_policy(p);
	pthread_mutex_lock(&p->all->lock);
	a->lease_ns = now_ns();
	a->lapsed = false;
	a->copy = copy;
	a->copy->nonce = a->told[1];
	a->copy->status =
		PVSCHED_PAGE_ENABLED; /* told as all else, but now: the guest looks at it */
	a->told[0] = PVSCHED_PAGE_ENABLED;
	poke(p, a->hva, a->told, 1);
	pthread_mutex_unlock(&p->all->lock);
	eventfd_write(p->all->wake_fd, 1);
	return PVSCHED_R_OK;
}

/* Under the lock. False: the lease of this page is over, or its memory gone. */
static bool is_leased(const struct pvsched_port *p, struct area *a, uint64_t now)
{
	uint64_t lease;

	if (!peek(p, a->hva + offsetof(struct pvsched_page, lease), &lease, 8))
		return false;
	if (lease == a->lease)
		return now - a->lease_ns <= PVSCHED_LEASE_MS * 1000000ull;
	if (lease - a->lease > LEASE_STEP) /* it is no lease any more */
		return false;
	a->lease = lease;
	a->lease_ns = now;
	return true;
}

/* A page whose lease is over may be anybody's memory in the guest: it stays as it is. */
static void op_detach(void *ctx, unsigned int vcpu)
{
	static const __u64 dead[WORDS] = { PVSCHED_PAGE_DEAD }, off[WORDS];
	struct pvsched_port *p = ctx;
	struct area *a = &p->area[vcpu];
	uint64_t hva = a->hva;
	int slot = slot_of(p, vcpu);
	struct pvsched_page *copy;
	bool lapsed;

	pthread_mutex_lock(&p->all->lock);
	copy = a->copy;
	lapsed = a->lapsed || (copy && !is_leased(p, a, now_ns()));
	a->copy = NULL;
	a->hva = 0;
	pthread_mutex_unlock(&p->all->lock);
	if (!lapsed)
		poke(p, hva, dead, 1);
	if (copy) {
		munmap(copy, PVSCHED_PAGE_SIZE);
		if (slot >= 0)
			pvsched_registry_disable(p->all->server->reg, slot);
		if (!--p->enabled)
			choose_policy(p);
	}
	if (!lapsed)
		poke(p, hva, off, ALL_WORDS);
}

static uint64_t op_nonce(void *ctx)
{
	uint64_t nonce;

	(void)ctx;
	return getrandom(&nonce, sizeof(nonce), 0) == sizeof(nonce) ? nonce : 0;
}

static uint32_t op_may_register(void *ctx)
{
	struct pvsched_port *p = ctx;
	struct pvsched_rate_conf rate = pvsched_rate_conf(REGISTER_PER_S, REGISTER_BURST);
	uint64_t now = now_ns();

	if (pvsched_rate_wait(p->register_paid_at, now, &rate))
		return PVSCHED_R_RATE;
	p->register_paid_at = pvsched_rate_charge(p->register_paid_at, now, &rate);
	return PVSCHED_R_OK;
}

static void op_doorbell(void *ctx, unsigned int vcpu)
{
	struct pvsched_port *p = ctx;
	int slot = slot_of(p, vcpu);

	if (slot >= 0 && p->area[vcpu].copy)
		eventfd_write(p->all->server->reg->act.slots[slot].doorbell_fd, 1);
}

static const struct pvsched_device_ops ops = {
	.read_header = op_read_header,
	.attach = op_attach,
	.enable = op_enable,
	.detach = op_detach,
	.nonce = op_nonce,
	.may_register = op_may_register,
	.doorbell = op_doorbell,
};

/* True: nothing is written from here on. */
static bool pass_on(const struct pvsched_port *p, struct area *a, uint64_t now)
{
	__u64 words[WORDS], *from = &a->copy->status;
	uint32_t which = 0;

	if (!is_leased(p, a, now))
		return true;
	for (unsigned int i = 0; i < WORDS; i++) {
		words[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
		if (words[i] != a->told[i])
			which |= 1u << i;
	}
	if (!which)
		return false;
	memcpy(a->told, words, sizeof(words));
	return !poke(p, a->hva, words, which);
}

static void *write_areas(void *arg)
{
	struct pvsched_ports *all = arg;
	struct pollfd fd = { .fd = all->wake_fd, .events = POLLIN };
	bool any = false, lapsed;
	eventfd_t woken;

	pthread_setname_np(pthread_self(), "pvsched-area");
	pvsched_caps_keep(0, 0);
	while (!__atomic_load_n(&all->stop, __ATOMIC_ACQUIRE)) {
		if (poll(&fd, 1, any ? PERIOD_MS : -1) > 0)
			eventfd_read(all->wake_fd, &woken);
		any = lapsed = false;
		pthread_mutex_lock(&all->lock);
		for (int i = 0; i < PVSCHED_VMS; i++) {
			struct pvsched_port *p = all->port[i];

			for (int v = 0; p && p->enabled && v < PVSCHED_VCPUS_MAX; v++) {
				struct area *a = &p->area[v];

				if (!a->copy || a->lapsed)
					continue;
				any = true;
				a->lapsed = pass_on(p, a, now_ns());
				lapsed |= a->lapsed;
			}
		}
		pthread_mutex_unlock(&all->lock);
		if (lapsed)
			eventfd_write(all->lapsed_fd, 1);
	}
	return NULL;
}

static int listen_at(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, err;

	strcpy(addr.sun_path, path); /* it fits: struct pvsched_ports */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	unlink(path); /* a leftover: the broker holds the host's lock */
	/* anybody may: who is no VM's process is refused */
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || chmod(path, 0666) ||
	    listen(fd, 64)) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

int pvsched_ports_open(struct pvsched_ports *p, const char *broker_socket)
{
	char copy[PATH_MAX];
	int err, len;

	pthread_mutex_init(&p->lock, NULL);
	p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->lapsed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->wake_fd < 0 || p->lapsed_fd < 0)
		return -errno;
	snprintf(copy, sizeof(copy), "%s", broker_socket);
	len = snprintf(p->path, sizeof(p->path), "%s/port.sock", dirname(copy));
	p->listen_fd = len < (int)sizeof(p->path) ? listen_at(p->path) : -ENAMETOOLONG;
	if (p->listen_fd < 0)
		return p->listen_fd;
	err = -pthread_create(&p->thread, NULL, write_areas, p);
	p->running = !err;
	return err;
}

static void drop(struct pvsched_ports *all, int index)
{
	struct pvsched_port *p = all->port[index];

	if (p->place >= 0) {
		pthread_mutex_lock(all->server->mutex);
		pvsched_device_reset(&p->dev);
		pthread_mutex_unlock(all->server->mutex);
	}
	pthread_mutex_lock(&all->lock);
	all->port[index] = NULL;
	pthread_mutex_unlock(&all->lock);
	close(p->fd);
	if (p->mem_fd >= 0)
		close(p->mem_fd);
	free(p);
}

void pvsched_ports_close(struct pvsched_ports *p)
{
	for (int i = 0; i < PVSCHED_VMS; i++)
		if (p->port[i])
			drop(p, i);
	if (p->running) {
		__atomic_store_n(&p->stop, true, __ATOMIC_RELEASE);
		eventfd_write(p->wake_fd, 1);
		pthread_join(p->thread, NULL);
		p->running = false;
	}
	if (p->listen_fd >= 0) {
		unlink(p->path);
		close(p->listen_fd);
	}
	if (p->wake_fd >= 0)
		close(p->wake_fd);
	if (p->lapsed_fd >= 0)
		close(p->lapsed_fd);
	p->listen_fd = p->wake_fd = p->lapsed_fd = -1;
}

void pvsched_ports_accept(struct pvsched_ports *all)
{
	int fd = accept4(all->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), i;
	struct epoll_event ev = { .events = EPOLLIN };
	struct pvsched_port *p = NULL;
	struct ucred cred = { 0 };
	socklen_t len = sizeof(cred);
	uint64_t start;

	if (fd < 0)
		return;
	for (i = 0; i < PVSCHED_VMS && all->port[i]; i++)
		;
	if (i < PVSCHED_VMS && !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) &&
	    cred.pid > 0 && !pvsched_starttime(cred.pid, &start))
		p = calloc(1, sizeof(*p));
	if (!p) {
		all->refused++;
		close(fd);
		return;
	}
	p->all = all;
	p->fd = fd;
	p->pid = cred.pid;
	p->uid = cred.uid;
	p->start = start;
	p->place = p->mem_fd = -1;
	pvsched_device_init(&p->dev, &ops, p, PVSCHED_VCPUS_MAX, all->server->features);
	pvsched_stream_init(&p->stream, &p->dev);
	pthread_mutex_lock(&all->lock);
	all->port[i] = p;
	pthread_mutex_unlock(&all->lock);
	ev.data.u32 = all->tag + i;
	if (epoll_ctl(all->ep, EPOLL_CTL_ADD, fd, &ev))
		drop(all, i);
}

/*
 * The VM of the process at the other end: one that was found, and the only one of it. The process that
 * connected, not another that has its number since.
 */
static int place_of(const struct pvsched_port *p)
{
	const struct pvsched_ports *all = p->all;
	int place = -ENOENT;
	uint64_t start;

	if (pvsched_starttime(p->pid, &start) || start != p->start)
		return -ESRCH;
	for (int i = 0; i < PVSCHED_VMS; i++) {
		const struct pvsched_client *c = &all->server->client[i];

		if (!c->kvm || c->pid != p->pid || c->uid != p->uid)
			continue;
		if (place >= 0)
			return -EEXIST;
		place = i;
	}
	for (int i = 0; i < PVSCHED_VMS && place >= 0; i++)
		if (all->port[i] && all->port[i]->place == place)
			return -EBUSY;
	return place;
}

/*
 * The memory of the process is that of its VM: what is opened first was already there when the VM was
 * found, and is still what the process has when it is found again. Else it would be a way to write into
 * what it executes.
 */
static bool open_memory(struct pvsched_port *p)
{
	struct pvsched_found *rows = NULL;
	char path[32];
	bool is = false;
	int n;

	snprintf(path, sizeof(path), "/proc/%d/mem", p->pid);
	p->mem_fd = open(path, O_RDWR | O_CLOEXEC);
	if (p->mem_fd < 0)
		return false;
	n = pvsched_finder_scan(p->all->found->finder, p->pid, &rows);
	for (int i = 0; i < n; i++)
		is |= rows[i].kvm == p->kvm;
	free(rows);
	return is;
}

static void admit(struct pvsched_port *p)
{
	p->place = place_of(p);
	if (p->place < 0)
		return;
	p->kvm = client_of(p)->kvm;
	if (!open_memory(p))
		p->place = -1;
}

static void send_answer(void *ctx, const struct pvsched_frame *answer)
{
	struct pvsched_port *p = ctx;

	/* more than a socket holds are on their way: nobody reads them */
	if (send(p->fd, answer, sizeof(*answer), MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof(*answer))
		p->deaf = true;
}

static void listen_to(struct pvsched_ports *all, int index, bool listen)
{
	struct epoll_event ev = { .events = listen ? EPOLLIN : 0, .data.u32 = all->tag + index };

	epoll_ctl(all->ep, EPOLL_CTL_MOD, all->port[index]->fd, &ev);
}

/* What was said is paid for by time; who is in debt is not listened to. */
static void pay(struct pvsched_ports *all, int index, size_t bytes)
{
	const uint64_t burst_ns = BYTES_BURST * 1000000ull / BYTES_PER_MS;
	struct pvsched_port *p = all->port[index];
	uint64_t now = now_ns();

	if (p->heard_ns < now - burst_ns)
		p->heard_ns = now - burst_ns;
	p->heard_ns += bytes * 1000000 / BYTES_PER_MS;
	if (p->heard_ns <= now)
		return;
	p->mute_ns = p->heard_ns;
	listen_to(all, index, false);
}

int pvsched_ports_timeout(const struct pvsched_ports *all)
{
	uint64_t now = now_ns(), at = 0;

	for (int i = 0; i < PVSCHED_VMS; i++)
		if (all->port[i] && all->port[i]->mute_ns && (!at || all->port[i]->mute_ns < at))
			at = all->port[i]->mute_ns;
	if (!at)
		return -1;
	return at <= now ? 0 : (at - now) / 1000000 + 1;
}

void pvsched_ports_run(struct pvsched_ports *all)
{
	uint64_t now = now_ns();

	for (int i = 0; i < PVSCHED_VMS; i++) {
		struct pvsched_port *p = all->port[i];

		if (!p || !p->mute_ns || p->mute_ns > now)
			continue;
		p->mute_ns = 0;
		listen_to(all, i, true);
	}
}

void pvsched_ports_serve(struct pvsched_ports *all, int index)
{
	struct pvsched_port *p = all->port[index];
	char data[4096];
	ssize_t n = p ? recv(p->fd, data, sizeof(data), MSG_DONTWAIT) : 0;

	if (!p || (n < 0 && errno == EAGAIN))
		return;
	if (n > 0 && p->place < 0) {
		admit(p);
		all->refused += p->place < 0;
	}
	if (n > 0 && p->place >= 0) {
		pthread_mutex_lock(all->server->mutex);
		pvsched_stream_take(&p->stream, data, n, send_answer, p);
		pthread_mutex_unlock(all->server->mutex);
	}
	if (n <= 0 || p->place < 0 || p->deaf)
		drop(all, index);
	else
		pay(all, index, n);
}

void pvsched_ports_lapsed(struct pvsched_ports *all)
{
	eventfd_t n;

	eventfd_read(all->lapsed_fd, &n);
	pthread_mutex_lock(all->server->mutex);
	for (int i = 0; i < PVSCHED_VMS; i++)
		for (int v = 0; all->port[i] && v < PVSCHED_VCPUS_MAX; v++)
			if (all->port[i]->area[v].copy && all->port[i]->area[v].lapsed)
				pvsched_device_detach(&all->port[i]->dev, v);
	pthread_mutex_unlock(all->server->mutex);
}

void pvsched_ports_check(struct pvsched_ports *all)
{
	if (!all->found || all->checked == all->found->changes)
		return;
	all->checked = all->found->changes;
	for (int i = 0; i < PVSCHED_VMS; i++) {
		struct pvsched_port *p = all->port[i];
		int slot;

		if (!p || p->place < 0)
			continue;
		if (!has_vm(p)) {
			drop(all, i);
			continue;
		}
		pthread_mutex_lock(all->server->mutex);
		for (int v = 0; p->enabled && v < PVSCHED_VCPUS_MAX; v++) {
			if (!p->area[v].copy)
				continue;
			slot = slot_of(p, v);
			if (slot < 0 || !all->server->reg->act.slots[slot].page)
				pvsched_device_detach(&p->dev, v);
		}
		pthread_mutex_unlock(all->server->mutex);
	}
}
