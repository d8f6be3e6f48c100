/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Clients: the socket, their messages, who may do what. Runs in the broker's main thread, under
 * the broker's mutex where it touches the registry. A client is bounded: one VM, its own
 * threads, fixed-size messages; whatever it sends wrong costs it the connection or an error.
 */
#ifndef PVSCHED_BROKER_SERVER_H
#define PVSCHED_BROKER_SERVER_H

#include <pthread.h>

#include "conf.h"
#include "policies.h"
#include "porters.h"
#include "registry.h"
#include "wire.h"

/* The last places are for operators: root's, when all others are taken. */
#define PVSCHED_PLACES	   (PVSCHED_VMS + 16)
#define PVSCHED_SAID_USERS 16

/* A client; or a VM that was found (found.h): its VMM knows nothing of us, so there is no socket. */
struct pvsched_port;

/* Of what the guest of a VM that was found says over its port, what came to nothing. */
struct pvsched_said {
	uint64_t refused[PVSCHED_R_MAX]; /* accesses, by why */
	uint64_t skipped; /* bytes that are of no frame */
	uint64_t resets; /* of the register device */
	uint64_t held; /* times that it had to wait, having said too much */
	uint64_t ports; /* over which it has spoken, one after the other */
};

struct pvsched_client {
	int fd; /* -1 = free, or found */
	uint64_t kvm; /* found: which of the process's VMs; 0 = not found */
	int pidfd; /* of its process; found: readable when that has ended. -1 = none, before Linux 6.5 */
	pid_t pid;
	uint64_t start; /* of the process, since pids are reused; not if found */
	uint64_t id; /* of the connection, since places are */
	uint64_t joined_ns; /* when it connected; 0 = it has said what it is here for */
	bool fetched; /* a porter is out for its next message */
	bool waits; /* its next message waits for a porter */
	uid_t uid;
	bool hello; /* it is a VM */
	bool speaks; /* found, and its guest has enabled a page */
	bool chosen; /* its policy is an operator's, who has the last word until SIGHUP */
	uint32_t vm, vcpus;
	int policy; /* index of its set */
	char name[64];
	char vmm[16]; /* found: its process's name */
	int16_t slot[PVSCHED_VCPUS_MAX]; /* -1 = none */
	const struct pvsched_port *port; /* found: over which its guest speaks; NULL = none */
	struct pvsched_said said; /* over earlier ones */
};

struct pvsched_server {
	struct pvsched_registry *reg;
	struct pvsched_policies *policies;
	struct pvsched_conf conf; /* for whom what applies */
	pthread_mutex_t *mutex;
	int listen_fd;
	int spare_fd; /* given up to accept, and refuse, when there is no other */
	int ep; /* what wakes the main thread, for clients by their places; 0 = the caller looks */
	uint32_t tag; /* for listen_fd */
	bool retry; /* a porter was not to be had, for want of memory */
	bool deaf; /* nobody is accepted: there is no room to refuse anybody */
	uint64_t last_id; /* of a connection */
	struct pvsched_porters porters;
	/* Another policy is the standard; its predecessor is still loaded. Under the mutex. NULL =
	 * nobody minds. */
	int (*on_standard)(void *ctx, struct pvsched_programs *p);
	/* A client takes a VM over that was found, and that is dropped then. Under the mutex. NULL = as
	 * above */
	void (*on_taken)(void *ctx, int place);
	uint64_t features; /* on offer */
	uint64_t refused;
	bool fixed_policy; /* operators may look, but not swap */
	bool overruled; /* so the standard of all is an operator's, whatever sections say */
	bool overruled_since; /* a new configuration was asked for, that is not in force yet */
	/* who asked for the policy that is being loaded, and for what; indices of clients, -1 = gone */
	struct pvsched_pending {
		int operator, target;
		bool all;
		bool superseded; /* whom it was for has got another one since */
		struct pvsched_msg msg;
	} pending;
	bool joined; /* a client said hello */
	pid_t changed; /* a process that ceased to be a client, or became one; 0 = none */
	struct pvsched_saying {
		uint64_t paid_at;
		bool out; /* more is not said, and that was said */
	} said_of[PVSCHED_SAID_USERS]; /* by user, see pvsched_server_foreign() */
	char said[256]; /* the last line that loading a policy said */
	unsigned int ceiling; /* highest SCHED_FIFO priority that any vCPU may have */
	/* agents and guardian go above it; -errno: they stay where they are */
	int (*set_ceiling)(void *ctx, unsigned int ceiling);
	void *ctx;
	struct pvsched_client client[PVSCHED_PLACES];
};

/* Binds and listens; path's directory is made if absent. -EADDRINUSE a broker listens there. */
int pvsched_server_open(struct pvsched_server *s, const char *path);
void pvsched_server_close(struct pvsched_server *s, const char *path);
/* Accepts one; returns the client's index, or -errno. */
int pvsched_server_accept(struct pvsched_server *s);
/* A free place for a VM of this user: -ENOSPC, or -EUSERS he has his share. It is taken once it has a fd or
 * a kvm, and the uid. */
int pvsched_server_place(struct pvsched_server *s, uid_t uid);
/* As pvsched_registry_add, for a client that has said hello or was found; also -EUSERS, as above. */
int pvsched_server_add(struct pvsched_server *s, const struct pvsched_client *c,
		       const struct pvsched_thread_id *t);
/* What clients of this user left in the registry. */
void pvsched_server_lay_down_left(struct pvsched_server *s, uid_t uid);
/* Gives up whatever is at a place: threads are restored, slots free. */
void pvsched_server_drop(struct pvsched_server *s, int index);
/* The id of the policy that serves this vCPU: its VM's, or 0, none, where the configuration leaves it
 * out. */
uint32_t pvsched_server_policy_id(const struct pvsched_server *s, const struct pvsched_client *c,
				  unsigned int vcpu);
/* One more use of what the configuration gives this VM: an index, -EACCES not to be served, or as
 * pvsched_policies_use. */
int pvsched_server_choose(struct pvsched_server *s, const struct pvsched_client *c);
/* A VM that was found has its first page, or its last one no more: it is served as clients are, or as
 * those that are found, unless an operator chose. */
void pvsched_server_speak(struct pvsched_server *s, struct pvsched_client *c, bool speaks);
/* What the configuration says of this VM's budget holds, and nothing else: 0 or as give_budget. */
int pvsched_server_limit(struct pvsched_server *s, struct pvsched_client *c);
/* A new VM gets its number and budget. As pvsched_registry_vm and above. */
int pvsched_server_admit(struct pvsched_server *s, struct pvsched_client *c);
/* The VM gets this policy, a use of which becomes its own. */
void pvsched_server_move(struct pvsched_server *s, struct pvsched_client *c, int policy);
/* Is this process a client that has said hello? */
bool pvsched_server_knows(const struct pvsched_server *s, pid_t pid);
/* Handles what can be read. The client may be gone afterwards (fd -1). */
void pvsched_server_serve(struct pvsched_server *s, int index);
/* When porters.home_fd is readable: handles what they bring. */
void pvsched_server_ported(struct pvsched_server *s);
/* Drops who has been silent for too long; ms until the next such, -1 = nobody is. */
void pvsched_server_run(struct pvsched_server *s);
int pvsched_server_timeout(const struct pvsched_server *s);
/* When policies->loading.done_fd is readable: moves the VMs, and answers the operator. */
void pvsched_server_loaded(struct pvsched_server *s);

/* What somebody else set on vCPU threads: `say` gets a line for each that was not said yet. */
void pvsched_server_foreign(struct pvsched_server *s, pvsched_say_fn say, void *ctx);
/* server_budget.c: PVSCHED_MSG_BUDGET of an operator. Returns 0 or -errno. */
int pvsched_server_budget(struct pvsched_server *s, struct pvsched_msg *m);
/* The budget's own values hold from now on, of a VM or with c NULL the host; for the others, what
 * would hold without. Values are in their ranges. -EPERM: a ceiling that agents cannot go above. */
int pvsched_server_give_budget(struct pvsched_server *s, struct pvsched_client *c,
			       const struct pvsched_budget *b);

#endif
