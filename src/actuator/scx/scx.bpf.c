// SPDX-License-Identifier: GPL-2.0-only
/*
 * A scheduler for a host that runs VMs. Ordinary tasks share CPUs fairly, by weighted virtual time
 * and one queue per last-level cache; a boosted vCPU comes before all of them, at once, and within
 * its budget keeps the CPU instead of being preempted and rescued. What it runs boosted counts in
 * its virtual time like any other: a boost moves its time, it does not add to it.
 * Good for: hosts whose CPUs are shared by VMs that declare what is urgent and by ordinary work;
 * the decision is the order of the queues, so nothing has to be woken to carry it out.
 * Bad for: hosts that rely on cpu.max or cpu.weight of cgroups (flat here), on energy-aware
 * placement, on core scheduling; LLCs of more than 64 CPUs; many tasks pinned to few CPUs of a large
 * LLC, whose queue is then walked.
 *
 * The object is the event programs and this: one policy serves both. The run queue lock of the
 * task's CPU is held in all functions but select_cpu, init and exit. No allocation.
 */
#define PVSCHED_IN_KERNEL
#define TELL_ARMS 1
#define TYPED_READS
#define ENTRY_NS (PVSCHED_ENTRY_NS + PVSCHED_ADVANCE_NS)
#include <linux/bpf.h>

#include "settle.bpf.h"
static int on_expiry(struct pvsched_vcpu *v, __u32 slot, __u64 now);

#include "../../events/events.bpf.c"
#include "queues.bpf.h"

/* Why the scheduler ended; user space waits on the ring. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} scx_exits SEC(".maps");

struct scx_said {
	__u64 kind;
	__s64 code;
	char reason[64];
	char msg[192];
};

/* A slot's desired word has changed. Returns whether the vCPU is boosted. Global: verified once. */
__noinline int pvsched_tell(__u32 slot, __u32 event, __u64 now)
{
	struct pvsched_vcpu *v = vcpu_of_slot(slot);

	if (!v)
		return 0;
	if (config.actuator == PVSCHED_ACTUATOR_SCX)
		return tell_scx(v, slot, event, now);
	arm_if_active(v, slot, now);
	hint(v->cpu, slot, now, this_cpu()); /* the scheduler ended; agents act */
	return 0;
}

/* A boost's time is up. If the vCPU waits, no event of its own will ask for it again. */
static int on_expiry(struct pvsched_vcpu *v, __u32 slot, __u64 now)
{
	if (pvsched_tell(slot, PVSCHED_EV_TIMER, now)) {
		arm(v, now + config.min_ns, now);
		return 0;
	}
	return pvsched_decide(slot, PVSCHED_EV_TIMER, now, RIVALS_ASK);
}

/* The doorbell, in the vCPU's own thread and without waking one: any that a boosted vCPU rings, of
 * whatever device, is an occasion to look at its page. ~25 ns for others. */
SEC("fentry/ioeventfd_write")
int pvsched_bell(void *ctx)
{
	int slot = current_slot();
	__u32 key = slot;
	struct pvsched_debt *d = slot < 0 ? NULL : debt_at(key);
	__u64 now;

	if (!d || !MEMBER(d, stretch.on_ns) || config.actuator != PVSCHED_ACTUATOR_SCX)
		return 0;
	now = bpf_ktime_get_ns();
	count(this_cpu(), events[7]);
	pvsched_decide(slot, PVSCHED_EV_DOORBELL | BY_AGENT, now, RIVALS_ASK);
	if (!pvsched_settle(slot, now))
		scx_bpf_kick_cpu(bpf_get_smp_processor_id(), SCX_KICK_PREEMPT);
	return 0;
}

/*
 * A vCPU that runs is about to lose its CPU: what would the policy do about it? Its run so far is
 * charged first, as at a switch, so that no interval of a run has two boosts. Returns whether it
 * is boosted, i.e. stays.
 */
static __always_inline int ask(struct pvsched_vcpu *v, struct pvsched_shared *s, __u32 slot,
			       int prio, __u64 now)
{
	const struct pvsched_limits *l = limits_of(slot);
	struct pvsched_debt *d = debt_at(slot);
	__u64 in;

	if (!l || !d)
		return 0;
	in = MEMBER(v, in_ns);
	if (in) {
		charge(v, s, d, l, run_prio(v, d, prio), in, now);
		v->run_ns += now - in;
		v->in_ns = now;
	}
	if (v->policy == policy_id) {
		v->state = PVSCHED_STATE_PREEMPTED;
		v->wait_ns = now;
		pvsched_decide(slot, PVSCHED_EV_PREEMPTED | BY_AGENT, now, PVSCHED_RIVALS_MANY);
		v->wait_ns = 0;
		v->state = PVSCHED_STATE_RUNNING;
	}
	return pvsched_settle(slot, now);
}

SEC("struct_ops/pvsched_select_cpu")
__s32 BPF_PROG(pvsched_select_cpu, struct task_struct *p, __s32 prev, __u64 flags)
{
	int slot = slot_of(p);
	struct pvsched_vcpu *v = slot < 0 ? NULL : vcpu_of_slot(slot);
	bool idle = false;
	struct scx_llc *l;
	__s32 cpu;

	if (!v) {
		cpu = scx_bpf_select_cpu_dfl(p, prev, flags, &idle);
		if (cpu < 0)
			return prev;
	} else {
		cpu = idle_at_home(p, v, slot, prev, flags, bpf_ktime_get_ns());
		idle = cpu >= 0;
		if (!idle) {
			cpu = busy_at_home(p, v, prev);
			if (p->nr_cpus_allowed > 1 && is_boosted(slot))
				cpu = choose_victim(cpu, p->cpus_ptr, 0);
		}
	}
	if (scx_llcs_n > 1)
		rebase(p, llc_of(prev), llc_of(cpu));
	if (!idle)
		return cpu;
	l = llc_at(llc_of(cpu));
	if (l && before(p->scx.dsq_vtime, l->vnow - CREDIT_NS))
		scx_bpf_task_set_dsq_vtime(p, l->vnow - CREDIT_NS);
	scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, SLICE_NS, 0);
	return cpu;
}

#define LOOK_NS 100000000ull /* a CPU looks at the queues again, whoever else is to run there */

/* Returns false, and has done nothing, if the slot is nobody's any more. */
static __always_inline bool enqueue_vcpu(struct task_struct *p, __u32 slot, __u32 cpu,
					 struct scx_cpu *x, __u64 flags)
{
	struct pvsched_shared *s = bpf_map_lookup_elem(&shared, &slot);
	struct pvsched_vcpu *v = vcpu_of_slot(slot);
	__u64 vtime, now = bpf_ktime_get_ns();
	struct scx_llc *l;
	bool runs;
	int boosted;

	if (!s || !v)
		return false;
	/* It ran until now, and no dispatch asked for it: somebody was in the local queue. */
	runs = v->in_ns && !(flags & (SCX_ENQ_WAKEUP | SCX_ENQ_REENQ)) && !MEMBER(x, taken);
	boosted = runs ? ask(v, s, slot, p->prio, now) : pvsched_settle(slot, now);
	if (boosted && !(flags & SCX_ENQ_REENQ) && !MEMBER(x, taken)) {
		if (runs || !MEMBER(x, urgent) || MEMBER(x, urgent) == slot + 1) {
			MEMBER(x, urgent) = slot + 1;
			scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, SLICE_NS,
					   flags | SCX_ENQ_HEAD | (runs ? 0 : SCX_ENQ_PREEMPT));
			return true;
		}
	}
	l = llc_at(x->llc);
	if (l)
		vcpu_waits(x, l);
	vtime = vtime_of(p, l, flags);
	if (boosted) {
		scx_bpf_task_set_dsq_vtime(p, vtime); /* for when its boost ends before it runs */
		scx_bpf_dsq_insert(p, DSQ_URGENT(x->llc), SLICE_NS, flags);
		scx_bpf_kick_cpu(choose_victim(cpu, p->cpus_ptr, 0), SCX_KICK_PREEMPT);
		return true;
	}
	scx_bpf_dsq_insert_vtime(p, DSQ_VCPUS(x->llc), SLICE_NS, vtime, flags);
	look_for_cpu(p, cpu, x, l, vtime, flags, true, is_low(v, s, slot));
	return true;
}

SEC("struct_ops/pvsched_enqueue")
int BPF_PROG(pvsched_enqueue, struct task_struct *p, __u64 flags)
{
	__u32 cpu = scx_bpf_task_cpu(p);
	struct scx_cpu *x = cpu_at(cpu);
	__u32 llc = x ? x->llc : 0;
	int slot = slot_of(p);
	struct scx_llc *l;
	__u64 vtime;

	if (slot >= 0 && x && enqueue_vcpu(p, slot, cpu, x, flags))
		return 0;
	l = llc_at(llc);
	vtime = vtime_of(p, l, flags);
	/* A CPU's own kernel threads: what they do nobody else can, and most of it is short. Those that
	 * compute, or wake each other, take turns with all others. */
	if (p->nr_cpus_allowed == 1 && p->flags & 0x00200000 /* PF_KTHREAD */ && x && l &&
	    flags & SCX_ENQ_WAKEUP && !before(l->vnow + SLICE_NS, vtime) &&
	    scx_bpf_now() < MEMBER(x, looked_ns) + LOOK_NS) {
		scx_bpf_task_set_dsq_vtime(p, vtime);
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, SLICE_NS,
				   flags | SCX_ENQ_HEAD |
					   (gives_way(x, vtime, flags) ? SCX_ENQ_PREEMPT : 0));
		return 0;
	}
	/* Straight to the CPU: no interrupt to make it look, no look at the queues. Others that wake
	 * until then wait for whoever is free. Not past a vCPU: the kernel dispatches no CPU that was
	 * given somebody, so it would be asked for when it has lost the CPU. */
	if (x && !x->given && !x->asks && flags & SCX_ENQ_CPU_SELECTED &&
	    scx_bpf_now() < MEMBER(x, looked_ns) + LOOK_NS && preempts(x, vtime, flags)) {
		x->given = 1;
		scx_bpf_task_set_dsq_vtime(p, vtime);
		scx_bpf_dsq_insert(p, SCX_DSQ_LOCAL, SLICE_NS, flags | SCX_ENQ_PREEMPT);
		return 0;
	}
	scx_bpf_dsq_insert_vtime(p, DSQ_TASKS(llc), SLICE_NS, vtime, flags);
	look_for_cpu(p, cpu, x, l, vtime, flags, false, false);
	return 0;
}

SEC("struct_ops/pvsched_dispatch")
int BPF_PROG(pvsched_dispatch, __s32 cpu, struct task_struct *prev)
{
	struct scx_cpu *x = cpu_at(cpu);
	bool stays, vcpus, urgent = false;
	struct pvsched_shared *s;
	struct pvsched_vcpu *v;
	struct task_struct *p;
	struct scx_llc *l;
	__u64 vtime, best, dsq = 0;
	__u32 llc;
	int slot;

	if (!x)
		return 0;
	MEMBER(x, taken) = 0;
	MEMBER(x, looked_ns) = scx_bpf_now();
	if (MEMBER(x, urgent) && !is_boosted(MEMBER(x, urgent) - 1))
		MEMBER(x, urgent) = 0; /* over: also if nobody waits who may run here */
	llc = x->llc;
	l = llc_at(llc);
	if (!l)
		return 0;
	age(l, llc, x->looked_ns);
	stays = prev && prev->scx.flags & SCX_TASK_QUEUED;
	vcpus = MEMBER(l, vcpus) > 0; /* see vcpu_waits() */
	if (!vcpus && !stays && scx_bpf_dsq_move_to_local(DSQ_TASKS(llc)))
		return 0;
	if (MEMBER(l, wanted)) {
		MEMBER(l, wanted) = 0;
		vcpu_waits(x, l); /* another CPU's look may miss who is between the two queues */
		promote(llc, cpu, stays && MEMBER(x, urgent));
		vcpus = true;
	}
	p = scx_bpf_dsq_peek(DSQ_TASKS(llc));
	best = p ? first_of(p, DSQ_TASKS(llc), cpu) : 0;
	if (best)
		dsq = DSQ_TASKS(llc);
	if (vcpus || !p) {
		if (scx_bpf_dsq_nr_queued(DSQ_URGENT(llc)) > 0) {
			vcpu_waits(x, l); /* as above */
			urgent = pvsched_urgent(llc, cpu);
		}
		p = scx_bpf_dsq_peek(DSQ_VCPUS(llc));
		vtime = p ? first_of(p, DSQ_VCPUS(llc), cpu) : 0;
		if (vtime && (!dsq || !before(best, vtime))) {
			best = vtime;
			dsq = DSQ_VCPUS(llc);
		}
		if (!p && scx_bpf_dsq_nr_queued(DSQ_URGENT(llc)) <= 0)
			no_vcpu_waits(x, l);
	}
	if (stays && (dsq || urgent)) {
		slot = slot_of(prev);
		if (slot >= 0) {
			v = vcpu_of_slot(slot);
			s = bpf_map_lookup_elem(&shared, &slot);
			if (v && s && ask(v, s, slot, prev->prio, bpf_ktime_get_ns())) {
				MEMBER(x, urgent) = slot + 1;
				scx_bpf_task_set_slice(prev, SLICE_NS);
				return 0;
			}
		}
		MEMBER(x, urgent) = 0;
	}
	if (urgent && scx_bpf_dsq_move_to_local(DSQ_URGENT(llc)))
		return 0;
	vtime = vtime_now(x, scx_bpf_now());
	if (stays && (!dsq || (x->start_ns && !x->low && !before(best, vtime)))) {
		/* it begins anew, and ops.running is not called for that */
		if (dsq && before(l->vnow, vtime))
			l->vnow = vtime;
		scx_bpf_task_set_slice(prev, SLICE_NS);
		return 0;
	}
	if (dsq && scx_bpf_dsq_move_to_local(dsq))
		return 0;
	if (scx_bpf_dsq_move_to_local(DSQ_TASKS(llc)) || scx_bpf_dsq_move_to_local(DSQ_VCPUS(llc)))
		return 0;
	if (stays)
		scx_bpf_task_set_slice(prev, SLICE_NS);
	else if (scx_llcs_n > 1)
		steal(llc);
	return 0;
}

SEC("struct_ops/pvsched_running")
int BPF_PROG(pvsched_running, struct task_struct *p)
{
	__u32 cpu = scx_bpf_task_cpu(p);
	struct scx_cpu *x = cpu_at(cpu);
	int slot = slot_of(p);
	__u32 key = slot;
	struct pvsched_shared *s = slot < 0 ? NULL : bpf_map_lookup_elem(&shared, &key);
	struct pvsched_vcpu *v = s ? vcpu_of_slot(slot) : NULL;
	struct scx_llc *l = x ? llc_at(x->llc) : NULL;
	__u64 vtime = p->scx.dsq_vtime;

	if (!x || !l)
		return 0;
	MEMBER(x, urgent) = v && is_boosted(key) ? key + 1 : 0;
	x->low = v && !x->urgent && is_low(v, s, key);
	if (v && v->woken) {
		note_wake(v, key);
		vtime = rested(vtime, l->vnow); /* it may have come straight here, boosted */
	}
	x->weight = weight_of(p, v ? s : NULL, x->low);
	x->given = 0;
	MEMBER(x, taken) = 0;
	x->asks = v != NULL;
	x->vtime = bounded(p, vtime, l->vnow);
	x->start_ns = scx_bpf_now();
	if (!x->urgent && before(l->vnow, x->vtime)) /* who is boosted is ahead of its turn */
		l->vnow = x->vtime;
	return 0;
}

SEC("struct_ops/pvsched_stopping")
int BPF_PROG(pvsched_stopping, struct task_struct *p, bool runnable)
{
	__u32 cpu = scx_bpf_task_cpu(p);
	struct scx_cpu *x = cpu_at(cpu);

	if (!x || !x->start_ns)
		return 0;
	scx_bpf_task_set_dsq_vtime(p, vtime_now(x, scx_bpf_now()));
	x->start_ns = 0;
	if (!runnable) {
		MEMBER(x, urgent) = 0;
	} else if (p->scx.slice && p->nr_cpus_allowed > 1 && rt_queued(p)) {
		/* It has lost the CPU to real-time work. With some of its slice left the kernel keeps it
		 * there; without, it is enqueued. */
		MEMBER(x, taken) = 1;
		MEMBER(x, urgent) = 0;
		scx_bpf_task_set_slice(p, 0);
	}
	return 0;
}

/* The second line: a boost whose timer did not come. And what the guest does now: what it ran so far
 * counts by the weight that it had. */
SEC("struct_ops/pvsched_tick")
int BPF_PROG(pvsched_tick, struct task_struct *p)
{
	struct scx_cpu *x = cpu_at(scx_bpf_task_cpu(p));
	int slot = slot_of(p);
	__u32 key = slot, low;
	struct pvsched_shared *s;
	struct pvsched_vcpu *v;
	__u64 weight, now;

	if (slot < 0)
		return 0;
	if (is_boosted(key)) {
		if (!pvsched_settle(key, bpf_ktime_get_ns()))
			scx_bpf_task_set_slice(p, 0);
		return 0;
	}
	s = bpf_map_lookup_elem(&shared, &key);
	v = vcpu_of_slot(key);
	if (!s || !v || !x || !x->start_ns || MEMBER(x, urgent))
		return 0;
	low = is_low(v, s, key);
	weight = weight_of(p, s, low);
	if (weight == x->weight && low == x->low)
		return 0;
	now = scx_bpf_now();
	x->vtime = vtime_now(x, now);
	x->start_ns = now;
	x->weight = weight;
	x->low = low;
	if (low) /* who waits comes first */
		scx_bpf_task_set_slice(p, 0);
	return 0;
}

SEC("struct_ops/pvsched_enable")
int BPF_PROG(pvsched_enable, struct task_struct *p)
{
	struct scx_llc *l = llc_at(llc_of(scx_bpf_task_cpu(p)));

	if (l)
		scx_bpf_task_set_dsq_vtime(p, l->vnow);
	return 0;
}

SEC("struct_ops/pvsched_init")
int BPF_PROG(pvsched_init)
{
	__s32 err;

	/* of all that may come: a CPU that is off does not tell its caches */
	for (__u32 i = 0; i < LLCS_MAX; i++) {
		err = scx_bpf_create_dsq(DSQ_TASKS(i), -1);
		if (!err)
			err = scx_bpf_create_dsq(DSQ_VCPUS(i), -1);
		if (!err)
			err = scx_bpf_create_dsq(DSQ_URGENT(i), -1);
		if (err)
			return err;
	}
	return 0;
}

SEC("struct_ops/pvsched_exit")
int BPF_PROG(pvsched_exit, struct scx_exit_info *why)
{
	struct scx_said *said = bpf_ringbuf_reserve(&scx_exits, sizeof(*said), 0);

	if (!said)
		return 0;
	said->kind = why->kind;
	said->code = why->exit_code;
	bpf_probe_read_kernel_str(said->reason, sizeof(said->reason), why->reason);
	bpf_probe_read_kernel_str(said->msg, sizeof(said->msg), why->msg);
	bpf_ringbuf_submit(said, 0);
	return 0;
}

struct sched_ext_ops { /* the members used; libbpf places them by name */
	int (*select_cpu)(void), (*enqueue)(void), (*dispatch)(void), (*tick)(void),
		(*running)(void);
	int (*stopping)(void), (*enable)(void), (*init)(void), (*exit)(void);
	__u32 timeout_ms;
	char name[128];
};

SEC(".struct_ops")
struct sched_ext_ops pvsched_ops = {
	.select_cpu = (void *)pvsched_select_cpu,
	.enqueue = (void *)pvsched_enqueue,
	.dispatch = (void *)pvsched_dispatch,
	.tick = (void *)pvsched_tick,
	.running = (void *)pvsched_running,
	.stopping = (void *)pvsched_stopping,
	.enable = (void *)pvsched_enable,
	.init = (void *)pvsched_init,
	.exit = (void *)pvsched_exit,
	.timeout_ms = 20000,
	.name = "pvsched",
};
