/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The workloads, one vCPU each: what they publish (GUEST-1 to 5, BELL-1, TICK-2 of
 * spec/protocol.md), what they measure. No coordinated omission: a period that passed unseen is a
 * sample of its own. Publishing costs one store each; the question whether to ring comes after a
 * full barrier, when urgency has ended.
 */
#include "guest.h"

#define MSR_X2APIC_TMCCT 0x839

#define DEMO_PHASE_NS 2000000000ull
#define TASK_ON_NS    2000000
#define TASK_OFF_NS   8000000

static void set_task(struct vcpu *v, __u8 policy, __u8 priority, __u8 task_flags)
{
	WRITE_ONCE(v->page->current_task,
		   pvsched_task_word(policy, 0, priority, task_flags, ++v->generation));
}

static void set_context(struct vcpu *v, __u8 context)
{
	/* model: guest.publish */
	WRITE_ONCE(v->page->context, pvsched_context_word(context, ++v->generation));
}

static void record(struct vcpu *v, __u64 ticks)
{
	__u64 n = v->io->samples;

	if (v->ring_entries) {
		v->ring[v->ring_at] = ticks;
		if (++v->ring_at == v->ring_entries)
			v->ring_at = 0;
	}
	WRITE_ONCE(v->io->samples, n + 1);
}

static int finished(struct vcpu *v, __u64 until)
{
	if (until)
		return rdtsc() >= until;
	return v->io->samples_wanted && v->io->samples >= v->io->samples_wanted;
}

/* Urgency has ended: the guest's words say so already. */
static void ring_if_boosted(struct vcpu *v)
{
	full_barrier(); /* model: guest.barrier, guest.look */
	if (!(READ_ONCE(v->page->grant) >> PVSCHED_TASK_FLAGS_SHIFT & PVSCHED_GRANT_BOOSTED))
		return;
	if (!v->doorbell || flags & GUEST_F_NO_DOORBELL)
		return;
	*v->doorbell = 1; /* model: guest.ring */
	WRITE_ONCE(v->io->doorbells, v->io->doorbells + 1);
}

/* The work of an interrupt is done: answer the ticket of the boost it may have brought. */
static void interrupt_done(struct vcpu *v)
{
	__u64 ticket = READ_ONCE(v->page->ticket);

	if (ticket != v->page->ack && !(flags & GUEST_F_NO_ACK)) {
		WRITE_ONCE(v->page->ack, ticket); /* model: guest.ack */
		WRITE_ONCE(v->io->acks, v->io->acks + 1);
	}
	ring_if_boosted(v);
}

/* Records the periods that were due at time t; returns the first deadline after it. */
static __u64 record_periods(struct vcpu *v, __u64 deadline, __u64 t)
{
	if (t + v->period / 2 < deadline)
		return deadline; /* of an earlier use of the timer */
	record(v, t > deadline ? t - deadline : 0);
	for (deadline += v->period; deadline <= t; deadline += v->period) {
		record(v, t - deadline);
		WRITE_ONCE(v->io->missed, v->io->missed + 1);
	}
	return deadline;
}

static void arm(struct vcpu *v, __u64 deadline)
{
	WRITE_ONCE(v->page->next_event, deadline);
	WRITE_ONCE(v->cpu->next, deadline + v->period);
	/* the handler arms the next by itself: this is for the first, and after a late one */
	if (READ_ONCE(v->cpu->armed) != deadline)
		wrmsr(MSR_TSC_DEADLINE, deadline);
}

static void disarm(struct vcpu *v)
{
	WRITE_ONCE(v->cpu->next, 0);
	wrmsr(MSR_TSC_DEADLINE, 0);
	WRITE_ONCE(v->cpu->armed, 0);
	WRITE_ONCE(v->page->next_event, 0);
}

/* Until the next timer interrupt; returns its stamp. */
static __u64 wait_timer(struct vcpu *v, int sleeping)
{
	struct cpu *cpu = v->cpu;
	__u64 t;

	for (;;) {
		t = take_stamp(&cpu->timer_at, &v->timer_seen);
		if (t)
			return t;
		if (!sleeping)
			continue;
		take_stamp(&cpu->msi_at, &v->msi_seen); /* a wake-up: of no use here */
		set_context(v, PVSCHED_CTX_IDLE);
		halt(v);
		set_context(v, 0);
	}
}

static void timer_workload(struct vcpu *v, int sleeping, __u64 until)
{
	__u64 deadline = rdtsc() + v->period, next;

	arm(v, deadline);
	while (!finished(v, until)) {
		next = record_periods(v, deadline, wait_timer(v, sleeping));
		WRITE_ONCE(v->io->interrupts, v->io->interrupts + 1);
		/* an old stamp, and newer ones wait: to arm the deadline, which may be over, would bring one
		 * more that is old when its turn comes, and so on for ever */
		if (next == deadline && READ_ONCE(v->cpu->timer_at) != v->timer_seen)
			continue;
		deadline = next;
		arm(v, deadline);
		interrupt_done(v);
	}
	disarm(v);
	interrupt_done(v);
}

static void critical_workload(struct vcpu *v, __u64 until)
{
	__u64 start, ticks;

	while (!finished(v, until)) {
		start = rdtsc();
		set_context(v, PVSCHED_CTX_CRITICAL);
		work(v->section);
		set_context(v, 0);
		ticks = rdtsc() - start;
		ring_if_boosted(v);
		record(v, ticks);
		WRITE_ONCE(v->io->sections, v->io->sections + 1);
		work(v->gap);
	}
}

static void busy_random_workload(struct vcpu *v)
{
	__u64 tail = 0, t, stamp;

	while (!finished(v, 0)) {
		t = take_stamp(&v->cpu->msi_at, &v->msi_seen);
		if (!t)
			continue;
		WRITE_ONCE(v->io->interrupts, v->io->interrupts + 1);
		/* those after t have an interrupt of their own to come */
		while (tail != READ_ONCE(v->io->stamp_head)) {
			stamp = READ_ONCE(v->io->stamp[tail % GUEST_STAMPS]);
			if (stamp > t)
				break;
			record(v, t - stamp);
			tail++;
		}
		interrupt_done(v);
	}
}

/* CPU-bound: a part of the time it says that a real-time task runs. */
static void task_workload(struct vcpu *v, __u64 until)
{
	while (!finished(v, until)) {
		set_task(v, PVSCHED_POLICY_FIFO, 50, PVSCHED_TASK_LATENCY);
		delay_ns(TASK_ON_NS);
		set_task(v, PVSCHED_POLICY_NORMAL, 0, 0);
		ring_if_boosted(v);
		delay_ns(TASK_OFF_NS);
	}
}

static void demo_workload(struct vcpu *v)
{
	__u64 phase = ns_to_ticks(DEMO_PHASE_NS), until = rdtsc();

	for (;;) {
		WRITE_ONCE(v->io->phase, GUEST_SLEEPING);
		timer_workload(v, 1, until += phase);
		WRITE_ONCE(v->io->phase, GUEST_BUSY);
		timer_workload(v, 0, until += phase);
		WRITE_ONCE(v->io->phase, GUEST_CRITICAL);
		critical_workload(v, until += phase);
		WRITE_ONCE(v->io->phase, GUEST_TASK);
		task_workload(v, until += phase);
	}
}

/* Reads of the APIC timer's count, which KVM answers in the kernel; publishes nothing urgent. */
static void exits_workload(struct vcpu *v)
{
	__u64 start;

	while (!finished(v, 0)) {
		start = rdtsc();
		rdmsr(MSR_X2APIC_TMCCT);
		record(v, rdtsc() - start);
	}
}

/* Every guest line and the host's too, header included; now and then the doorbell. */
static void hostile_workload(struct vcpu *v)
{
	__u64 *word = (__u64 *)v->page, x = 0, n;
	unsigned int i;

	for (n = 1;; n++) {
		for (i = 0; i < __builtin_offsetof(struct pvsched_page, extension) / 8; i++) {
			x = next_random(v);
			WRITE_ONCE(word[i], x);
		}
		WRITE_ONCE(v->io->sections, n);
		if (v->doorbell && !(n % 65536)) {
			*v->doorbell = x;
			WRITE_ONCE(v->io->doorbells, v->io->doorbells + 1);
		}
	}
}

static void ask_for_everything(struct vcpu *v)
{
	set_task(v, PVSCHED_POLICY_FIFO, 99, PVSCHED_TASK_LATENCY);
	WRITE_ONCE(v->page->pending,
		   pvsched_task_word(PVSCHED_POLICY_FIFO, 0, 99,
				     PVSCHED_TASK_LATENCY | PVSCHED_TASK_VALID, v->generation));
	WRITE_ONCE(v->page->ack, ~0ull);
	set_context(v, PVSCHED_CTX_URGENT);
}

static void greedy_workload(struct vcpu *v)
{
	__u64 n, due = rdtsc() + v->period;

	arm(v, due);
	for (n = 1;; n++) {
		ask_for_everything(v);
		if (rdtsc() >= due)
			arm(v, due = rdtsc() + v->period);
		WRITE_ONCE(v->page->next_event, 1); /* long past */
		WRITE_ONCE(v->io->sections, n);
	}
}

static void bells_workload(struct vcpu *v)
{
	__u64 n;

	ask_for_everything(v);
	for (n = 1;; n++) {
		if (v->doorbell)
			*v->doorbell = n;
		WRITE_ONCE(v->io->doorbells, n);
		WRITE_ONCE(v->io->sections, n);
	}
}

/* The timer itself fires each 50 us, whatever next_event says. */
static void timers_workload(struct vcpu *v)
{
	__u64 n, due = 0, soon = ns_to_ticks(1000), period = ns_to_ticks(50000), t;

	for (n = 1;; n++) {
		t = rdtsc();
		if (t >= due)
			arm(v, due = t + period);
		WRITE_ONCE(v->page->next_event, n % 64 == 0   ? next_random(v)
						: n % 64 == 1 ? t - period
						: n % 64 == 2 ? ~0ull
							      : t + soon);
		WRITE_ONCE(v->io->sections, n);
	}
}

static void next_event_workload(struct vcpu *v, int soon)
{
	__u64 n, due = 0, away = ns_to_ticks(1000), period = ns_to_ticks(50000), t;

	for (n = 1;; n++) {
		t = rdtsc();
		if (t >= due)
			arm(v, due = t + period);
		WRITE_ONCE(v->page->next_event, soon ? t + away : t - period);
		WRITE_ONCE(v->io->sections, n);
	}
}

/* CPU-bound. `interrupts` counts those of its timer, of which the host may carry tickets. */
static void tickets_workload(struct vcpu *v)
{
	__u64 n, due = 0, t;

	for (n = 1;; n++) {
		t = rdtsc();
		if (t >= due)
			wrmsr(MSR_TSC_DEADLINE, due = t + v->period);
		if (take_stamp(&v->cpu->timer_at, &v->timer_seen))
			WRITE_ONCE(v->io->interrupts, v->io->interrupts + 1);
		WRITE_ONCE(v->io->sections, n);
	}
}

static void stuck_workload(struct vcpu *v)
{
	__u64 n;

	for (n = 1;; n++) {
		set_context(v, PVSCHED_CTX_CRITICAL);
		WRITE_ONCE(v->io->sections, n);
	}
}

/* A real-time task and a critical section, but for what makes them so: flags and a policy that mean nothing. */
static void reserved_workload(struct vcpu *v)
{
	__u64 n, task = pvsched_task_word(PVSCHED_POLICY_FIFO, 0, 99, 0x7e, 0);

	for (n = 1;; n++) {
		WRITE_ONCE(v->page->current_task,
			   n << PVSCHED_TASK_GEN_SHIFT |
				   ((n ^ n >> 10) & 1 ? 4 : 0x7eull << PVSCHED_TASK_FLAGS_SHIFT));
		WRITE_ONCE(v->page->pending, n << PVSCHED_TASK_GEN_SHIFT | task);
		WRITE_ONCE(v->page->context, n << PVSCHED_CTX_GEN_SHIFT | 0xffffffe0);
		if (!(n % 1024))
			harm_reserved(v);
		WRITE_ONCE(v->io->sections, n);
	}
}

/* Critical for ever, and all of line 0 at full speed, which the host has read. */
static void headers_workload(struct vcpu *v)
{
	__u64 *word = (__u64 *)v->page, n;
	unsigned int i;

	for (n = 1;; n++) {
		for (i = 0; i < PVSCHED_LINE / sizeof(*word); i++)
			WRITE_ONCE(word[i], next_random(v));
		set_context(v, PVSCHED_CTX_CRITICAL);
		WRITE_ONCE(v->io->sections, n);
	}
}

static void device_workload(struct vcpu *v, void (*harm)(struct vcpu *))
{
	__u64 n;

	for (n = 1;; n++) {
		harm(v);
		WRITE_ONCE(v->io->sections, n);
	}
}

void workload_run(struct vcpu *v)
{
	set_task(v, PVSCHED_POLICY_NORMAL, 0, 0);
	WRITE_ONCE(v->io->phase, v->io->workload);
	/* the interrupts of boot and go are done with: a workload without any must not owe one */
	interrupt_done(v);
	WRITE_ONCE(v->io->start_tsc, rdtsc());
	switch (v->io->workload) {
	case GUEST_DEMO:
		demo_workload(v);
		break;
	case GUEST_SLEEPING:
		timer_workload(v, 1, 0);
		break;
	case GUEST_BUSY:
		timer_workload(v, 0, 0);
		break;
	case GUEST_CRITICAL:
		critical_workload(v, 0);
		break;
	case GUEST_BUSY_RANDOM:
		busy_random_workload(v);
		break;
	case GUEST_TASK:
		task_workload(v, 0);
		break;
	case GUEST_EXITS:
		exits_workload(v);
		break;
	case GUEST_HOSTILE:
		hostile_workload(v);
		break;
	case GUEST_GREEDY:
		greedy_workload(v);
		break;
	case GUEST_BELLS:
		bells_workload(v);
		break;
	case GUEST_TIMERS:
		timers_workload(v);
		break;
	case GUEST_REGISTERS:
		device_workload(v, device_harm);
		break;
	case GUEST_SOON:
		next_event_workload(v, 1);
		break;
	case GUEST_PAST:
		next_event_workload(v, 0);
		break;
	case GUEST_TICKETS:
		tickets_workload(v);
		break;
	case GUEST_STUCK:
		stuck_workload(v);
		break;
	case GUEST_RESERVED:
		reserved_workload(v);
		break;
	case GUEST_HEADERS:
		headers_workload(v);
		break;
	case GUEST_ORDER:
		device_workload(v, harm_order);
		break;
	case GUEST_RESETS:
		device_workload(v, harm_resets);
		break;
	case GUEST_GFNS:
		device_workload(v, harm_gfns);
		break;
	case GUEST_TWICE:
		device_workload(v, harm_twice);
		break;
	default:
		break;
	}
	set_context(v, PVSCHED_CTX_IDLE);
}
