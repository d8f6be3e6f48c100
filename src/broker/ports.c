// SPDX-License-Identifier: GPL-2.0-only
/* Ports: who connects, and how much is heard of him. See ports.h; their pages are in areas.c. */
#include "port.h"

#include "../privilege/caps.h"
#include "../privilege/thread.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* Frames wake the broker: more than this of one port wait, in its VMM, for their turn. A handshake of 256
 * vCPUs is 40 KiB. */
#define BYTES_PER_MS 128
#define BYTES_BURST  131072

#define RETRY_NS 1000000000ull /* for what can only be looked at again */

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
	err = pvsched_porters_open(&p->porters);
	if (err)
		return err;
	len = snprintf(p->path, sizeof(p->path), "%s/port.sock", dirname(copy));
	p->listen_fd = len < (int)sizeof(p->path) ? pvsched_listen_to_anybody(p->path, 64)
						  : -ENAMETOOLONG;
	if (p->listen_fd < 0)
		return p->listen_fd;
	err = pvsched_thread_start(&p->thread, NULL, 0, 0, pvsched_areas_write, p);
	p->running = !err;
	return err;
}

static void drop(struct pvsched_ports *all, int index)
{
	struct pvsched_port *p = all->port[index];

	if (p->place >= 0) {
		pthread_mutex_lock(all->server->mutex);
		pvsched_device_reset(&p->dev);
		if (pvsched_port_client(p)->port == p) {
			pvsched_port_said(pvsched_port_client(p), &pvsched_port_client(p)->said);
			pvsched_port_client(p)->port = NULL;
		}
		pthread_mutex_unlock(all->server->mutex);
	}
	pthread_mutex_lock(&all->lock);
	all->port[index] = NULL;
	pthread_mutex_unlock(&all->lock);
	if (all->ep > 0) /* what is buried may still be open, and its place another's */
		epoll_ctl(all->ep, EPOLL_CTL_DEL, p->fd, NULL);
	pvsched_porters_bury(&all->porters, p->fd, p->uid);
	if (p->mem_fd >= 0)
		close(p->mem_fd);
	free(p);
}

void pvsched_ports_end(struct pvsched_ports *p)
{
	for (int i = 0; i < PVSCHED_VMS; i++)
		if (p->port[i] && p->port[i]->place >= 0)
			drop(p, i);
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
		pvsched_porters_bury_listener(&p->porters, p->listen_fd);
	}
	if (p->wake_fd >= 0)
		close(p->wake_fd);
	if (p->lapsed_fd >= 0)
		close(p->lapsed_fd);
	p->listen_fd = p->wake_fd = p->lapsed_fd = -1;
	pvsched_porters_close(&p->porters);
}

static bool has_room(const struct pvsched_ports *p)
{
	return pvsched_porters_has_room(&p->porters, PVSCHED_VMS + 1);
}

static void listen_for(struct pvsched_ports *p, bool listen)
{
	struct epoll_event ev = { .events = listen ? EPOLLIN : 0, .data.u32 = p->listen_tag };

	epoll_ctl(p->ep, EPOLL_CTL_MOD, p->listen_fd, &ev);
	p->deaf_ns = listen ? 0 : now_ns() + RETRY_NS;
}

/* Is it the first port of a VM's process? Guests that know nothing of us have one, too. */
static bool is_of_a_vm(const struct pvsched_ports *all, const struct pvsched_port *p)
{
	bool is = false;

	for (int i = 0; i < PVSCHED_VMS && !is; i++)
		is = all->server->client[i].kvm && all->server->client[i].pid == p->pid;
	for (int i = 0; i < PVSCHED_VMS && is; i++)
		is = !all->port[i] || all->port[i]->pid != p->pid ||
		     all->port[i]->number >= p->number;
	return is;
}

/*
 * A free place; else, since anybody may connect and be silent, that of the eldest who has said nothing and
 * has no VM.
 */
static int make_place(struct pvsched_ports *all)
{
	int eldest = -ENOSPC;

	for (int i = 0; i < PVSCHED_VMS; i++) {
		const struct pvsched_port *p = all->port[i];

		if (!p)
			return i;
		if (p->place < 0 && (eldest < 0 || p->number < all->port[eldest]->number) &&
		    !is_of_a_vm(all, p))
			eldest = i;
	}
	if (eldest >= 0)
		drop(all, eldest);
	return eldest;
}

void pvsched_ports_accept(struct pvsched_ports *all)
{
	int fd = -1, i = -1;
	struct epoll_event ev = { .events = EPOLLIN };
	struct pvsched_port *p = NULL;
	struct ucred cred = { 0 };
	socklen_t len = sizeof(cred);
	uint64_t start;

	if (has_room(all))
		fd = accept4(all->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		/* without room or descriptors it would be told of without end */
		if (!has_room(all) || errno == EMFILE || errno == ENFILE)
			listen_for(all, false);
		return;
	}
	if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) && cred.pid > 0 &&
	    !pvsched_starttime(cred.pid, &start) && !pvsched_out_of_band_is_inline(fd))
		i = make_place(all);
	if (i >= 0)
		p = calloc(1, sizeof(*p));
	if (!p) {
		all->refused++;
		pvsched_porters_bury(&all->porters, fd, cred.uid);
		return;
	}
	p->number = ++all->accepted;
	p->all = all;
	p->fd = fd;
	p->pid = cred.pid;
	p->uid = cred.uid;
	p->start = start;
	p->place = p->mem_fd = -1;
	pvsched_device_init(&p->dev, &pvsched_area_ops, p, PVSCHED_VCPUS_MAX,
			    all->server->features);
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

/* It is how this host is set up, so it is said, but once: who connects must not fill the log. */
static void cannot_open(struct pvsched_port *p, int err)
{
	struct pvsched_ports *all = p->all;
	char line[192];

	if (all->said || (err != EACCES && err != EPERM))
		return;
	all->said = true;
	snprintf(line, sizeof(line),
		 "port of process %d: its memory cannot be opened: %s: this takes CAP_SYS_PTRACE, "
		 "CAP_DAC_OVERRIDE, and kernel.yama.ptrace_scope below 3",
		 p->pid, strerror(err));
	all->found->say(all->found->ctx, line);
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
	bool is = false, cut;
	int n;

	snprintf(path, sizeof(path), "/proc/%d/mem", p->pid);
	pvsched_caps_raise(PVSCHED_CAP(CAP_DAC_OVERRIDE)); /* another user's */
	p->mem_fd = open(path, O_RDWR | O_CLOEXEC);
	if (p->mem_fd < 0)
		cannot_open(p, errno);
	pvsched_caps_lower(PVSCHED_CAP(CAP_DAC_OVERRIDE));
	if (p->mem_fd < 0)
		return false;
	n = pvsched_finder_scan(p->all->found->finder, p->pid, &rows, &cut);
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
	p->kvm = pvsched_port_client(p)->kvm;
	if (!open_memory(p)) {
		p->place = -1;
		return;
	}
	pthread_mutex_lock(p->all->server->mutex);
	pvsched_port_client(p)->port = p;
	pthread_mutex_unlock(p->all->server->mutex);
}

static void send_answer(void *ctx, const struct pvsched_frame *answer)
{
	struct pvsched_port *p = ctx;

	/* more than a socket holds are on their way: nobody reads them */
	if (send(p->fd, answer, sizeof(*answer), MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof(*answer))
		p->deaf = true;
}

/* Removed, not told nothing: of who hangs up it is told whatever is asked for, and without end. */
static int listen_to(struct pvsched_ports *all, int index, bool listen)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = all->tag + index };

	if (!epoll_ctl(all->ep, listen ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, all->port[index]->fd, &ev))
		return 0;
	return errno == EEXIST ? 0 : -errno;
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
	/* while it is told of, it is listened to */
	if (p->heard_ns <= now || listen_to(all, index, false))
		return;
	p->held++;
	p->mute_ns = p->heard_ns;
}

int pvsched_ports_timeout(const struct pvsched_ports *all)
{
	uint64_t now = now_ns(), at = 0;

	if (pvsched_porters_timeout(&all->porters) >= 0)
		at = now + RETRY_NS;
	if (all->deaf_ns && (!at || all->deaf_ns < at))
		at = all->deaf_ns;
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

	pvsched_porters_reap(&all->porters);
	/* nothing tells of descriptors that are to be had again: whoever waits is tried */
	if (all->deaf_ns && all->deaf_ns <= now)
		listen_for(all, has_room(all));
	for (int i = 0; i < PVSCHED_VMS; i++) {
		struct pvsched_port *p = all->port[i];

		if (!p || !p->mute_ns || p->mute_ns > now)
			continue;
		/* for want of memory: later */
		p->mute_ns = listen_to(all, i, true) ? now + RETRY_NS : 0;
	}
}

void pvsched_ports_serve(struct pvsched_ports *all, int index)
{
	struct pvsched_port *p = all->port[index];
	char data[4096];
	ssize_t n;

	if (!p || p->mute_ns)
		return;
	n = pvsched_recv_bare(p->fd, data, sizeof(data));
	if (n == -EAGAIN)
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

void pvsched_ports_check(struct pvsched_ports *all)
{
	if (!all->found || all->checked == all->found->changes)
		return;
	all->checked = all->found->changes;
	for (int i = 0; i < PVSCHED_VMS; i++) {
		struct pvsched_port *p = all->port[i];

		if (!p || p->place < 0)
			continue;
		if (!pvsched_port_has_vm(p)) {
			drop(all, i);
			continue;
		}
		pvsched_areas_check(p);
	}
}
