// SPDX-License-Identifier: GPL-2.0-only
/*
 * The broker's side of the module pvsched.ko: opens its device, registers each vCPU's thread, and
 * tells the broker what somebody else changed. The module puts every thread back when the device is
 * closed, so also when this process dies: its guardian has nothing to do. Caller's thread only.
 *
 * Two actuators: `kmod`, told by BPF programs, and `kmod-policy`, in which the module decides itself
 * (decides.h): then the device is that one's, and so is what was counted.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../../events/probe.h"
#include "../actuator.h"
#include "decides.h"
#include "took.h"
#include "uapi.h"

#define DEVICE PVSCHED_KMOD_DEVICE

_Static_assert(PVSCHED_KMOD_SLOTS == PVSCHED_SLOTS, "a slot here is a slot there");
_Static_assert((int)PVSCHED_KMOD_FOREIGN_POLICY == PVSCHED_FOREIGN_POLICY, "the same bits");
_Static_assert((int)PVSCHED_KMOD_FOREIGN_NICE == PVSCHED_FOREIGN_NICE, "the same bits");

extern const unsigned char pvsched_kmod_bpf[];
extern const size_t pvsched_kmod_bpf_size;

struct kmod {
	struct pvsched_actuator_opts o;
	int fd;
	int took_fd; /* a map; -1 = the module decides and counts */
};

__attribute__((format(printf, 2, 3))) static void say(const struct pvsched_actuator_opts *o,
						      const char *format, ...)
{
	char line[240];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (o->say)
		o->say(o->ctx, line);
}

/* What the module's answer to PVSCHED_KMOD_BEGIN means. */
static const char *refusal(int err)
{
	return err == -EPROTO || err == -ENOTTY ? "the module is of another release: build it anew"
						: strerror(-err);
}

static int is_loaded(char *why, size_t size)
{
	struct pvsched_kmod_begin begin = { PVSCHED_KMOD_VERSION, 2 };
	int fd, err;

	if (access(DEVICE, F_OK)) {
		snprintf(why, size,
			 "the module pvsched is not loaded: dkms install pvsched/" PVSCHED_RELEASE
			 ", then modprobe pvsched");
		return -ENOTSUP;
	}
	fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		fd = -errno;
		snprintf(why, size, "%s: %s", DEVICE,
			 fd == -EBUSY ? "a broker uses it" : strerror(-fd));
		return fd;
	}
	err = ioctl(fd, PVSCHED_KMOD_BEGIN, &begin) ? -errno : 0;
	close(fd);
	if (err)
		snprintf(why, size, "%s: %s", DEVICE, refusal(err));
	return err;
}

static int usable(char *why, size_t size)
{
	int err = is_loaded(why, size);

	if (err)
		return err;
	if (access("/sys/kernel/btf/pvsched", F_OK)) {
		snprintf(why, size,
			 "the module pvsched has no BTF: build it where pahole and the "
			 "kernel's BTF are");
		return -ENOTSUP;
	}
	if (pvsched_probe_one("probe_accept_irq_fentry") ||
	    pvsched_probe_one("probe_ioeventfd_fentry"))
		return 0;
	snprintf(why, size, "no fentry program is let in, of KVM's functions: is kvm loaded?");
	return -ENOTSUP;
}

static int usable_policy(char *why, size_t size)
{
	struct pvsched_kmod_layout layout;
	int err = is_loaded(why, size);

	return err ? err : pvsched_kmod_layout(&layout, why, size);
}

static int prepare(struct bpf_object *obj, struct pvsched_programs *programs)
{
	(void)obj;
	(void)programs;
	return access("/sys/kernel/btf/pvsched", F_OK) ? -ENOTSUP : 0;
}

static const char *const attached[] = { "pvsched_done", NULL };

static const struct pvsched_event_object programs = {
	.data = pvsched_kmod_bpf,
	.size = &pvsched_kmod_bpf_size,
	.prepare = prepare,
	.attach = attached,
};

static int call(struct kmod *k, unsigned long cmd, void *arg)
{
	return ioctl(k->fd, cmd, arg) ? -errno : 0;
}

static void become(struct kmod *k, enum pvsched_actuator_kind kind)
{
	__atomic_store_n(&k->o.act->config->actuator, kind, __ATOMIC_SEQ_CST);
}

static void settle(void *arg, uint32_t slot)
{
	call(arg, PVSCHED_KMOD_REST, &slot);
}

static void stop(void *arg)
{
	struct kmod *k = arg;

	if (!k)
		return;
	/* whoever acts next finds every thread at its baseline: until then no boost begins */
	become(k, PVSCHED_ACTUATOR_NONE);
	for (uint32_t slot = 0; slot < PVSCHED_SLOTS; slot++) {
		if (!k->o.act->slots[slot].used)
			continue;
		pvsched_desire_nothing(&k->o.act->shared[slot]);
		settle(k, slot);
		pvsched_programs_slot(k->o.programs, slot, PVSCHED_SLOT_SETTLE, 0);
	}
	if (k->took_fd >= 0) {
		close(k->fd);
		become(k, PVSCHED_ACTUATOR_AGENT);
	}
	free(k);
}

static int start(const struct pvsched_actuator_opts *o, void **ret)
{
	struct pvsched_kmod_begin begin = { PVSCHED_KMOD_VERSION, o->priority };
	struct kmod *k = calloc(1, sizeof(*k));
	int err;

	if (!k)
		return -ENOMEM;
	k->o = *o;
	k->took_fd =
		bpf_object__find_map_fd_by_name(pvsched_programs_object(o->programs), "kmod_took");
	k->fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	err = k->fd < 0 ? -errno : k->took_fd < 0 ? k->took_fd : 0;
	if (!err)
		err = call(k, PVSCHED_KMOD_BEGIN, &begin);
	if (err) {
		say(o, "kmod: %s: %s: use --actuator agent", DEVICE, refusal(err));
		if (k->fd >= 0)
			close(k->fd);
		free(k);
		return err;
	}
	become(k, PVSCHED_ACTUATOR_KMOD);
	*ret = k;
	return 0;
}

/* The device is open: the first policy's loading did that. */
static int start_policy(const struct pvsched_actuator_opts *o, void **ret)
{
	struct pvsched_kmod_begin begin = { PVSCHED_KMOD_VERSION, o->priority };
	struct kmod *k = calloc(1, sizeof(*k));
	int err;

	if (!k)
		return -ENOMEM;
	k->o = *o;
	k->took_fd = -1;
	k->fd = pvsched_kmod_fd(pvsched_programs_own(o->programs));
	err = call(k, PVSCHED_KMOD_BEGIN, &begin);
	if (err) {
		say(o, "kmod-policy: %s: %s: use --actuator agent", DEVICE, strerror(-err));
		free(k);
		return err;
	}
	become(k, PVSCHED_ACTUATOR_KMOD_POLICY);
	*ret = k;
	return 0;
}

/* The thread is still the one that was registered: as long as it has its tid, nobody else had it
 * when the module took it by that. One that the module refuses (SCHED_DEADLINE) is served, never
 * boosted. */
static void adopt(void *arg, uint32_t slot)
{
	struct kmod *k = arg;
	const struct pvsched_slot *s = &k->o.act->slots[slot];
	struct pvsched_kmod_thread t = { slot, s->tid };
	static const struct pvsched_kmod_took none;
	uint64_t start;
	int err;

	if (k->took_fd >= 0)
		bpf_map_update_elem(k->took_fd, &slot, &none, BPF_ANY);
	else
		pvsched_kmod_cell(k->fd, PVSCHED_KMOD_TOOK, PVSCHED_KMOD_WRITE, &slot, &none);
	err = call(k, PVSCHED_KMOD_ADD, &t);
	if (!err && (pvsched_starttime(s->tid, &start) || start != s->starttime)) {
		call(k, PVSCHED_KMOD_DROP, &slot);
		err = -ESRCH;
	}
	if (err)
		say(&k->o, "kmod: thread %d: %s: it is not boosted", s->tid, strerror(-err));
}

static void forget(void *arg, uint32_t slot)
{
	call(arg, PVSCHED_KMOD_DROP, &slot);
}

static void hear(void *arg, uint32_t slot)
{
	struct kmod *k = arg;
	struct pvsched_kmod_bell b = { slot, k->o.act->slots[slot].doorbell_fd };

	if (b.fd >= 0)
		call(k, PVSCHED_KMOD_BELL, &b);
}

static void refresh(void *arg, uint32_t slot)
{
	struct kmod *k = arg;
	struct pvsched_slot *s = &k->o.act->slots[slot];
	struct pvsched_kmod_took t = { 0 };

	if (k->took_fd >= 0
		    ? bpf_map_lookup_elem(k->took_fd, &slot, &t)
		    : pvsched_kmod_cell(k->fd, PVSCHED_KMOD_TOOK, PVSCHED_KMOD_READ, &slot, &t))
		return;
	memcpy(s->granted, t.granted, sizeof(s->granted));
	s->doorbells = t.doorbells;
	s->apply = t.apply;
	s->boost = t.boost;
}

static int set_priority(void *arg, unsigned int priority)
{
	uint32_t value = priority;

	return call(arg, PVSCHED_KMOD_FIFO, &value);
}

static int poll_fd(void *arg)
{
	return ((struct kmod *)arg)->fd;
}

/* Somebody else changed a thread: what the module will put back from now on. */
static int poll(void *arg)
{
	struct kmod *k = arg;
	struct pvsched_kmod_base b;
	struct pvsched_slot *s;
	bool locked;
	uint64_t n;

	if (read(k->fd, &n, sizeof(n)) != sizeof(n))
		return 0;
	for (uint32_t slot = 0; slot < PVSCHED_SLOTS; slot++) {
		s = &k->o.act->slots[slot];
		b.slot = slot;
		if (!s->used || call(k, PVSCHED_KMOD_BASE, &b))
			continue;
		locked = pvsched_slot_lock(s);
		s->base.policy = b.policy;
		s->base.nice = b.nice;
		s->base.priority = b.priority;
		if (locked)
			pvsched_slot_unlock(s);
	}
	eventfd_write(k->o.act->foreign_fd, 1);
	return 0;
}

const struct pvsched_actuator pvsched_actuator_kmod = {
	.name = "kmod",
	.summary =
		"a kernel module changes the vCPU thread's scheduling, without a process of ours",
	.kind = PVSCHED_ACTUATOR_KMOD,
	.act_ns = 50000, /* the agent's: a thread, too, and no dearer */
	.automatic = true, /* somebody has loaded the module for it */
	.usable = usable,
	.programs = &programs,
	.start = start,
	.stop = stop,
	.forget = forget,
	.adopt = adopt,
	.hear = hear,
	.settle = settle,
	.refresh = refresh,
	.set_priority = set_priority,
	.poll_fd = poll_fd,
	.poll = poll,
};

static const struct pvsched_event_object decides = { .engine = &pvsched_kmod_engine };

const struct pvsched_actuator pvsched_actuator_kmod_policy = {
	.name = "kmod-policy",
	.summary = "the kernel module takes the decisions, too, without any BPF",
	.kind = PVSCHED_ACTUATOR_KMOD_POLICY,
	.act_ns = 50000,
	.automatic = false, /* finds no VMs, and knows the policies that are built in */
	.usable = usable_policy,
	.programs = &decides,
	.start = start_policy,
	.stop = stop,
	.forget = forget,
	.adopt = adopt,
	.hear = hear,
	.settle = settle,
	.refresh = refresh,
	.set_priority = set_priority,
	.poll_fd = poll_fd,
	.poll = poll,
};
