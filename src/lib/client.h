/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The connection to the broker: one request, one reply (broker/wire.h). Owned by one pvsched_vm,
 * whose mutex serialises it. A connection that failed once, by end of file, by timeout or by
 * nonsense from the other end, stays failed: nobody knows what the broker made of the request,
 * and hanging up is what makes it restore every thread of this VM.
 */
#ifndef PVSCHED_LIB_CLIENT_H
#define PVSCHED_LIB_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/wire.h"

struct pvsched_client {
	int fd; /* stays open, shut down, after a failure: the VMM may still poll it */
	uint32_t seq;
	bool gone;
	uint64_t deadline_ns; /* of all calls in one entry of the API; 0 = none set yet */
};

int pvsched_client_connect(struct pvsched_client *c, const char *path);
/*
 * Sends *msg with fds, and receives the reply over it. *ret_fd (may be NULL) is the descriptor
 * that came with the reply, or -1; the caller closes it. Returns the reply's error, or -EPIPE the
 * broker is gone, -ETIMEDOUT, -EPROTO; the last three set `gone`.
 */
int pvsched_client_call(struct pvsched_client *c, struct pvsched_msg *msg, const int *fds,
			size_t n_fds, int *ret_fd);
/* Takes what arrived outside a call, without waiting. -EPIPE once gone. */
int pvsched_client_drain(struct pvsched_client *c);
/* As if the broker had: `gone` is set. */
void pvsched_client_hang_up(struct pvsched_client *c);
void pvsched_client_close(struct pvsched_client *c);

#endif
