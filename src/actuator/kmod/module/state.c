// SPDX-License-Identifier: GPL-2.0-only
/*
 * The memory of engine.h, and what the broker asks for by ioctl and mmap. Under `registry`.
 */
#include <linux/capability.h>
#include <linux/cpu.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include "engine.h"
#include "slot.h"

#define FAR    65536 /* no offset of a structure is as large */
#define LEVELS 64 /* cgroups below each other */

static bool peek(void *to, const void *base, u32 offset, size_t size)
{
	return !copy_from_kernel_nofault(to, (const char *)base + offset, size);
}

#define PEEK(to, base, offset) peek(&(to), base, l->offset, sizeof(to))

/* This thread runs here: what its run queue must say is known. */
static bool rq_is_proven(const struct pvsched_kmod_layout *l)
{
	void *cfs = current->se.cfs_rq, *rq = NULL, *curr = NULL, *own = NULL;
	u32 cpu = ~0u, running = 0, rt = ~0u;
	unsigned long util = ~0ul;
	u64 switches = 0;

	return PEEK(rq, cfs, cfs_rq_rq) && PEEK(cpu, rq, rq_cpu) && cpu == smp_processor_id() &&
	       PEEK(curr, rq, rq_curr) && curr == current && PEEK(running, rq, rq_nr_running) &&
	       running && running < PID_MAX_LIMIT && PEEK(rt, rq, rq_rt_running) && rt <= running &&
	       PEEK(switches, rq, rq_nr_switches) && switches &&
	       peek(&own, rq, l->rq_cfs + l->cfs_rq_rq, sizeof(own)) && own == rq &&
	       peek(&util, rq, l->rq_cfs + l->cfs_rq_util, sizeof(util)) && util < FAR;
}

/* A list head: who is next knows it. */
static bool is_list(const void *head)
{
	void *next = NULL, *back = NULL;

	return peek(&next, head, 0, sizeof(next)) &&
	       peek(&back, next, sizeof(next), sizeof(back)) && back == head;
}

/* The root group has no parent and no quota; in all of them two lists come after the parent. */
static bool group_is_proven(const struct pvsched_kmod_layout *l)
{
	void *group = current->sched_task_group, *parent;
	u64 quota;

	for (int i = 0; i < LEVELS; i++) {
		if (!PEEK(parent, group, group_parent) || !PEEK(quota, group, group_quota) ||
		    !is_list((char *)group + l->group_parent + 8) ||
		    !is_list((char *)group + l->group_parent + 24))
			return false;
		if (!parent)
			return quota == ~0ull;
		group = parent;
	}
	return false;
}

/* On the CPU that is asked for: what is 0 on one is not on all. */
static long is_proven_here(void *arg)
{
	bool ok;

	preempt_disable();
	ok = rq_is_proven(arg);
	preempt_enable();
	return ok;
}

static bool is_proven(struct pvsched_kmod_layout *l)
{
	const u32 *offset = &l->cfs_rq_rq;
	bool ok = true;
	int cpu;

	for (; offset < &l->reserved; offset++)
		if (*offset >= FAR)
			return false;
	cpus_read_lock();
	for_each_online_cpu(cpu) ok = ok && work_on_cpu(cpu, is_proven_here, l);
	cpus_read_unlock();
	return ok && group_is_proven(l);
}

static void setup_timer(struct hrtimer *timer)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
	hrtimer_setup(timer, engine_timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
#else
	hrtimer_init(timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	timer->function = engine_timer;
#endif
}

/* Once per module: 13 MB. What is mapped begins on a page of its own. */
static int allocate(void)
{
	struct engine *e = &engine;

	if (e->cpus)
		return 0;
	engine_free(); /* what an attempt that failed has left */
	e->words = vmalloc_user(sizeof(*e->words));
	e->shared = vmalloc_user(PVSCHED_SLOTS * sizeof(*e->shared));
	e->debts = vmalloc_user(PVSCHED_DEBTS * sizeof(*e->debts));
	e->limits = vmalloc_user(PVSCHED_SLOTS * sizeof(*e->limits));
	e->vcpus = vzalloc(PVSCHED_SLOTS * sizeof(*e->vcpus));
	e->delays = vzalloc(PVSCHED_SLOTS * sizeof(*e->delays));
	e->reach = vzalloc(PVSCHED_SLOTS * sizeof(*e->reach));
	e->took = vzalloc(PVSCHED_SLOTS * sizeof(*e->took));
	e->side = vzalloc(PVSCHED_SLOTS * sizeof(*e->side));
	e->apics = vzalloc(APICS_MAX * sizeof(*e->apics));
	if (!e->words || !e->shared || !e->debts || !e->limits || !e->vcpus || !e->delays ||
	    !e->reach || !e->took || !e->side || !e->apics)
		return -ENOMEM;
	for (u32 slot = 0; slot < PVSCHED_SLOTS; slot++)
		setup_timer(&e->side[slot].timer);
	e->cpus = alloc_percpu(struct pvsched_cpu);
	return e->cpus ? 0 : -ENOMEM;
}

void engine_free(void)
{
	struct engine *e = &engine;

	vfree(e->words);
	vfree(e->shared);
	vfree(e->debts);
	vfree(e->limits);
	vfree(e->vcpus);
	vfree(e->delays);
	vfree(e->reach);
	vfree(e->took);
	vfree(e->side);
	vfree(e->apics);
	free_percpu(e->cpus);
	memset(e, 0, sizeof(*e));
}

static int begin(struct pvsched_kmod_layout *l)
{
	struct engine *e = &engine;
	int err;

	if (l->version != PVSCHED_KMOD_VERSION)
		return -EPROTO;
	if (!perfmon_capable()) /* who has the kernel observed, as by a tracing program */
		return -EPERM;
	if (e->on)
		return -EBUSY;
	if (!is_proven(l))
		return -ENXIO;
	err = allocate();
	if (err)
		return err;
	memset(e->words, 0, sizeof(*e->words));
	memset(e->shared, 0, PVSCHED_SLOTS * sizeof(*e->shared));
	memset(e->limits, 0, PVSCHED_SLOTS * sizeof(*e->limits));
	memset(e->vcpus, 0, PVSCHED_SLOTS * sizeof(*e->vcpus));
	memset(e->apics, 0, APICS_MAX * sizeof(*e->apics));
	memset(e->used, 0, sizeof(e->used));
	for (int cpu = 0; cpu < nr_cpu_ids; cpu++)
		if (cpu_possible(cpu))
			memset(per_cpu_ptr(e->cpus, cpu), 0, sizeof(struct pvsched_cpu));
	e->layout = *l;
	e->apic_timer_fn = NULL; /* KVM may have been loaded anew */
	smp_store_release(&e->on, true); /* pairs with engine_mmap(), which has no lock */
	return 0;
}

static struct used *find_used(u32 id)
{
	for (u32 i = 0; i < USED_MAX; i++)
		if (engine.used[i].id == id)
			return &engine.used[i];
	return NULL;
}

static int use_policy(struct pvsched_kmod_policy *p)
{
	const struct policy *policy;
	struct used *u = find_used(0);

	p->name[sizeof(p->name) - 1] = 0;
	policy = policy_find(p->name);
	if (!policy)
		return -ENOENT;
	if (!p->id || find_used(p->id))
		return -EINVAL;
	if (!u)
		return -ENOSPC;
	u->policy = policy;
	u->attached = false;
	smp_store_release(&u->id, p->id); /* pairs with the dependent loads after used_of() */
	p->events = policy->events;
	return 0;
}

static u32 needed(void)
{
	u32 events = 0;

	for (u32 i = 0; i < USED_MAX; i++)
		if (engine.used[i].id && engine.used[i].attached)
			events |= engine.used[i].policy->events;
	return events;
}

static int attach_policy(struct pvsched_kmod_attach *a)
{
	struct used *u = a->id ? find_used(a->id) : NULL;
	const char *missing = "";
	int err;

	if (!u)
		return -EINVAL;
	WRITE_ONCE(u->attached, a->on != 0);
	err = trace_events(needed(), &missing);
	if (err) {
		WRITE_ONCE(u->attached, false);
		strscpy(a->missing, missing, sizeof(a->missing));
	}
	return err;
}

static int free_policy(u32 id)
{
	struct used *u = id ? find_used(id) : NULL;

	if (!u || u->attached)
		return -EINVAL;
	WRITE_ONCE(u->id, 0);
	synchronize_rcu(); /* before the place is somebody else's */
	return 0;
}

/* The broker's pvsched_slot program, see src/events/events.bpf.c. */
static int slot_op(const struct pvsched_kmod_slot *a)
{
	struct pvsched_vcpu *v = &engine.vcpus[a->slot];
	const struct used *u;

	switch (a->op) {
	case PVSCHED_SLOT_INIT:
		return 0;
	case PVSCHED_SLOT_ENABLE:
		v->features = a->value;
		v->placed = 0;
		smp_mb(); /* the features before the page, for who looks without a lock */
		__sync_fetch_and_or(&v->flags, PVSCHED_V_ENABLED);
		return 0;
	case PVSCHED_SLOT_DISABLE:
		__sync_fetch_and_and(&v->flags, ~PVSCHED_V_ENABLED);
		v->features = 0;
		v->intr_ns = 0;
		return 0;
	case PVSCHED_SLOT_CHAIN:
		v->chain = a->value;
		return 0;
	case PVSCHED_SLOT_POLICY:
		v->policy = a->value;
		v->timer_at = 0;
		u = used_of(v);
		if (!u || !u->policy->events)
			pvsched_unseen(v);
		return 0;
	case PVSCHED_SLOT_BASE:
		v->base_prio = (s16)(a->value >> 16);
		v->base_policy = (u8)(a->value >> 8);
		v->base_nice = (s8)a->value;
		return 0;
	case PVSCHED_SLOT_FINI:
		WRITE_ONCE(v->flags, 0);
		synchronize_rcu(); /* events that saw it: they may arm the timer, and want */
		hrtimer_cancel(&engine.side[a->slot].timer);
		return 0;
	case PVSCHED_SLOT_SETTLE:
		engine_settle(a->slot);
		return 0;
	}
	return -EINVAL;
}

u32 engine_apic_place(const struct pvsched_apic_key *key)
{
	u32 at = (key->tgid * 31 + key->apic_id) & (APICS_MAX - 1), spare = at;

	for (u32 i = APICS_TRY; i--;) {
		u32 j = (at + i) & (APICS_MAX - 1);
		const struct apic_row *a = &engine.apics[j];

		if (a->key.tgid == key->tgid && a->key.apic_id == key->apic_id)
			return j;
		if (!a->value)
			spare = j;
	}
	return spare;
}

/* A crowded neighbourhood: the interrupt of one of them is not heard of. */
static int set_apic(const struct pvsched_kmod_cell *c)
{
	struct pvsched_apic_key key;
	struct apic_row *a;
	u32 value = 0;

	if (copy_from_user(&key, u64_to_user_ptr(c->key), sizeof(key)) ||
	    (c->op == PVSCHED_KMOD_WRITE &&
	     copy_from_user(&value, u64_to_user_ptr(c->value), sizeof(value))))
		return -EFAULT;
	if (c->op == PVSCHED_KMOD_READ || value > PVSCHED_SLOTS)
		return -EINVAL;
	a = &engine.apics[engine_apic_place(&key)];
	if (c->op == PVSCHED_KMOD_DELETE) {
		if (a->key.tgid == key.tgid && a->key.apic_id == key.apic_id)
			WRITE_ONCE(a->value, 0);
		return 0;
	}
	WRITE_ONCE(a->value, 0); /* a reader between the two sees nobody's */
	smp_wmb();
	a->key = key;
	smp_wmb();
	WRITE_ONCE(a->value, value);
	return 0;
}

static int read_cpus(void __user *to)
{
	for (int cpu = 0; cpu < nr_cpu_ids; cpu++) {
		if (!cpu_possible(cpu))
			continue;
		if (copy_to_user(to, per_cpu_ptr(engine.cpus, cpu), sizeof(struct pvsched_cpu)))
			return -EFAULT;
		to += sizeof(struct pvsched_cpu);
	}
	return 0;
}

/* What the broker must not choose: addresses that are followed. */
static void forget_pointers(struct pvsched_vcpu *v)
{
	memset(v->timer, 0, sizeof(v->timer));
	v->task = v->start_time = v->kvm_vcpu = v->hva = 0;
	v->reach_ns = v->reach_rq = v->reach_switches = 0;
}

/* Whole, or not at all: a copy may stall on the way, and events look as soon as it has flags. */
static int write_vcpu(struct pvsched_vcpu *v, const void __user *from)
{
	struct pvsched_vcpu *its;
	u32 flags;

	if (v->flags)
		return -EBUSY;
	its = memdup_user(from, sizeof(*its));
	if (IS_ERR(its))
		return PTR_ERR(its);
	flags = its->flags;
	its->flags = 0;
	forget_pointers(its);
	memcpy(v, its, sizeof(*v));
	smp_store_release(&v->flags, flags);
	kfree(its);
	return 0;
}

static int cell(const struct pvsched_kmod_cell *c)
{
	void __user *value = u64_to_user_ptr(c->value);
	void *at;
	size_t size;
	u32 slot;

	if (c->map == PVSCHED_MAP_APICS)
		return set_apic(c);
	if (c->map == PVSCHED_MAP_CPUS)
		return c->op == PVSCHED_KMOD_READ ? read_cpus(value) : -EINVAL;
	if (get_user(slot, (u32 __user *)u64_to_user_ptr(c->key)))
		return -EFAULT;
	if (slot >= PVSCHED_SLOTS || c->op > PVSCHED_KMOD_WRITE)
		return -EINVAL;
	if (c->map == PVSCHED_MAP_VCPUS) {
		at = &engine.vcpus[slot];
		size = sizeof(engine.vcpus[0]);
	} else if (c->map == PVSCHED_MAP_DELAYS || c->map == PVSCHED_MAP_REACH) {
		at = c->map == PVSCHED_MAP_DELAYS ? &engine.delays[slot] : &engine.reach[slot];
		size = sizeof(struct pvsched_hist);
	} else if (c->map == PVSCHED_KMOD_TOOK) {
		at = &engine.took[slot];
		size = sizeof(engine.took[0]);
	} else {
		return -EINVAL;
	}
	if (c->op == PVSCHED_KMOD_READ)
		return copy_to_user(value, at, size) ? -EFAULT : 0;
	if (c->map == PVSCHED_MAP_VCPUS)
		return write_vcpu(at, value);
	return copy_from_user(at, value, size) ? -EFAULT : 0;
}

/* Events have been waited for. */
static void unpin(struct side *s)
{
	struct page *old = s->pinned;

	s->pinned = NULL;
	if (old)
		unpin_user_pages_dirty_lock(&old, 1, true);
}

static void drop_page(struct side *s)
{
	if (!s->pinned)
		return;
	WRITE_ONCE(s->page, NULL);
	/* model: disable.grace */
	synchronize_rcu(); /* events run with preemption disabled */
	unpin(s);
}

/* Pinned for as long as events may look, so that a look is a load and cannot fault. One page a vCPU of
 * a privileged caller's: not charged to its limit of locked memory. */
static int set_page(const struct pvsched_kmod_page *a)
{
	struct side *s = &engine.side[a->slot];
	struct page *page = NULL;
	int n;

	if (a->addr & ~PAGE_MASK)
		return -EINVAL;
	if (a->addr) {
		n = pin_user_pages_fast(a->addr, 1, FOLL_WRITE | FOLL_LONGTERM, &page);
		if (n != 1)
			return n < 0 ? n : -EFAULT;
	}
	drop_page(s);
	s->pinned = page;
	WRITE_ONCE(s->page, page ? page_address(page) : NULL);
	return 0;
}

long engine_ioctl(unsigned int cmd, void *arg)
{
	const u32 *number = arg; /* what most begin with */

	if (cmd == PVSCHED_KMOD_LAYOUT)
		return begin(arg);
	if (!engine.on)
		return -EINVAL;
	if (cmd == PVSCHED_KMOD_POLICY)
		return use_policy(arg);
	if (cmd == PVSCHED_KMOD_FREE)
		return free_policy(*number);
	if (cmd == PVSCHED_KMOD_ATTACH)
		return attach_policy(arg);
	if (cmd == PVSCHED_KMOD_CELL)
		return cell(arg);
	if (*number >= PVSCHED_SLOTS)
		return -EINVAL;
	if (cmd == PVSCHED_KMOD_SLOT)
		return slot_op(arg);
	if (cmd == PVSCHED_KMOD_PAGE)
		return set_page(arg);
	return -ENOTTY;
}

int engine_mmap(struct vm_area_struct *vma)
{
	const bool on = smp_load_acquire(&engine.on);
	const unsigned int shift = 24 - PAGE_SHIFT;
	void *const areas[] = {
		[PVSCHED_KMOD_SHARED] = engine.shared,
		[PVSCHED_KMOD_DEBTS] = engine.debts,
		[PVSCHED_KMOD_LIMITS] = engine.limits,
		[PVSCHED_KMOD_WORDS] = engine.words,
	};
	unsigned long area = vma->vm_pgoff >> shift;

	if (!on || vma->vm_pgoff & ((1ul << shift) - 1) || area >= ARRAY_SIZE(areas) ||
	    !areas[area])
		return -EINVAL;
	return remap_vmalloc_range(vma, areas[area], 0); /* which knows the size */
}

void engine_quiet(void)
{
	const char *missing;

	if (!engine.on)
		return;
	for (u32 i = 0; i < USED_MAX; i++)
		WRITE_ONCE(engine.used[i].attached, false);
	trace_events(0, &missing);
	for (u32 slot = 0; slot < PVSCHED_SLOTS; slot++)
		WRITE_ONCE(engine.shared[slot].desired, 0);
}

void engine_close(void)
{
	if (!engine.on)
		return;
	for (u32 slot = 0; slot < PVSCHED_SLOTS; slot++) {
		if (engine.vcpus[slot].flags)
			engine_settle(slot); /* its boost ends in `debts`, which stay */
		WRITE_ONCE(engine.vcpus[slot].flags, 0);
		WRITE_ONCE(engine.side[slot].page, NULL);
	}
	synchronize_rcu(); /* once for all of them: a next broker waits */
	for (u32 slot = 0; slot < PVSCHED_SLOTS; slot++) {
		hrtimer_cancel(&engine.side[slot].timer);
		unpin(&engine.side[slot]);
	}
	memset(engine.used, 0, sizeof(engine.used));
	WRITE_ONCE(engine.on, false);
}
