// SPDX-License-Identifier: GPL-2.0-only
/*
 * pvsched serve: a broker and nothing else, until it is told to end. The broker's own threads do
 * the work; this one waits.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "broker/broker.h"
#include "cmd.h"
#include "said.h"

struct values {
	const char *socket, *policy, *actuator;
	uint64_t cap_us, lead_us, budget;
	bool stats, fixed_policy, placement;
};

static const struct option options[] = {
	{ "socket", OPTION_STRING, offsetof(struct values, socket), "PATH", NULL,
	  "where VMMs connect; default $PVSCHED_SOCKET, else " PVSCHED_SOCKET, 0, 0, NULL },
	{ "policy", OPTION_STRING, offsetof(struct values, policy), "NAME|FILE", "latency",
	  "who is boosted when: a built-in policy or an object file", 0, 0, NULL },
	{ "actuator", OPTION_STRING, offsetof(struct values, actuator), "NAME", "auto",
	  "who carries decisions out: agent, scx, or auto: agent; see 'pvsched check'", 0, 0,
	  NULL },
	{ "cap-us", OPTION_NUMBER, offsetof(struct values, cap_us), "US", "1000",
	  "longest boost without a gap as long", 100, 100000, NULL },
	{ "lead-us", OPTION_NUMBER, offsetof(struct values, lead_us), "US", NULL,
	  "how long before an announced timer a vCPU is boosted; default as measured for it", 1,
	  10000, NULL },
	{ "budget", OPTION_NUMBER, offsetof(struct values, budget), "PERCENT", "40",
	  "lasting share of a vCPU, a VM and a CPU that boosts may take", 1, 90, NULL },
	{ "fixed-policy", OPTION_FLAG, offsetof(struct values, fixed_policy), NULL, NULL,
	  "refuse 'pvsched policy': the rights that only swapping needs are given up", 0, 0, NULL },
	{ "placement", OPTION_FLAG, offsetof(struct values, placement), NULL, NULL,
	  "offer guests to learn which of their vCPUs share a core, a cache, a node", 0, 0, NULL },
	{ "stats", OPTION_FLAG, offsetof(struct values, stats), NULL, NULL,
	  "let the kernel time BPF programs: 20 to 40 ns more per event, host-wide", 0, 0, NULL },
	OPTIONS_END
};

static const char details[] =
	"One broker runs on a host; VMMs that embed libpvsched join it and need no\n"
	"privilege. It says 'ready' on standard output once they can, and ends on SIGINT or\n"
	"SIGTERM with every thread's scheduling restored.\n";

static int wait_for_end(struct pvsched_broker *b, int signal_fd, struct cli_error *e)
{
	struct pollfd fds[] = {
		{ .fd = signal_fd, .events = POLLIN },
		{ .fd = pvsched_broker__poll_fd(b), .events = POLLIN },
	};

	while (poll(fds, 2, -1) < 0)
		if (errno != EINTR)
			return cli_fail(e, CLI_FAILED, "serve", NULL, NULL, "poll: %s",
					strerror(errno));
	if (fds[1].revents)
		return cli_fail(e, CLI_FAILED, "serve", "broker", "start it again",
				"it ended by itself: an agent or the guardian could not be kept");
	return 0;
}

struct service {
	struct said said; /* why it does not start: the command's one line */
	_Atomic bool serves; /* from here on lines go to the journal as they come */
};

static void print(enum pvsched_log_level level, const char *line, void *ctx)
{
	struct service *s = ctx;

	if (s->serves)
		fprintf(stderr, "pvsched: serve: %s\n", line);
	else
		said_print(level, line, &s->said);
}

static int run(const void *values, const char **operands, unsigned int count, struct cli_error *e)
{
	const struct values *v = values;
	struct service service = { .said = SAID_INIT };
	struct pvsched_broker_opts opts = {
		.socket = v->socket,
		.policy = v->policy,
		.actuator = v->actuator,
		.print = print,
		.print_ctx = &service,
		.cap_ns = v->cap_us * 1000,
		.lead_ns = v->lead_us * 1000,
		.budget_percent = v->budget,
		.fixed_policy = v->fixed_policy,
		.confine = true,
		.placement = v->placement,
		.stats = v->stats,
	};
	struct pvsched_broker *b = NULL;
	int status = 0, err, fd;
	sigset_t set;

	(void)operands;
	(void)count;
	/* before the broker's threads: they inherit the mask, so the signal comes here */
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		return cli_fail(e, CLI_FAILED, "serve", NULL, NULL, "signalfd: %s",
				strerror(errno));
	err = pvsched_broker__start(&opts, &b);
	if (err) {
		status = cli_fail(e, CLI_FAILED, "serve", NULL,
				  service.said.line[0] ? NULL : "see 'pvsched check'", "%s",
				  service.said.line[0] ? service.said.line : strerror(-err));
		goto out;
	}
	service.serves = true;
	printf("ready\n");
	fflush(stdout);
	status = wait_for_end(b, fd, e);
out:
	pvsched_broker__stop(b);
	close(fd);
	return status;
}

const struct cmd cmd_serve = {
	.name = "serve",
	.summary = "be the host's broker until told to end",
	.details = details,
	.options = options,
	.size = sizeof(struct values),
	.run = run,
};
