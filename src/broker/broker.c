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
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../actuator/agent/clock.h"
#include "../privilege/caps.h"
#include "guardian.h"
#include "places.h"
#include "server.h"

#define LOCK_DIR  "/run/pvsched"
#define LOCK_FILE LOCK_DIR "/broker.lock"
#define CEILING	  1 /* SCHED_FIFO priority of boosts; agents run above, the guardian above them */

struct pvsched_broker {
	pthread_mutex_t mutex;
	pthread_t thread;
	bool running;
	char socket[PATH_MAX];
	pvsched_print_fn print;
	void *print_ctx;
	int lock_fd, stats_fd, ep, stop_fd, ended_fd;
	int ring_fd[PVSCHED_CPUS + 1];
	struct pvsched_policies policies;
	struct pvsched_programs *programs; /* the first policy's: owner of the maps */
	struct pvsched_registry reg;
	struct pvsched_guardian guardian;
	struct pvsched_actuator_opts act_opts;
	cpu_set_t cpus; /* where agents may run */
	struct pvsched_server server;
	uint64_t respawned;
	uint64_t caps, dormant; /* what its main thread keeps, see keep_caps() */
};

static void say_line(void *ctx, const char *line)
{
	struct pvsched_broker *b = ctx;

	snprintf(b->server.said, sizeof(b->server.said), "%.255s", line);
	if (b->print)
		b->print(PVSCHED_LOG_ERROR, line, b->print_ctx);
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

/* One broker per host: N programs on every context switch, or two bounds over one guest, must
 * not be. The lock dies with its process. */
static int take_lock(struct pvsched_broker *b)
{
	char pid[16] = "";
	ssize_t n;

	if (mkdir(LOCK_DIR, 0755) && errno != EEXIST) {
		say(b, LOCK_DIR ": %s: run as root", strerror(errno));
		return -errno;
	}
	b->lock_fd = open(LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (b->lock_fd < 0) {
		int err = -errno;

		say(b, LOCK_FILE ": %s: run as root", strerror(-err));
		return err;
	}
	if (flock(b->lock_fd, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK)
			return -errno;
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

static void configure(struct pvsched_broker *b, const struct pvsched_broker_opts *o)
{
	struct pvsched_config *c = pvsched_programs_bss(b->programs)->config;
	unsigned int percent = o->budget_percent ? o->budget_percent : 40;

	c->cap_ns = o->cap_ns ? o->cap_ns : 1000000;
	c->lead_ns = o->lead_ns;
	c->grace_ns = 8000000; /* two ticks: by then the fair class ends rare rivals itself */
	c->payback = 1;
	c->slack_ns = PVSCHED_SLACK_NS;
	c->min_ns = 50000; /* about one actuation there and back */
	/* rate * 100 ms + burst = 50 ms at the default: at most 50 % of any 100 ms */
	c->cs = pvsched_bucket_conf(percent, 10000000);
	c->all = pvsched_bucket_conf(percent, 10000000);
	c->vm = pvsched_bucket_conf(percent, 10000000);
	c->cpu = pvsched_bucket_conf(percent, 10000000);
	c->ceiling = CEILING;
	c->agent_tgid = getpid();
	c->agent_prio = 99 - (CEILING + 1); /* how the kernel counts SCHED_FIFO CEILING + 1 */
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
	return pvsched_guardian_start(&b->reg.act, b->ring_fd[PVSCHED_CPUS], CEILING + 2,
				      &b->guardian);
}

static int start_actuator(struct pvsched_broker *b, const struct pvsched_actuator *a)
{
	struct pvsched_registry *r = &b->reg;
	int err;

	b->act_opts.programs = b->policies.set[b->policies.standard].programs;
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
		.priority = CEILING + 1,
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
#define TAG_ACTUATOR 1000004u

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

static void *serve(void *arg)
{
	struct pvsched_broker *b = arg;
	struct epoll_event ev[32];
	int n, i, client;

	pthread_setname_np(pthread_self(), "pvsched-broker");
	keep_caps(b);
	for (;;) {
		n = epoll_wait(b->ep, ev, 32, -1);
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
				pvsched_server_loaded(&b->server);
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
			pvsched_server_serve(&b->server, ev[i].data.u32);
		}
	}
	eventfd_write(b->ended_fd, 1);
	return NULL;
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

int pvsched_broker__start(const struct pvsched_broker_opts *opts, struct pvsched_broker **ret)
{
	struct pvsched_broker *b = calloc(1, sizeof(*b));
	const struct pvsched_actuator *actuator = NULL;
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
	b->lock_fd = b->stats_fd = b->ep = b->stop_fd = b->ended_fd = -1;
	b->server.listen_fd = b->server.spare_fd = -1;
	b->policies.loading.done_fd = -1;
	for (int i = 0; i < PVSCHED_VMS; i++)
		b->server.client[i].fd = -1;
	memset(b->ring_fd, -1, sizeof(b->ring_fd));
	snprintf(b->socket, sizeof(b->socket), "%s", socket_path(opts));
	if (sched_getaffinity(0, sizeof(b->cpus), &b->cpus)) {
		err = -errno;
		goto out;
	}
	err = choose_actuator(b, opts->actuator, &actuator);
	if (!err)
		err = take_lock(b);
	if (err)
		goto out;
	b->policies.say = say_line;
	b->policies.ctx = b;
	b->policies.object = actuator->programs;
	err = pvsched_policies_open(&b->policies, opts->policy ? opts->policy : "latency");
	if (err)
		goto out;
	b->programs = pvsched_policies_base(&b->policies);
	configure(b, opts);
	err = make_rings(b, &b->cpus);
	if (!err)
		err = pvsched_registry_open(&b->reg, b->programs);
	if (!err)
		err = start_guardian(b); /* before any link exists: it must not hold one */
	if (err) {
		say(b, "broker: maps or guardian: %s", strerror(-err));
		goto out;
	}
	err = begin_actuation(b, actuator);
	if (err)
		goto out;
	if (opts->stats) {
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
	b->server.on_standard = on_standard;
	b->server.ctx = b;
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
	err = b->ep < 0 || b->stop_fd < 0 || b->ended_fd < 0 ? -errno : 0;
	if (!err)
		err = watch(b, b->stop_fd, TAG_STOP);
	if (!err)
		err = watch(b, b->server.listen_fd, TAG_LISTEN);
	if (!err)
		err = watch(b, b->guardian.pidfd, TAG_GUARDIAN);
	if (!err)
		err = watch(b, b->policies.loading.done_fd, TAG_LOADED);
	b->caps = opts->fixed_policy ? PVSCHED_CAPS_SERVE : PVSCHED_CAPS_SWAP;
	if (!opts->fixed_policy && !access("/sys/kernel/btf/kvm", F_OK))
		b->dormant = PVSCHED_CAP(CAP_SYS_ADMIN);
	if (!err && opts->confine) {
		err = keep_caps(b);
		if (err)
			say(b, "capabilities: cannot be given up: %s", strerror(-err));
	}
	if (!err)
		err = watch_actuator(b);
	if (!err)
		err = -pthread_create(&b->thread, NULL, serve, b);
	if (err)
		goto out;
	b->running = true;
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
	if (b->server.reg)
		pvsched_server_close(&b->server, b->socket); /* restores every thread */
	stop_actuator(b);
	pvsched_guardian_stop(&b->guardian);
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
	if (b->stats_fd >= 0)
		close(b->stats_fd);
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
				 p[i].attached_to ? p[i].attached_to : "");
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
	if (bpf_map_lookup_elem(pvsched_programs_map_fd(b->programs, PVSCHED_MAP_CPUS), &zero,
				per_cpu)) {
		err = -errno;
		goto out;
	}
	for (int i = 0; i < n; i++) {
		const struct pvsched_counters *c = &per_cpu[i].count;

		for (int e = 0; e < 12; e++)
			out.events[e] += c->events[e];
		out.denied_throttle += c->denied_throttle;
		out.denied_gap += c->denied_gap;
		out.bad_words += c->bad_words;
		out.hints += c->hints;
		out.hints_lost += c->hints_lost;
		out.races += c->races;
		out.second_line += c->second_line;
		out.tsc_unknown += c->tsc_unknown;
	}
	out.clients_refused = b->server.refused;
	*ret = out;
out:
	free(per_cpu);
	return err;
}
