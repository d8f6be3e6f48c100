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
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "actuator/actuator.h"
#include "actuator/monotonic.h"
#include "broker/broker.h"
#include "cmd.h"
#include "notify.h"
#include "said.h"

struct values {
	const char *socket, *policy, *actuator, *found_policy, *config;
	uint64_t cap_us, lead_us, budget;
	bool stats, fixed_policy, placement, check_config;
};

static const struct option options[] = {
	{ "socket", OPTION_STRING, offsetof(struct values, socket), "PATH", NULL,
	  "where VMMs connect; default $PVSCHED_SOCKET, else " PVSCHED_SOCKET, 0, 0, NULL },
	{ "config", OPTION_STRING, offsetof(struct values, config), "FILE", NULL,
	  "the configuration; default " PVSCHED_CONF " if there is one", 0, 0, NULL },
	{ "check-config", OPTION_FLAG, offsetof(struct values, check_config), NULL, NULL,
	  "read the configuration, say what is wrong with it, and end", 0, 0, NULL },
	{ "policy", OPTION_STRING, offsetof(struct values, policy), "NAME|FILE", NULL,
	  "who is boosted when: a built-in policy or an object file; default latency", 0, 0, NULL },
	{ "actuator", OPTION_STRING, offsetof(struct values, actuator), "NAME", "auto",
	  "who carries decisions out: " ACTUATOR_NAMES "; see 'pvsched check'", 0, 0, NULL },
	{ "found-policy", OPTION_STRING, offsetof(struct values, found_policy), "NAME|FILE", NULL,
	  "the same for VMs whose VMM is no client; default irq; 'none' looks for none, as kmod-policy "
	  "does",
	  0, 0, NULL },
	{ "cap-us", OPTION_NUMBER, offsetof(struct values, cap_us), "US", NULL,
	  "longest boost without a gap as long; default 1000", 100, 100000, NULL },
	{ "lead-us", OPTION_NUMBER, offsetof(struct values, lead_us), "US", NULL,
	  "how long before an announced timer a vCPU is boosted; default as measured for it", 1,
	  10000, NULL },
	{ "budget", OPTION_NUMBER, offsetof(struct values, budget), "PERCENT", NULL,
	  "lasting share of a vCPU, a VM and a CPU that boosts may take; default 40", 1, 90, NULL },
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
	"SIGTERM with every thread's scheduling restored. VMs whose VMM is no client are\n"
	"found.\n"
	"\n"
	"SIGHUP makes it read its configuration again: pvsched.conf(5). Options win\n"
	"over the file.\n";

struct service {
	struct said said; /* why it does not start: the command's one line */
	pthread_mutex_t lock; /* of the rest */
	bool serves; /* from here on lines go to the journal as they come */
	char early[2048]; /* those that came before, should it serve */
	size_t used;
};

static void print(enum pvsched_log_level level, const char *line, void *ctx)
{
	struct service *s = ctx;
	int n;

	pthread_mutex_lock(&s->lock);
	if (s->serves) {
		fprintf(stderr, "pvsched: serve: %s\n", line);
	} else {
		said_print(level, line, &s->said);
		n = snprintf(s->early + s->used, sizeof(s->early) - s->used, "pvsched: serve: %s\n",
			     line);
		s->used += n < (int)(sizeof(s->early) - s->used) ? n : 0;
	}
	pthread_mutex_unlock(&s->lock);
}

/* It serves, with less than it might: what lacks was said already. */
static void begin(struct service *s)
{
	pthread_mutex_lock(&s->lock);
	fprintf(stderr, "%.*s", (int)s->used, s->early);
	s->serves = true;
	pthread_mutex_unlock(&s->lock);
}

static const char *first(const char *a, const char *b, const char *otherwise)
{
	return a ? a : *b ? b : otherwise;
}

/* What the command line says, else the configuration. */
static void choose(const struct values *v, const struct pvsched_conf *conf,
		   struct pvsched_broker_opts *o)
{
	const uint64_t *given = conf->budget.value; /* 0 = not: the default */
	const struct pvsched_actuator *a = pvsched_actuator_find(v->actuator);
	const char *found = first(v->found_policy, conf->found_policy,
				  a && !pvsched_actuator_has_bpf(a) ? "none" : "irq");

	o->socket = v->socket;
	o->conf = conf;
	o->policy = first(v->policy, conf->policy, "latency");
	o->actuator = v->actuator;
	o->found_policy = strcmp(found, "none") ? found : NULL;
	o->cap_ns = v->cap_us ? v->cap_us * 1000 : given[PVSCHED_BUDGET_CAP];
	o->cs_ns = given[PVSCHED_BUDGET_CS];
	o->gap_ns = given[PVSCHED_BUDGET_GAP];
	o->ceiling = given[PVSCHED_BUDGET_CEILING];
	o->rate = given[PVSCHED_BUDGET_RATE];
	o->lead_ns = (v->lead_us ? v->lead_us : conf->lead_us) * 1000;
	o->budget_percent = v->budget ? v->budget : given[PVSCHED_BUDGET_BOOST];
	o->fixed_policy = v->fixed_policy;
	o->confine = true;
	o->placement = v->placement;
	o->stats = v->stats;
}

/* A standard file that is absent is an empty one. */
static int read_conf(const struct values *v, struct pvsched_conf *ret, char *why, size_t size)
{
	int err = pvsched_conf_read(v->config ? v->config : PVSCHED_CONF, ret, why, size);

	return err == -ENOENT && !v->config ? 0 : err;
}

/* On SIGHUP. A configuration that is wrong changes nothing. */
static void configure(struct pvsched_broker *b, const struct values *v,
		      struct pvsched_broker_opts *o, struct pvsched_conf *conf)
{
	struct pvsched_conf new = { 0 };
	char why[256];

	if (read_conf(v, &new, why, sizeof(why))) {
		fprintf(stderr, "pvsched: serve: %s: the old one goes on\n", why);
		return;
	}
	*conf = new; /* the broker has its own copy */
	choose(v, conf, o);
	if (!pvsched_broker__configure(b, o))
		fprintf(stderr, "pvsched: serve: %s is in force\n",
			v->config ? v->config : PVSCHED_CONF);
}

static int wait_for_end(struct pvsched_broker *b, int signal_fd, const struct values *v,
			struct pvsched_broker_opts *o, struct pvsched_conf *conf,
			struct cli_error *e)
{
	struct pollfd fds[] = {
		{ .fd = signal_fd, .events = POLLIN },
		{ .fd = pvsched_broker__poll_fd(b), .events = POLLIN },
	};
	struct signalfd_siginfo got;
	uint64_t told = now_ns();

	for (;;) {
		while (poll(fds, 2, notify_watchdog_left(told, now_ns())) < 0)
			if (errno != EINTR)
				return cli_fail(e, CLI_FAILED, "serve", NULL, NULL, "poll: %s",
						strerror(errno));
		if (fds[1].revents)
			return cli_fail(e, CLI_FAILED, "serve", "broker", "start it again",
					"it ended by itself: an agent or the guardian could not be "
					"kept");
		/* SIGHUPs, which may come one after the other, do not put it off */
		if (!notify_watchdog_left(told, now_ns())) {
			/* returns when the thread that serves has answered; else never */
			pvsched_broker__configure(b, NULL);
			notify("WATCHDOG=1");
			told = now_ns();
		}
		if (!fds[0].revents)
			continue;
		if (read(signal_fd, &got, sizeof(got)) != sizeof(got) || got.ssi_signo != SIGHUP)
			return 0;
		notify("RELOADING=1");
		configure(b, v, o, conf);
		notify("READY=1");
	}
}

static int run(const void *values, const char **operands, unsigned int count, struct cli_error *e)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	const struct values *v = values;
	struct service service = { .said = SAID_INIT, .lock = PTHREAD_MUTEX_INITIALIZER };
	struct pvsched_broker_opts opts = { .print = print, .print_ctx = &service };
	static struct pvsched_conf conf; /* large */
	struct pvsched_broker *b = NULL;
	int status = 0, err, fd;
	struct rlimit files;
	char why[256];
	sigset_t set;

	(void)operands;
	(void)count;
	err = read_conf(v, &conf, why, sizeof(why));
	if (err)
		return cli_fail(e, CLI_FAILED, "serve", NULL, "correct it, see pvsched.conf(5)",
				"%s", why);
	if (v->check_config)
		return 0;
	choose(v, &conf, &opts);
	/* three for each vCPU of a client; what nobody needs costs nothing */
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	/* before the broker's threads: they inherit the mask, so the signal comes here */
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(&set, signals[i]);
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
	begin(&service);
	printf("ready\n");
	fflush(stdout);
	notify("READY=1");
	status = wait_for_end(b, fd, v, &opts, &conf, e);
	notify("STOPPING=1");
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
