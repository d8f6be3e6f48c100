// SPDX-License-Identifier: GPL-2.0-only
/* Slots and the programs' tables, see registry.h. */
#include "registry.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../actuator/monotonic.h"

int pvsched_registry_open(struct pvsched_registry *r, struct pvsched_programs *programs)
{
	struct pvsched_actuation *act = &r->act;
	void *mem;
	int err;

	memset(r, 0, sizeof(*r));
	r->programs = programs;
	memset(r->page_fd, -1, sizeof(r->page_fd));
	r->act.foreign_fd = -1;
	r->cpus = PVSCHED_CPUS;
	pvsched_budget_init(&r->host);
	/* Shared with the guardian by fork; touched pages only are backed. */
	mem = mmap(NULL, PVSCHED_SLOTS * sizeof(*act->slots), PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED)
		return -errno;
	act->slots = mem;
	act->shared = pvsched_programs_memory(programs, PVSCHED_MAP_SHARED,
					      PVSCHED_SLOTS * sizeof(*act->shared));
	if (act->shared)
		act->debts = pvsched_programs_memory(programs, PVSCHED_MAP_DEBTS,
						     PVSCHED_DEBTS * sizeof(*act->debts));
	if (act->debts)
		act->limits = pvsched_programs_memory(programs, PVSCHED_MAP_LIMITS,
						      PVSCHED_SLOTS * sizeof(*act->limits));
	if (!act->limits) {
		err = -errno;
		pvsched_registry_close(r);
		return err;
	}
	act->config = pvsched_programs_bss(programs)->config;
	return 0;
}

void pvsched_registry_close(struct pvsched_registry *r)
{
	struct pvsched_actuation *act = &r->act;

	if (act->slots && act->foreign_fd >= 0)
		close(act->foreign_fd);
	if (act->limits)
		munmap(act->limits, PVSCHED_SLOTS * sizeof(*act->limits));
	if (act->debts)
		munmap(act->debts, PVSCHED_DEBTS * sizeof(*act->debts));
	if (act->shared)
		munmap(act->shared, PVSCHED_SLOTS * sizeof(*act->shared));
	if (act->slots)
		munmap(act->slots, PVSCHED_SLOTS * sizeof(*act->slots));
	memset(act, 0, sizeof(*act));
}

int pvsched_registry_vm(struct pvsched_registry *r, pid_t pid, uint32_t *ret_vm)
{
	uint64_t start;
	int vm = pvsched_starttime(pid, &start);

	if (!vm)
		vm = pvsched_debts_choose(r->act.debts + PVSCHED_DEBT_VM(0), r->vm_used,
					  PVSCHED_VMS, pid, start, now_ns());
	if (vm < 0)
		return vm;
	r->vm_used[vm] = true;
	r->vm_budget[vm].own = 0;
	*ret_vm = vm;
	return 0;
}

unsigned int pvsched_registry_vcpus(const struct pvsched_registry *r, uint32_t vm)
{
	unsigned int n = r->vm_vcpus[vm] < r->cpus ? r->vm_vcpus[vm] : r->cpus;

	return n ? n : 1;
}

void pvsched_registry_limit(struct pvsched_registry *r, uint32_t slot)
{
	struct pvsched_slot_limits *l = &r->act.limits[slot];
	uint32_t next = (l->idx & 1) ^ 1;

	pvsched_budget_resolve(&r->host, &r->vm_budget[r->vm_of[slot]], &r->budget[slot],
			       pvsched_registry_vcpus(r, r->vm_of[slot]), &l->copy[next]);
	/* pairs with the readers' single look at idx, before they use the copy */
	__atomic_store_n(&l->idx, next, __ATOMIC_RELEASE);
}

/* A vCPU came or went: what its VM may take is another for all of them. */
static void count_vcpu(struct pvsched_registry *r, uint32_t slot, int change)
{
	uint32_t vm = r->vm_of[slot];

	r->vm_vcpus[vm] += change;
	for (uint32_t i = 0; i < PVSCHED_SLOTS; i++)
		if (r->tid[i] && r->vm_of[i] == vm)
			pvsched_registry_limit(r, i);
}

int pvsched_registry_read(struct pvsched_registry *r, uint32_t slot, struct pvsched_vcpu *ret)
{
	if (r->actuator && r->actuator->refresh && r->act.slots[slot].used)
		r->actuator->refresh(r->actuator_state, slot);
	return pvsched_programs_read(r->programs, PVSCHED_MAP_VCPUS, &slot, ret);
}

int pvsched_registry_reach(struct pvsched_registry *r, uint32_t slot, struct pvsched_hist *ret)
{
	return pvsched_programs_read(r->programs, PVSCHED_MAP_REACH, &slot, ret);
}

int pvsched_registry_find(struct pvsched_registry *r, pid_t tid)
{
	for (int i = 0; i < PVSCHED_SLOTS; i++)
		if (r->tid[i] == tid)
			return i;
	return -ENOENT;
}

/* Threads whose tids share the low 16 bits form a chain through their slots. */
static int chain_length(struct pvsched_registry *r, pid_t tid, uint32_t *ret_head)
{
	int n = 0;

	*ret_head = pvsched_programs_bss(r->programs)->slot_of_tid[tid & (PVSCHED_TIDS - 1)];
	for (int i = 0; i < PVSCHED_SLOTS; i++)
		n += r->tid[i] && !((r->tid[i] ^ tid) & (PVSCHED_TIDS - 1));
	return n;
}

/*
 * What takes something back must not fail; of system calls of BPF the kernel refuses these for want
 * of memory only, and that passes.
 */
#define TRIES 100

static void order(struct pvsched_programs *p, uint32_t slot, enum pvsched_slot_op op,
		  uint64_t value)
{
	for (int i = 0; i < TRIES && pvsched_programs_slot(p, slot, op, value); i++)
		;
}

/* fd -1 = none */
static void put_page(struct pvsched_programs *p, uint32_t slot, int fd)
{
	int err = -EAGAIN;

	for (int i = 0; i < TRIES && err && err != -ENOENT; i++)
		err = pvsched_programs_set_page(p, slot, fd);
}

static int look(struct pvsched_registry *r, uint32_t slot, struct pvsched_vcpu *ret)
{
	int err = -ENOMEM;

	for (int i = 0; i < TRIES && err; i++)
		err = pvsched_registry_read(r, slot, ret);
	return err;
}

/* The process's interrupts for this APIC id are the one slot's that has it; VMs of one process that
 * share the id are ambiguous, and then none is boosted by it. */
static void route_apic(struct pvsched_registry *r, pid_t tgid, uint32_t apic_id)
{
	struct pvsched_apic_key key = { .tgid = tgid, .apic_id = apic_id };
	uint32_t value = 0, n = 0;
	int err = -EAGAIN;

	for (uint32_t slot = 0; slot < PVSCHED_SLOTS; slot++) {
		const struct pvsched_slot *s = &r->act.slots[slot];

		if (!s->used || s->tgid != tgid || s->apic_id != apic_id)
			continue;
		value = n++ ? 0 : slot + 1;
	}
	for (int i = 0; i < TRIES && err && err != -ENOENT; i++)
		err = n ? pvsched_programs_write(r->programs, PVSCHED_MAP_APICS, &key, &value)
			: pvsched_programs_remove(r->programs, PVSCHED_MAP_APICS, &key);
}

static int make_page(struct pvsched_registry *r, uint32_t slot)
{
	int fd = pvsched_programs_make_page(r->programs), err;

	if (fd < 0)
		return fd;
	/* Here and not at ENABLE: each change of this map waits for a grace period, and that would
	 * be a guest's time at its REGISTER. */
	err = pvsched_programs_set_page(r->programs, slot, fd);
	if (err)
		close(fd);
	else
		r->page_fd[slot] = fd;
	return err;
}

static void give_back(struct pvsched_registry *r, uint32_t slot, int fd)
{
	if (fd >= 0 && r->passed[slot])
		r->left.fd[r->left.n++] = fd;
	else if (fd >= 0)
		close(fd);
}

/* The kernel's map of maps keeps it until the slot has another, which nobody is shown before: to take it
 * out would wait for a grace period. */
static void drop_page(struct pvsched_registry *r, uint32_t slot)
{
	give_back(r, slot, r->page_fd[slot]);
	r->page_fd[slot] = -1;
}

/* Who had a hint of the slot's last thread may just have its lock, or be at work without it: what he does
 * then would be the next thread's. */
static int clean(struct pvsched_registry *r, uint32_t slot)
{
	struct pvsched_slot *s = &r->act.slots[slot];
	struct pvsched_shared *sh = &r->act.shared[slot];
	bool locked = s->made && pvsched_slot_lock(s);
	int err = 0;

	if (s->made && !locked)
		return -EBUSY;
	if (locked && pvsched_slot_is_beside(s)) {
		pvsched_slot_unlock(s);
		return -EBUSY;
	}
	if (!s->made)
		err = pvsched_slot_lock_init(s);
	s->made = !err;
	memset(&s->used, 0, sizeof(*s) - offsetof(struct pvsched_slot, used));
	/* the word's number goes on: what was decided for the last thread is none for this one */
	pvsched_desire_nothing(sh);
	*sh = (struct pvsched_shared){ .desired = sh->desired };
	if (locked)
		pvsched_slot_unlock(s);
	return err;
}

/* A free one, cleaned. Not one that somebody is at work on who is late: what he began for its last thread he
 * goes on with, and then takes back, by what the slot holds. */
static int take_slot(struct pvsched_registry *r, pid_t tid, uint64_t start)
{
	bool used[PVSCHED_SLOTS];
	int slot, first = -1, err;

	for (int i = 0; i < PVSCHED_SLOTS; i++)
		used[i] = r->act.slots[i].used;
	for (;;) {
		slot = pvsched_debts_choose(r->act.debts, used, PVSCHED_SLOTS, tid, start,
					    now_ns());
		if (slot < 0)
			return slot;
		err = clean(r, slot);
		if (err != -EBUSY)
			break;
		used[slot] = true;
		first = first < 0 ? slot : first;
	}
	if (first >= 0) /* which was the one of its debts */
		r->act.debts[slot] = r->act.debts[first];
	return err ? err : slot;
}

int pvsched_registry_add(struct pvsched_registry *r, const struct pvsched_thread_id *t)
{
	const struct pvsched_bss *bss = pvsched_programs_bss(r->programs);
	struct pvsched_vcpu v = { .flags = PVSCHED_V_USED };
	static const struct pvsched_hist none;
	struct pvsched_slot *s = NULL;
	uint32_t slot, head;
	uint64_t start;
	int err;

	if (pvsched_registry_find(r, t->tid) >= 0)
		return -EEXIST;
	if (chain_length(r, t->tid, &head) >= PVSCHED_CHAIN)
		return -ENOSPC;
	err = pvsched_starttime(t->tid, &start);
	if (!err)
		err = take_slot(r, t->tid, start);
	if (err < 0)
		return err;
	slot = err;
	r->vm_of[slot] = t->vm;
	r->budget[slot].own = 0;
	pvsched_registry_limit(r, slot);
	/* in force when a broker and its guardian were killed at once */
	pvsched_wall_off(&r->act.debts[slot], now_ns(), pvsched_limits_now(&r->act, slot));
	s = &r->act.slots[slot];
	s->starttime = start;
	if (pvsched_starttime(t->tgid, &s->leader_start))
		s->leader_start = 0;
	err = pvsched_attr_get(t->tid, &s->base);
	if (!err)
		err = pvsched_slack_get(t->tid, &s->slack_ns);
	r->passed[slot] = t->passed;
	if (!err && !t->host_only)
		err = make_page(r, slot);
	if (err)
		return err;
	s->tid = t->tid;
	s->tgid = t->tgid;
	s->apic_id = t->apic_id;
	s->pidfd = t->pidfd;
	s->doorbell_fd = t->doorbell_fd;
	s->doorbell_id = slot;
	s->agent = -1;
	s->heard = 0;
	v.tid = t->tid;
	v.tgid = t->tgid;
	v.vm = t->vm;
	v.index = t->index;
	v.apic_id = t->apic_id;
	v.chain = head;
	v.policy = t->policy;
	v.task = t->task;
	v.start_time = t->start_time;
	v.base_prio = pvsched_attr_prio(&s->base);
	v.base_policy = s->base.policy;
	v.base_nice = s->base.nice;
	err = pvsched_programs_write(r->programs, PVSCHED_MAP_DELAYS, &slot, &none);
	if (!err)
		err = pvsched_programs_write(r->programs, PVSCHED_MAP_REACH, &slot, &none);
	/* Fill, then make reachable: a program that finds the slot finds it complete. */
	if (!err)
		err = pvsched_programs_write(r->programs, PVSCHED_MAP_VCPUS, &slot, &v);
	if (err)
		goto out;
	s->prog_fd = pvsched_programs_agent_fd(t->programs);
	err = pvsched_programs_slot(t->programs, slot, PVSCHED_SLOT_INIT, 0);
	if (err)
		goto out;
	r->tid[slot] = t->tid;
	__atomic_store_n(&s->used, 1, __ATOMIC_RELEASE);
	if (r->actuator && r->actuator->adopt)
		r->actuator->adopt(r->actuator_state, slot);
	count_vcpu(r, slot, 1);
	route_apic(r, s->tgid, s->apic_id);
	__atomic_store_n(&bss->slot_of_tid[t->tid & (PVSCHED_TIDS - 1)], slot + 1,
			 __ATOMIC_RELEASE);
	/* An end that came before this was heard by nobody: its number may be anybody's next. */
	if (pvsched_thread_stays(t->tid, t->tgid, start))
		return slot;
	s->pidfd = s->doorbell_fd = -1;
	pvsched_registry_remove(r, slot);
	return -ESRCH;
out:
	drop_page(r, slot);
	return err;
}

int pvsched_registry_enable(struct pvsched_registry *r, uint32_t slot, uint64_t features)
{
	struct pvsched_slot *s = &r->act.slots[slot];
	bool locked;
	void *page;
	int err;

	if (r->page_fd[slot] < 0)
		return -ENOTSUP;
	if (s->page)
		return -EALREADY;
	page = mmap(NULL, PVSCHED_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, r->page_fd[slot],
		    0);
	if (page == MAP_FAILED)
		return -errno;
	/* libpvsched wrote status and nonce; what the programs and agents write starts clean.
	 * model: enable.page */
	locked = pvsched_slot_lock(s);
	s->page = page;
	if (locked)
		pvsched_slot_unlock(s);
	if (r->actuator && r->actuator->hear)
		r->actuator->hear(r->actuator_state, slot);
	/* model: enable.programs */
	err = pvsched_programs_slot(r->programs, slot, PVSCHED_SLOT_ENABLE, features);
	if (err)
		pvsched_registry_disable(r, slot);
	return err;
}

int pvsched_registry_enable_copy(struct pvsched_registry *r, uint32_t slot, uint64_t hva,
				 uint64_t features)
{
	struct pvsched_slot *s = &r->act.slots[slot];
	void *page = NULL;
	int err = 0;

	if (r->page_fd[slot] < 0)
		err = make_page(r, slot);
	if (!err && s->doorbell_fd < 0) {
		s->doorbell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		err = s->doorbell_fd < 0 ? -errno : 0;
	}
	if (!err) { /* what an earlier guest said is nothing to this one */
		page = mmap(NULL, PVSCHED_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			    r->page_fd[slot], 0);
		err = page == MAP_FAILED ? -errno : 0;
	}
	if (!err) {
		memset(page, 0, PVSCHED_PAGE_SIZE);
		munmap(page, PVSCHED_PAGE_SIZE);
		err = pvsched_programs_slot(r->programs, slot, PVSCHED_SLOT_HVA, hva);
	}
	return err ? err : pvsched_registry_enable(r, slot, features);
}

void pvsched_registry_settle(struct pvsched_registry *r, uint32_t slot)
{
	struct pvsched_applied done;

	pvsched_desire_nothing(&r->act.shared[slot]);
	if (r->actuator && r->actuator->settle)
		r->actuator->settle(r->actuator_state, slot);
	if (r->actuator && r->actuator->kind != PVSCHED_ACTUATOR_AGENT)
		pvsched_programs_slot(r->programs, slot, PVSCHED_SLOT_SETTLE, 0);
	pvsched_apply(&r->act, slot, 0, true, &done);
}

/* One grace period for all of these, of which those below 0 are none. */
static void disable_all(struct pvsched_registry *r, const int16_t *slot, unsigned int n)
{
	int last = -1;

	for (unsigned int i = 0; i < n; i++) {
		if (slot[i] < 0 || !r->act.slots[slot[i]].page)
			continue;
		last = slot[i];
		order(r->programs, last, PVSCHED_SLOT_DISABLE, 0); /* model: disable.programs */
	}
	if (last < 0)
		return;
	/* A change of a map of maps waits for a grace period (kernel/bpf/syscall.c,
	 * maybe_wait_bpf_programs): when it returns, no program that began before sees the pages, nor
	 * will one take a decision from them; those that begin now find them disabled.
	 * model: disable.grace, disable.word, disable.page */
	put_page(r->programs, last, r->page_fd[last]);
	for (unsigned int i = 0; i < n; i++) {
		struct pvsched_slot *s = slot[i] < 0 ? NULL : &r->act.slots[slot[i]];
		void *page = s ? s->page : NULL;
		bool locked;

		if (!page)
			continue;
		pvsched_registry_settle(r, slot[i]);
		locked = pvsched_slot_lock(s);
		s->page = NULL;
		if (locked)
			pvsched_slot_unlock(s);
		munmap(page, PVSCHED_PAGE_SIZE);
	}
}

void pvsched_registry_disable(struct pvsched_registry *r, uint32_t slot)
{
	disable_all(r, &(int16_t){ slot }, 1);
}

void pvsched_registry_set_policy(struct pvsched_registry *r, uint32_t slot,
				 struct pvsched_programs *programs, uint32_t policy)
{
	struct pvsched_slot *s = &r->act.slots[slot];

	order(programs, slot, PVSCHED_SLOT_POLICY, policy);
	__atomic_store_n(&s->prog_fd, pvsched_programs_agent_fd(programs), __ATOMIC_RELEASE);
	pvsched_registry_settle(r, slot);
}

uint32_t pvsched_registry_foreign(struct pvsched_registry *r, uint32_t slot)
{
	struct pvsched_slot *s = &r->act.slots[slot];
	struct pvsched_attr base;
	uint32_t foreign;
	bool locked;

	if (!s->used || !__atomic_load_n(&r->act.shared[slot].foreign, __ATOMIC_ACQUIRE))
		return 0;
	locked = pvsched_slot_lock(s);
	base = s->base;
	foreign = r->act.shared[slot].foreign & ~s->foreign_said;
	s->foreign_said |= foreign;
	if (locked)
		pvsched_slot_unlock(s);
	pvsched_programs_slot(r->programs, slot, PVSCHED_SLOT_BASE,
			      pvsched_base_value(pvsched_attr_prio(&base), base.policy, base.nice));
	return foreign;
}

static void unchain(struct pvsched_registry *r, uint32_t slot)
{
	uint16_t *head =
		&pvsched_programs_bss(r->programs)->slot_of_tid[r->tid[slot] & (PVSCHED_TIDS - 1)];
	struct pvsched_vcpu v;
	uint32_t at = *head;

	if (look(r, slot, &v))
		return;
	if (at == slot + 1) {
		__atomic_store_n(head, v.chain, __ATOMIC_RELEASE);
		return;
	}
	for (int i = 0; i < PVSCHED_CHAIN && at; i++) {
		struct pvsched_vcpu w;
		uint32_t prev = at - 1;

		if (look(r, prev, &w))
			return;
		if (w.chain == slot + 1) {
			order(r->programs, prev, PVSCHED_SLOT_CHAIN, v.chain);
			return;
		}
		at = w.chain;
	}
}

static void forget(struct pvsched_registry *r, uint32_t slot)
{
	struct pvsched_slot *s = &r->act.slots[slot];

	unchain(r, slot);
	order(r->programs, slot, PVSCHED_SLOT_FINI, 0);
	pvsched_registry_settle(r, slot);
	/* A program that an agent runs may have taken a decision before FINI and write it only now. */
	pvsched_release(&r->act, slot);
	if (r->actuator)
		r->actuator->forget(r->actuator_state, slot);
	count_vcpu(r, slot, -1);
	route_apic(r, s->tgid, s->apic_id);
	r->tid[slot] = 0;
	give_back(r, slot, s->pidfd);
	give_back(r, slot, s->doorbell_fd);
	drop_page(r, slot);
}

void pvsched_registry_remove_all(struct pvsched_registry *r, const int16_t *slot, unsigned int n)
{
	disable_all(r, slot, n);
	for (unsigned int i = 0; i < n; i++)
		if (slot[i] >= 0)
			forget(r, slot[i]);
}

void pvsched_registry_remove(struct pvsched_registry *r, uint32_t slot)
{
	pvsched_registry_remove_all(r, &(int16_t){ slot }, 1);
}
