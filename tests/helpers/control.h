/* SPDX-License-Identifier: GPL-2.0-only */
/* What an operator's tool asks over the control socket, docs/control.md. */
#ifndef PVSCHED_TESTS_CONTROL_H
#define PVSCHED_TESTS_CONTROL_H

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONTROL "/run/pvsched/control.sock"

/* The answer, a line without its end; it is good until the next one. Empty: there was none. */
static inline const char *control_ask(const char *command)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = CONTROL };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), len;
	static char text[2 << 20];
	size_t used = 0;
	ssize_t n = 1;

	len = snprintf(text, sizeof(text), "{\"pvsched\": 1, \"command\": \"%s\"}\n", command);
	if (!connect(fd, (struct sockaddr *)&addr, sizeof(addr)) &&
	    send(fd, text, len, MSG_NOSIGNAL) == len)
		while (n > 0 && (!used || text[used - 1] != '\n')) {
			n = recv(fd, text + used, sizeof(text) - 1 - used, 0);
			used += n > 0 ? n : 0;
		}
	close(fd);
	text[used && text[used - 1] == '\n' ? used - 1 : 0] = 0;
	return text;
}

#endif
