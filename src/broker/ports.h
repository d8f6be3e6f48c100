/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guests of VMs that were found, over a byte stream: their VMMs know nothing of us but connect a
 * virtio-serial port to a socket of ours (spec/protocol.md, section 7.2). A register device for each.
 * Pages stay where the guest has them: programs read copies, and a thread of this file's own, which is
 * not real-time, writes the host's words into the guest's memory while the guest's lease lasts.
 * Runs in the broker's main thread, under its mutex where it changes the registry.
 */
#ifndef PVSCHED_BROKER_PORTS_H
#define PVSCHED_BROKER_PORTS_H

#include "found.h"
#include "porters.h"
#include "server.h"

struct pvsched_port;

struct pvsched_ports {
	struct pvsched_server *server;
	struct pvsched_found_vms *found;
	int ep; /* peers are watched here, by data.u32 = tag + index */
	uint32_t tag;
	int listen_fd; /* watched by the caller, by listen_tag; -1 = closed */
	uint32_t listen_tag;
	/* nobody is accepted until then, for want of descriptors or since too many that left cannot be
	 * closed; 0 = all are */
	uint64_t deaf_ns;
	int lapsed_fd; /* watched by the caller: pvsched_ports_lapsed() */
	int wake_fd; /* the thread's */
	bool running, stop;
	pthread_t thread;
	pthread_mutex_t lock; /* of areas, between both threads */
	uint64_t accepted, refused;
	bool said; /* that the memory of one could not be opened */
	uint64_t checked; /* found->changes, then */
	char path[108]; /* of the socket; "" = none */
	struct pvsched_port *port[PVSCHED_VMS]; /* NULL = free */
	struct pvsched_porters porters; /* close what leaves: it may have passed anything */
};

/* The socket is made beside the broker's. 0 or -errno; then the others do nothing. */
int pvsched_ports_open(struct pvsched_ports *p, const char *broker_socket);
void pvsched_ports_close(struct pvsched_ports *p); /* before found VMs' */
/* Closes those that a VM speaks over: before VMs cease to be looked for, by whose finder pages are found. */
void pvsched_ports_end(struct pvsched_ports *p);
void pvsched_ports_accept(struct pvsched_ports *p);
void pvsched_ports_serve(struct pvsched_ports *p, int index);
void pvsched_ports_lapsed(struct pvsched_ports *p);
/* ms until pvsched_ports_run() has something to do, for epoll_wait; -1 = nothing is due. */
int pvsched_ports_timeout(const struct pvsched_ports *p);
/* Listens again: for newcomers, and to ports that said too much. */
void pvsched_ports_run(struct pvsched_ports *p);
/* VMs and vCPUs may have gone since: so do their ports and pages. */
void pvsched_ports_check(struct pvsched_ports *p);

#endif
