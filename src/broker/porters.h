/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a client passes may be anything: a socket that lingers, a file whose system is the client's own. To
 * close it, or to let go of a message that holds it, then takes as long as the client likes. So no thread
 * that others wait for ever has one: a message with descriptors is fetched by a porter, a thread for this
 * one errand, with a table of descriptors of its own. It brings what is expected, of a kind whose use never
 * blocks, and is left alone with the rest; what was brought is closed in the same way, when it has served.
 * Each user has a few: one that does not come back costs him, and nobody else. One thread only for each
 * struct, but for what porters do.
 */
#ifndef PVSCHED_BROKER_PORTERS_H
#define PVSCHED_BROKER_PORTERS_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <sys/types.h>

#include "wire.h"

#define PVSCHED_PORTERS 64
#define PVSCHED_PORTERS_UID                                                                        \
	4 /* of them for one user; others than the broker's own leave some over */
#define PVSCHED_PASSED_MAX 2 /* descriptors that a message may bring */
/* Sockets; what clients have, too, of each thread that can be served: a pidfd, an eventfd and a page's map; and
 * what porters bring meanwhile. */
#define PVSCHED_GRAVES_SOCKETS 512
#define PVSCHED_GRAVES_PASSED  3072
#define PVSCHED_GRAVES                                                                             \
	(PVSCHED_GRAVES_SOCKETS + PVSCHED_GRAVES_PASSED + PVSCHED_PORTERS * PVSCHED_PASSED_MAX)

struct pvsched_porters {
	bool open;
	int home_fd; /* readable: one has come back, or brings something */
	int away_fd; /* their end */
	struct {
		bool out;
		uid_t uid;
		pthread_t thread;
		sem_t go; /* the caller has closed what is to be closed: now it may */
	} porter[PVSCHED_PORTERS];
	/* what nobody could close yet */
	struct {
		int fd;
		uid_t uid;
		bool passed; /* it was passed; else a socket */
	} grave[PVSCHED_GRAVES];
	unsigned int graves, passed; /* and how many of them are no sockets */
};

/* What a porter brings. */
struct pvsched_parcel {
	struct pvsched_msg msg;
	int32_t err; /* 0; -EPIPE the client has left, -EPROTO, -EBADF others than it may pass */
	uint32_t porter;
	uint32_t back; /* nothing but that it has come back */
	uint32_t size; /* of the message */
	uint64_t sender; /* as given to fetch */
};

/* -errno. */
int pvsched_porters_open(struct pvsched_porters *p);
/* Waits a moment for those that are out. Every socket of theirs was buried before. */
void pvsched_porters_close(struct pvsched_porters *p);

/* Root, or the broker's own user: who could do as he likes without us. */
bool pvsched_is_operator(uid_t uid);
/* 1 the next message of this socket has descriptors with it, 0 it has none, -errno. It stays there. */
int pvsched_brings_fds(int fd);
/* For a stream before it is read: -errno. A byte out of band would be told of for ever, be skipped by who only
 * looks, and bring descriptors all the same. */
int pvsched_out_of_band_is_inline(int fd);
/* A stream's socket at path that every user may connect to (mode 0666), in place of what is there: who asks is told
 * apart later. From Linux 6.16 on nobody can pass a descriptor to who connects. -errno. */
int pvsched_listen_to_anybody(const char *path, int backlog);
/* As recv() of a byte stream that waits for nothing, -errno. -EPROTO: descriptors come with what is there, and
 * nothing was taken. Any thread. */
ssize_t pvsched_recv_bare(int fd, void *data, size_t size);
/* One goes for the next message, and takes a copy of the socket with it; nobody else reads there until
 * its parcel is here. -EBUSY: none is left for this user; try again when one has come back. */
int pvsched_porters_fetch(struct pvsched_porters *p, int fd, uid_t uid, uint64_t sender);
/* Closes a socket, with whatever waits in it. There must be room: fewer than PVSCHED_GRAVES_SOCKETS wait. */
void pvsched_porters_bury(struct pvsched_porters *p, int fd, uid_t uid);
/* Closes a listening socket. Who connected and was not accepted may have sent something, too. */
void pvsched_porters_bury_listener(struct pvsched_porters *p, int listen_fd);
/* Who is at the other end; -1 = it is not told. */
uid_t pvsched_user_of(int fd);
/*
 * What somebody passed, of whatever kind: to close an eventfd can take for ever, too, where an epoll instance
 * watches it whose owner is kept from going on with that. Closed at the next run; there is room for it while
 * pvsched_porters_has_room(). Below 0: nothing is done.
 */
void pvsched_porters_lay_down(struct pvsched_porters *p, int fd, uid_t uid);
/* For so many sockets more; for so much more that was passed. */
bool pvsched_porters_has_room(const struct pvsched_porters *p, unsigned int sockets);
bool pvsched_porters_has_room_for_passed(const struct pvsched_porters *p, unsigned int n);
/* Tries again to close what waits for that. */
void pvsched_porters_run(struct pvsched_porters *p);
/* For who buries only: those that are back are out no more, and what waits is tried again. */
void pvsched_porters_reap(struct pvsched_porters *p);
/* ms until pvsched_porters_reap() may have something to do; -1 = nobody is out, and nothing waits. */
int pvsched_porters_timeout(const struct pvsched_porters *p);
/* How many sockets of this user wait to be closed, or how much that was passed. */
unsigned int pvsched_porters_graves(const struct pvsched_porters *p, uid_t uid, bool passed);

/* The next that one brings: 1, and its descriptors are the caller's, none of which blocks when it is closed;
 * 0 there is none. */
int pvsched_porters_take(struct pvsched_porters *p, struct pvsched_parcel *ret, int *fds,
			 int *ret_nfds);

#endif
