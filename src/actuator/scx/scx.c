// SPDX-License-Identifier: GPL-2.0-only
/*
 * Starts and ends the scheduler of scx.bpf.c. It lives as long as its link, which this process
 * holds: when it dies, however, the kernel goes back to its own scheduler. Caller's thread only.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../events/probe.h"
#include "../../core/plain.h"
#include "../actuator.h"
#include "../topology.h"
#include "cpus.h"
#include "quota.h"

#define SCX_ROOT    "/sys/kernel/sched_ext"
#define CGROUP_ROOT "/sys/fs/cgroup"

/* libbpf 1.1, of Debian 12, knows neither; they are the kernel's (6.4). */
#define MAP_LINK	  (1u << 13) /* BPF_F_LINK: registered by a link, not by an update */
#define ATTACH_STRUCT_OPS 44 /* BPF_STRUCT_OPS of enum bpf_attach_type */
#define EXIT_RESTART	  (1ull << 48) /* SCX_ECODE_ACT_RESTART: of a CPU that came or went */
#define EXIT_ERROR	  1024 /* SCX_EXIT_ERROR of enum scx_exit_kind, and above */
#define RESTARTS_MOST	  3 /* in a row, that do not get as far as running */

extern const unsigned char pvsched_scx_bpf[];
extern const size_t pvsched_scx_bpf_size;

/* As in scx.bpf.c. */
struct scx_said {
	uint64_t kind;
	int64_t code;
	char reason[64];
	char msg[192];
};

struct scx {
	struct pvsched_actuator_opts o;
	struct pvsched_programs *programs;
	struct bpf_link *ops; /* the map's registration */
	int link_fd;
	struct bpf_link *bell;
	struct ring_buffer *exits;
	struct scx_said said;
	bool ended;
};

static const char *const needs[] = {
	"scx_bpf_create_dsq",	      "scx_bpf_select_cpu_dfl", "scx_bpf_test_and_clear_cpu_idle",
	"scx_bpf_pick_idle_cpu",      "scx_bpf_dsq_insert",	"scx_bpf_dsq_insert_vtime",
	"scx_bpf_dsq_move_to_local",  "scx_bpf_dsq_move",	"scx_bpf_dsq_peek",
	"scx_bpf_dsq_nr_queued",      "scx_bpf_task_set_slice", "scx_bpf_task_set_dsq_vtime",
	"scx_bpf_kick_cpu",	      "scx_bpf_task_cpu",	"scx_bpf_now",
	"scx_bpf_dsq_move_vtime",     "bpf_preempt_disable",	"bpf_preempt_enable",
	"scx_bpf_dsq_move_set_vtime",
};

static void read_line(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");

	buf[0] = 0;
	if (f && fgets(buf, size, f))
		buf[strcspn(buf, "\n")] = 0;
	if (f)
		fclose(f);
}

static int usable(char *why, size_t size)
{
	char state[32], name[64], cgroup[320], cpus[64];
	struct btf *btf;
	int err = 0;

	if (access(SCX_ROOT, F_OK)) {
		snprintf(why, size, "this kernel has no sched_ext (CONFIG_SCHED_CLASS_EXT)");
		return -ENOTSUP;
	}
	read_line(SCX_ROOT "/state", state, sizeof(state));
	read_line(SCX_ROOT "/root/ops", name, sizeof(name));
	if (strcmp(state, "disabled") && strncmp(name, "pvsched", 7)) {
		snprintf(why, size, "another scheduler is on (%s, %s): stop it first", name, state);
		return -EBUSY;
	}
	if (pvsched_topology_possible(PVSCHED_TOPOLOGY_ROOT) > PVSCHED_CPUS) {
		snprintf(why, size, "this machine may have more than %d CPUs", PVSCHED_CPUS);
		return -ENOTSUP;
	}
	if (pvsched_topology_isolated(PVSCHED_TOPOLOGY_ROOT, cpus, sizeof(cpus))) {
		snprintf(why, size, "CPUs %s are isolated (isolcpus=), which sched_ext refuses",
			 cpus);
		return -ENOTSUP;
	}
	if (pvsched_quota_find(CGROUP_ROOT, cgroup, sizeof(cgroup))) {
		pvsched_plain(cgroup); /* who has a cgroup names those in it */
		snprintf(why, size, "%s has a CPU quota, which nobody would be held to", cgroup);
		return -EBUSY;
	}
	btf = btf__load_vmlinux_btf();
	if (!btf) {
		snprintf(why, size, "no kernel BTF: %s", strerror(errno));
		return -ENOTSUP;
	}
	for (size_t i = 0; !err && i < sizeof(needs) / sizeof(*needs); i++)
		if (btf__find_by_name_kind(btf, needs[i], BTF_KIND_FUNC) < 0) {
			snprintf(why, size,
				 "this kernel's sched_ext lacks %s: Linux 6.19 or later has it",
				 needs[i]);
			err = -ENOTSUP;
		}
	btf__free(btf);
	return err;
}

/* Another CPU of its core; itself where there is none. core: of each CPU. */
static int sibling_of(int cpu, const int *core, int cpus)
{
	if (core[cpu] != cpu)
		return core[cpu];
	for (int other = cpu + 1; other < cpus; other++)
		if (core[other] == cpu)
			return other;
	return cpu;
}

/* Each time the scheduler starts: CPUs that were off tell their caches when they come. */
static int fill_topology(struct pvsched_programs *p)
{
	struct bpf_object *obj = pvsched_programs_object(p);
	int cpus = bpf_object__find_map_fd_by_name(obj, "scx_cpus");
	int llcs = bpf_object__find_map_fd_by_name(obj, "scx_llcs");
	uint32_t *count = pvsched_programs_word(p, "scx_llcs_n");
	struct scx_llc *l = calloc(LLCS_MAX, sizeof(*l));
	int name[LLCS_MAX], n = 0, possible = libbpf_num_possible_cpus(), err = 0, at, first;
	int core[PVSCHED_CPUS];
	uint32_t key;

	if (!l || !count) {
		free(l);
		return l ? -ENOENT : -ENOMEM;
	}
	if (possible > PVSCHED_CPUS)
		possible = PVSCHED_CPUS;
	for (int cpu = 0; cpu < possible; cpu++)
		core[cpu] = pvsched_topology_core(PVSCHED_TOPOLOGY_ROOT, cpu);
	for (int cpu = 0; !err && cpu < possible; cpu++) {
		struct scx_cpu x = { .sibling = sibling_of(cpu, core, possible) };

		key = cpu;
		if (!pvsched_topology_online(PVSCHED_TOPOLOGY_ROOT, cpu)) { /* in no cache's list */
			err = bpf_map_update_elem(cpus, &key, &x, BPF_ANY) ? -errno : 0;
			continue;
		}
		first = pvsched_topology_llc(PVSCHED_TOPOLOGY_ROOT, cpu);
		for (at = 0; at < n && name[at] != first; at++)
			;
		if (at == n && n < LLCS_MAX)
			name[n++] = first;
		x.llc = at < LLCS_MAX ? at : LLCS_MAX - 1;
		if (l[x.llc].n < LLC_CPUS_MAX)
			l[x.llc].cpu[l[x.llc].n++] = cpu;
		err = bpf_map_update_elem(cpus, &key, &x, BPF_ANY) ? -errno : 0;
	}
	for (key = 0; !err && key < LLCS_MAX; key++)
		err = bpf_map_update_elem(llcs, &key, &l[key], BPF_ANY) ? -errno : 0;
	free(l);
	*count = n;
	return err;
}

/* What libbpf 1.1 does not do by itself. */
static int prepare(struct bpf_object *obj, struct pvsched_programs *programs)
{
	static const char *const sleepable[] = { "pvsched_init", "pvsched_exit" };
	struct bpf_program *prog;
	struct bpf_map *map = bpf_object__find_map_by_name(obj, "pvsched_ops");
	int err = map ? bpf_map__set_map_flags(map, MAP_LINK) : -EINVAL;

	(void)programs;
	for (size_t i = 0; !err && i < sizeof(sleepable) / sizeof(*sleepable); i++) {
		prog = bpf_object__find_program_by_name(obj, sleepable[i]);
		err = prog ? bpf_program__set_flags(prog, BPF_F_SLEEPABLE) : -EINVAL;
	}
	prog = bpf_object__find_program_by_name(obj, "pvsched_bell");
	if (!err && prog)
		err = bpf_program__set_autoload(prog, pvsched_probe_one("probe_ioeventfd_fentry"));
	return err;
}

static const struct pvsched_event_object programs = {
	.data = pvsched_scx_bpf,
	.size = &pvsched_scx_bpf_size,
	.prepare = prepare,
};

static int on_said(void *ctx, void *data, size_t size)
{
	struct scx *a = ctx;

	if (size < sizeof(a->said))
		return 0;
	memcpy(&a->said, data, sizeof(a->said));
	a->ended = true;
	return 0;
}

static void detach(struct scx *a)
{
	bpf_link__destroy(a->bell);
	a->bell = NULL;
	if (a->link_fd >= 0)
		close(a->link_fd); /* returns when the kernel's own scheduler rules again */
	a->link_fd = -1;
	bpf_link__destroy(a->ops);
	a->ops = NULL;
	if (a->exits)
		ring_buffer__consume(a->exits); /* that it ended: we know */
	ring_buffer__free(a->exits);
	a->exits = NULL;
}

static int attach(struct scx *a, struct pvsched_programs *p)
{
	struct bpf_object *obj = pvsched_programs_object(p);
	struct bpf_program *bell = bpf_object__find_program_by_name(obj, "pvsched_bell");
	struct bpf_map *map = bpf_object__find_map_by_name(obj, "pvsched_ops");
	int err;

	a->programs = p;
	a->ended = false;
	err = fill_topology(p);
	if (err)
		return err;
	a->exits = ring_buffer__new(bpf_object__find_map_fd_by_name(obj, "scx_exits"), on_said, a,
				    NULL);
	if (!a->exits)
		return -errno;
	/* the update makes the map ready, once for all; the link makes it the scheduler */
	a->ops = bpf_map__attach_struct_ops(map);
	if (!a->ops && errno != EBUSY)
		return -errno;
	a->link_fd = bpf_link_create(bpf_map__fd(map), 0, ATTACH_STRUCT_OPS, NULL);
	if (a->link_fd < 0)
		return -errno;
	if (bell && bpf_program__autoload(bell)) {
		a->bell = bpf_program__attach(bell);
		if (!a->bell)
			return -errno;
	}
	return 0;
}

__attribute__((format(printf, 2, 3))) static void say(struct scx *a, const char *format, ...)
{
	char line[400];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (a->o.say)
		a->o.say(a->o.ctx, line);
}

/* Whatever was boosted is not any more: its thread runs by the kernel's own scheduler. */
static void settle_all(struct scx *a)
{
	for (uint32_t slot = 0; slot < PVSCHED_SLOTS; slot++) {
		if (!a->o.act->slots[slot].used)
			continue;
		pvsched_desire_nothing(&a->o.act->shared[slot]);
		pvsched_programs_slot(a->programs, slot, PVSCHED_SLOT_SETTLE, 0);
	}
}

static void become(struct scx *a, enum pvsched_actuator_kind kind)
{
	volatile struct pvsched_config *c = a->o.act->config;

	__atomic_store_n(&c->actuator, kind, __ATOMIC_SEQ_CST);
	/* virtual time pays a boost back, and the timer is what ends one */
	c->payback = kind != PVSCHED_ACTUATOR_SCX;
	c->slack_ns = kind == PVSCHED_ACTUATOR_SCX ? 0 : PVSCHED_SLACK_NS;
}

/* Whoever acts next finds every thread at its baseline: until then no boost begins. */
static void give_back(struct scx *a)
{
	become(a, PVSCHED_ACTUATOR_NONE);
	settle_all(a);
	become(a, PVSCHED_ACTUATOR_AGENT);
}

static void stop(void *arg)
{
	struct scx *a = arg;

	if (!a)
		return;
	detach(a);
	give_back(a);
	free(a);
}

static int start(const struct pvsched_actuator_opts *o, void **ret)
{
	struct scx *a = calloc(1, sizeof(*a));
	int err;

	if (!a)
		return -ENOMEM;
	a->o = *o;
	a->link_fd = -1;
	become(a, PVSCHED_ACTUATOR_SCX);
	err = attach(a, o->programs);
	if (err) {
		say(a, "scx: the kernel does not start the scheduler: %s: use --actuator agent",
		    strerror(-err));
		stop(a);
		return err;
	}
	*ret = a;
	return 0;
}

static void forget(void *a, uint32_t slot)
{
	(void)a;
	(void)slot; /* a slot that is not used any more is an ordinary task to the scheduler */
}

/* A policy is linked to the scheduler: for another one it starts anew, within some ms. */
static int policy(void *arg, struct pvsched_programs *p)
{
	struct scx *a = arg;
	int err;

	if (p == a->programs)
		return 0;
	detach(a);
	err = attach(a, p);
	if (err) {
		say(a, "scx: the kernel does not start the scheduler again: %s", strerror(-err));
		detach(a);
		give_back(a);
		return -EIO;
	}
	return 0;
}

static int poll_fd(void *arg)
{
	return ring_buffer__epoll_fd(((struct scx *)arg)->exits);
}

static int poll(void *arg)
{
	struct scx *a = arg;
	struct pvsched_programs *p = a->programs;
	struct scx_said why;
	int err = -EIO;

	ring_buffer__consume(a->exits);
	if (!a->ended)
		return 0;
	why = a->said;
	detach(a);
	if (why.code & EXIT_RESTART)
		for (int i = 0; err && i < RESTARTS_MOST; i++) {
			err = attach(a, p);
			if (err)
				detach(a);
		}
	if (!err)
		return 1;
	say(a, "scx: the kernel ended the scheduler: %s%s%s: its own rules now, and agents act",
	    why.reason[0]	     ? why.reason
	    : why.kind >= EXIT_ERROR ? "an error"
				     : "unregistered",
	    why.msg[0] ? ": " : "", why.msg);
	give_back(a);
	return -EIO;
}

const struct pvsched_actuator pvsched_actuator_scx = {
	.name = "scx",
	.summary = "a sched_ext scheduler: no thread between decision and effect",
	.kind = PVSCHED_ACTUATOR_SCX,
	.automatic = false, /* one broker's start changes how every task of the host is scheduled */
	.usable = usable,
	.programs = &programs,
	.start = start,
	.stop = stop,
	.forget = forget,
	.policy = policy,
	.poll_fd = poll_fd,
	.poll = poll,
};
