/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The operator's side of the broker's socket: one request, one answer, no VM. Blocks until the
 * broker has done it; loading a policy takes as long as the kernel's verifier does.
 */
#ifndef CLI_OPERATOR_H
#define CLI_OPERATOR_H

#include <stdbool.h>

#include "broker/wire.h"
#include "error.h"

#define OPERATOR_PATIENCE_S 600 /* 6.1, emulated on a busy machine, verifies for minutes */

/* Connects; returns a file descriptor, or -1 with e filled. socket NULL = the default. */
int operator_connect(const char *socket, const char *command, struct cli_error *e);
/* fd_to_pass: -1 = none. Returns the broker's answer (0 or -errno); -EPIPE when it is gone,
 * -ETIMEDOUT when it says nothing for OPERATOR_PATIENCE_S. */
int operator_call(int fd, struct pvsched_msg *msg, int fd_to_pass);
/* The option's, else $PVSCHED_SOCKET, else the default. */
const char *operator_socket(const char *socket_path);
/* Whether a broker is at that socket, though it may be busy, or not for this user. Does not block. */
bool operator_listens(const char *socket);
/* The number of the VM that an operand names: a number, or a name of 'pvsched list'. -ENOENT,
 * -ENOTUNIQ several have it. */
int operator_find_vm(int fd, const char *operand, uint32_t *ret_vm);
/* What such an error, or another of a request about a VM, says. */
const char *operator_why(int err);
/* And what to do next; NULL = nothing can be said. */
const char *operator_next(int err);

#endif
