/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The control socket: one JSON object a line, asked and answered (docs/control.md). A thread of its
 * own, so that an operator's tool that does not read delays no VM; it sleeps while nobody asks. Who asks
 * is the kernel's word (SO_PEERCRED): root and the broker's own user see all, others their own VMs.
 */
#ifndef PVSCHED_BROKER_CONTROL_H
#define PVSCHED_BROKER_CONTROL_H

#include <pvsched/pvsched.h>
#include <stdio.h>

#include "server.h"

#define PVSCHED_CONTROL_VERSION 1
#define PVSCHED_CONTROL_LINE	4096 /* longest request */

struct pvsched_control;

/* The control socket that belongs to a broker's: beside it. -ENAMETOOLONG. */
int pvsched_control_path(const char *broker_socket, char *ret_path, size_t size);
/* s stays the caller's; its mutex is taken for each answer. */
int pvsched_control_start(struct pvsched_server *s, const char *path, struct pvsched_control **ret);
void pvsched_control_stop(struct pvsched_control *c);

/* One request's answer, a line with its end. The request is any bytes. */
void pvsched_control_answer(struct pvsched_server *s, uid_t uid, const char *request, size_t len,
			    FILE *out);

#endif
