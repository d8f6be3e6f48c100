/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The other end of libpvsched's socket, for tests of the library alone: a thread that speaks
 * broker/wire.h, remembers what it was asked, and misbehaves on request. It schedules nothing.
 * Page maps are memfds unless make_map says otherwise. The fields that a test sets are set before
 * the call that they affect, and those it reads are read after a call was answered: the socket
 * orders both.
 */
#ifndef PVSCHED_TESTS_LIB_PEER_H
#define PVSCHED_TESTS_LIB_PEER_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <pvsched/pvsched.h>

#include <broker/wire.h>

#define PEER_TYPES    (PVSCHED_MSG_STATS + 1)
#define PEER_VCPUS    PVSCHED_VCPUS_MAX
#define PEER_FEATURES (PVSCHED_F_TICKET | PVSCHED_F_NEXT_EVENT | PVSCHED_F_PENDING)

struct peer {
	/* what to do, per request type */
	int error[PEER_TYPES]; /* answer with -errno */
	bool silent[PEER_TYPES]; /* do not answer */
	bool hang_up[PEER_TYPES]; /* close the connection instead */
	bool stale_first
		[PEER_TYPES]; /* another reply, with a descriptor, comes before the right one */
	bool short_reply[PEER_TYPES];
	bool wrong_type[PEER_TYPES];
	bool no_fd; /* ADD_VCPU is answered without a page map */
	bool two_fds;
	bool fresh_maps; /* a new page at each ADD_VCPU, as a new broker has */
	uint32_t version;
	uint64_t features;
	int (*make_map)(void); /* -1: failed */
	void (*on_request)(struct peer *peer,
			   const struct pvsched_msg *msg); /* before the answer */

	/* what happened */
	unsigned int count[PEER_TYPES];
	struct pvsched_msg last[PEER_TYPES];
	char fd_kind[2][64]; /* of ADD_VCPU, as /proc/self/fd shows them */
	int pidfd, doorbell; /* of the last ADD_VCPU */
	int map[PEER_VCPUS];
	struct pvsched_page *page[PEER_VCPUS]; /* mapped here, too, as BPF sees it */

	char dir[32], path[64];
	int listener, conn;
	bool connected; /* atomic */
	pthread_t thread;
};

static inline int peer_memfd(void)
{
	int fd = memfd_create("page", MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, PVSCHED_PAGE_SIZE)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static inline void peer_send(struct peer *p, const struct pvsched_msg *msg, size_t size,
			     const int *fds, size_t n_fds)
{
	char control[CMSG_SPACE(2 * sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = (void *)msg, .iov_len = size };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n_fds) {
		struct cmsghdr *cmsg;

		hdr.msg_control = control;
		hdr.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&hdr);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, n_fds * sizeof(int));
	}
	if (sendmsg(p->conn, &hdr, MSG_NOSIGNAL) < 0)
		perror("# peer: sendmsg");
}

static inline void peer_take_vcpu(struct peer *p, const struct pvsched_msg *msg, struct msghdr *hdr)
{
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(hdr);
	int fds[2] = { -1, -1 };

	if (cmsg && cmsg->cmsg_len == CMSG_LEN(sizeof(fds)))
		memcpy(fds, CMSG_DATA(cmsg), sizeof(fds));
	for (int i = 0; i < 2; i++) {
		char link[40];
		ssize_t n;

		snprintf(link, sizeof(link), "/proc/self/fd/%d", fds[i]);
		n = readlink(link, p->fd_kind[i], sizeof(p->fd_kind[i]) - 1);
		p->fd_kind[i][n > 0 ? n : 0] = 0;
	}
	if (p->pidfd >= 0)
		close(p->pidfd);
	if (p->doorbell >= 0)
		close(p->doorbell);
	p->pidfd = fds[0];
	p->doorbell = fds[1];
	if (p->fresh_maps && p->map[msg->index] >= 0) {
		munmap(p->page[msg->index], PVSCHED_PAGE_SIZE);
		close(p->map[msg->index]);
		p->map[msg->index] = -1;
	}
	if (p->map[msg->index] < 0) {
		p->map[msg->index] = p->make_map();
		p->page[msg->index] = mmap(NULL, PVSCHED_PAGE_SIZE, PROT_READ | PROT_WRITE,
					   MAP_SHARED, p->map[msg->index], 0);
	}
}

/* false: hang up */
static inline bool peer_answer(struct peer *p, struct pvsched_msg *msg, struct msghdr *hdr)
{
	uint32_t type = msg->type;
	struct pvsched_msg other = { .type = type, .seq = msg->seq + 1000 };
	int fds[2];
	size_t n_fds = 0;

	if (type == 0 || type >= PEER_TYPES || msg->index >= PEER_VCPUS)
		return false;
	p->last[type] = *msg;
	p->count[type]++;
	if (type == PVSCHED_MSG_ADD_VCPU)
		peer_take_vcpu(p, msg, hdr);
	if (p->on_request)
		p->on_request(p, msg);
	if (p->hang_up[type])
		return false;
	if (p->silent[type])
		return true;
	msg->error = p->error[type];
	if (type == PVSCHED_MSG_HELLO) {
		msg->hello.version = p->version;
		msg->hello.host_features = p->features;
	}
	if (type == PVSCHED_MSG_STATS) {
		memset(msg->pad, 0, sizeof(msg->pad));
		msg->stats.boosts = 11;
		msg->stats.boosted_ns = 12;
		msg->stats.run_ns = 13;
		msg->stats.steal_ns = 14;
		msg->stats.denied_throttle = 15;
		msg->stats.denied_gap = 16;
		msg->stats.expired = 17;
		msg->stats.bad_words = 18;
		msg->stats.doorbells = 19;
		msg->stats.grant = 20;
	}
	if (type == PVSCHED_MSG_ADD_VCPU && !p->no_fd) {
		fds[0] = fds[1] = p->map[msg->index];
		n_fds = p->two_fds ? 2 : 1;
	}
	if (p->stale_first[type])
		peer_send(p, &other, sizeof(other), &p->listener, 1);
	if (p->wrong_type[type])
		msg->type++;
	peer_send(p, msg, p->short_reply[type] ? sizeof(*msg) - 1 : sizeof(*msg), fds, n_fds);
	return true;
}

static inline void *peer_main(void *arg)
{
	struct peer *p = arg;

	for (;;) {
		p->conn = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
		if (p->conn < 0)
			return NULL; /* stopped: the listener was shut down */
		__atomic_store_n(&p->connected, true, __ATOMIC_RELEASE);
		for (;;) {
			char control[CMSG_SPACE(2 * sizeof(int))];
			struct pvsched_msg msg;
			struct iovec iov = { .iov_base = &msg, .iov_len = sizeof(msg) };
			struct msghdr hdr = { .msg_iov = &iov,
					      .msg_iovlen = 1,
					      .msg_control = control,
					      .msg_controllen = sizeof(control) };

			if (recvmsg(p->conn, &hdr, MSG_CMSG_CLOEXEC) != sizeof(msg) ||
			    !peer_answer(p, &msg, &hdr))
				break;
		}
		close(p->conn);
		__atomic_store_n(&p->connected, false, __ATOMIC_RELEASE);
	}
}

/* NULL with a message when the machine cannot (no sockets, no threads). */
static inline struct peer *peer_start(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct peer *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->version = PVSCHED_WIRE_VERSION;
	p->features = PEER_FEATURES;
	p->make_map = peer_memfd;
	p->pidfd = p->doorbell = -1;
	for (int i = 0; i < PEER_VCPUS; i++)
		p->map[i] = -1;
	strcpy(p->dir, "/tmp/pvsched-peer-XXXXXX");
	if (!mkdtemp(p->dir))
		goto fail;
	snprintf(p->path, sizeof(p->path), "%s/sock", p->dir);
	strcpy(addr.sun_path, p->path);
	p->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (p->listener < 0 || bind(p->listener, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(p->listener, 4) || pthread_create(&p->thread, NULL, peer_main, p))
		goto fail;
	return p;
fail:
	perror("# peer");
	free(p);
	return NULL;
}

/* As a broker that dies: the connection is closed before this returns. */
static inline void peer_hang_up(struct peer *p)
{
	shutdown(p->conn, SHUT_RDWR);
}

/* After pvsched_vm__close(). */
static inline void peer_stop(struct peer *p)
{
	shutdown(p->listener, SHUT_RDWR);
	pthread_join(p->thread, NULL);
	close(p->listener);
	if (p->pidfd >= 0)
		close(p->pidfd);
	if (p->doorbell >= 0)
		close(p->doorbell);
	for (int i = 0; i < PEER_VCPUS; i++) {
		if (p->map[i] >= 0) {
			munmap(p->page[i], PVSCHED_PAGE_SIZE);
			close(p->map[i]);
		}
	}
	unlink(p->path);
	rmdir(p->dir);
	free(p);
}

#endif
