/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The module as the one that decides, without BPF (--actuator kmod-policy): what is a map to the
 * programs is an array here. state.c has the memory and what the broker asks for, engine.c the events,
 * trace.c where they come from, policies.c the policies.
 *
 * Everything but `debts` begins anew with each broker. Lifetimes: arrays as long as the module, once a
 * broker asked for them; a page from PVSCHED_KMOD_PAGE to the next one, or to the close of the device.
 * Locking: `registry` of main.c for what the broker asks; events look without a lock and with
 * preemption disabled, so what they may look at is freed after synchronize_rcu().
 */
#ifndef PVSCHED_KMOD_ENGINE_H
#define PVSCHED_KMOD_ENGINE_H

#include <linux/hrtimer.h>
#include <linux/mm_types.h>
#include <linux/sched.h>
#include <linux/tracepoint.h>

#include "took.h"
#include "uapi.h"
#include "words.h"

#define USED_MAX    8 /* as PVSCHED_POLICIES_MAX of the broker */
#define APICS_MAX   4096 /* a power of two; four times as many as there are slots */
#define APICS_TRY   16
#define SOURCES_MAX 16

struct policy {
	const char *name;
	u32 events;
	void (*ask)(const struct pvsched_policy_in *in, struct pvsched_decision *out);
};

struct used {
	u32 id; /* 0 = free */
	bool attached; /* some VM uses it */
	const struct policy *policy;
};

struct apic_row {
	struct pvsched_apic_key key;
	u32 value; /* slot + 1; 0 = nobody's */
};

struct side {
	struct hrtimer timer;
	struct pvsched_page *page; /* the guest's, by its kernel address; NULL = none */
	struct page *pinned;
};

struct engine {
	bool on; /* a broker has the module decide */
	struct pvsched_kmod_layout layout; /* proven */
	struct pvsched_kmod_words *words; /* these four: mapped by the broker */
	struct pvsched_shared *shared;
	struct pvsched_debt *debts;
	struct pvsched_slot_limits *limits;
	struct pvsched_vcpu *vcpus;
	struct pvsched_hist *delays, *reach;
	struct pvsched_kmod_took *took;
	struct pvsched_cpu __percpu *cpus;
	struct side *side;
	struct apic_row *apics;
	struct used used[USED_MAX];
	void *apic_timer_fn; /* KVM's, once a vCPU has shown it */
};

extern struct engine engine;

/* One tracepoint and what is called there. */
struct source {
	const char *name;
	void *probe;
	u32 events; /* PVSCHED_EV_* for which it is needed */
	struct module *owner; /* that it is of: held while this is attached */
	struct tracepoint *tp;
	bool on;
};

extern struct source sources[];
extern const u32 n_sources;

/* Attaches what these PVSCHED_EV_* need and detaches all else; when it returns, no probe that was
 * detached runs any more. -ENOENT: the kernel lacks *ret_missing; then all is as it was. */
int trace_events(u32 events, const char **ret_missing);

const struct policy *policy_find(const char *name);

/* What the module's threads did: pvsched_kmod_done() for who needs no program. */
void engine_done(u32 slot, u64 word, u32 what, u64 tsc, u64 ns);
void engine_settle(u32 slot);
enum hrtimer_restart engine_timer(struct hrtimer *timer);

/* state.c; all of it under `registry`. */
long engine_ioctl(unsigned int cmd, void *arg);
int engine_mmap(struct vm_area_struct *vma);
void engine_quiet(void); /* no event any more: the device closes */
void engine_close(void); /* every thread is back */
void engine_free(void);
u32 engine_apic_place(const struct pvsched_apic_key *key);

static inline const struct used *used_of(const struct pvsched_vcpu *v)
{
	u32 id = READ_ONCE(v->policy);

	for (u32 i = 0; i < USED_MAX && id; i++)
		if (READ_ONCE(engine.used[i].id) == id)
			return &engine.used[i];
	return NULL;
}

#endif
