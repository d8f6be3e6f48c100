/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Asks the broker's control socket (docs/control.md). Blocking; one connection for as many questions
 * as one likes.
 */
#ifndef CLI_CONTROL_H
#define CLI_CONTROL_H

#include "error.h"
#include "json/parse.h"

/* socket NULL: $PVSCHED_SOCKET, else the standard one: the broker's, beside which the control socket
 * is. Returns a connection, or -1 with e filled. */
int control_connect(const char *socket, const char *command, struct cli_error *e);
/* The answer, which the caller frees; NULL with e filled: also when it is an error. */
struct json_value *control_ask(int fd, const char *question, const char *command,
			       struct cli_error *e);

#endif
