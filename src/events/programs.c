// SPDX-License-Identifier: GPL-2.0-only
/* Link, load, attach. See programs.h. */
#include "programs.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine.h"
#include "probe.h"

extern const unsigned char pvsched_events_bpf[];
extern const size_t pvsched_events_bpf_size;
/* The built-in policies: tools/embed makes the arrays of src/policy. */
#define POLICIES(do)                                                                               \
	do                                                                                         \
	(off) do(latency) do(irq) do(mirror) do(vmexit)
#define DECLARE(name)                                                                              \
	extern const unsigned char pvsched_policy_##name##_bpf[];                                  \
	extern const size_t pvsched_policy_##name##_bpf_size;
POLICIES(DECLARE)

static const struct builtin {
	const char *name;
	const unsigned char *data;
	const size_t *size;
} builtins[] = {
#define ROW(name) { #name, pvsched_policy_##name##_bpf, &pvsched_policy_##name##_bpf_size },
	POLICIES(ROW)
};
#define N_BUILTINS (sizeof(builtins) / sizeof(builtins[0]))

/* Which event needs which program. A program without events is run by the broker itself. */
static const struct source {
	const char *program, *attached_to;
	uint32_t events;
} sources[] = {
	{ "pvsched_sched_switch", "sched_switch", PVSCHED_EV_ALL },
	{ "pvsched_sched_exit", "sched_process_exit", PVSCHED_EV_ALL },
	/* also tells of real-time work of the host, before which boosts end */
	{ "pvsched_sched_waking", "sched_waking", PVSCHED_EV_ALL },
	{ "pvsched_hrtimer_expire", "hrtimer_expire_entry", PVSCHED_EV_INTR_PENDING },
	{ "pvsched_accept_irq_fentry", "__apic_accept_irq", PVSCHED_EV_INTR_PENDING },
	{ "pvsched_accept_irq", "kvm_apic_accept_irq", PVSCHED_EV_INTR_PENDING },
	{ "pvsched_eoi", "kvm_eoi", PVSCHED_EV_INTR_DONE },
	{ "pvsched_kvm_exit", "kvm_exit", PVSCHED_EV_VMEXIT | PVSCHED_EV_HALT },
	{ "pvsched_kvm_entry", "kvm_entry", PVSCHED_EV_VMENTRY },
	{ "pvsched_inj_virq", "kvm_inj_virq", PVSCHED_EV_INTR_INJECT },
	{ "pvsched_slot", NULL, 0 },
	{ "pvsched_agent", NULL, 0 },
};
#define N_SOURCES (sizeof(sources) / sizeof(sources[0]))

#define OWN_MAX 4 /* programs of an actuator's that are attached */

struct pvsched_programs {
	struct bpf_object *obj;
	struct bpf_program *prog[N_SOURCES];
	struct bpf_link *link[N_SOURCES];
	const struct pvsched_event_object *object;
	const struct pvsched_engine *engine; /* in place of all that is BPF's here; NULL = none */
	void *engine_own;
	struct bpf_link *own[OWN_MAX];
	int map_fd[PVSCHED_MAP_N];
	void *bss_mem;
	size_t bss_size;
	struct pvsched_bss bss;
	struct pvsched_policy_info info;
	pvsched_say_fn say;
	void *ctx;
	uint32_t id;
	bool kvm; /* is loaded: without it none of its tracepoints is there, and no VM either */
	bool fentry; /* this kernel lets fentry on KVM's functions in */
	bool said; /* why loading failed */
	bool has_reason; /* verifier holds the cause; what libbpf says later follows from it */
	char verifier[4096]; /* the last warning of libbpf: the reason */
};

/* libbpf's print callback has no context; loading is serial within a process (the broker's
 * lock), so one slot will do. */
static struct pvsched_programs *loading;

/* Of a verifier's log the line that says what is wrong: the one before its statistics. */
static void keep_reason(struct pvsched_programs *p, char *log)
{
	char *end = strstr(log, "\nprocessed "), *line;

	if (!end)
		return;
	*end = 0;
	line = strrchr(log, '\n');
	snprintf(p->verifier, sizeof(p->verifier), "%s", line ? line + 1 : log);
	p->has_reason = true;
}

static int on_print(enum libbpf_print_level level, const char *fmt, va_list args)
{
	char *text = NULL;
	va_list again;

	if (level != LIBBPF_DEBUG && getenv("PVSCHED_DEBUG")) { /* the kernel's own words */
		va_copy(again, args);
		vfprintf(stderr, fmt, again);
		va_end(again);
	}
	if (level != LIBBPF_WARN || !loading || loading->has_reason ||
	    vasprintf(&text, fmt, args) < 0)
		return 0;
	snprintf(loading->verifier, sizeof(loading->verifier), "%s", text);
	if (strstr(text, "BEGIN PROG LOAD LOG"))
		keep_reason(loading, text);
	free(text);
	return 0;
}

__attribute__((format(printf, 2, 3))) static void say(struct pvsched_programs *p, const char *fmt,
						      ...)
{
	char line[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	line[strcspn(line, "\n")] = 0;
	p->said = true;
	if (p->say)
		p->say(p->ctx, line);
}

const char *const *pvsched_policies(void)
{
	static const char *names[N_BUILTINS + 1];

	for (size_t i = 0; i < N_BUILTINS; i++)
		names[i] = builtins[i].name;
	return names;
}

static int memfd_of(const char *name, const void *data, size_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (size && write(fd, data, size) != (ssize_t)size) {
		close(fd);
		return -ENOSPC;
	}
	return fd;
}

static int open_policy(struct pvsched_programs *p, const char *policy, int policy_fd)
{
	const char *dot = strstr(policy, ".bpf.o");
	int fd;

	if (policy_fd >= 0) /* opened by whoever asked, with his rights */
		return fcntl(policy_fd, F_DUPFD_CLOEXEC, 0);

	for (size_t i = 0; i < N_BUILTINS; i++)
		if (!strcmp(policy, builtins[i].name))
			return memfd_of(policy, builtins[i].data, *builtins[i].size);
	if (!dot || dot[strlen(".bpf.o")]) {
		say(p,
		    "no policy '%s': use off, latency, irq, mirror, vmexit, or a file that ends in "
		    ".bpf.o",
		    policy);
		return -ENOENT;
	}
	fd = open(policy, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		fd = -errno;
		say(p, "policy file %s: %s: build it, or give its path", policy, strerror(-fd));
	}
	return fd;
}

/* Event programs and policy become one object: the policy's function is an extern of theirs. */
static int link_objects(struct pvsched_programs *p, const struct pvsched_load_opts *o, int *ret_fd)
{
	const struct pvsched_event_object *events = o->object;
	const char *policy = o->policy;
	int out = memfd_create("pvsched", MFD_CLOEXEC), ev, pol, err;
	char path[3][32];
	struct bpf_linker *linker = NULL;

	ev = events ? memfd_of("events", events->data, *events->size)
		    : memfd_of("events", pvsched_events_bpf, pvsched_events_bpf_size);
	pol = open_policy(p, policy, o->policy_fd);
	err = pol < 0 ? pol : ev < 0 ? ev : out < 0 ? -errno : 0;
	if (err)
		goto out;
	snprintf(path[0], sizeof(path[0]), "/proc/self/fd/%d", out);
	snprintf(path[1], sizeof(path[1]), "/proc/self/fd/%d", ev);
	snprintf(path[2], sizeof(path[2]), "/proc/self/fd/%d", pol);
	linker = bpf_linker__new(path[0], NULL);
	err = linker ? 0 : -errno;
	if (!err)
		err = bpf_linker__add_file(linker, path[1], NULL);
	if (!err)
		err = bpf_linker__add_file(linker, path[2], NULL);
	if (!err)
		err = bpf_linker__finalize(linker);
	if (err) {
		say(p, "policy %s: cannot be linked: %s: build it against the installed headers",
		    policy, p->verifier[0] ? p->verifier : strerror(-err));
		err = -EINVAL;
	}
out:
	bpf_linker__free(linker);
	if (ev >= 0)
		close(ev);
	if (pol >= 0)
		close(pol);
	if (err && out >= 0)
		close(out);
	else if (!err)
		*ret_fd = out;
	return err;
}

static int read_info(struct pvsched_programs *p, const char *policy)
{
	struct bpf_map *map;
	size_t size = 0;
	const void *data;

	bpf_object__for_each_map(map, p->obj) {
		/* libbpf: the section's name, after a prefix on old versions */
		const char *name = bpf_map__name(map);
		size_t len = strlen(name);

		if (len < 15 || strcmp(name + len - 15, ".rodata.pvsched"))
			continue;
		data = bpf_map__initial_value(map, &size);
		if (data && size >= sizeof(p->info))
			memcpy(&p->info, data, sizeof(p->info));
	}
	p->info.name[sizeof(p->info.name) - 1] = 0;
	if (p->info.abi == PVSCHED_POLICY_ABI && !(p->info.events & ~PVSCHED_EV_ALL))
		return 0;
	say(p, "policy %s: built for policy version %u, this is %u: build it again", policy,
	    p->info.abi, PVSCHED_POLICY_ABI);
	return -EPROTO;
}

static bool wanted(const struct pvsched_programs *p, size_t i)
{
	if (!strcmp(sources[i].program, "pvsched_accept_irq_fentry") && !p->fentry)
		return false;
	if (!strcmp(sources[i].program, "pvsched_accept_irq") && (p->fentry || !p->kvm))
		return false;
	if (!strcmp(sources[i].program, "pvsched_eoi") && !p->kvm)
		return false;
	return !sources[i].events || sources[i].events & p->info.events;
}

/* Where the BTF of the object says that this variable of .bss is; NULL = it has none. */
static void *bss_at(const struct pvsched_programs *p, const char *wanted)
{
	const struct btf *btf = bpf_object__btf(p->obj);
	int id = btf__find_by_name_kind(btf, ".bss", BTF_KIND_DATASEC);
	const struct btf_type *t = id < 0 ? NULL : btf__type_by_id(btf, id);
	const struct btf_var_secinfo *v = t ? btf_var_secinfos(t) : NULL;

	for (int i = 0; t && i < btf_vlen(t); i++, v++) {
		const char *name =
			btf__name_by_offset(btf, btf__type_by_id(btf, v->type)->name_off);

		if (!strcmp(name, wanted))
			return (char *)p->bss_mem + v->offset;
	}
	return NULL;
}

static int find_bss(struct pvsched_programs *p)
{
	struct bpf_map *map = NULL, *m;

	bpf_object__for_each_map(m, p->obj) {
		const char *name = bpf_map__name(m);
		size_t len = strlen(name);

		if (len >= 4 && !strcmp(name + len - 4, ".bss"))
			map = m;
	}
	if (!map)
		return -EINVAL;
	p->bss_size = (bpf_map__value_size(map) + 4095) & ~4095ul;
	/* Not bpf_map__initial_value(): before libbpf 1.2 that is a private copy. */
	p->bss_mem =
		mmap(NULL, p->bss_size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
	if (p->bss_mem == MAP_FAILED) {
		p->bss_mem = NULL;
		return -errno;
	}
	p->bss = (struct pvsched_bss){
		.slot_of_tid = bss_at(p, "slot_of_tid"),
		.config = bss_at(p, "config"),
		.clocks = bss_at(p, "clocks"),
		.clock_idx = bss_at(p, "clock_idx"),
		.places = bss_at(p, "places"),
	};
	if (!p->bss.slot_of_tid || !p->bss.config || !p->bss.clocks || !p->bss.clock_idx ||
	    !p->bss.places)
		return -EINVAL;
	return 0;
}

uint32_t *pvsched_programs_word(const struct pvsched_programs *p, const char *name)
{
	return p->bss_mem ? bss_at(p, name) : NULL;
}

static int find_maps(struct pvsched_programs *p)
{
	static const char *const names[] = { "vcpus", "shared", "pages", "rings",  "cpus",
					     "debts", "limits", "apics", "delays", "reach" };

	for (int i = 0; i < PVSCHED_MAP_N; i++) {
		p->map_fd[i] = bpf_object__find_map_fd_by_name(p->obj, names[i]);
		if (p->map_fd[i] < 0)
			return p->map_fd[i];
	}
	return 0;
}

/* Sets a 32-bit `const volatile` of the programs; before they are loaded. */
static int set_constant(struct pvsched_programs *p, const char *constant, uint32_t value)
{
	const struct btf *btf = bpf_object__btf(p->obj);
	int id = btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC);
	const struct btf_var_secinfo *v;
	const struct btf_type *t;
	struct bpf_map *map;
	char *data = NULL;
	size_t size = 0;

	bpf_object__for_each_map(map, p->obj) {
		const char *name = bpf_map__name(map);
		size_t len = strlen(name);

		if (len >= 7 && !strcmp(name + len - 7, ".rodata"))
			data = (char *)bpf_map__initial_value(map, &size);
	}
	if (!data || id < 0)
		return -EINVAL;
	t = btf__type_by_id(btf, id);
	v = btf_var_secinfos(t);
	for (int i = 0; i < btf_vlen(t); i++, v++) {
		const char *name =
			btf__name_by_offset(btf, btf__type_by_id(btf, v->type)->name_off);

		if (strcmp(name, constant) || v->offset + sizeof(value) > size)
			continue;
		memcpy(data + v->offset, &value, sizeof(value));
		return 0;
	}
	return -ENOENT;
}

/* Which vCPUs are the programs', and what their policy asked for. */
static int set_constants(struct pvsched_programs *p)
{
	int err = set_constant(p, "policy_id", p->id);

	return err ? err : set_constant(p, "policy_events", p->info.events);
}

/* All objects of a broker share one set of maps: registry, debts and desired states survive a
 * change of policy because they were never the policy's. Its own constants are. */
static int share_maps(struct pvsched_programs *p, const struct pvsched_programs *base)
{
	struct bpf_map *map, *old;

	bpf_object__for_each_map(map, p->obj) {
		const char *name = bpf_map__name(map);
		int err;

		if (strstr(name, ".rodata") || bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS)
			continue;
		old = bpf_object__find_map_by_name(base->obj, name);
		if (!old && strstr(name, ".bss"))
			return -EINVAL; /* another's events would not reach it */
		if (!old)
			continue; /* a map of the policy's own */
		err = bpf_map__reuse_fd(map, bpf_map__fd(old));
		if (err)
			return err;
	}
	return 0;
}

/* KVM's tracepoints of exits are there as soon as KVM is, but only these two pass them: on another
 * one such a policy would load, attach, and never be asked. */
static int check_events(struct pvsched_programs *p, const char *policy)
{
	if (!(p->info.events & (PVSCHED_EV_VMEXIT | PVSCHED_EV_VMENTRY | PVSCHED_EV_HALT |
				PVSCHED_EV_INTR_INJECT)) ||
	    !access("/sys/module/kvm_amd", F_OK) || !access("/sys/module/kvm_intel", F_OK))
		return 0;
	say(p,
	    "policy %s: it asks for VM exits: this host lacks them (neither kvm_amd nor kvm_intel): "
	    "pvsched check lists what it has",
	    policy);
	return -ENOTSUP;
}

static int load_object(struct pvsched_programs *p, const struct pvsched_load_opts *o, int fd)
{
	/* maps that are shared are found by their names, and that of .bss begins with the object's */
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "pvsched");
	const char *policy = o->policy;
	struct stat st;
	void *mem;
	int err;

	if (fstat(fd, &st))
		return -errno;
	mem = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (mem == MAP_FAILED)
		return -errno;
	p->obj = bpf_object__open_mem(mem, st.st_size, &opts);
	err = p->obj ? 0 : -errno;
	munmap(mem, st.st_size);
	if (!err)
		err = read_info(p, policy);
	if (!err)
		err = check_events(p, policy);
	if (!err)
		err = set_constants(p);
	if (!err && o->base)
		err = share_maps(p, o->base);
	else if (!err && o->debts_fd >= 0)
		err = bpf_map__reuse_fd(bpf_object__find_map_by_name(p->obj, "debts"), o->debts_fd);
	if (!err && o->object)
		err = o->object->prepare(p->obj, p);
	if (err)
		return err;
	for (size_t i = 0; i < N_SOURCES; i++) {
		p->prog[i] = bpf_object__find_program_by_name(p->obj, sources[i].program);
		if (!p->prog[i])
			return -EINVAL;
		bpf_program__set_autoload(p->prog[i], wanted(p, i));
	}
	return bpf_object__load(p->obj);
}

int pvsched_programs_load(const struct pvsched_load_opts *o, pvsched_say_fn say_fn, void *ctx,
			  struct pvsched_programs **ret)
{
	const char *policy = o->policy;
	struct pvsched_programs *p = calloc(1, sizeof(*p));
	libbpf_print_fn_t old;
	int err, fd = -1;

	if (!p) {
		if (say_fn)
			say_fn(ctx, "BPF programs: out of memory");
		return -ENOMEM;
	}
	p->say = say_fn;
	p->ctx = ctx;
	p->id = o->id;
	p->object = o->object;
	if (o->object && o->object->engine) {
		err = o->object->engine->load(o, o->base ? o->base->engine_own : NULL, say_fn, ctx,
					      &p->engine_own, &p->info, &p->bss);
		if (err) {
			free(p);
			return err;
		}
		p->engine = o->object->engine;
		*ret = p;
		return 0;
	}
	/* as when this began: what came later is not seen by what is there already */
	p->kvm = o->base ? o->base->kvm : !access("/sys/module/kvm", F_OK);
	p->fentry = p->kvm && pvsched_probe_one("probe_accept_irq_fentry");
	loading = p;
	old = libbpf_set_print(on_print);
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	if (access("/sys/kernel/btf/vmlinux", R_OK)) {
		say(p,
		    "kernel BTF: /sys/kernel/btf/vmlinux: %s: boot a kernel built with "
		    "CONFIG_DEBUG_INFO_BTF",
		    strerror(errno));
		err = -ENOTSUP;
		goto out;
	}
	err = link_objects(p, o, &fd);
	if (err)
		goto out;
	err = load_object(p, o, fd);
	if (!err)
		err = find_maps(p);
	if (!err)
		err = find_bss(p);
	if (err == -EPERM)
		say(p, "BPF programs: loading: permission denied: run as root (CAP_BPF, "
		       "CAP_PERFMON, CAP_SYS_NICE)");
	else if (err && err != -EPROTO && err != -ENOTSUP) {
		say(p, "policy %s: the kernel refuses it: %s", policy,
		    p->verifier[0] ? p->verifier : strerror(-err));
		err = -EINVAL;
	}
out:
	if (fd >= 0)
		close(fd);
	libbpf_set_print(old);
	loading = NULL;
	if (err && !p->said)
		say(p, "policy %s: cannot be loaded: %s", policy, strerror(-err));
	if (err)
		pvsched_programs_free(p);
	else
		*ret = p;
	return err;
}

/* First: what the others lead to is heard from the start. */
static int attach_own(struct pvsched_programs *p)
{
	const char *const *name = p->object ? p->object->attach : NULL;
	struct bpf_program *prog;

	for (int i = 0; name && name[i] && i < OWN_MAX; i++) {
		prog = bpf_object__find_program_by_name(p->obj, name[i]);
		if (!prog || !bpf_program__autoload(prog))
			continue;
		p->own[i] = bpf_program__attach(prog);
		if (!p->own[i]) {
			int err = -errno;

			say(p, "program %s: cannot be attached: %s: use --actuator agent", name[i],
			    strerror(-err));
			pvsched_programs_detach(p);
			return -ENOTSUP;
		}
	}
	return 0;
}

static int attach(struct pvsched_programs *p)
{
	int err = attach_own(p);

	if (err)
		return err;
	for (size_t i = 0; i < N_SOURCES; i++) {
		if (!sources[i].attached_to || !wanted(p, i))
			continue;
		p->link[i] = bpf_program__attach(p->prog[i]);
		if (!p->link[i]) {
			err = -errno;
			say(p,
			    "policy %s: event %s: this host lacks it (%s): pvsched check lists what "
			    "it has",
			    p->info.name, sources[i].attached_to, strerror(-err));
			pvsched_programs_detach(p);
			return -ENOTSUP;
		}
	}
	return 0;
}

int pvsched_programs_attach(struct pvsched_programs *p)
{
	libbpf_print_fn_t old;
	int err;

	if (p->engine)
		return p->engine->attach(p->engine_own);
	old = libbpf_set_print(on_print); /* on_print: libbpf's own is stderr */
	err = attach(p);
	libbpf_set_print(old);
	return err;
}

void pvsched_programs_detach(struct pvsched_programs *p)
{
	if (p->engine) {
		p->engine->detach(p->engine_own);
		return;
	}
	for (size_t i = 0; i < N_SOURCES; i++) {
		bpf_link__destroy(p->link[i]);
		p->link[i] = NULL;
	}
	for (int i = 0; i < OWN_MAX; i++) {
		bpf_link__destroy(p->own[i]);
		p->own[i] = NULL;
	}
}

void pvsched_programs_free(struct pvsched_programs *p)
{
	if (!p)
		return;
	pvsched_programs_detach(p);
	if (p->engine)
		p->engine->free(p->engine_own);
	if (p->bss_mem)
		munmap(p->bss_mem, p->bss_size);
	bpf_object__close(p->obj);
	free(p);
}

const struct pvsched_policy_info *pvsched_programs_policy(const struct pvsched_programs *p)
{
	return &p->info;
}

const struct pvsched_bss *pvsched_programs_bss(const struct pvsched_programs *p)
{
	return &p->bss;
}

int pvsched_programs_map_fd(const struct pvsched_programs *p, enum pvsched_map map)
{
	return p->engine ? -1 : p->map_fd[map];
}

static int prog_fd(const struct pvsched_programs *p, const char *name)
{
	for (size_t i = 0; i < N_SOURCES; i++)
		if (!strcmp(sources[i].program, name))
			return bpf_program__fd(p->prog[i]);
	return -ENOENT;
}

int pvsched_programs_agent_fd(const struct pvsched_programs *p)
{
	return p->engine ? -1 : prog_fd(p, "pvsched_agent");
}

const struct pvsched_engine *pvsched_programs_engine(const struct pvsched_programs *p)
{
	return p->engine;
}

void *pvsched_programs_own(const struct pvsched_programs *p)
{
	return p->engine_own;
}

struct bpf_object *pvsched_programs_object(const struct pvsched_programs *p)
{
	return p->obj;
}

int pvsched_programs_slot(struct pvsched_programs *p, uint32_t slot, enum pvsched_slot_op op,
			  uint64_t value)
{
	struct pvsched_slot_arg arg = { slot, op, value };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &arg, .ctx_size_in = sizeof(arg));
	int err;

	if (p->engine)
		return p->engine->slot(p->engine_own, slot, op, value);
	err = bpf_prog_test_run_opts(prog_fd(p, "pvsched_slot"), &opts);
	return err ? err : (int)opts.retval;
}

int pvsched_programs_rows(struct pvsched_programs *p, struct pvsched_program *rows, int max)
{
	int n = 0;

	for (size_t i = 0; i < N_SOURCES && !p->engine; i++) {
		struct bpf_prog_info info = { 0 };
		uint32_t len = sizeof(info);

		if (!wanted(p, i) ||
		    bpf_obj_get_info_by_fd(bpf_program__fd(p->prog[i]), &info, &len))
			continue;
		if (n < max)
			rows[n] = (struct pvsched_program){ sources[i].program,
							    sources[i].attached_to, info.run_cnt,
							    info.run_time_ns };
		n++;
	}
	return n;
}
