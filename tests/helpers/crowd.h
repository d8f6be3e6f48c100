/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guests that mean harm: real ones under KVM where this machine has it, else threads that stand for
 * vCPUs and do the same. All of them on one CPU, the bed's. Each is a VM of its own with two vCPUs;
 * the second one sleeps unless the harm takes both.
 */
#ifndef PVSCHED_TESTS_CROWD_H
#define PVSCHED_TESTS_CROWD_H

#include <helpers/storm.h>
#include <helpers/vmm_bed.h>

enum crowd_harm {
	CROWD_QUIET, /* CPU-bound, asks for nothing */
	CROWD_GREEDY, /* asks for everything, always */
	CROWD_PAGES, /* random words, all over the page */
	CROWD_BELLS, /* doorbells as fast as they go */
	CROWD_TIMERS, /* next_event 1 us away, past, absurd. Threads have no TSC that the host knows */
	CROWD_REGISTERS, /* any access to the device, resets, pages anywhere, from both vCPUs */
	/* one rule at a time; the second vCPU's registers are used, too, by the first */
	CROWD_SOON, /* next_event always 1 us away */
	CROWD_PAST, /* next_event always in the past */
	CROWD_TICKETS, /* never acknowledged. Threads take no interrupts */
	CROWD_STUCK, /* a critical section for ever */
	CROWD_RESERVED, /* nothing but reserved bits and numbers, in words and in headers */
	CROWD_HEADERS, /* line 0 of an enabled page, again and again */
	CROWD_ORDER, /* registers in any order */
	CROWD_RESETS, /* from a reset to an enabled page, and again */
	CROWD_GFNS, /* any frame */
	CROWD_TWICE, /* one frame for both vCPUs */
	CROWD_HARMS
};

static const char *const crowd_names[CROWD_HARMS] = { "quiet",	 "greedy",    "pages",	  "bells",
						      "timers",	 "registers", "soon",	  "past",
						      "tickets", "stuck",     "reserved", "headers",
						      "order",	 "resets",    "gfns",	  "twice" };

#define CROWD_TRIES 3

struct crowd_guest {
	bool kvm;
	struct threads_bed bed;
	struct vmm_bed vmm;
};

static inline bool crowd_has_kvm(void)
{
	return !access("/dev/kvm", R_OK | W_OK);
}

static inline uint64_t crowd_random(struct bed_vcpu *v)
{
	if (!v->seed)
		v->seed = 0x9e3779b97f4a7c15ull + v->index;
	return storm_random(&v->seed, ~0ull);
}

static inline void crowd_pages(struct bed_vcpu *v)
{
	__u64 *word = (__u64 *)v->page;

	for (size_t i = 0; i < sizeof(*v->page) / sizeof(*word); i++)
		__atomic_store_n(&word[i], crowd_random(v), __ATOMIC_RELAXED);
}

static inline void crowd_bells(struct bed_vcpu *v)
{
	int fd = pvsched_vm__doorbell_fd(v->bed->vm, v->index);

	bed_ask_for_everything(v);
	for (int i = 0; i < 1000; i++) {
		eventfd_write(fd, 1);
		__atomic_fetch_add(&v->rings, 1, __ATOMIC_RELAXED);
	}
}

static inline void crowd_timers(struct bed_vcpu *v)
{
	uint64_t n = crowd_random(v);

	__atomic_store_n(&v->page->next_event, n % 4 ? __builtin_ia32_rdtsc() + 2000 : n,
			 __ATOMIC_RELAXED);
}

static inline void crowd_soon(struct bed_vcpu *v)
{
	__atomic_store_n(&v->page->next_event, __builtin_ia32_rdtsc() + 2000, __ATOMIC_RELAXED);
}

static inline void crowd_past(struct bed_vcpu *v)
{
	__atomic_store_n(&v->page->next_event, __builtin_ia32_rdtsc() - 100000, __ATOMIC_RELAXED);
}

static inline void crowd_silent(struct bed_vcpu *v)
{
	(void)v;
	bed_work(1000);
}

static inline void crowd_stuck(struct bed_vcpu *v)
{
	bed_publish(v, PVSCHED_CTX_CRITICAL);
}

static inline void crowd_reserved(struct bed_vcpu *v)
{
	struct bed_vcpu *last = &v->bed->vcpu[1];
	struct pvsched_vm *vm = v->bed->vm;
	uint64_t x = crowd_random(v), gen = x << PVSCHED_TASK_GEN_SHIFT;

	__atomic_store_n(&v->page->current_task,
			 gen | (x & 1 << 20 ? 4 : 0x7eull << PVSCHED_TASK_FLAGS_SHIFT),
			 __ATOMIC_RELAXED);
	__atomic_store_n(&v->page->pending, gen | pvsched_task_word(SCHED_FIFO, 0, 99, 0x7e, 0),
			 __ATOMIC_RELAXED);
	__atomic_store_n(&v->page->context, x << PVSCHED_CTX_GEN_SHIFT | 0xffffffe0,
			 __ATOMIC_RELAXED);
	if (v->sections % 1024)
		return;
	guest_command(vm, 1, PVSCHED_CMD_UNREGISTER);
	guest_prepare(vm, last->page, 1);
	if (x & 1)
		last->page->reserved1 = 1u << (x >> 8) % 32;
	else
		last->page->reserved2[(x >> 16) % 4] = 1ull << (x >> 8) % 64;
	guest_register(vm, 1, 17);
}

static inline void crowd_headers(struct bed_vcpu *v)
{
	__u64 *word = (__u64 *)v->page;

	for (size_t i = 0; i < PVSCHED_LINE / sizeof(*word); i++)
		__atomic_store_n(&word[i], crowd_random(v), __ATOMIC_RELAXED);
	bed_publish(v, PVSCHED_CTX_CRITICAL);
}

static inline void crowd_order(struct bed_vcpu *v)
{
	static const struct {
		uint32_t offset, value;
	} good[] = {
		{ PVSCHED_REG_STATUS, 0 },
		{ PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE },
		{ PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER },
		{ PVSCHED_REG_STATUS,
		  PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER | PVSCHED_S_FEATURES_OK },
		{ PVSCHED_REG_CHOICE_ID, PVSCHED_PROTO_BASE },
		{ PVSCHED_REG_CHOICE_VERSION, PVSCHED_PROTO_BASE_VERSION },
		{ PVSCHED_REG_VCPU_COMMAND, PVSCHED_CMD_ENABLE },
		{ PVSCHED_REG_VCPU_COMMAND, PVSCHED_CMD_UNREGISTER },
		{ PVSCHED_REG_DOORBELL, 1 },
	};
	uint64_t x = crowd_random(v) % (sizeof(good) / sizeof(*good));

	guest_write(v->bed->vm, good[x].offset, good[x].value);
}

static inline void crowd_resets(struct bed_vcpu *v)
{
	struct pvsched_vm *vm = v->bed->vm;

	guest_write(vm, PVSCHED_REG_STATUS, 0);
	guest_negotiate(vm);
	guest_prepare(vm, v->page, 0);
	if (guest_register(vm, 0, 16) == PVSCHED_R_OK)
		v->reached += guest_enable(vm, 0, v->page) == PVSCHED_R_OK;
}

static inline void crowd_gfns(struct bed_vcpu *v)
{
	struct pvsched_vm *vm = v->bed->vm;
	uint64_t x = crowd_random(v);

	guest_command(vm, 1, PVSCHED_CMD_UNREGISTER);
	guest_prepare(vm, v->bed->vcpu[1].page, 1);
	guest_register(vm, 1, x % 4 == 0 ? x >> 8 : x % 4 == 1 ? 32 + (x >> 8) % 512 : 17);
}

static inline void crowd_twice(struct bed_vcpu *v)
{
	if (!v->sections)
		guest_command(v->bed->vm, 1, PVSCHED_CMD_UNREGISTER);
	v->reached += guest_register(v->bed->vm, 1, 16) == PVSCHED_R_IN_USE;
}

/* The memory of a threads_bed is 256 pages; its pages are 16 and 17. */
static inline uint64_t crowd_gfn(struct bed_vcpu *v)
{
	uint64_t x = crowd_random(v);

	return x % 4 == 0 ? x >> 8 : x % 4 == 1 ? (x >> 8) % 512 : 16 + (x >> 8) % 2;
}

static inline void crowd_page_command(struct bed_vcpu *v)
{
	struct pvsched_vm *vm = v->bed->vm;
	uint64_t x = crowd_random(v), nonce;
	uint32_t target = x % 3, page = (x >> 8) % 2;

	if (!(x >> 20 &
	      3)) { /* from the start, as a driver would, so that there is something to break */
		guest_write(vm, PVSCHED_REG_STATUS, 0);
		guest_negotiate(vm);
	}
	guest_prepare(vm, v->bed->vcpu[page].page, target);
	if (x >> 16 & 1)
		v->bed->vcpu[page].page->features = x;
	guest_register(vm, target, crowd_gfn(v));
	v->bed->vcpu[page].page->vcpu_id = x; /* changed when it must not be */
	nonce = x >> 17 & 3 ? v->bed->vcpu[page].page->nonce : x;
	guest_write(vm, PVSCHED_REG_VCPU_NONCE, nonce);
	guest_write(vm, PVSCHED_REG_VCPU_NONCE + 4, nonce >> 32);
	guest_command(vm, target, x >> 19 & 3 ? PVSCHED_CMD_ENABLE : PVSCHED_CMD_UNREGISTER);
	bed_publish(&v->bed->vcpu[page], PVSCHED_CTX_CRITICAL);
}

static inline void crowd_registers(struct bed_vcpu *v)
{
	struct pvsched_vm *vm = v->bed->vm;
	uint64_t x = crowd_random(v), value = crowd_random(v);
	size_t size = (size_t)1 << (x >> 8) % 4;
	uint64_t at = (x >> 16) % (PVSCHED_BAR_SIZE + 16), bar;
	static const unsigned int command[] = { 0, 2, 4, 6 };

	switch (x % 16) {
	case 0:
		guest_write(vm, PVSCHED_REG_STATUS, 0);
		guest_negotiate(vm);
		break;
	case 1:
		pvsched_vm__config_write(vm, at % 256, &value, size > 4 ? 4 : size, &bar);
		break;
	case 2:
		pvsched_vm__config_write(vm, 4, &command[value % 4], 2, &bar);
		break;
	case 3:
		guest_write(vm, PVSCHED_REG_STATUS, value);
		break;
	case 4:
		pvsched_vm__reset(vm);
		pvsched_vm__set_bus_master(vm, true);
		break;
	case 5:
	case 6:
	case 7:
	case 8:
		crowd_page_command(v);
		break;
	case 9:
	case 10:
		pvsched_vm__bar_read(vm, at, &value, size);
		break;
	case 11:
		guest_write(vm, (x >> 16) % (PVSCHED_REG_END / 4) * 4, value % 8);
		break;
	default:
		pvsched_vm__bar_write(vm, at, &value, size);
	}
}

static inline int crowd_start_threads(struct crowd_guest *g, enum crowd_harm harm,
				      enum vmm_sched sched, const char *name)
{
	static void (*const does[CROWD_HARMS])(struct bed_vcpu *) = {
		[CROWD_PAGES] = crowd_pages,	   [CROWD_BELLS] = crowd_bells,
		[CROWD_TIMERS] = crowd_timers,	   [CROWD_REGISTERS] = crowd_registers,
		[CROWD_SOON] = crowd_soon,	   [CROWD_PAST] = crowd_past,
		[CROWD_TICKETS] = crowd_silent,	   [CROWD_STUCK] = crowd_stuck,
		[CROWD_RESERVED] = crowd_reserved, [CROWD_HEADERS] = crowd_headers,
		[CROWD_ORDER] = crowd_order,	   [CROWD_RESETS] = crowd_resets,
		[CROWD_GFNS] = crowd_gfns,	   [CROWD_TWICE] = crowd_twice,
	};
	struct sched_param param = { .sched_priority = 1 };
	int err = bed_open_as(&g->bed, name, NULL, false);

	if (!err && sched == VMM_SCHED_FIFO &&
	    sched_setscheduler(g->bed.vcpu[0].tid, SCHED_FIFO, &param))
		err = -errno;
	for (int i = 0; !err && i < (harm == CROWD_REGISTERS ? 2 : 1); i++) {
		g->bed.vcpu[i].harm = does[harm];
		bed_mode(&g->bed.vcpu[i], harm == CROWD_QUIET	 ? BED_SPIN
					  : harm == CROWD_GREEDY ? BED_GREEDY
								 : BED_HARM);
	}
	return err;
}

static inline int crowd_start_kvm(struct crowd_guest *g, enum crowd_harm harm, enum vmm_sched sched,
				  const char *name)
{
	static const enum guest_workload does[CROWD_HARMS] = {
		[CROWD_QUIET] = GUEST_TASK,	   [CROWD_GREEDY] = GUEST_GREEDY,
		[CROWD_PAGES] = GUEST_HOSTILE,	   [CROWD_BELLS] = GUEST_BELLS,
		[CROWD_TIMERS] = GUEST_TIMERS,	   [CROWD_REGISTERS] = GUEST_REGISTERS,
		[CROWD_SOON] = GUEST_SOON,	   [CROWD_PAST] = GUEST_PAST,
		[CROWD_TICKETS] = GUEST_TICKETS,   [CROWD_STUCK] = GUEST_STUCK,
		[CROWD_RESERVED] = GUEST_RESERVED, [CROWD_HEADERS] = GUEST_HEADERS,
		[CROWD_ORDER] = GUEST_ORDER,	   [CROWD_RESETS] = GUEST_RESETS,
		[CROWD_GFNS] = GUEST_GFNS,	   [CROWD_TWICE] = GUEST_TWICE,
	};
	struct vmm_guest_info info;
	int err;

	vmm_bed_init(&g->vmm, 2, does[harm], 0);
	g->vmm.opts.name = name;
	g->vmm.opts.pvsched = true;
	g->vmm.opts.sched = sched;
	if (harm == CROWD_QUIET)
		g->vmm.opts.guest_flags |= GUEST_F_NO_PAGE;
	if (harm != CROWD_REGISTERS)
		g->vmm.opts.vcpu[1].workload = GUEST_IDLE;
	for (int i = 0; i < 2; i++) {
		g->vmm.opts.vcpu[i].iterations = 10000; /* nothing to be calibrated */
		g->vmm.opts.vcpu[i].pinned = true;
		g->vmm.opts.vcpu[i].cpu = bed_last_cpu();
	}
	err = vmm_create(&g->vmm.opts, &g->vmm.vm);
	if (!err)
		err = vmm_start(g->vmm.vm);
	if (!err)
		err = vmm_wait_ready(g->vmm.vm, 3 * BED_TIMEOUT_MS); /* by turns with others */
	if (!err)
		err = vmm_guest_info(g->vmm.vm, &info);
	/* the library gives a broker up that does not answer for two seconds; the guest goes on without */
	if (!err && info.device != GUEST_DEVICE_ON)
		err = -ETIMEDOUT;
	return err ? err : vmm_go(g->vmm.vm);
}

static inline void crowd_stop(struct crowd_guest *g)
{
	if (g->kvm)
		vmm_destroy(g->vmm.vm);
	else if (g->bed.vm)
		bed_close(&g->bed);
	memset(g, 0, sizeof(*g));
}

/* Returns 0 or -errno; what failed is said. The broker runs. Again on a machine that is too busy for the
 * library's patience: before the guest does any harm. */
static inline int crowd_start_as(struct crowd_guest *g, bool kvm, enum crowd_harm harm,
				 enum vmm_sched sched, const char *name)
{
	int err = -ETIMEDOUT;

	for (int i = 0; i < CROWD_TRIES && err == -ETIMEDOUT; i++) {
		if (i)
			crowd_stop(g);
		memset(g, 0, sizeof(*g));
		g->kvm = kvm;
		err = g->kvm ? crowd_start_kvm(g, harm, sched, name)
			     : crowd_start_threads(g, harm, sched, name);
		if (err)
			printf("# guest %s: %s %s\n", name, strerror(-err), g->vmm.last);
	}
	return err;
}

static inline int crowd_start(struct crowd_guest *g, enum crowd_harm harm, enum vmm_sched sched,
			      const char *name)
{
	return crowd_start_as(g, crowd_has_kvm(), harm, sched, name);
}

static inline pid_t crowd_tid(struct crowd_guest *g)
{
	return g->kvm ? vmm_bed_info(&g->vmm, 0).tid : g->bed.vcpu[0].tid;
}

static inline struct pvsched_vm *crowd_vm(struct crowd_guest *g)
{
	return g->kvm ? vmm_pvsched(g->vmm.vm) : g->bed.vm;
}

/* How often it has done what it does. */
static inline uint64_t crowd_rounds(struct crowd_guest *g)
{
	return g->kvm ? vmm_bed_info(&g->vmm, 0).sections
		      : __atomic_load_n(&g->bed.vcpu[0].sections, __ATOMIC_RELAXED);
}

/* How often it has rung. */
static inline uint64_t crowd_rings(struct crowd_guest *g)
{
	return g->kvm ? vmm_bed_info(&g->vmm, 0).doorbells
		      : __atomic_load_n(&g->bed.vcpu[0].rings, __ATOMIC_RELAXED);
}

/* How often it saw what its harm is about: a page enabled after a reset, a frame refused. */
static inline uint64_t crowd_reached(struct crowd_guest *g)
{
	return g->kvm ? vmm_bed_info(&g->vmm, 0).samples
		      : __atomic_load_n(&g->bed.vcpu[0].reached, __ATOMIC_RELAXED);
}

static inline struct pvsched_vcpu_stats crowd_stats_of(struct crowd_guest *g, unsigned int vcpu)
{
	struct pvsched_vcpu_stats s = { .sz = sizeof(s) };

	pvsched_vm__vcpu_stats(crowd_vm(g), vcpu, &s);
	return s;
}

static inline struct pvsched_vcpu_stats crowd_stats(struct crowd_guest *g)
{
	return crowd_stats_of(g, 0);
}

/* Time that a thread of this process ran. */
static inline uint64_t crowd_ran_ns(pid_t tid)
{
	unsigned long long ns = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", tid);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%llu", &ns) != 1)
		ns = 0;
	if (f)
		fclose(f);
	return ns;
}

#endif
