// SPDX-License-Identifier: GPL-2.0-only
/*
 * The broker's life: the host's lock, programs, registry, guardian, agents, socket, in this
 * order, and back. One main thread serves clients.
 */
#include "instance.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "../privilege/caps.h"
#include "../privilege/thread.h"
#include "cpus.h"
#include "lock.h"
#include "places.h"

#define NO_MEMORY                                                                                  \
	"no page can be reached over a port, their guests are served by what the host sees"
#define KVM "/sys/module/kvm"

void pvsched_broker_say_line(void *ctx, const char *line)
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

void pvsched_broker_say(struct pvsched_broker *b, const char *fmt, ...)
{
	char line[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	pvsched_broker_say_line(b, line);
}

/* Nothing tells of a module that is loaded later, and programs that were loaded cannot have its events. */
static bool is_late(struct pvsched_broker *b)
{
	if (!b->late || access(KVM, F_OK))
		return false;
	if (!b->late_said)
		pvsched_broker_say(
			b,
			"KVM was loaded after this had started: its events are missing, and VMs are not "
			"found: start it again");
	b->late_said = true;
	return true;
}

int pvsched_broker_watch(struct pvsched_broker *b, int fd, uint32_t tag)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = tag };

	return epoll_ctl(b->ep, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

static void on_taken(void *ctx, int place)
{
	struct pvsched_broker *b = ctx;

	pvsched_found_forget(&b->found, place);
}

int pvsched_broker_find_vms(struct pvsched_broker *b, const char *policy)
{
	int err;

	b->found.server = &b->server;
	b->found.ep = b->ep;
	b->found.tag = TAG_FOUND;
	b->found.say = pvsched_broker_say_line;
	b->found.ctx = b;
	if (!policy || is_late(b))
		return 0;
	pvsched_caps_raise(PVSCHED_CAP(CAP_SYS_ADMIN)); /* its programs name types of KVM's, too */
	err = pvsched_found_open(&b->found, policy);
	if (b->running)
		pvsched_caps_lower(PVSCHED_CAP(CAP_SYS_ADMIN));
	if (err)
		return 0;
	return pvsched_broker_watch(b, pvsched_finder_poll_fd(b->found.finder), TAG_NEWS);
}

int pvsched_broker_no_finding(struct pvsched_broker *b, const struct pvsched_actuator *a)
{
	pvsched_broker_say(b, "%s: VMs are found by BPF only: use --found-policy none", a->name);
	return -ENOTSUP;
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

/* Returns whether it was told to end. */
static bool serve_all(struct pvsched_broker *b)
{
	struct epoll_event ev[32];
	eventfd_t count;
	int n, i, client;

	for (;;) {
		n = epoll_wait(b->ep, ev, 32, due_in(b));
		if (n < 0 && errno != EINTR)
			return false;
		for (i = 0; i < n; i++) {
			if (ev[i].data.u32 == TAG_STOP)
				return true;
			if (ev[i].data.u32 == TAG_GUARDIAN) {
				if (!pvsched_actuation_guard_again(b))
					continue;
				pvsched_broker_say(
					b, "guardian: cannot be started again: the broker ends");
				return false;
			}
			if (ev[i].data.u32 == TAG_LOADED) {
				pvsched_settings_loaded(b);
				continue;
			}
			if (ev[i].data.u32 == TAG_FOREIGN) {
				eventfd_read(b->reg.act.foreign_fd, &count);
				pvsched_server_foreign(&b->server, say_note, b);
				continue;
			}
			if (ev[i].data.u32 == TAG_ACTUATOR) {
				if (!pvsched_actuation_poll(b))
					continue;
				pvsched_broker_say(b,
						   "actuator: cannot be replaced: the broker ends");
				return false;
			}
			if (ev[i].data.u32 == TAG_LISTEN) {
				client = pvsched_server_accept(&b->server);
				/* whom nobody would listen to is not kept waiting */
				if (client >= 0 &&
				    pvsched_broker_watch(b, b->server.client[client].fd, client))
					pvsched_server_drop(&b->server, client);
				continue;
			}
			if (ev[i].data.u32 == TAG_CONF) {
				eventfd_read(b->configure_fd, &count);
				pvsched_settings_asked(b);
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
}

static void *serve(void *arg)
{
	struct pvsched_broker *b = arg;

	pthread_setname_np(pthread_self(), "pvsched-broker");
	if (!serve_all(b))
		eventfd_write(b->ended_fd, 1);
	pvsched_settings_end(b);
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
		err = pvsched_broker_watch(b, b->ports.listen_fd, TAG_PORTS);
	if (!err)
		err = pvsched_broker_watch(b, b->ports.lapsed_fd, TAG_LAPSED);
	if (err)
		pvsched_broker_say(b, "port socket beside %s: %s: give another path", b->socket,
				   strerror(-err));
	return err;
}

static int start_control(struct pvsched_broker *b)
{
	char path[PATH_MAX];
	int err = pvsched_control_path(b->socket, path, sizeof(path));

	if (!err)
		err = pvsched_control_start(&b->server, path, &b->control);
	if (err)
		pvsched_broker_say(b, "control socket beside %s: %s: give another path", b->socket,
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
	pvsched_broker_say(b, "no actuator '%.40s': use auto%s", name, names);
	return -ENOENT;
}

/* Before programs of its own are loaded: what they need may not be here. */
static int need_actuator(struct pvsched_broker *b, const struct pvsched_actuator *a,
			 const struct pvsched_broker_opts *o)
{
	const struct timespec nap = { .tv_nsec = 5000000 };
	char why[PVSCHED_ACTUATOR_WHY];
	int err = a->programs ? a->usable(why, sizeof(why)) : 0;

	/* of a broker that died: the lock is ours, so what it had is being put back */
	for (int i = 0; i < 400 && err == -EBUSY; i++) {
		nanosleep(&nap, NULL);
		err = a->usable(why, sizeof(why));
	}
	if (err)
		pvsched_broker_say(b, "%s: %s: or use --actuator agent", a->name, why);
	else if (o->found_policy && !pvsched_actuator_has_bpf(a))
		return pvsched_broker_no_finding(b, a);
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
		err = pvsched_host_lock(pvsched_broker_say_line, b, &b->lock_fd);
	if (!err)
		err = need_actuator(b, actuator, opts);
	if (err)
		goto out;
	b->policies.say = pvsched_broker_say_line;
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
	err = bpf ? pvsched_actuation_rings(b, &b->cpus) : 0; /* there is nobody to be told */
	if (!err)
		err = pvsched_registry_open(&b->reg, b->programs);
	if (!err) {
		b->reg.cpus = CPU_COUNT(&b->cpus);
		pvsched_settings_begin(b, opts);
		b->reg.act.foreign_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		err = b->reg.act.foreign_fd < 0 ? -errno : 0;
	}
	if (!err && bpf) /* else the close of the device restores every thread */
		err = pvsched_actuation_guard(b); /* before any link exists: it must not hold one */
	if (err) {
		pvsched_broker_say(b, "broker: maps or guardian: %s", strerror(-err));
		goto out;
	}
	err = pvsched_actuation_begin(b, actuator);
	if (err)
		goto out;
	if (opts->stats && bpf) {
		b->stats_fd = bpf_enable_stats(BPF_STATS_RUN_TIME);
		if (b->stats_fd < 0) {
			err = -errno;
			pvsched_broker_say(b, "BPF run-time statistics: %s", strerror(-err));
			goto out;
		}
	}
	b->server.reg = &b->reg;
	b->server.policies = &b->policies;
	b->server.mutex = &b->mutex;
	b->server.fixed_policy = opts->fixed_policy;
	b->server.set_ceiling = pvsched_actuation_ceiling;
	b->server.on_standard = pvsched_actuation_standard;
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
		pvsched_broker_say(b, "socket %s: %s: give another path", b->socket,
				   strerror(-err));
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
		err = pvsched_broker_watch(b, b->configure_fd, TAG_CONF);
	if (!err)
		err = pvsched_broker_watch(b, b->server.porters.home_fd, TAG_PORTERS);
	if (!err)
		err = pvsched_broker_watch(b, b->stop_fd, TAG_STOP);
	if (!err)
		err = pvsched_broker_watch(b, b->server.listen_fd, TAG_LISTEN);
	if (!err && bpf)
		err = pvsched_broker_watch(b, b->guardian.pidfd, TAG_GUARDIAN);
	if (!err)
		err = pvsched_broker_watch(b, b->policies.loading.done_fd, TAG_LOADED);
	if (!err)
		err = pvsched_settings_hold(b, opts);
	if (!err)
		pvsched_settings_take(b, opts);
	if (!err)
		err = pvsched_broker_find_vms(b, opts->found_policy);
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
		err = pvsched_caps_keep(b->caps, b->dormant);
		if (err)
			pvsched_broker_say(b, "capabilities: cannot be given up: %s",
					   strerror(-err));
	}
	if (!err)
		err = pvsched_broker_watch(b, b->reg.act.foreign_fd, TAG_FOREIGN);
	if (!err)
		err = pvsched_actuation_watch(b);
	if (!err)
		err = pvsched_thread_start(&b->thread, NULL, b->caps, b->dormant, serve, b);
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
		pvsched_broker_say(b, "broker: cannot start: %s", strerror(-err));
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
	pvsched_actuation_end(b);
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
