// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * SOCK_SEQPACKET client of the broker. All waits are poll() with one deadline on the monotonic
 * clock; the socket itself never blocks. State and locking: client.h.
 */
#include "lib/client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <pvsched/pvsched.h>

#include "lib/clock.h"

#define FDS_MAX 4 /* per message; the protocol uses at most two */

#define DRAIN_MOST 64 /* messages: poll tells of more */

static int fail(struct pvsched_client *c, int err)
{
	if (!c->gone)
		shutdown(c->fd, SHUT_RDWR);
	c->gone = true;
	return err;
}

/* A signal begins the kernel's wait anew, within the deadline. */
static int connect_by(int fd, const struct sockaddr_un *addr, uint64_t deadline)
{
	while (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)))
		if (errno != EINTR || now_ns() >= deadline)
			return errno == EAGAIN || errno == EINTR ? -ETIMEDOUT : -errno;
	return 0;
}

int pvsched_client_connect(struct pvsched_client *c, const char *path)
{
	const uint64_t deadline = now_ns() + PVSCHED_TIMEOUT_MS * 1000000ull;
	/* Where connect() on a local socket waits, for a full backlog, this bounds the wait. */
	const struct timeval timeout = { .tv_sec = PVSCHED_TIMEOUT_MS / 1000,
					 .tv_usec = PVSCHED_TIMEOUT_MS % 1000 * 1000 };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, err;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	err = setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout))
		      ? -errno
		      : connect_by(fd, &addr, deadline);
	if (err) {
		close(fd);
		return err;
	}
	*c = (struct pvsched_client){ .fd = fd, .deadline_ns = deadline };
	return 0;
}

static int wait_for(struct pvsched_client *c, short events)
{
	struct pollfd pfd = { .fd = c->fd, .events = events };

	for (;;) {
		uint64_t now = now_ns();
		int n;

		if (now >= c->deadline_ns)
			return -ETIMEDOUT;
		/* rounded up: a poll of 0 ms would spin through the last millisecond */
		n = poll(&pfd, 1, (c->deadline_ns - now + 999999) / 1000000);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

static int send_request(struct pvsched_client *c, const struct pvsched_msg *msg, const int *fds,
			size_t n_fds)
{
	char control[CMSG_SPACE(FDS_MAX * sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = (void *)msg, .iov_len = sizeof(*msg) };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;
	int err;

	if (n_fds) {
		hdr.msg_control = control;
		hdr.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&hdr);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, n_fds * sizeof(int));
	}
	while (sendmsg(c->fd, &hdr, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		if (errno == EAGAIN) {
			err = wait_for(c, POLLOUT);
			if (err)
				return err;
		} else if (errno == ECONNRESET) {
			return -EPIPE;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

/* Keeps the first descriptor of a message in *ret_fd and closes the others. */
static void take_fds(struct msghdr *hdr, int *ret_fd)
{
	struct cmsghdr *cmsg;

	for (cmsg = CMSG_FIRSTHDR(hdr); cmsg; cmsg = CMSG_NXTHDR(hdr, cmsg)) {
		size_t n;

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
			if (*ret_fd < 0)
				*ret_fd = fd;
			else
				close(fd);
		}
	}
}

/* One message without waiting: 0, -EAGAIN, -EPIPE, -EPROTO. */
static int receive(struct pvsched_client *c, struct pvsched_msg *ret_msg, int *ret_fd)
{
	union {
		char buf[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct pvsched_msg msg;
	struct iovec iov = { .iov_base = &msg, .iov_len = sizeof(msg) };
	struct msghdr hdr = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	int fd = -1;
	ssize_t n;

	do
		n = recvmsg(c->fd, &hdr, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : errno == ECONNRESET ? -EPIPE : -errno;
	take_fds(&hdr, &fd);
	if (n != sizeof(msg) || hdr.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		if (fd >= 0)
			close(fd);
		return n ? -EPROTO : -EPIPE;
	}
	*ret_msg = msg;
	*ret_fd = fd;
	return 0;
}

int pvsched_client_call(struct pvsched_client *c, struct pvsched_msg *msg, const int *fds,
			size_t n_fds, int *ret_fd)
{
	struct pvsched_msg reply;
	int err, fd;

	if (c->gone)
		return -EPIPE;
	if (!c->deadline_ns)
		c->deadline_ns = now_ns() + PVSCHED_TIMEOUT_MS * 1000000ull;
	msg->seq = ++c->seq;
	err = send_request(c, msg, fds, n_fds);
	if (err)
		return fail(c, err);
	for (;;) {
		err = receive(c, &reply, &fd);
		if (err == -EAGAIN) {
			err = wait_for(c, POLLIN);
			if (!err)
				continue;
		}
		if (err)
			return fail(c, err);
		if (reply.seq == msg->seq)
			break;
		if (fd >= 0) /* unasked: nothing of the protocol, and nothing to trust */
			close(fd);
		if (now_ns() >= c->deadline_ns) /* nor does it prolong the wait */
			return fail(c, -ETIMEDOUT);
	}
	if (reply.type != msg->type || reply.error > 0 || reply.error < -4095) {
		if (fd >= 0)
			close(fd);
		return fail(c, -EPROTO);
	}
	if (fd >= 0 && (!ret_fd || reply.error)) {
		close(fd);
		fd = -1;
	}
	*msg = reply;
	if (ret_fd && !reply.error)
		*ret_fd = fd;
	return reply.error;
}

int pvsched_client_drain(struct pvsched_client *c)
{
	struct pvsched_msg msg;
	int err = 0, fd;

	if (c->gone)
		return -EPIPE;
	for (int i = 0; i < DRAIN_MOST && !err; i++) {
		err = receive(c, &msg, &fd);
		if (!err && fd >= 0)
			close(fd);
	}
	return !err || err == -EAGAIN ? 0 : fail(c, -EPIPE);
}

void pvsched_client_hang_up(struct pvsched_client *c)
{
	fail(c, 0);
}

void pvsched_client_close(struct pvsched_client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->gone = true;
}
