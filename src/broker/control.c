// SPDX-License-Identifier: GPL-2.0-only
/* Operators' questions, see control.h. */
#include "control.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../privilege/caps.h"
#include "../privilege/thread.h"
#include "json/parse.h"
#include "porters.h"
#include "report.h"
#include "text.h"
#include "../actuator/monotonic.h"

#define PEERS_MAX   16
#define OTHERS_MAX  12 /* of them root's are not more: that many others cannot keep him out */
#define SHARE_MAX   4 /* of one user of these */
#define DEPTH_MAX   4 /* of a request */
#define PATIENCE_NS 1000000000ull /* who has not read his answer by then is dropped */

struct peer {
	int fd; /* -1 = free */
	uid_t uid;
	uint64_t heard; /* when he came, or asked last: numbers in their order */
	size_t used;
	char line[PVSCHED_CONTROL_LINE];
	/* on its way, and until it has left nothing more of his is looked at; NULL = none */
	struct pvsched_text answer;
	size_t sent;
	uint64_t until_ns;
};

struct pvsched_control {
	struct pvsched_server *server;
	pthread_t thread;
	bool running;
	int listen_fd, stop_fd;
	uint64_t heard;
	char path[PATH_MAX];
	struct peer peer[PEERS_MAX];
	struct pvsched_porters porters; /* close what leaves: it may have passed anything */
};

int pvsched_control_path(const char *broker_socket, char *ret_path, size_t size)
{
	char copy[PATH_MAX];
	int n;

	snprintf(copy, sizeof(copy), "%s", broker_socket);
	n = snprintf(ret_path, size, "%s/control.sock", dirname(copy));
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static void put_error(struct json *j, const char *code, const char *why)
{
	json_object(j, "error");
	json_str(j, "code", code);
	json_str(j, "why", why);
	json_end(j, '}');
}

static void command(struct pvsched_server *s, uid_t uid, const char *name, struct json *j)
{
	bool is_list = !strcmp(name, "list");

	if (!is_list && strcmp(name, "stat")) {
		put_error(j, "ENOENT", "no such command: use list or stat");
		return;
	}
	json_u64(j, "now_ns", now_ns());
	pthread_mutex_lock(s->mutex);
	(is_list ? pvsched_report_list : pvsched_report_stat)(s, uid == geteuid() ? 0 : uid, j);
	pthread_mutex_unlock(s->mutex);
}

void pvsched_control_answer(struct pvsched_server *s, uid_t uid, const char *request, size_t len,
			    FILE *out)
{
	struct json_value *v = json_parse(request, len, DEPTH_MAX);
	const char *name = json_text(json_get(v, "command"));
	struct json j;

	json_init(&j, out);
	json_object_inline(&j, NULL);
	json_u64(&j, "pvsched", PVSCHED_CONTROL_VERSION);
	if (!json_is_object(v))
		put_error(&j, "EINVAL", "the request is no JSON object of one line");
	else if (json_number(json_get(v, "pvsched")) != PVSCHED_CONTROL_VERSION)
		put_error(&j, "EPROTO",
			  "the request's \"pvsched\" is not 1, this broker's version");
	else if (!name)
		put_error(&j, "EINVAL", "the request has no \"command\"");
	else
		command(s, uid, name, &j);
	json_end(&j, '}');
	json_free(v);
}

static void drop(struct pvsched_control *c, struct peer *p)
{
	pvsched_porters_bury(&c->porters, p->fd, p->uid);
	p->fd = -1;
	pvsched_text_free(&p->answer);
}

static bool has_line(const struct peer *p)
{
	return p->fd >= 0 && !p->answer.data && memchr(p->line, '\n', p->used);
}

/* As much of the answer as goes without waiting. */
static int send_some(struct peer *p)
{
	ssize_t n = send(p->fd, p->answer.data + p->sent, p->answer.size - p->sent,
			 MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN)
		return -errno;
	p->sent += n < 0 ? 0 : n;
	if (p->sent < p->answer.size)
		return now_ns() < p->until_ns ? 0 : -ETIMEDOUT;
	pvsched_text_free(&p->answer);
	return 0;
}

/* The first of his lines. */
static int answer(struct pvsched_control *c, struct peer *p)
{
	size_t len = (char *)memchr(p->line, '\n', p->used) - p->line;
	FILE *f = pvsched_text_open(&p->answer);
	bool whole;

	if (!f)
		return -ENOMEM;
	p->heard = ++c->heard;
	pvsched_control_answer(c->server, p->uid, p->line, len, f);
	whole = !ferror(f);
	if (fclose(f) || !whole)
		return -ENOMEM;
	p->used -= len + 1;
	memmove(p->line, p->line + len + 1, p->used);
	p->sent = 0;
	p->until_ns = now_ns() + PATIENCE_NS;
	return send_some(p);
}

static int receive(struct peer *p)
{
	ssize_t n = pvsched_recv_bare(p->fd, p->line + p->used, sizeof(p->line) - p->used);

	if (n <= 0)
		return !n ? -EPIPE : n == -EAGAIN ? 0 : n;
	p->used += n;
	/* a line that is too long costs the connection */
	return p->used == sizeof(p->line) && !has_line(p) ? -EMSGSIZE : 0;
}

/* One answer at a time, and the next peer's turn: nobody else waits for who reads slowly. */
static void serve(struct pvsched_control *c, struct peer *p, bool ready)
{
	int err = 0;

	if (p->answer.data)
		err = send_some(p);
	else if (ready && !has_line(p))
		err = receive(p);
	if (!err && has_line(p))
		err = answer(c, p);
	if (err)
		drop(c, p);
}

/* Of whom nothing was heard for longest: among all, all but root, or one user's. */
static struct peer *stalest(struct pvsched_control *c, bool roots, const uid_t *uid)
{
	struct peer *found = NULL;

	for (int i = 0; i < PEERS_MAX; i++) {
		struct peer *p = &c->peer[i];

		if (p->fd < 0 || (!roots && pvsched_is_operator(p->uid)) || (uid && p->uid != *uid))
			continue;
		if (!found || p->heard < found->heard)
			found = p;
	}
	return found;
}

/* A connection may be held and be silent, so a newcomer has the place of one that is. NULL: root has all. */
static struct peer *make_place(struct pvsched_control *c, uid_t uid)
{
	unsigned int all = 0, others = 0, own = 0;
	struct peer *out = NULL;

	for (int i = 0; i < PEERS_MAX; i++) {
		if (c->peer[i].fd < 0)
			continue;
		all++;
		others += !pvsched_is_operator(c->peer[i].uid);
		own += c->peer[i].uid == uid;
	}
	if (!pvsched_is_operator(uid) && own >= SHARE_MAX)
		out = stalest(c, false, &uid);
	else if (!pvsched_is_operator(uid) && others >= OTHERS_MAX)
		out = stalest(c, false, NULL);
	else if (all == PEERS_MAX && (others || pvsched_is_operator(uid)))
		out = stalest(c, !others, NULL);
	if (out)
		drop(c, out);
	for (int i = 0; i < PEERS_MAX; i++)
		if (c->peer[i].fd < 0)
			return &c->peer[i];
	return NULL;
}

static void take(struct pvsched_control *c)
{
	int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct ucred cred = { 0 };
	socklen_t len = sizeof(cred);
	struct peer *p = NULL;

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE)
			poll(NULL, 0, 100); /* it would be told of without end */
		return;
	}
	if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) &&
	    !pvsched_out_of_band_is_inline(fd))
		p = make_place(c, cred.uid);
	if (!p) {
		pvsched_porters_bury(&c->porters, fd, cred.uid);
		return;
	}
	p->fd = fd;
	p->uid = cred.uid;
	p->heard = ++c->heard;
	p->used = 0;
}

/* For all that are here, should they leave and not be closed. */
static bool has_room(const struct pvsched_control *c)
{
	return pvsched_porters_has_room(&c->porters, PEERS_MAX + 1);
}

/* ms until somebody has to be looked at whatever he does; -1 = nobody. */
static int timeout(const struct pvsched_control *c)
{
	uint64_t until = ~0ull, now = now_ns();
	int ms = pvsched_porters_timeout(&c->porters), left;

	for (int i = 0; i < PEERS_MAX; i++) {
		if (has_line(&c->peer[i]))
			return 0;
		if (c->peer[i].fd >= 0 && c->peer[i].answer.data && c->peer[i].until_ns < until)
			until = c->peer[i].until_ns;
	}
	if (until == ~0ull)
		return ms;
	left = until > now ? (until - now) / 1000000 + 1 : 0;
	return ms < 0 || left < ms ? left : ms;
}

static void *run(void *arg)
{
	struct pvsched_control *c = arg;
	struct pollfd fd[PEERS_MAX + 3];

	pthread_setname_np(pthread_self(), "pvsched-control");
	for (;;) {
		fd[0] = (struct pollfd){ .fd = c->stop_fd, .events = POLLIN };
		fd[1] = (struct pollfd){ .fd = has_room(c) ? c->listen_fd : -1, .events = POLLIN };
		for (int i = 0; i < PEERS_MAX; i++) /* free ones are negative: ignored */
			fd[i + 2] = (struct pollfd){ .fd = c->peer[i].fd,
						     .events = c->peer[i].answer.data ? POLLOUT
										      : POLLIN };
		fd[PEERS_MAX + 2] = (struct pollfd){ .fd = c->porters.home_fd, .events = POLLIN };
		if (poll(fd, PEERS_MAX + 3, timeout(c)) < 0)
			continue;
		pvsched_porters_reap(&c->porters);
		if (fd[0].revents)
			return NULL;
		for (int i = 0; i < PEERS_MAX; i++)
			if (c->peer[i].fd >= 0)
				serve(c, &c->peer[i], fd[i + 2].revents);
		if (fd[1].revents)
			take(c);
	}
}

int pvsched_control_start(struct pvsched_server *s, const char *path, struct pvsched_control **ret)
{
	struct pvsched_control *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	c->server = s;
	for (int i = 0; i < PEERS_MAX; i++)
		c->peer[i].fd = -1;
	c->stop_fd = eventfd(0, EFD_CLOEXEC);
	err = c->stop_fd < 0 ? -errno : pvsched_porters_open(&c->porters);
	c->listen_fd = err ? -1 : pvsched_listen_to_anybody(path, 16);
	if (!err && c->listen_fd < 0)
		err = c->listen_fd;
	if (!err) {
		snprintf(c->path, sizeof(c->path), "%s", path);
		/* looks at maps, and changes nothing */
		err = pvsched_thread_start(&c->thread, NULL, PVSCHED_CAP(CAP_BPF), 0, run, c);
		c->running = !err;
	}
	if (err)
		pvsched_control_stop(c);
	else
		*ret = c;
	return err;
}

void pvsched_control_stop(struct pvsched_control *c)
{
	if (!c)
		return;
	if (c->running) {
		eventfd_write(c->stop_fd, 1);
		pthread_join(c->thread, NULL);
	}
	for (int i = 0; i < PEERS_MAX; i++)
		if (c->peer[i].fd >= 0)
			drop(c, &c->peer[i]);
	if (c->path[0])
		unlink(c->path);
	if (c->listen_fd >= 0)
		pvsched_porters_bury_listener(&c->porters, c->listen_fd);
	pvsched_porters_close(&c->porters);
	if (c->stop_fd >= 0)
		close(c->stop_fd);
	free(c);
}
