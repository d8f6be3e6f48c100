/* SPDX-License-Identifier: GPL-2.0-only */
/* What somebody can pass over a socket who means it ill. */
#ifndef PVSCHED_TESTS_PASSING_H
#define PVSCHED_TESTS_PASSING_H

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* since 6.16 */
#endif

#define PASSING_MOST 100
#define PASSING_FDS  1024 /* a process that is looked through has not more */

/* As send(), with descriptors. */
static inline ssize_t passing_send_flags(int fd, const void *data, size_t size, const int *fds,
					 int n, int flags)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * PASSING_MOST)];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)data, .iov_len = size };
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
	return sendmsg(fd, &msg, MSG_NOSIGNAL | flags);
}

static inline ssize_t passing_send(int fd, const void *data, size_t size, const int *fds, int n)
{
	return passing_send_flags(fd, data, size, fds, n, 0);
}

/* Whether this kernel lets a socket say that nobody passes anything to it. */
static inline bool passing_can_be_refused(int fd)
{
	int takes;
	socklen_t len = sizeof(takes);

	return !getsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &takes, &len);
}

/*
 * Before Linux 6.16 whoever connects can pass what he likes: so it is from here on also at the socket of this
 * path, where process pid listens. False: it does not.
 */
static inline bool passing_let(pid_t pid, const char *path)
{
	int process = syscall(SYS_pidfd_open, pid, 0);
	const int on = 1;
	bool found = false;

	for (int i = 0; i < PASSING_FDS && !found; i++) {
		struct sockaddr_un addr = { 0 };
		socklen_t size = sizeof(addr), len = sizeof(int);
		int fd = syscall(SYS_pidfd_getfd, process, i, 0), listens = 0;

		if (fd < 0)
			continue;
		found = !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) && listens &&
			!getsockname(fd, (struct sockaddr *)&addr, &size) &&
			addr.sun_family == AF_UNIX && !strcmp(addr.sun_path, path);
		if (found && passing_can_be_refused(fd))
			found = !setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &on, sizeof(on));
		close(fd);
	}
	close(process);
	return found;
}

/* A socket whose last close waits for a minute for a peer that does not read; *ret_peer's end ends that. */
static inline int passing_lingering(int *ret_peer)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct linger linger = { .l_onoff = 1, .l_linger = 60 };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	socklen_t len = sizeof(addr);
	char data[65536] = { 0 };

	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&addr, len) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&addr, &len) ||
	    connect(fd, (struct sockaddr *)&addr, len)) {
		close(listener);
		close(fd);
		return -errno;
	}
	*ret_peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	close(listener);
	if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)))
		return -errno;
	while (send(fd, data, sizeof(data), MSG_DONTWAIT) > 0)
		;
	return fd;
}

/*
 * Sends a byte with a lingering socket, from a process of its own: whoever closes that last waits, and it may be
 * the sender. The child is there until *ret_peer is closed, and maybe until then only; -errno.
 */
static inline pid_t passing_leave(int fd, int *ret_peer)
{
	int lingers = passing_lingering(ret_peer), own[3], go[2];
	pid_t pid;

	if (lingers < 0 || pipe(go))
		return lingers < 0 ? lingers : -errno;
	pid = fork();
	if (!pid) {
		own[0] = fcntl(fd, F_DUPFD, 500);
		own[1] = fcntl(lingers, F_DUPFD, 500);
		own[2] = fcntl(go[0], F_DUPFD, 500);
		close_range(3, 499, 0);
		_exit(read(own[2], own, 1) != 0 || passing_send(own[0], "{", 1, &own[1], 1) != 1);
	}
	close(lingers);
	close(go[1]); /* now */
	close(go[0]);
	return pid < 0 ? -errno : pid;
}

/*
 * An eventfd whose last close waits: a thread is inside epoll_wait() with it, holding what the close needs, as
 * the page for its events is one that nobody gives it before passing_let_go().
 */
struct passing_held {
	int fd, ep, fault_fd;
	void *page;
	pthread_t thread;
};

static inline void *passing_wait(void *arg)
{
	struct passing_held *h = arg;

	epoll_wait(h->ep, h->page, 1, -1);
	return NULL;
}

static inline int passing_hold(struct passing_held *h)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct epoll_event ev = { .events = EPOLLIN };
	struct pollfd fault;

	h->fault_fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (h->fault_fd < 0 || ioctl(h->fault_fd, UFFDIO_API, &api))
		return -errno;
	h->page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	range.range = (struct uffdio_range){ (uintptr_t)h->page, 4096 };
	if (ioctl(h->fault_fd, UFFDIO_REGISTER, &range))
		return -errno;
	h->fd = eventfd(1, EFD_CLOEXEC);
	h->ep = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_ctl(h->ep, EPOLL_CTL_ADD, h->fd, &ev) ||
	    pthread_create(&h->thread, NULL, passing_wait, h))
		return -errno;
	fault = (struct pollfd){ .fd = h->fault_fd, .events = POLLIN };
	return poll(&fault, 1, 10000) == 1 ? 0 : -ETIMEDOUT;
}

static inline void passing_let_go(struct passing_held *h)
{
	struct uffdio_zeropage zero = { .range = { (uintptr_t)h->page, 4096 } };

	ioctl(h->fault_fd, UFFDIO_ZEROPAGE, &zero);
	pthread_join(h->thread, NULL);
	munmap(h->page, 4096);
	close(h->ep);
	close(h->fault_fd);
}

#endif
