// SPDX-License-Identifier: GPL-2.0-only
/*
 * The broker's life: the host's lock, programs, registry, guardian, agents, socket, in this
 * order, and back. One main thread serves clients; `mutex` guards the registry's slots against
 * the report functions.
 */
#include "broker.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../actuator/agent/clock.h"
#include "../privilege/caps.h"
#include "control.h"
#include "cpus.h"
#include "found.h"
#include "guardian.h"
#include "places.h"
#include "ports.h"
#include "server.h"

#define NO_MEMORY                                                                                  \
	"no page can be reached over a port, their guests are served by what the host sees"
#define LOCK_DIR  "/run/pvsched"
#define LOCK_FILE LOCK_DIR "/broker.lock"
#define KVM	  "/sys/module/kvm"

/* New options on their way: the main thread's, but while nobody waits for it. */
struct pvsched_reload {
	const struct pvsched_broker_opts *opts; /* NULL = none */
	bool loading; /* the policy that is being loaded is for them */
	int held[PVSCHED_RULES_MAX + 2], n; /* in use once more, in their order */
	int err;
};

struct pvsched_broker {
	pthread_mutex_t mutex;
	pthread_t thread;
	bool running;
	char socket[PATH_MAX];
	pvsched_print_fn print;
	void *print_ctx;
	unsigned int ceiling; /* highest of any vCPU; agents run above, the guardian above them */
	int lock_fd, stats_fd, ep, stop_fd, ended_fd, debts_fd;
	int configure_fd, configured_fd; /* to the main thread and back */
	struct pvsched_reload reload;
	int ring_fd[PVSCHED_CPUS + 1];
	struct pvsched_policies policies;
	struct pvsched_programs *programs; /* the first policy's: owner of the maps */
	struct pvsched_registry reg;
	struct pvsched_guardian guardian;
	struct pvsched_actuator_opts act_opts;
	cpu_set_t cpus; /* where agents may run */
	struct pvsched_server server;
	struct pvsched_found_vms found;
	struct pvsched_ports ports;
	struct pvsched_control *control;
	uint64_t respawned;
	uint64_t caps, dormant; /* what its main thread keeps, see keep_caps() */
	bool late; /* KVM was not loaded when the programs were */
	bool late_said;
};

static void say_line(void *ctx, const char *line)
{
	struct pvsched_broker *b = ctx;

	snprintf(b->server.said, sizeof(b->server.said), "%.255s", line);
	if (b->print)
		b->print(PVSCHED_LOG_ERROR, line, b->print_ctx);
}

static void say_note(void *ctx, const char *line)
{
	struct pvsched_broker *b = ctx;

	if (b->print)
		b->print(PVSCHED_LOG_WARN, line, b->print_ctx);
}

__attribute__((format(printf, 2, 3))) static void say(struct pvsched_broker *b, const char *fmt,
						      ...)
{
	char line[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	say_line(b, line);
}

/* Of a broker that died, the guardian holds the lock until it has restored every thread: it is
 * waited for. -EWOULDBLOCK the lock's owner lives, or that took too long. */
static int lock_host(const struct pvsched_broker *b)
{
	const struct timespec nap = { .tv_nsec = 5000000 };
	char pid[16] = "";

	for (int i = 0; i < 400; i++) {
		if (!flock(b->lock_fd, LOCK_EX | LOCK_NB))
			return 0;
		if (errno != EWOULDBLOCK)
			return -errno;
		if (pread(b->lock_fd, pid, sizeof(pid) - 1, 0) <= 0 || atoi(pid) <= 0 ||
		    !kill(atoi(pid), 0) || errno != ESRCH)
			break;
		nanosleep(&nap, NULL);
	}
	return -EWOULDBLOCK;
}

/* One broker per host: N programs on every context switch, or two bounds over one guest, must
 * not be. The lock dies with its process and the guardian's. */
static int take_lock(struct pvsched_broker *b)
{
	char pid[16] = "";
	ssize_t n;
	int err;

	if (mkdir(LOCK_DIR, 0755) && errno != EEXIST) {
		say(b, LOCK_DIR ": %s: run as root", strerror(errno));
		return -errno;
	}
	b->lock_fd = open(LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (b->lock_fd < 0) {
		err = -errno;
		say(b, LOCK_FILE ": %s: run as root", strerror(-err));
		return err;
	}
	err = lock_host(b);
	if (err) {
		if (err != -EWOULDBLOCK)
			return err;
		n = pread(b->lock_fd, pid, sizeof(pid) - 1, 0);
		pid[n > 0 ? strcspn(pid, "\n") : 0] = 0;
		say(b, "a broker runs on this host already (pid %s): join it, or stop it first",
		    pid[0] ? pid : "unknown");
		return -EEXIST;
	}
	n = snprintf(pid, sizeof(pid), "%d\n", getpid());
	if (ftruncate(b->lock_fd, 0) || pwrite(b->lock_fd, pid, n, 0) != n)
		return -errno;
	return 0;
}

/* Nothing tells of a module that is loaded later, and programs that were loaded cannot have its events. */
static bool is_late(struct pvsched_broker *b)
{
	if (!b->late || access(KVM, F_OK))
		return false;
	if (!b->late_said)
		say(b,
		    "KVM was loaded after this had started: its events are missing, and VMs are not "
		    "found: start it again");
	b->late_said = true;
	return true;
}

static void configure(struct pvsched_broker *b)
{
	struct pvsched_config *c = pvsched_programs_bss(b->programs)->config;

	c->grace_ns = 8000000; /* two ticks: by then the fair class ends rare rivals itself */
	c->payback = 1;
	c->slack_ns = PVSCHED_SLACK_NS;
	c->min_ns = 50000; /* about one actuation there and back */
	c->agent_tgid = getpid();
	c->agent_prio = 99 - (b->ceiling + 1); /* how the kernel counts that SCHED_FIFO priority */
	c->boost_prio = 99 - b->ceiling;
}

static void set_lead(struct pvsched_broker *b, const struct pvsched_broker_opts *o)
{
	pvsched_programs_bss(b->programs)->config->lead_ns = o->lead_ns;
}

/* 40 % and 10 ms at once, the default: at most 50 % of any 100 ms. */
static struct pvsched_budget budget_of(const struct pvsched_broker_opts *o)
{
	const uint64_t given[PVSCHED_BUDGET_N] = {
		[PVSCHED_BUDGET_BOOST] = o->budget_percent, [PVSCHED_BUDGET_CS] = o->cs_ns,
		[PVSCHED_BUDGET_CAP] = o->cap_ns,	    [PVSCHED_BUDGET_GAP] = o->gap_ns,
		[PVSCHED_BUDGET_CEILING] = o->ceiling,	    [PVSCHED_BUDGET_RATE] = o->rate,
	};

	struct pvsched_budget b = { 0 };

	for (int i = 0; i < PVSCHED_BUDGET_N; i++) {
		b.value[i] = given[i];
		b.own |= given[i] ? 1u << i : 0;
	}
	return b;
}

/* At a start: agents and guardian are made for this ceiling. */
static void set_budgets(struct pvsched_broker *b, const struct pvsched_broker_opts *o)
{
	struct pvsched_budget given = budget_of(o);

	for (int i = 0; i < PVSCHED_BUDGET_N; i++)
		if (given.own >> i & 1)
			b->reg.host.value[i] = given.value[i];
	b->ceiling = b->reg.host.value[PVSCHED_BUDGET_CEILING];
}

static int set_priority(struct pvsched_broker *b, unsigned int priority)
{
	const struct pvsched_actuator *a = b->reg.actuator;

	return a->set_priority ? a->set_priority(b->reg.actuator_state, priority) : 0;
}

/* Agents and guardian stay above every boost: raised before one may be higher, lowered after. */
static int set_ceiling(void *ctx, unsigned int ceiling)
{
	struct sched_param param = { .sched_priority = ceiling + 2 };
	struct pvsched_broker *b = ctx;
	struct pvsched_config *c = pvsched_programs_bss(b->programs)->config;
	int err = set_priority(b, ceiling + 1);

	if (!err && b->guardian.pid > 0 && sched_setscheduler(b->guardian.pid, SCHED_FIFO, &param))
		err = -errno;
	if (!err &&
	    b->guardian.pid > 0) /* it may be an ordinary one where it was not allowed more */
		pthread_setschedparam(b->guardian.maker, SCHED_FIFO, &param);
	if (err) {
		set_priority(b, b->ceiling + 1);
		return err;
	}
	b->act_opts.priority = ceiling + 1; /* of one that takes this one's place */
	b->ceiling = ceiling;
	c->agent_prio = 99 - (ceiling + 1);
	c->boost_prio = 99 - ceiling;
	return 0;
}

/* A ring for each CPU that agents may use; a CPU without one gets the first agent's. */
static int make_rings(struct pvsched_broker *b, const cpu_set_t *cpus)
{
	int outer = pvsched_programs_map_fd(b->programs, PVSCHED_MAP_RINGS), first = -1;

	for (uint32_t cpu = 0; cpu <= PVSCHED_CPUS; cpu++) {
		if (cpu < PVSCHED_CPUS && (cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, cpus)))
			continue;
		b->ring_fd[cpu] =
			bpf_map_create(BPF_MAP_TYPE_RINGBUF, "pvsched_ring", 0, 0, 65536, NULL);
		if (b->ring_fd[cpu] < 0)
			return -errno;
		if (first < 0)
			first = b->ring_fd[cpu];
	}
	for (uint32_t cpu = 0; cpu <= PVSCHED_CPUS; cpu++) {
		int fd = b->ring_fd[cpu] >= 0 ? b->ring_fd[cpu] : first;

		if (bpf_map_update_elem(outer, &cpu, &fd, BPF_ANY))
			return -errno;
	}
	return 0;
}

static int start_guardian(struct pvsched_broker *b)
{
	return pvsched_guardian_start(&b->reg.act, b->ring_fd[PVSCHED_CPUS], b->lock_fd,
				      b->ceiling + 2, &b->guardian);
}

static int start_actuator(struct pvsched_broker *b, const struct pvsched_actuator *a)
{
	struct pvsched_registry *r = &b->reg;
	int err;

	b->act_opts.programs = b->policies.set[b->policies.standard].programs;
	pvsched_programs_bss(b->programs)->config->act_ns = a->act_ns;
	err = a->start(&b->act_opts, &r->actuator_state);
	r->actuator = err ? NULL : a;
	return err;
}

static int begin_actuation(struct pvsched_broker *b, const struct pvsched_actuator *a)
{
	const struct pvsched_bss *bss = pvsched_programs_bss(b->programs);

	b->act_opts = (struct pvsched_actuator_opts){
		.act = &b->reg.act,
		.cpus = &b->cpus,
		.ring_fds = b->ring_fd,
		.priority = b->ceiling + 1,
		.clocks = bss->clocks,
		.clock_idx = bss->clock_idx,
		.say = say_line,
		.ctx = b,
	};
	pvsched_clock_start(bss->clocks, bss->clock_idx);
	return start_actuator(b, a);
}

static void stop_actuator(struct pvsched_broker *b)
{
	struct pvsched_registry *r = &b->reg;

	if (r->actuator)
		r->actuator->stop(r->actuator_state);
	r->actuator = NULL;
	r->actuator_state = NULL;
}

#define TAG_STOP     1000000u
#define TAG_LISTEN   1000001u
#define TAG_GUARDIAN 1000002u
#define TAG_LOADED   1000003u
#define TAG_FOREIGN  1000004u
#define TAG_NEWS     1000005u
#define TAG_CONF     1000006u
#define TAG_ACTUATOR 1000007u
#define TAG_PORTS    1000008u
#define TAG_LAPSED   1000009u
#define TAG_PORTERS  1000010u
#define TAG_FOUND    2000000u /* + place */
#define TAG_PORT     3000000u /* + index */

static int watch(struct pvsched_broker *b, int fd, uint32_t tag)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = tag };

	return epoll_ctl(b->ep, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

/* The guardian died first: one process may die, so a new one takes its place. */
static int respawn_guardian(struct pvsched_broker *b)
{
	int err;

	pvsched_guardian_stop(&b->guardian);
	err = start_guardian(b);
	if (!err)
		err = watch(b, b->guardian.pidfd, TAG_GUARDIAN);
	b->respawned++;
	return err;
}

/*
 * The thread that serves clients, and with opts.confine the one that called. Programs of KVM's
 * events name types of its module, which only CAP_SYS_ADMIN may look up by id; it sleeps until an
 * operator asks for a policy.
 */
static int keep_caps(struct pvsched_broker *b)
{
	return pvsched_caps_keep(b->caps, b->dormant);
}

static int watch_actuator(struct pvsched_broker *b)
{
	const struct pvsched_actuator *a = b->reg.actuator;

	int err = a->poll_fd ? watch(b, a->poll_fd(b->reg.actuator_state), TAG_ACTUATOR) : 0;

	return err == -EEXIST ? 0 : err; /* it did not begin anew */
}

/* The actuator has ended and said why: agents, who can act under any scheduler, take its place. */
static int replace_actuator(struct pvsched_broker *b)
{
	stop_actuator(b);
	return start_actuator(b, &pvsched_actuator_agent);
}

static int poll_actuator(struct pvsched_broker *b)
{
	int err;

	pthread_mutex_lock(&b->mutex);
	err = b->reg.actuator->poll(b->reg.actuator_state);
	if (err < 0)
		err = replace_actuator(b);
	else if (err > 0) /* it began anew */
		err = watch_actuator(b);
	pthread_mutex_unlock(&b->mutex);
	return err;
}

/* Another policy is the standard now. Under the mutex. */
static int on_standard(void *ctx, struct pvsched_programs *p)
{
	struct pvsched_broker *b = ctx;
	const struct pvsched_actuator *a = b->reg.actuator;
	int err = a->policy ? a->policy(b->reg.actuator_state, p) : 0;

	if (err)
		return replace_actuator(b);
	return a->policy ? watch_actuator(b) : 0;
}

static void on_taken(void *ctx, int place)
{
	struct pvsched_broker *b = ctx;

	pvsched_found_forget(&b->found, place);
}

/* A host on which no VM can be found can still have clients. */
static int start_finding(struct pvsched_broker *b, const char *policy)
{
	int err;

	b->found.server = &b->server;
	b->found.ep = b->ep;
	b->found.tag = TAG_FOUND;
	b->found.say = say_line;
	b->found.ctx = b;
	if (!policy || is_late(b))
		return 0;
	pvsched_caps_raise(PVSCHED_CAP(CAP_SYS_ADMIN)); /* its programs name types of KVM's, too */
	err = pvsched_found_open(&b->found, policy);
	if (b->running)
		pvsched_caps_lower(PVSCHED_CAP(CAP_SYS_ADMIN));
	if (err)
		return 0;
	return watch(b, pvsched_finder_poll_fd(b->found.finder), TAG_NEWS);
}

/* What the options name: the standard policy, that of found VMs, and those of sections. */
static int name_policies(const struct pvsched_broker_opts *o, const char **names)
{
	int n = 0;

	names[n++] = o->policy ? o->policy : "latency";
	if (o->found_policy)
		names[n++] = o->found_policy;
	for (unsigned int i = 0; o->conf && i < o->conf->n; i++)
		if (o->conf->rule[i].set & PVSCHED_RULE_POLICY)
			names[n++] = o->conf->rule[i].policy;
	return n;
}

static int load_named(struct pvsched_broker *b, const char *name)
{
	int err = pvsched_policies_find(&b->policies, name);

	if (err != -ENOENT)
		return err;
	if (!b->running)
		return pvsched_policies_get(&b->policies, name);
	if (b->server.fixed_policy) {
		say(b, "policy %s: the broker was started with --fixed-policy: start it again",
		    name);
		return -EPERM;
	}
	err = pvsched_policies_begin(&b->policies, name, -1);
	b->reload.loading = !err;
	return err ? err : -EBUSY;
}

/*
 * Every policy that is named, in use once more, so that none can fail later. Once VMs are served each is
 * loaded by a thread of its own: -EBUSY, call again when a policy is loaded, be it an operator's.
 */
static int hold_policies(struct pvsched_broker *b, const struct pvsched_broker_opts *o)
{
	const char *names[PVSCHED_RULES_MAX + 2];
	struct pvsched_reload *r = &b->reload;
	int n = name_policies(o, names), index = 0;

	while (r->n < n && index >= 0) {
		index = load_named(b, names[r->n]);
		if (index >= 0)
			r->held[r->n++] = index;
	}
	if (index == -ENOSPC)
		say(b, "more than %d policies at once: name fewer", PVSCHED_POLICIES_MAX);
	return index < 0 ? index : 0;
}

static void release_policies(struct pvsched_broker *b)
{
	while (b->reload.n)
		pvsched_policies_put(&b->policies, b->reload.held[--b->reload.n]);
	pvsched_policies_tidy(&b->policies);
}

/* Each VM as the new configuration has it. The mutex is held, but not all the time. */
static void settle_clients(struct pvsched_broker *b)
{
	struct pvsched_client *c;
	int policy;

	for (int place = 0; place < PVSCHED_VMS; place++) {
		c = &b->server.client[place];
		c->chosen = false;
		policy = c->hello ? pvsched_server_choose(&b->server, c) : -ENOENT;
		if (policy >= 0) {
			pvsched_server_move(&b->server, c, policy);
			if (b->running && pvsched_server_limit(&b->server, c))
				say(b,
				    "VM %d: agents cannot run above its ceiling: its budget "
				    "stays",
				    place);
		} else if (c->hello) {
			pthread_mutex_unlock(&b->mutex);
			pvsched_found_drop(&b->found, place);
			pvsched_server_drop(&b->server, place); /* a client's connection ends */
			pthread_mutex_lock(&b->mutex);
		}
	}
}

/* Its policies are held. In the main thread, which alone finds VMs and drops clients. */
static void take_options(struct pvsched_broker *b, const struct pvsched_broker_opts *o)
{
	static const struct pvsched_conf none;
	struct pvsched_budget budget = budget_of(o);
	struct pvsched_reload *r = &b->reload;

	pthread_mutex_lock(&b->mutex);
	set_lead(b, o);
	b->server.conf = o->conf ? *o->conf : none;
	b->server.overruled = false;
	b->policies.standard = r->held[0];
	for (int i = 0; i < PVSCHED_POLICIES_MAX; i++)
		b->policies.set[i].keep = false;
	for (int i = 0; i < r->n; i++)
		b->policies.set[r->held[i]].keep = true;
	if (b->found.finder && o->found_policy)
		b->policies.found = r->held[1];
	pthread_mutex_unlock(&b->mutex);
	if (!o->found_policy) {
		pvsched_ports_end(&b->ports);
		pvsched_found_close(&b->found);
	}
	pthread_mutex_lock(&b->mutex);
	if (b->running && pvsched_server_give_budget(&b->server, NULL, &budget))
		say(b, "budgets: agents cannot run above that ceiling: it stays as it was");
	settle_clients(b);
	if (b->running && on_standard(b, b->policies.set[r->held[0]].programs)) {
		say(b, "actuator: cannot be replaced: the broker ends");
		eventfd_write(b->ended_fd, 1);
	}
	pthread_mutex_unlock(&b->mutex);
	if (b->found.finder)
		pvsched_found_again(&b->found);
	else if (b->running)
		start_finding(b, o->found_policy);
	pthread_mutex_lock(&b->mutex);
	release_policies(b);
	pthread_mutex_unlock(&b->mutex);
}

/* Finding VMs takes programs, and these would be the only ones. */
static int no_finding(struct pvsched_broker *b, const struct pvsched_actuator *a)
{
	say(b, "%s: VMs are found by BPF only: use --found-policy none", a->name);
	return -ENOTSUP;
}

/* Goes on with the new options as far as it can without waiting. */
static void configure_again(struct pvsched_broker *b)
{
	struct pvsched_reload *r = &b->reload;
	int err = 0;

	if (r->opts && r->opts->found_policy && !pvsched_actuator_has_bpf(b->reg.actuator))
		err = no_finding(b, b->reg.actuator);
	else if (r->opts) {
		pthread_mutex_lock(&b->mutex);
		err = hold_policies(b, r->opts);
		if (err && err != -EBUSY)
			release_policies(b);
		pthread_mutex_unlock(&b->mutex);
		if (err == -EBUSY)
			return;
		if (!err)
			take_options(b, r->opts);
	}
	r->opts = NULL;
	r->err = err;
	eventfd_write(b->configured_fd, 1);
}

static void policy_loaded(struct pvsched_broker *b)
{
	struct pvsched_reload *r = &b->reload;
	int index;

	if (!r->loading) {
		pvsched_server_loaded(&b->server);
	} else {
		r->loading = false;
		pthread_mutex_lock(&b->mutex);
		index = pvsched_policies_end(&b->policies);
		if (index >= 0)
			r->held[r->n++] = index;
		else
			release_policies(b);
		pthread_mutex_unlock(&b->mutex);
		if (index < 0) {
			r->opts = NULL;
			r->err = index;
			eventfd_write(b->configured_fd, 1);
		}
	}
	if (r->opts)
		configure_again(b);
}

int pvsched_broker__configure(struct pvsched_broker *b, const struct pvsched_broker_opts *opts)
{
	eventfd_t done;

	b->reload.opts = opts;
	eventfd_write(b->configure_fd, 1);
	while (eventfd_read(b->configured_fd, &done))
		if (errno != EINTR)
			return -errno;
	return b->reload.err;
}

static int due_in(struct pvsched_broker *b)
{
	const int due[] = { pvsched_found_timeout(&b->found), pvsched_ports_timeout(&b->ports),
			    pvsched_server_timeout(&b->server) };
	int first = -1;

	for (unsigned int i = 0; i < sizeof(due) / sizeof(due[0]); i++)
		if (due[i] >= 0 && (first < 0 || due[i] < first))
			first = due[i];
	return first;
}

static void *serve(void *arg)
{
	struct pvsched_broker *b = arg;
	struct epoll_event ev[32];
	eventfd_t count;
	int n, i, client;

	pthread_setname_np(pthread_self(), "pvsched-broker");
	keep_caps(b);
	for (;;) {
		n = epoll_wait(b->ep, ev, 32, due_in(b));
		if (n < 0 && errno != EINTR)
			break;
		for (i = 0; i < n; i++) {
			if (ev[i].data.u32 == TAG_STOP)
				return NULL;
			if (ev[i].data.u32 == TAG_GUARDIAN) {
				if (!respawn_guardian(b))
					continue;
				say(b, "guardian: cannot be started again: the broker ends");
				eventfd_write(b->ended_fd, 1);
				return NULL;
			}
			if (ev[i].data.u32 == TAG_LOADED) {
				policy_loaded(b);
				continue;
			}
			if (ev[i].data.u32 == TAG_FOREIGN) {
				eventfd_read(b->reg.act.foreign_fd, &count);
				pvsched_server_foreign(&b->server, say_note, b);
				continue;
			}
			if (ev[i].data.u32 == TAG_ACTUATOR) {
				if (!poll_actuator(b))
					continue;
				say(b, "actuator: cannot be replaced: the broker ends");
				eventfd_write(b->ended_fd, 1);
				return NULL;
			}
			if (ev[i].data.u32 == TAG_LISTEN) {
				client = pvsched_server_accept(&b->server);
				/* whom nobody would listen to is not kept waiting */
				if (client >= 0 && watch(b, b->server.client[client].fd, client))
					pvsched_server_drop(&b->server, client);
				continue;
			}
			if (ev[i].data.u32 == TAG_CONF) {
				eventfd_read(b->configure_fd, &count);
				configure_again(b);
			} else if (ev[i].data.u32 == TAG_NEWS)
				pvsched_found_news(&b->found);
			else if (ev[i].data.u32 == TAG_PORTS)
				pvsched_ports_accept(&b->ports);
			else if (ev[i].data.u32 == TAG_PORTERS)
				pvsched_server_ported(&b->server);
			else if (ev[i].data.u32 == TAG_LAPSED)
				pvsched_ports_lapsed(&b->ports);
			else if (ev[i].data.u32 >= TAG_PORT)
				pvsched_ports_serve(&b->ports, ev[i].data.u32 - TAG_PORT);
			else if (ev[i].data.u32 >= TAG_FOUND)
				pvsched_found_ended(&b->found, ev[i].data.u32 - TAG_FOUND);
			else
				pvsched_server_serve(&b->server, ev[i].data.u32);
			if (b->server.changed)
				pvsched_found_changed(&b->found, b->server.changed);
			b->server.changed = 0;
			if (b->server.joined)
				is_late(b);
			b->server.joined = false;
		}
		pvsched_found_run(&b->found);
		pvsched_ports_check(&b->ports);
		pvsched_ports_run(&b->ports);
		pvsched_server_run(&b->server);
	}
	eventfd_write(b->ended_fd, 1);
	return NULL;
}

/* Where guests of VMs that are found can speak. */
static int start_ports(struct pvsched_broker *b)
{
	int err;

	b->ports.server = &b->server;
	b->ports.found = &b->found;
	b->ports.ep = b->ep;
	b->ports.tag = TAG_PORT;
	b->ports.listen_tag = TAG_PORTS;
	err = pvsched_ports_open(&b->ports, b->socket);
	if (!err)
		err = watch(b, b->ports.listen_fd, TAG_PORTS);
	if (!err)
		err = watch(b, b->ports.lapsed_fd, TAG_LAPSED);
	if (err)
		say(b, "port socket beside %s: %s: give another path", b->socket, strerror(-err));
	return err;
}

static int start_control(struct pvsched_broker *b)
{
	char path[PATH_MAX];
	int err = pvsched_control_path(b->socket, path, sizeof(path));

	if (!err)
		err = pvsched_control_start(&b->server, path, &b->control);
	if (err)
		say(b, "control socket beside %s: %s: give another path", b->socket,
		    strerror(-err));
	return err;
}

static const char *socket_path(const struct pvsched_broker_opts *o)
{
	const char *env = getenv("PVSCHED_SOCKET");

	return o->socket ? o->socket : env && *env ? env : PVSCHED_SOCKET;
}

static int choose_actuator(struct pvsched_broker *b, const char *name,
			   const struct pvsched_actuator **ret)
{
	char names[96] = "";
	size_t used = 0;

	*ret = !name || !strcmp(name, "auto") ? pvsched_actuator_choose()
					      : pvsched_actuator_find(name);
	if (*ret)
		return 0;
	for (const struct pvsched_actuator *const *a = pvsched_actuators(); *a; a++)
		used += snprintf(names + used, sizeof(names) - used, ", %s", (*a)->name);
	say(b, "no actuator '%.40s': use auto%s", name, names);
	return -ENOENT;
}

/* Before programs of its own are loaded: what they need may not be here. */
static int need_actuator(struct pvsched_broker *b, const struct pvsched_actuator *a,
			 const struct pvsched_broker_opts *o)
{
	const struct timespec nap = { .tv_nsec = 5000000 };
	char why[160];
	int err = a->programs ? a->usable(why, sizeof(why)) : 0;

	/* of a broker that died: the lock is ours, so what it had is being put back */
	for (int i = 0; i < 400 && err == -EBUSY; i++) {
		nanosleep(&nap, NULL);
		err = a->usable(why, sizeof(why));
	}
	if (err)
		say(b, "%s: %s: or use --actuator agent", a->name, why);
	else if (o->found_policy && !pvsched_actuator_has_bpf(a))
		return no_finding(b, a);
	return err;
}

int pvsched_broker__start(const struct pvsched_broker_opts *opts, struct pvsched_broker **ret)
{
	struct pvsched_broker *b = calloc(1, sizeof(*b));
	const struct pvsched_actuator *actuator = NULL;
	uint64_t lacking = 0;
	char why[160] = "";
	bool bpf;
	int err;

	if (!b) {
		if (opts->print)
			opts->print(PVSCHED_LOG_ERROR, "broker: cannot start: out of memory",
				    opts->print_ctx);
		return -ENOMEM;
	}
	pthread_mutex_init(&b->mutex, NULL);
	b->print = opts->print;
	b->print_ctx = opts->print_ctx;
	b->lock_fd = b->stats_fd = b->ep = b->stop_fd = b->ended_fd = b->debts_fd = -1;
	b->configure_fd = b->configured_fd = -1;
	b->ports.listen_fd = b->ports.wake_fd = b->ports.lapsed_fd = -1;
	b->server.listen_fd = b->server.spare_fd = -1;
	b->policies.loading.done_fd = -1;
	for (int i = 0; i < PVSCHED_PLACES; i++)
		b->server.client[i].fd = -1;
	memset(b->ring_fd, -1, sizeof(b->ring_fd));
	snprintf(b->socket, sizeof(b->socket), "%s", socket_path(opts));
	if (sched_getaffinity(0, sizeof(b->cpus), &b->cpus)) {
		err = -errno;
		goto out;
	}
	pvsched_cpus_shared(&b->cpus);
	err = choose_actuator(b, opts->actuator, &actuator);
	if (!err)
		err = take_lock(b);
	if (!err)
		err = need_actuator(b, actuator, opts);
	if (err)
		goto out;
	b->policies.say = say_line;
	b->policies.ctx = b;
	b->policies.object = actuator->programs;
	bpf = pvsched_actuator_has_bpf(actuator);
	b->late = bpf && access(KVM, F_OK);
	if (bpf) /* else they are the module's, as long as that is loaded */
		b->debts_fd = pvsched_debts_open(why, sizeof(why));
	err = pvsched_policies_open(&b->policies, opts->policy ? opts->policy : "latency",
				    b->debts_fd);
	if (err)
		goto out;
	b->programs = pvsched_policies_base(&b->policies);
	err = bpf ? make_rings(b, &b->cpus) : 0; /* there is nobody to be told */
	if (!err)
		err = pvsched_registry_open(&b->reg, b->programs);
	if (!err) {
		b->reg.cpus = CPU_COUNT(&b->cpus);
		set_budgets(b, opts);
		configure(b);
		b->reg.act.foreign_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		err = b->reg.act.foreign_fd < 0 ? -errno : 0;
	}
	if (!err && bpf) /* else the close of the device restores every thread */
		err = start_guardian(b); /* before any link exists: it must not hold one */
	if (err) {
		say(b, "broker: maps or guardian: %s", strerror(-err));
		goto out;
	}
	err = begin_actuation(b, actuator);
	if (err)
		goto out;
	if (opts->stats && bpf) {
		b->stats_fd = bpf_enable_stats(BPF_STATS_RUN_TIME);
		if (b->stats_fd < 0) {
			err = -errno;
			say(b, "BPF run-time statistics: %s", strerror(-err));
			goto out;
		}
	}
	b->server.reg = &b->reg;
	b->server.policies = &b->policies;
	b->server.mutex = &b->mutex;
	b->server.fixed_policy = opts->fixed_policy;
	b->server.set_ceiling = set_ceiling;
	b->server.on_standard = on_standard;
	b->server.on_taken = on_taken;
	b->server.ctx = b;
	b->server.ceiling = b->ceiling;
	b->server.features = PVSCHED_F_TICKET | PVSCHED_F_NEXT_EVENT | PVSCHED_F_PENDING;
	if (opts->placement) {
		b->server.features |= PVSCHED_F_PLACEMENT;
		pvsched_places_read("/sys/devices/system/cpu",
				    pvsched_programs_bss(b->programs)->places, PVSCHED_CPUS);
	}
	err = pvsched_server_open(&b->server, b->socket);
	if (err) {
		say(b, "socket %s: %s: give another path", b->socket, strerror(-err));
		goto out;
	}
	b->ep = epoll_create1(EPOLL_CLOEXEC);
	b->stop_fd = eventfd(0, EFD_CLOEXEC);
	b->ended_fd = eventfd(0, EFD_CLOEXEC);
	b->configure_fd = eventfd(0, EFD_CLOEXEC);
	b->configured_fd = eventfd(0, EFD_CLOEXEC);
	err = b->ep < 0 || b->stop_fd < 0 || b->ended_fd < 0 || b->configure_fd < 0 ||
			      b->configured_fd < 0
		      ? -errno
		      : 0;
	b->server.ep = b->ep;
	b->server.tag = TAG_LISTEN;
	if (!err)
		err = watch(b, b->configure_fd, TAG_CONF);
	if (!err)
		err = watch(b, b->server.porters.home_fd, TAG_PORTERS);
	if (!err)
		err = watch(b, b->stop_fd, TAG_STOP);
	if (!err)
		err = watch(b, b->server.listen_fd, TAG_LISTEN);
	if (!err && bpf)
		err = watch(b, b->guardian.pidfd, TAG_GUARDIAN);
	if (!err)
		err = watch(b, b->policies.loading.done_fd, TAG_LOADED);
	if (!err)
		err = hold_policies(b, opts);
	if (!err)
		take_options(b, opts);
	if (!err)
		err = start_finding(b, opts->found_policy);
	if (!err)
		err = start_control(b);
	if (!err && opts->found_policy)
		err = start_ports(b);
	b->caps = opts->fixed_policy ? PVSCHED_CAPS_SERVE : PVSCHED_CAPS_SWAP;
	if (opts->found_policy) { /* pages of guests whose VMMs know nothing of us */
		b->caps |= PVSCHED_CAP(CAP_SYS_PTRACE);
		b->dormant |= PVSCHED_CAP(CAP_DAC_OVERRIDE);
		lacking = pvsched_caps_lacking(PVSCHED_CAPS_MEMORY);
	}
	if (bpf && !opts->fixed_policy && !access("/sys/kernel/btf/kvm", F_OK))
		b->dormant |= PVSCHED_CAP(CAP_SYS_ADMIN);
	if (!err && opts->confine) {
		err = keep_caps(b);
		if (err)
			say(b, "capabilities: cannot be given up: %s", strerror(-err));
	}
	if (!err)
		err = watch(b, b->reg.act.foreign_fd, TAG_FOREIGN);
	if (!err)
		err = watch_actuator(b);
	if (!err)
		err = -pthread_create(&b->thread, NULL, serve, b);
	if (err)
		goto out;
	b->running = true;
	if (why[0])
		say_note(b, why);
	if (b->late && !opts->found_policy) /* else it was said that no VM can be found */
		say_note(
			b,
			"KVM is not loaded: its events are missing: load kvm_amd or kvm_intel, then "
			"start this again");
	if (lacking)
		say_note(b,
			 lacking & PVSCHED_CAP(CAP_SYS_PTRACE)
				 ? "CAP_SYS_PTRACE is missing: " NO_MEMORY
				 : "CAP_DAC_OVERRIDE is missing: of other users' VMs " NO_MEMORY);
	*ret = b;
	return 0;
out:
	if (!b->server.said[0])
		say(b, "broker: cannot start: %s", strerror(-err));
	pvsched_broker__stop(b);
	return err;
}

void pvsched_broker__stop(struct pvsched_broker *b)
{
	if (!b)
		return;
	if (b->running) {
		eventfd_write(b->stop_fd, 1);
		pthread_join(b->thread, NULL);
	}
	pvsched_control_stop(b->control);
	pvsched_ports_close(&b->ports);
	pvsched_found_close(&b->found);
	if (b->server.reg)
		pvsched_server_close(&b->server, b->socket); /* restores every thread */
	stop_actuator(b);
	pvsched_guardian_stop(&b->guardian);
	pvsched_debts_end(b->debts_fd, b->reg.act.debts);
	pvsched_registry_close(&b->reg);
	pvsched_policies_close(&b->policies);
	for (int i = 0; i <= PVSCHED_CPUS; i++)
		if (b->ring_fd[i] >= 0)
			close(b->ring_fd[i]);
	if (b->ep >= 0)
		close(b->ep);
	if (b->stop_fd >= 0)
		close(b->stop_fd);
	if (b->ended_fd >= 0)
		close(b->ended_fd);
	if (b->configure_fd >= 0)
		close(b->configure_fd);
	if (b->configured_fd >= 0)
		close(b->configured_fd);
	if (b->stats_fd >= 0)
		close(b->stats_fd);
	if (b->debts_fd >= 0)
		close(b->debts_fd);
	if (b->lock_fd >= 0)
		close(b->lock_fd);
	pthread_mutex_destroy(&b->mutex);
	free(b);
}

const char *pvsched_broker__actuator(struct pvsched_broker *b)
{
	const char *name;

	pthread_mutex_lock(&b->mutex);
	name = b->reg.actuator ? b->reg.actuator->name : "none";
	pthread_mutex_unlock(&b->mutex);
	return name;
}

int pvsched_broker__poll_fd(struct pvsched_broker *b)
{
	return b->ended_fd;
}

int pvsched_broker__programs(struct pvsched_broker *b, struct pvsched_program_row *rows, int max)
{
	struct pvsched_program p[32];
	int n, total = 0;

	pthread_mutex_lock(&b->mutex);
	for (int s = 0; s < PVSCHED_POLICIES_MAX; s++) {
		if (!b->policies.set[s].programs)
			continue;
		n = pvsched_programs_rows(b->policies.set[s].programs, p, 32);
		for (int i = 0; i < n && i < 32; i++, total++) {
			struct pvsched_program_row *r = &rows[total];

			if (total >= max)
				continue;
			*r = (struct pvsched_program_row){ .runs = p[i].runs,
							   .run_ns = p[i].run_ns };
			snprintf(r->name, sizeof(r->name), "%s", p[i].name);
			snprintf(r->attached_to, sizeof(r->attached_to), "%s",
				 p[i].attached_to ? p[i].attached_to
						  : "called, by broker or agent");
		}
	}
	pthread_mutex_unlock(&b->mutex);
	return total;
}

int pvsched_broker__vcpu_report(struct pvsched_broker *b, pid_t tid,
				struct pvsched_vcpu_report *ret_report)
{
	struct pvsched_vcpu v = { 0 };
	int slot, err = 0;

	pthread_mutex_lock(&b->mutex);
	slot = pvsched_registry_find(&b->reg, tid);
	if (slot < 0 || pvsched_registry_read(&b->reg, slot, &v) ||
	    pvsched_registry_reach(&b->reg, slot, &ret_report->reach)) {
		err = -ENOENT;
	} else {
		const struct pvsched_shared *sh = &b->reg.act.shared[slot];
		const struct pvsched_slot *s = &b->reg.act.slots[slot];

		*ret_report = (struct pvsched_vcpu_report){
			.boosts = sh->boosts,
			.boosted_ns = v.boosted_ns,
			.run_ns = v.run_ns,
			.steal_ns = v.steal_ns,
			.sched_ins = v.sched_ins,
			.denied_throttle = v.denied_throttle,
			.denied_gap = v.denied_gap,
			.denied_rate = v.denied_rate,
			.expired = sh->expired,
			.refused = sh->refused,
			.failed = sh->failed,
			.bad_words = v.bad_words,
			.doorbells = s->doorbells,
			.external = sh->external,
			.apply = s->apply,
			.reach = ret_report->reach,
			.reached = v.reached,
			.reach_added = v.reach_added,
			.boost = s->boost,
		};
	}
	pthread_mutex_unlock(&b->mutex);
	return err;
}

int pvsched_broker__counters(struct pvsched_broker *b, struct pvsched_broker_counters *ret)
{
	int n = libbpf_num_possible_cpus(), err = 0;
	struct pvsched_broker_counters out = { 0 };
	struct pvsched_cpu *per_cpu;
	uint32_t zero = 0;

	if (n < 0)
		return n;
	per_cpu = calloc(n, sizeof(*per_cpu));
	if (!per_cpu)
		return -ENOMEM;
	err = pvsched_programs_read(b->programs, PVSCHED_MAP_CPUS, &zero, per_cpu);
	if (err)
		goto out;
	for (int i = 0; i < n; i++) {
		const struct pvsched_counters *c = &per_cpu[i].count;

		for (int e = 0; e < 12; e++)
			out.events[e] += c->events[e];
		out.denied_throttle += c->denied_throttle;
		out.denied_gap += c->denied_gap;
		out.denied_rate += c->denied_rate;
		out.bad_words += c->bad_words;
		out.hints += c->hints;
		out.hints_lost += c->hints_lost;
		out.races += c->races;
		out.revoked += c->revoked;
		out.second_line += c->second_line;
		out.tsc_unknown += c->tsc_unknown;
	}
	out.clients_refused = b->server.refused;
	*ret = out;
out:
	free(per_cpu);
	return err;
}
