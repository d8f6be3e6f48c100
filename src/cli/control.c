// SPDX-License-Identifier: GPL-2.0-only
/* Questions to the broker, see control.h. */
#include "control.h"

#include <errno.h>
#include <pvsched/pvsched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/control.h"
#include "json/json.h"
#include "operator.h"

#define DEPTH_MAX  (JSON_DEPTH_MAX - 1) /* what can be printed */
#define ANSWER_MAX (64u << 20)

int control_connect(const char *broker_socket, const char *command, struct cli_error *e)
{
	const struct timeval patience = { .tv_sec = OPERATOR_PATIENCE_S };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *env = getenv("PVSCHED_SOCKET");
	const char *path = broker_socket ? broker_socket : env && *env ? env : PVSCHED_SOCKET;
	int fd, err;

	if (pvsched_control_path(path, addr.sun_path, sizeof(addr.sun_path))) {
		cli_fail(e, CLI_FAILED, command, path, "give a shorter path", "too long");
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) &&
	    !connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	err = errno;
	if (fd >= 0)
		close(fd);
	if (err == ENOENT || err == ECONNREFUSED)
		cli_fail(e, CLI_FAILED, command, addr.sun_path, "start one with 'pvsched serve'",
			 "no broker runs");
	else
		cli_fail(e, CLI_FAILED, command, addr.sun_path, "run it as root", "%s",
			 strerror(err));
	return -1;
}

/* Up to the end of a line, which is cut off; -errno. */
static ssize_t read_line(int fd, char **ret_text)
{
	size_t room = 65536, used = 0;
	char *text = malloc(room), *more;
	ssize_t n;

	while (text) {
		n = recv(fd, text + used, room - used, 0);
		if (n <= 0 || used + n >= ANSWER_MAX) {
			n = n < 0 ? -errno : n ? -EFBIG : -EPIPE;
			free(text);
			return n;
		}
		used += n;
		if (text[used - 1] == '\n') {
			*ret_text = text;
			return used - 1;
		}
		if (used < room)
			continue;
		room *= 2;
		more = realloc(text, room);
		if (!more)
			free(text);
		text = more;
	}
	return -ENOMEM;
}

struct json_value *control_ask(int fd, const char *question, const char *command,
			       struct cli_error *e)
{
	const struct json_value *error;
	struct json_value *v = NULL;
	char line[256], *text = NULL;
	ssize_t n = snprintf(line, sizeof(line), "{\"pvsched\": %d, \"command\": \"%s\"}\n",
			     PVSCHED_CONTROL_VERSION, question);

	n = send(fd, line, n, MSG_NOSIGNAL) == n ? read_line(fd, &text) : -errno;
	if (n < 0) {
		cli_fail(e, CLI_FAILED, command, "broker", "see whether it runs still", "%s",
			 strerror(-n));
		return NULL;
	}
	v = json_parse(text, n, DEPTH_MAX);
	free(text);
	error = json_get(v, "error");
	if (v && !error)
		return v;
	cli_fail(e, CLI_FAILED, command, "broker", "are both of one version?", "%s",
		 error && json_text(json_get(error, "why")) ? json_text(json_get(error, "why"))
							    : "its answer is no JSON");
	json_free(v);
	return NULL;
}
