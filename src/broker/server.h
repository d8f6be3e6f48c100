/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Clients: the socket, their messages, who may do what. Runs in the broker's main thread, under
 * the broker's mutex where it touches the registry. A client is bounded: one VM, its own
 * threads, fixed-size messages; whatever it sends wrong costs it the connection or an error.
 */
#ifndef PVSCHED_BROKER_SERVER_H
#define PVSCHED_BROKER_SERVER_H

#include <pthread.h>

#include "policies.h"
#include "registry.h"
#include "wire.h"

struct pvsched_client {
	int fd; /* -1 = free */
	pid_t pid;
	uid_t uid;
	bool hello;
	uint32_t vm, vcpus;
	int policy; /* index of its set */
	char name[64];
	int16_t slot[PVSCHED_VCPUS_MAX]; /* -1 = none */
};

struct pvsched_server {
	struct pvsched_registry *reg;
	struct pvsched_policies *policies;
	pthread_mutex_t *mutex;
	int listen_fd;
	int spare_fd; /* given up to accept, and refuse, when there is no other */
	/* Another policy is the standard; its predecessor is still loaded. Under the mutex. NULL =
	 * nobody minds. */
	int (*on_standard)(void *ctx, struct pvsched_programs *p);
	void *ctx;
	uint64_t features; /* on offer */
	uint64_t refused;
	bool fixed_policy; /* operators may look, but not swap */
	/* who asked for the policy that is being loaded, and for what; indices of clients, -1 = gone */
	struct pvsched_pending {
		int operator, target;
		bool all;
		struct pvsched_msg msg;
	} pending;
	char said[256]; /* the last line that loading a policy said */
	struct pvsched_client client[PVSCHED_VMS];
};

/* Binds and listens; path's directory is made if absent. -EADDRINUSE a broker listens there. */
int pvsched_server_open(struct pvsched_server *s, const char *path);
void pvsched_server_close(struct pvsched_server *s, const char *path);
/* Accepts one; returns the client's index, or -errno. */
int pvsched_server_accept(struct pvsched_server *s);
void pvsched_server_drop(struct pvsched_server *s, int index); /* as if it had hung up */
/* Handles what can be read. The client may be gone afterwards (fd -1). */
void pvsched_server_serve(struct pvsched_server *s, int index);
/* When policies->loading.done_fd is readable: moves the VMs, and answers the operator. */
void pvsched_server_loaded(struct pvsched_server *s);

#endif
