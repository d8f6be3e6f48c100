// SPDX-License-Identifier: GPL-2.0-only
/*
 * The broker's socket: who connects, gets a place, and leaves. One of the group that may connect must not
 * keep the others out, nor root, who can end what goes wrong: each user has a share of the places, who says
 * nothing loses his, and a few are only root's. See door.h, server.h.
 */
#include "door.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../actuator/monotonic.h"

#define SILENCE_NS 5000000000ull /* a client says at once what it is here for */
#define UID_SILENT 64 /* of one user, at once */
#define UID_MOST   (PVSCHED_VMS / 4 * 3)
#define UID_VCPUS  (PVSCHED_SLOTS / 4 * 3)
#define RETRY_MS   1000 /* for want of memory or descriptors */

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* since 6.5 */
#endif

_Static_assert(PVSCHED_GRAVES_SOCKETS > PVSCHED_PLACES, "whoever has a place has a grave");
_Static_assert(PVSCHED_GRAVES_PASSED >= 3 * PVSCHED_SLOTS, "and what came with each thread");

int pvsched_server_open(struct pvsched_server *s, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char dir[PATH_MAX];
	int fd, err;

	for (int i = 0; i < PVSCHED_PLACES; i++)
		s->client[i].fd = -1;
	s->pending.operator= s->pending.target = - 1;
	s->listen_fd = s->spare_fd = -1;
	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path));
	snprintf(dir, sizeof(dir), "%s", path);
	if (mkdir(dirname(dir), 0755) && errno != EEXIST)
		return -errno;
	err = pvsched_porters_open(&s->porters);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		err = -errno;
		pvsched_porters_close(&s->porters);
		return err;
	}
	/* Only the holder of the host's lock comes here, so a socket that exists is a leftover. */
	unlink(path);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		err = -errno;
		close(fd);
		pvsched_porters_close(&s->porters);
		return err;
	}
	s->listen_fd = fd;
	s->spare_fd = eventfd(0, EFD_CLOEXEC);
	if (s->spare_fd < 0 || chmod(path, 0660) || listen(fd, 64)) {
		err = -errno;
		pvsched_server_close(s, path);
		return err;
	}
	return 0;
}

static bool is_used(const struct pvsched_client *c)
{
	return c->fd >= 0 || c->kvm;
}

static int place_among(struct pvsched_server *s, int first, int end)
{
	for (int i = first; i < end; i++) {
		struct pvsched_client *c = &s->client[i];

		if (is_used(c))
			continue;
		memset(c, 0, sizeof(*c));
		memset(c->slot, -1, sizeof(c->slot));
		c->fd = c->pidfd = -1;
		return i;
	}
	return -ENOSPC;
}

/* Of clients and VMs that were found alike: what is one user's is lost to all others. */
int pvsched_server_place(struct pvsched_server *s, uid_t uid)
{
	unsigned int own = pvsched_porters_graves(&s->porters, uid, false);

	for (int i = 0; i < PVSCHED_PLACES; i++)
		own += is_used(&s->client[i]) && s->client[i].uid == uid;
	if (own >= UID_MOST && !pvsched_is_operator(uid))
		return -EUSERS;
	return place_among(s, 0, PVSCHED_VMS);
}

/* Threads of clients whose place in the table this one needs, and who have ended: a client need not say so.
 * Of VMs that were found their exit is heard of. */
static void forget_ended(struct pvsched_server *s, pid_t tid)
{
	for (int slot = 0; slot < PVSCHED_SLOTS; slot++) {
		const struct pvsched_slot *sl = &s->reg->act.slots[slot];
		pid_t old = s->reg->tid[slot];

		if (!old || (old ^ tid) & (PVSCHED_TIDS - 1) ||
		    pvsched_thread_stays(old, sl->tgid, sl->starttime))
			continue;
		for (struct pvsched_client *c = s->client; c < s->client + PVSCHED_VMS; c++)
			for (unsigned int i = 0; c->fd >= 0 && i < c->vcpus; i++)
				if (c->slot[i] == slot) {
					pvsched_registry_remove(s->reg, slot);
					pvsched_server_lay_down_left(s, c->uid);
					c->slot[i] = -1;
				}
	}
}

int pvsched_server_add(struct pvsched_server *s, const struct pvsched_client *c,
		       const struct pvsched_thread_id *t)
{
	/* what came with threads that have left, and cannot be closed, is as much as they were */
	unsigned int own = pvsched_porters_graves(&s->porters, c->uid, true) / 3, all = 1;

	for (int i = 0; i < PVSCHED_VMS; i++) {
		if (!s->client[i].hello)
			continue;
		all += s->reg->vm_vcpus[s->client[i].vm];
		if (s->client[i].uid == c->uid)
			own += s->reg->vm_vcpus[s->client[i].vm];
	}
	if (own >= UID_VCPUS && !pvsched_is_operator(c->uid))
		return -EUSERS;
	if (t->passed && !pvsched_porters_has_room_for_passed(&s->porters, 3 * all))
		return -EUSERS;
	forget_ended(s, t->tid);
	return pvsched_registry_add(s->reg, t);
}

void pvsched_server_lay_down_left(struct pvsched_server *s, uid_t uid)
{
	for (unsigned int i = 0; i < s->reg->left.n; i++)
		pvsched_porters_lay_down(&s->porters, s->reg->left.fd[i], uid);
	s->reg->left.n = 0;
	pvsched_porters_run(&s->porters);
}

bool pvsched_server_knows(const struct pvsched_server *s, pid_t pid)
{
	for (int i = 0; i < PVSCHED_VMS; i++)
		if (s->client[i].fd >= 0 && s->client[i].hello && s->client[i].pid == pid)
			return true;
	return false;
}

/* Removed, not told nothing: a client that hangs up is told of whatever is asked for. */
static int hear(struct pvsched_server *s, const struct pvsched_client *c, bool on)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = c - s->client };

	if (s->ep <= 0 || !epoll_ctl(s->ep, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, c->fd, &ev))
		return 0;
	return errno == EEXIST ? 0 : -errno;
}

static void be_deaf(struct pvsched_server *s, bool deaf)
{
	struct epoll_event ev = { .events = deaf ? 0 : EPOLLIN, .data.u32 = s->tag };

	if (s->deaf != deaf && (s->ep <= 0 || !epoll_ctl(s->ep, EPOLL_CTL_MOD, s->listen_fd, &ev)))
		s->deaf = deaf;
}

void pvsched_server_drop_locked(struct pvsched_server *s, struct pvsched_client *c)
{
	pvsched_registry_remove_all(s->reg, c->slot, PVSCHED_VCPUS_MAX);
	memset(c->slot, -1, sizeof(c->slot));
	pvsched_server_lay_down_left(s, c->uid);
	if (c->hello) {
		s->reg->vm_used[c->vm] = false;
		pvsched_policies_put(s->policies, c->policy);
	}
	if (s->pending.operator== c - s->client)
		s->pending.operator= - 1;
	if (s->pending.target == c - s->client)
		s->pending.target = -1;
	if (c->pidfd >= 0)
		close(c->pidfd);
	if (c->fd >= 0) {
		if (!c->fetched && !c->waits)
			hear(s, c, false); /* what is buried is still open */
		pvsched_porters_bury(&s->porters, c->fd, c->uid);
	}
	if (c->fd >= 0 && c->hello)
		s->changed = c->pid;
	c->fd = c->pidfd = -1;
	c->kvm = 0;
	c->hello = c->speaks = c->fetched = c->waits = false;
}

void pvsched_server_drop(struct pvsched_server *s, int index)
{
	pthread_mutex_lock(s->mutex);
	if (is_used(&s->client[index]))
		pvsched_server_drop_locked(s, &s->client[index]);
	pthread_mutex_unlock(s->mutex);
}

void pvsched_server_close(struct pvsched_server *s, const char *path)
{
	for (int i = 0; i < PVSCHED_PLACES; i++)
		pvsched_server_drop(s, i);
	if (s->listen_fd >= 0) {
		unlink(path);
		pvsched_porters_bury_listener(&s->porters, s->listen_fd);
		s->listen_fd = -1;
	}
	if (s->spare_fd >= 0)
		close(s->spare_fd);
	s->spare_fd = -1;
	pvsched_porters_close(&s->porters);
}

/* Out of descriptors: whoever waits is sent away by means of the spare one. Left alone he would wait
 * for ever, and the broker's thread would be woken for him without end. */
static void refuse(struct pvsched_server *s)
{
	int fd;

	s->refused++;
	close(s->spare_fd);
	fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		pvsched_porters_bury(&s->porters, fd, pvsched_user_of(fd));
	s->spare_fd = eventfd(0, EFD_CLOEXEC);
	if (s->spare_fd < 0)
		be_deaf(s, true);
}

static int choose_place(struct pvsched_server *s, uid_t uid)
{
	unsigned int silent = 0;
	int place;

	if (pvsched_is_operator(uid)) {
		place = pvsched_server_place(s, uid);
		return place < 0 ? place_among(s, PVSCHED_VMS, PVSCHED_PLACES) : place;
	}
	for (int i = 0; i < PVSCHED_PLACES; i++) {
		const struct pvsched_client *c = &s->client[i];

		silent += c->fd >= 0 && c->uid == uid && c->joined_ns;
	}
	return silent < UID_SILENT ? pvsched_server_place(s, uid) : -EUSERS;
}

/* *ret_pidfd -1: this kernel has none of who connected. */
static int identify(int fd, struct ucred *cred, uint64_t *ret_start, int *ret_pidfd)
{
	socklen_t len = sizeof(*cred);
	int pidfd = -1;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, cred, &len))
		return -errno;
	if (cred->pid <= 0) /* of another namespace */
		return -ESRCH;
	len = sizeof(pidfd);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) && errno != ENOPROTOOPT)
		return -errno;
	if (pvsched_starttime(cred->pid, ret_start)) {
		if (pidfd >= 0)
			close(pidfd);
		return -ESRCH;
	}
	*ret_pidfd = pidfd;
	return 0;
}

static bool has_room(const struct pvsched_server *s)
{
	return pvsched_porters_has_room(&s->porters, PVSCHED_PLACES);
}

int pvsched_server_accept(struct pvsched_server *s)
{
	struct ucred cred = { .uid = -1 };
	int fd, err, place = -1, pidfd = -1;
	struct pvsched_client *c;
	uint64_t start;

	if (!has_room(s)) {
		be_deaf(s, true);
		return -EAGAIN;
	}
	fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		err = -errno;
		if (err == -EMFILE || err == -ENFILE)
			refuse(s);
		return err;
	}
	if (!identify(fd, &cred, &start, &pidfd))
		place = choose_place(s, cred.uid);
	if (place < 0) {
		s->refused++;
		if (pidfd >= 0)
			close(pidfd);
		pvsched_porters_bury(&s->porters, fd, cred.uid);
		return -EAGAIN;
	}
	c = &s->client[place];
	c->fd = fd;
	c->pidfd = pidfd;
	c->pid = cred.pid;
	c->uid = cred.uid;
	c->start = start;
	c->id = ++s->last_id;
	c->joined_ns = now_ns();
	return place;
}

void pvsched_server_send_porter(struct pvsched_server *s, struct pvsched_client *c)
{
	int err;

	if (!c->waits)
		hear(s, c, false);
	err = pvsched_porters_fetch(&s->porters, c->fd, c->uid, c->id);
	c->waits = err != 0;
	c->fetched = !err;
	s->retry |= err && err != -EBUSY;
}

struct pvsched_client *pvsched_server_porter_back(struct pvsched_server *s, uint64_t id)
{
	for (int i = 0; i < PVSCHED_PLACES; i++) {
		struct pvsched_client *c = &s->client[i];

		if (c->fd < 0 || c->id != id)
			continue;
		c->fetched = false;
		if (!hear(s, c, true))
			return c;
		pvsched_server_drop(s, i); /* nobody would listen to it */
		break;
	}
	return NULL;
}

void pvsched_server_send_waiting(struct pvsched_server *s)
{
	for (int i = 0; i < PVSCHED_PLACES; i++)
		if (s->client[i].fd >= 0 && s->client[i].waits)
			pvsched_server_send_porter(s, &s->client[i]);
}

void pvsched_server_run(struct pvsched_server *s)
{
	uint64_t now = now_ns();

	for (int i = 0; i < PVSCHED_PLACES; i++) {
		const struct pvsched_client *c = &s->client[i];

		if (c->fd < 0 || !c->joined_ns || now - c->joined_ns < SILENCE_NS)
			continue;
		s->refused++;
		pvsched_server_drop(s, i);
	}
	pvsched_porters_run(&s->porters);
	if (s->retry) {
		s->retry = false;
		pvsched_server_send_waiting(s);
	}
	if (s->deaf && s->spare_fd < 0)
		s->spare_fd = eventfd(0, EFD_CLOEXEC);
	if (s->deaf && s->spare_fd >= 0 && has_room(s))
		be_deaf(s, false);
}

int pvsched_server_timeout(const struct pvsched_server *s)
{
	uint64_t now = now_ns(), first = 0;

	if (s->deaf || s->retry || s->porters.graves)
		return RETRY_MS;
	for (int i = 0; i < PVSCHED_PLACES; i++) {
		const struct pvsched_client *c = &s->client[i];

		if (c->fd >= 0 && c->joined_ns && (!first || c->joined_ns < first))
			first = c->joined_ns;
	}
	if (!first)
		return -1;
	first += SILENCE_NS;
	return first <= now ? 0 : (first - now) / 1000000 + 1;
}

static bool read_number(const char *path, const char *key, long *ret)
{
	FILE *f = fopen(path, "re");
	char line[256];
	bool found = false;

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key))) {
			*ret = strtol(line + strlen(key), NULL, 10);
			found = true;
		}
	fclose(f);
	return found;
}

long pvsched_pid_of(int pidfd)
{
	char path[64];
	long pid;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	if (!read_number(path, "Pid:", &pid))
		return -EBADF;
	return pid > 0 ? pid : 0;
}

bool pvsched_client_lives(const struct pvsched_client *c)
{
	uint64_t start;

	if (c->pidfd >= 0 && pvsched_pid_of(c->pidfd) != c->pid)
		return false;
	return !pvsched_starttime(c->pid, &start) && start == c->start;
}

int pvsched_thread_is_of(pid_t tid, pid_t tgid)
{
	char path[64];
	long of;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	if (!read_number(path, "Tgid:", &of))
		return -ESRCH;
	return of == tgid ? 0 : -EPERM;
}
