/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The BPF programs of the guest, their maps, and the pins that outlive the daemon: pages that the
 * host still writes must never go back to the kernel, so whoever takes the pins away makes sure
 * first that the host is done (UNREGISTER acknowledged, or a reset). One thread.
 */
#ifndef PVSCHED_GUEST_PUBLISHER_H
#define PVSCHED_GUEST_PUBLISHER_H

#include <stdbool.h>

#include "error.h"
#include "publish.h"

struct ring_buffer;
struct bpf_object;

struct publisher {
	struct bpf_object *obj;
	struct ring_buffer *bells;
	unsigned int cpus; /* possible ones: a page each */
	struct pvsched_page *pages;
	struct publish_state *state;
	unsigned int attached; /* programs */
};

/* Was there a daemon before that did not end in good order? Its pages may be attached still. */
bool publisher_left_over(void);
/* Takes every pin away but those of what the administrator declared. Only when no page is attached. */
void publisher_unpin(void);

/*
 * Loads, attaches and pins everything; nothing is published before state->cpu[].on. ring: called
 * from publisher_poll() for a CPU whose doorbell must ring. Exit status.
 */
int publisher_open(struct publisher *p, unsigned int cpus,
		   void (*ring)(void *ctx, unsigned int cpu), void *ctx, struct cli_error *e);
/* Readable: publisher_poll(). */
int publisher_fd(const struct publisher *p);
void publisher_poll(struct publisher *p);
/* Frees what this process holds; the pins stay. */
void publisher_close(struct publisher *p);

/* Guest frame of a CPU's page. 0 = not known: errno. */
uint64_t publisher_gfn(const struct publisher *p, unsigned int cpu);

/* A program that saw a page enabled, which no longer is, writes to it no more when this returns 0. Else
 * -errno: it may. */
int publisher_settle(void);

/* For the other commands: maps the pinned pages and state read-only. Exit status: 1 when no daemon has
 * pinned them; p is empty then. */
int publisher_look(struct publisher *p, struct cli_error *e);
/* How many entries declared.h has. Exit status. */
int publisher_tell_declared(unsigned int n, struct cli_error *e);

#endif
