// SPDX-License-Identifier: GPL-2.0-only
/* Requests to the broker, see operator.h. */
#include "operator.h"

#include <errno.h>
#include <pvsched/pvsched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

const char *operator_socket(const char *socket_path)
{
	const char *env = getenv("PVSCHED_SOCKET");

	return socket_path ? socket_path : env && *env ? env : PVSCHED_SOCKET;
}

/* Returns a connected socket or -errno. */
static int connect_to(const char *path, int flags)
{
	const struct timeval patience = { .tv_sec = OPERATOR_PATIENCE_S };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, err;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0);
	if (fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) &&
	    !connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}

bool operator_listens(const char *socket_path)
{
	int fd = connect_to(operator_socket(socket_path), SOCK_NONBLOCK);

	if (fd >= 0)
		close(fd);
	return fd >= 0 || fd == -EACCES || fd == -EAGAIN;
}

int operator_connect(const char *socket_path, const char *command, struct cli_error *e)
{
	const char *path = operator_socket(socket_path);
	int fd = connect_to(path, 0), err = -fd;

	if (fd >= 0)
		return fd;
	if (err == ENAMETOOLONG)
		cli_fail(e, CLI_FAILED, command, path, "give a shorter path", "too long");
	else if (err == ENOENT || err == ECONNREFUSED)
		cli_fail(e, CLI_FAILED, command, path, "start one with 'pvsched serve'",
			 "no broker runs");
	else
		cli_fail(e, CLI_FAILED, command, path, "run it as root", "%s", strerror(err));
	return -1;
}

int operator_call(int fd, struct pvsched_msg *m, int fd_to_pass)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = m, .iov_len = sizeof(*m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (fd_to_pass >= 0) {
		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd_to_pass, sizeof(int));
	}
	ssize_t n;

	if (sendmsg(fd, &msg, MSG_NOSIGNAL) != sizeof(*m))
		return -EPIPE;
	n = recv(fd, m, sizeof(*m), 0);
	if (n < 0 && errno == EAGAIN)
		return -ETIMEDOUT;
	return n == sizeof(*m) ? m->error : -EPIPE;
}

int operator_find_vm(int fd, const char *operand, uint32_t *ret_vm)
{
	char *end;
	unsigned long number = strtoul(operand, &end, 10);
	uint32_t found = PVSCHED_ALL_VMS;

	if (*operand && !*end && number < 100000) {
		*ret_vm = number;
		return 0;
	}
	/* users choose names: the first that has it may be another's than who is meant */
	for (uint32_t vm = 0;; vm++) {
		struct pvsched_msg m = { .type = PVSCHED_MSG_LIST, .index = vm };
		int err = operator_call(fd, &m, -1);

		if (err == -ERANGE)
			break;
		if (err == -ENOENT)
			continue;
		if (err)
			return err;
		if (strncmp(m.list.name, operand, sizeof(m.list.name)))
			continue;
		if (found != PVSCHED_ALL_VMS)
			return -ENOTUNIQ;
		found = vm;
	}
	if (found == PVSCHED_ALL_VMS)
		return -ENOENT;
	*ret_vm = found;
	return 0;
}

const char *operator_next(int err)
{
	if (err == -ENOENT || err == -ERANGE || err == -ENOTUNIQ)
		return "see 'pvsched list'";
	return err == -EPERM ? "run it as root, or as the broker's user" : NULL;
}

const char *operator_why(int err)
{
	if (err == -ENOENT)
		return "no such VM";
	if (err == -ENOTUNIQ)
		return "several VMs have this name: give the number";
	if (err == -EPIPE)
		return "the broker has ended";
	if (err == -ETIMEDOUT)
		return "the broker does not answer";
	return strerror(-err);
}
