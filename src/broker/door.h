/* SPDX-License-Identifier: GPL-2.0-only */
/* How clients come and go, to what serves them: server.c. */
#ifndef PVSCHED_BROKER_DOOR_H
#define PVSCHED_BROKER_DOOR_H

#include "server.h"

/* Under the mutex; the place is used. */
void pvsched_server_drop_locked(struct pvsched_server *s, struct pvsched_client *c);
/* Nothing more is heard of the client until its next message is here. */
void pvsched_server_send_porter(struct pvsched_server *s, struct pvsched_client *c);
/* A porter has brought this connection's message: the client is heard again. NULL: it has left. */
struct pvsched_client *pvsched_server_porter_back(struct pvsched_server *s, uint64_t id);
/* Porters for those that wait for one. */
void pvsched_server_send_waiting(struct pvsched_server *s);

/* Which process or thread a pidfd is of: 0 it has ended, -EBADF it is none. */
long pvsched_pid_of(int pidfd);
/* Is the process that connected still that one? */
bool pvsched_client_lives(const struct pvsched_client *c);
/* 0, -ESRCH, or -EPERM: it is another process's. */
int pvsched_thread_is_of(pid_t tid, pid_t tgid);

#endif
