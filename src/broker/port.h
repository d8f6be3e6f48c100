/* SPDX-License-Identifier: GPL-2.0-only */
/* A port, to the two files that serve it: ports.c its socket, areas.c its pages. */
#ifndef PVSCHED_BROKER_PORT_H
#define PVSCHED_BROKER_PORT_H

#include "../actuator/monotonic.h"
#include "ports.h"
#include "transport/stream.h"

#define PVSCHED_AREA_WORDS 16 /* of lines 3 and 4: the host's */

/* Where a page's frame is now. */
enum pvsched_area_at {
	PVSCHED_AREA_HERE, /* where it was */
	PVSCHED_AREA_AWAY, /* nowhere */
	PVSCHED_AREA_ELSEWHERE,
};

/* A page that is attached. */
struct pvsched_area {
	uint64_t hva; /* 0 = not attached */
	uint64_t gfn; /* what is there, as long as the VM's slots say so */
	uint64_t since_ns; /* when it was attached */
	struct pvsched_page
		*copy; /* own mapping of what programs and agents write; NULL = not enabled */
	uint64_t lease, lease_ns;
	enum pvsched_area_at at;
	bool lapsed; /* it is nobody's page any more: nothing is written */
	__u64 told[PVSCHED_AREA_WORDS];
};

struct pvsched_port {
	struct pvsched_ports *all;
	uint64_t number; /* in the order of their coming */
	int fd;
	pid_t pid;
	uid_t uid;
	uint64_t start; /* of the process, since pids are reused */
	int mem_fd; /* its memory, which stays that one whatever it executes, and when it is gone */
	int place; /* of its VM among the server's clients; -1 = nothing was said yet */
	uint64_t kvm;
	bool deaf; /* an answer could not be sent */
	unsigned int enabled;
	uint64_t slots; /* of the VM when every page was seen where it is written; 0 = not since */
	uint64_t register_paid_at; /* the rate's word of REGISTER */
	uint64_t heard_ns; /* up to when what it said has been paid for; see ports.c */
	uint64_t mute_ns; /* it is not listened to until then; 0 = it is */
	uint64_t held; /* times that it was not */
	struct pvsched_device dev;
	struct pvsched_stream stream;
	struct pvsched_area area[PVSCHED_VCPUS_MAX];
};

static inline struct pvsched_client *pvsched_port_client(const struct pvsched_port *p)
{
	return &p->all->server->client[p->place];
}

/* False: its VM has gone, and another may have its place. */
static inline bool pvsched_port_has_vm(const struct pvsched_port *p)
{
	return pvsched_port_client(p)->kvm == p->kvm && pvsched_port_client(p)->pid == p->pid;
}

/* Counted since the VM was found, over all its ports. Under the server's mutex. */
static inline void pvsched_port_said(const struct pvsched_client *c, struct pvsched_said *ret)
{
	*ret = c->said;
	if (!c->port)
		return;
	for (int i = 0; i < PVSCHED_R_MAX; i++)
		ret->refused[i] += c->port->dev.errors[i];
	ret->skipped += c->port->stream.skipped;
	ret->resets += c->port->dev.epoch;
	ret->held += c->port->held;
	ret->ports++;
}

/* Of a device whose context is the port. Under the server's mutex. */
extern const struct pvsched_device_ops pvsched_area_ops;
/* The thread that writes the host's words; arg: the ports. */
void *pvsched_areas_write(void *arg);
/* Detaches pages of vCPUs that have gone. */
void pvsched_areas_check(struct pvsched_port *p);

#endif
