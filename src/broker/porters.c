// SPDX-License-Identifier: GPL-2.0-only
/* See porters.h. */
#include "porters.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../actuator/monotonic.h"
#include "../privilege/thread.h"
#include "table.h"

#define SPARED	    8 /* porters that are only the broker's own user's */
#define STACK	    (256 * 1024)
#define FDS_MAX	    253 /* of a message: the kernel's SCM_MAX_FD */
#define MESSAGES    1024 /* that a socket holds at most: more are a porter's */
#define FAREWELL_NS 200000000ull
#define RETRY_MS    1000

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* since 6.16 */
#endif

enum kind { NONE, EVENTFD, PIDFD, ANY };

/* A porter's; the caller's until it has gone. */
struct errand {
	int away_fd;
	uint32_t porter;
	uint64_t sender;
	bool fetches, trusted;
	int fd[PVSCHED_GRAVES]; /* a socket to fetch from, or those to close */
	unsigned int n;
	sem_t gone; /* it has copies of its own */
	sem_t *go;
	int err;
};

/* By the name that the kernel gives it, which costs no call into whatever it is. A path begins with '/'. */
static enum kind kind_of(int fd)
{
	char path[48], name[32] = "";

	snprintf(path, sizeof(path), "/proc/thread-self/fd/%d", fd);
	if (readlink(path, name, sizeof(name) - 1) <= 0)
		return ANY;
	if (!strcmp(name, "anon_inode:[eventfd]"))
		return EVENTFD;
	/* since 6.9 a file system of their own */
	if (!strcmp(name, "anon_inode:[pidfd]") || !strncmp(name, "pidfd:[", 7))
		return PIDFD;
	return ANY;
}

/* What this message may pass, in its order. */
static const enum kind *expected(const struct pvsched_msg *m, bool trusted)
{
	static const enum kind vcpu[PVSCHED_PASSED_MAX + 1] = { PIDFD, EVENTFD },
							 policy[PVSCHED_PASSED_MAX + 1] = { ANY },
							 none[PVSCHED_PASSED_MAX + 1] = { NONE };

	if (m->type == PVSCHED_MSG_ADD_VCPU)
		return vcpu;
	return m->type == PVSCHED_MSG_POLICY && trusted ? policy : none;
}

static bool as_expected(const struct pvsched_msg *m, bool trusted, const int *fds, int n)
{
	const enum kind *kind = expected(m, trusted);
	int i;

	for (i = 0; i < n && kind[i] != NONE; i++)
		if (kind[i] != ANY && kind_of(fds[i]) != kind[i])
			return false;
	return i == n && kind[i] == NONE;
}

static int bring(int fd, const struct pvsched_parcel *parcel, const int *fds, int n)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * PVSCHED_PASSED_MAX)];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)parcel, .iov_len = sizeof(*parcel) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (n) {
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n);
	}
	return sendmsg(fd, &msg, MSG_NOSIGNAL) == sizeof(*parcel) ? 0 : -errno;
}

/* What tells that it is back, or why it brings nothing, must arrive: while memory is short, later. */
static void bring_surely(int fd, const struct pvsched_parcel *parcel)
{
	const struct timespec nap = { .tv_nsec = 10000000 };
	int err;

	while ((err = bring(fd, parcel, NULL, 0)) == -ENOBUFS || err == -ENOMEM || err == -EINTR)
		nanosleep(&nap, NULL);
}

/* Whatever comes with the message is in this thread's table, and stays there. */
static void fetch(const struct errand *e)
{
	struct pvsched_parcel parcel = { .porter = e->porter, .sender = e->sender };
	union {
		char buf[CMSG_SPACE(sizeof(int) * FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = &parcel.msg, .iov_len = sizeof(parcel.msg) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	ssize_t size = recvmsg(e->fd[0], &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int fds[FDS_MAX], n = 0;

	for (struct cmsghdr *c = size < 0 ? NULL : CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			memcpy(fds, CMSG_DATA(c), n * sizeof(int));
		}
	if (size < 0)
		parcel.err = -errno;
	else if (size != sizeof(parcel.msg) || msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		parcel.err = -EPROTO;
	else if (!as_expected(&parcel.msg, e->trusted, fds, n))
		parcel.err = -EBADF;
	if (bring(e->away_fd, &parcel, fds, parcel.err ? 0 : n)) {
		parcel.err = parcel.err ? parcel.err : -EMFILE;
		bring_surely(e->away_fd, &parcel);
	}
}

static void *porter(void *arg)
{
	struct errand *given = arg, e = *given;
	struct pvsched_parcel back = { .porter = e.porter, .back = 1 };
	int keep[PVSCHED_GRAVES + 1];

	pthread_setname_np(pthread_self(), "pvsched-porter");
	given->err = unshare(CLONE_FILES) ? -errno : 0;
	e.err = given->err;
	if (!e.err) { /* before it says so: the table is held until then */
		memcpy(keep, e.fd, e.n * sizeof(int));
		keep[e.n] = e.away_fd;
		pvsched_table_keep(keep, e.n + 1);
	}
	sem_post(&given->gone); /* given is nobody's from here on */
	if (e.err)
		return NULL;
	/* the last one to close waits: not before the caller has */
	while (sem_wait(e.go) && errno == EINTR)
		;
	if (e.fetches)
		fetch(&e);
	pvsched_table_keep(&e.away_fd, 1); /* may never return */
	bring_surely(e.away_fd, &back);
	close(e.away_fd);
	return NULL;
}

int pvsched_porters_open(struct pvsched_porters *p)
{
	int fds[2];

	memset(p, 0, sizeof(*p));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
		return -errno;
	p->home_fd = fds[0];
	p->away_fd = fds[1];
	p->open = true;
	return 0;
}

bool pvsched_is_operator(uid_t uid)
{
	return !uid || uid == geteuid();
}

/* A place for one more porter of this user; -EBUSY. */
static int choose(const struct pvsched_porters *p, uid_t uid)
{
	unsigned int all = 0, own = 0;
	int place = -EBUSY;

	for (int i = PVSCHED_PORTERS; i-- > 0;) {
		if (!p->porter[i].out)
			place = i;
		all += p->porter[i].out;
		own += p->porter[i].out && p->porter[i].uid == uid;
	}
	if (!pvsched_is_operator(uid) &&
	    (own >= PVSCHED_PORTERS_UID || all >= PVSCHED_PORTERS - SPARED))
		return -EBUSY;
	return place;
}

/* Returns when it has copies of what it was given; it goes on by p->porter[place].go. The table is held. */
static int send_out(struct pvsched_porters *p, int place, uid_t uid, struct errand *e)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int err;

	e->away_fd = p->away_fd;
	e->porter = place;
	e->go = &p->porter[place].go;
	sem_init(e->go, 0, 0);
	sem_init(&e->gone, 0, 0);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the process's, not its */
	err = pvsched_thread_start(&p->porter[place].thread, &attr, 0, 0, porter, e);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	while (!err && sem_wait(&e->gone) && errno == EINTR)
		;
	sem_destroy(&e->gone);
	if (err)
		return err;
	if (e->err) {
		pthread_join(p->porter[place].thread, NULL);
		return e->err;
	}
	p->porter[place].out = true;
	p->porter[place].uid = uid;
	return 0;
}

int pvsched_brings_fds(int fd)
{
	struct msghdr msg = { 0 };

	if (recvmsg(fd, &msg, MSG_PEEK | MSG_DONTWAIT) < 0)
		return -errno;
	/* nowhere to put them: that is told, and they stay with the message */
	return !!(msg.msg_flags & MSG_CTRUNC);
}

int pvsched_out_of_band_is_inline(int fd)
{
	const int on = 1;

	return setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on)) ? -errno : 0;
}

/* Before it listens: to who connects there nobody can pass any descriptor. */
static int take_no_fds(int listen_fd)
{
	const int off = 0;

	if (!setsockopt(listen_fd, SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof(off)))
		return 0;
	return errno == ENOPROTOOPT ? 0 : -errno; /* Linux before 6.16 */
}

int pvsched_listen_to_anybody(const char *path, int backlog)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, err;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	err = take_no_fds(fd);
	unlink(path); /* a leftover: the broker holds the host's lock */
	if (!err && (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || chmod(path, 0666) ||
		     listen(fd, backlog)))
		err = -errno;
	if (!err)
		return fd;
	close(fd);
	return err;
}

ssize_t pvsched_recv_bare(int fd, void *data, size_t size)
{
	struct iovec iov = { .iov_base = data, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n = recvmsg(fd, &msg, MSG_PEEK | MSG_DONTWAIT);

	if (n > 0 && msg.msg_flags & MSG_CTRUNC)
		return -EPROTO;
	if (n > 0) /* what came behind it may bring some */
		n = recv(fd, data, n, MSG_DONTWAIT);
	return n < 0 ? -errno : n;
}

int pvsched_porters_fetch(struct pvsched_porters *p, int fd, uid_t uid, uint64_t sender)
{
	struct errand e = {
		.sender = sender, .fetches = true, .trusted = pvsched_is_operator(uid), .n = 1
	};
	int place = choose(p, uid), err;

	if (place < 0)
		return place;
	e.fd[0] = fd;
	pvsched_table_hold();
	err = send_out(p, place, uid, &e);
	pvsched_table_release();
	if (!err)
		sem_post(&p->porter[place].go);
	return err;
}

/* One porter takes all of this user's; or with last of everybody, whatever is left for him. */
static void bury_all_of(struct pvsched_porters *p, uid_t uid, bool last)
{
	int place = choose(p, last ? geteuid() : uid);
	unsigned int rest = 0;
	struct errand e;
	int err;

	if (place < 0)
		return;
	e.fetches = e.trusted = false;
	e.n = 0;
	e.err = 0;
	for (unsigned int i = 0; i < p->graves; i++)
		if (last || p->grave[i].uid == uid)
			e.fd[e.n++] = p->grave[i].fd;
	if (!e.n)
		return;
	pvsched_table_hold();
	err = send_out(p, place, uid, &e);
	for (unsigned int i = 0; !err && i < p->graves; i++) {
		if (last || p->grave[i].uid == uid) {
			p->passed -= p->grave[i].passed;
			close(p->grave[i].fd); /* not the last one: its porter waits */
		} else {
			p->grave[rest++] = p->grave[i];
		}
	}
	pvsched_table_release();
	if (err)
		return;
	p->graves = rest;
	sem_post(&p->porter[place].go);
}

void pvsched_porters_run(struct pvsched_porters *p)
{
	uid_t uid[PVSCHED_GRAVES];
	unsigned int n = p->graves;

	for (unsigned int i = 0; i < n; i++)
		uid[i] = p->grave[i].uid;
	for (unsigned int i = 0; i < n; i++) /* those of one user mostly follow each other */
		if (!i || uid[i] != uid[i - 1])
			bury_all_of(p, uid[i], false);
}

/* A stream: nothing in it is empty but its end. */
static bool is_harmless_stream(int fd)
{
	char data[4096];
	ssize_t n = -ECONNRESET; /* told once, before what is there */

	if (pvsched_out_of_band_is_inline(fd)) /* nobody may have accepted it */
		return false;
	for (int i = 0; i < MESSAGES && (n > 0 || n == -ECONNRESET); i++)
		n = pvsched_recv_bare(fd, data, sizeof(data));
	return !n;
}

/* Has nobody put anything in that brings descriptors? Nobody can any more. */
static bool is_harmless(int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	const int on = 1;
	int type = 0;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len))
		return false;
	if (type == SOCK_STREAM)
		return is_harmless_stream(fd);
	/* Whose it is comes with each message, also with an empty one, and not with the end. */
	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)))
		return false;
	for (int i = 0; i < MESSAGES; i++) {
		struct msghdr msg = { .msg_control = control.buf,
				      .msg_controllen = sizeof(control.buf) };

		if (recvmsg(fd, &msg, MSG_PEEK | MSG_DONTWAIT) < 0) {
			if (errno == ECONNRESET)
				continue;
			return false;
		}
		if (msg.msg_flags & MSG_CTRUNC)
			return false;
		if (!CMSG_FIRSTHDR(&msg))
			return true;
		recv(fd, NULL, 0, MSG_DONTWAIT);
	}
	return false;
}

static void dig(struct pvsched_porters *p, int fd, uid_t uid, bool passed)
{
	p->grave[p->graves].fd = fd;
	p->grave[p->graves].uid = uid;
	p->grave[p->graves++].passed = passed;
	p->passed += passed;
}

void pvsched_porters_bury(struct pvsched_porters *p, int fd, uid_t uid)
{
	shutdown(fd, SHUT_RD);
	if (is_harmless(fd)) {
		close(fd);
		return;
	}
	shutdown(fd, SHUT_WR); /* he is told now, not when it is closed */
	dig(p, fd, uid, false);
	bury_all_of(p, uid, false);
}

void pvsched_porters_lay_down(struct pvsched_porters *p, int fd, uid_t uid)
{
	if (fd >= 0)
		dig(p, fd, uid, true);
}

uid_t pvsched_user_of(int fd)
{
	struct ucred cred = { .uid = -1 };
	socklen_t len = sizeof(cred);

	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
	return cred.uid;
}

void pvsched_porters_bury_listener(struct pvsched_porters *p, int listen_fd)
{
	int fd;

	shutdown(listen_fd, SHUT_RDWR);
	while (pvsched_porters_has_room(p, 0) &&
	       (fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		pvsched_porters_bury(p, fd, pvsched_user_of(fd));
	close(listen_fd);
}

bool pvsched_porters_has_room(const struct pvsched_porters *p, unsigned int sockets)
{
	return p->graves - p->passed + sockets < PVSCHED_GRAVES_SOCKETS;
}

bool pvsched_porters_has_room_for_passed(const struct pvsched_porters *p, unsigned int n)
{
	return p->passed + n <= PVSCHED_GRAVES_PASSED;
}

unsigned int pvsched_porters_graves(const struct pvsched_porters *p, uid_t uid, bool passed)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < p->graves; i++)
		n += p->grave[i].uid == uid && p->grave[i].passed == passed;
	return n;
}

int pvsched_porters_take(struct pvsched_porters *p, struct pvsched_parcel *ret, int *fds,
			 int *ret_nfds)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * PVSCHED_PASSED_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = ret, .iov_len = sizeof(*ret) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c;

	*ret_nfds = 0;
	if (recvmsg(p->home_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != sizeof(*ret))
		return 0;
	c = CMSG_FIRSTHDR(&msg);
	if (c) {
		*ret_nfds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(c), *ret_nfds * sizeof(int));
	}
	if (msg.msg_flags & MSG_CTRUNC) /* no room in our table */
		ret->err = -EMFILE;
	if (ret->back) {
		pthread_join(p->porter[ret->porter].thread, NULL);
		p->porter[ret->porter].out = false;
		pvsched_porters_run(p);
	}
	return 1;
}

static bool any_out(const struct pvsched_porters *p)
{
	bool out = false;

	for (int i = 0; i < PVSCHED_PORTERS; i++)
		out |= p->porter[i].out;
	return out;
}

static void let_go(struct pvsched_porters *p)
{
	struct pvsched_parcel parcel;
	int fds[PVSCHED_PASSED_MAX], n;

	while (pvsched_porters_take(p, &parcel, fds, &n))
		while (n)
			pvsched_porters_lay_down(p, fds[--n], p->porter[parcel.porter].uid);
}

void pvsched_porters_reap(struct pvsched_porters *p)
{
	if (!any_out(p) && !p->graves)
		return;
	let_go(p);
	pvsched_porters_run(p);
}

int pvsched_porters_timeout(const struct pvsched_porters *p)
{
	return any_out(p) || p->graves ? RETRY_MS : -1;
}

void pvsched_porters_close(struct pvsched_porters *p)
{
	struct pollfd home = { .fd = p->home_fd, .events = POLLIN };
	uint64_t end = now_ns() + FAREWELL_NS, now;
	bool out = p->open;

	if (p->open && p->graves)
		bury_all_of(p, geteuid(), true);
	while (out && (now = now_ns()) < end) {
		let_go(p);
		out = any_out(p);
		if (out)
			poll(&home, 1, (end - now) / 1000000 + 1);
	}
	for (int i = 0; i < PVSCHED_PORTERS; i++)
		if (p->porter[i].out)
			pthread_detach(p->porter[i].thread);
	if (p->open) {
		close(p->home_fd);
		close(p->away_fd);
	}
	p->open = false;
}
