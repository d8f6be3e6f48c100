/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Boot of a vCPU at CPL 3: parameters from the control block, calibration, the device (vCPU 0),
 * then its workload, then the end. The vCPUs meet at `released`, written by vCPU 0 only.
 */
#include "guest.h"

#define MSR_X2APIC_LVTT	 0x832
#define MSR_X2APIC_TMICT 0x838
#define MSR_X2APIC_TMCCT 0x839
#define MSR_X2APIC_TDCR	 0x83e
#define LVT_MASKED	 (1u << 16)
#define LVTT_DEADLINE	 (2u << 17)
#define TDCR_DIVIDE_BY_1 0xb
#define APIC_KHZ	 1000000 /* KVM's APIC timer counts nanoseconds unless told otherwise */

#define RELEASE_TICKS (1 << 20) /* between two looks: half a millisecond at 2 GHz */

#define CALIBRATE_ROUNDS     64
#define CALIBRATE_ITERATIONS 20000

__u64 tsc_khz;
__u32 vcpus, flags;
__u32 publishing;
static __u32 released;

__u8 user_stacks[GUEST_VCPUS_MAX * USER_STACK] __attribute__((aligned(16)));

void delay_ns(__u64 ns)
{
	__u64 start = rdtsc(), ticks = ns_to_ticks(ns);

	while (rdtsc() - start < ticks)
		pause();
}

static void release(void)
{
	barrier();
	WRITE_ONCE(released, 1);
}

/* 10 ms against the APIC timer, for a VMM that does not tell. */
static __u64 measure_tsc_khz(void)
{
	__u64 start, end;
	__u32 from, to;

	wrmsr(MSR_X2APIC_LVTT, LVT_MASKED | GUEST_VECTOR_TIMER);
	wrmsr(MSR_X2APIC_TDCR, TDCR_DIVIDE_BY_1);
	wrmsr(MSR_X2APIC_TMICT, 0xffffffff);
	from = rdmsr(MSR_X2APIC_TMCCT);
	start = rdtsc();
	do {
		to = rdmsr(MSR_X2APIC_TMCCT);
		end = rdtsc();
	} while (from - to < 10 * APIC_KHZ);
	wrmsr(MSR_X2APIC_TMICT, 0);
	wrmsr(MSR_X2APIC_LVTT, LVTT_DEADLINE | GUEST_VECTOR_TIMER);
	return (end - start) * APIC_KHZ / (from - to);
}

/* Ticks of CALIBRATE_ITERATIONS rounds of work when nobody interferes: the least of many. */
static __u64 measure_work(void)
{
	__u64 best = ~0ull, start, ticks;
	int i;

	for (i = 0; i < CALIBRATE_ROUNDS; i++) {
		start = rdtsc();
		work(CALIBRATE_ITERATIONS);
		ticks = rdtsc() - start;
		if (ticks < best)
			best = ticks;
	}
	return best ? best : 1;
}

static void start_guest(void)
{
	__u32 known = control->magic == GUEST_MAGIC && control->version == GUEST_VERSION;

	vcpus = known && control->vcpus ? control->vcpus : 1;
	if (vcpus > GUEST_VCPUS_MAX)
		vcpus = GUEST_VCPUS_MAX;
	flags = known ? control->flags : 0;
	tsc_khz = known && control->tsc_khz ? control->tsc_khz : measure_tsc_khz();
	control->tsc_khz_used = tsc_khz;
	device_start(release);
	release();
}

/* Asleep: beside a real-time vCPU that spins the first one might never get their CPU. */
static void await_release(struct vcpu *v)
{
	while (!READ_ONCE(released)) {
		wrmsr(MSR_TSC_DEADLINE, rdtsc() + RELEASE_TICKS);
		halt(v);
		take_stamp(&v->cpu->timer_at, &v->timer_seen);
	}
}

static void start_vcpu(struct vcpu *v)
{
	struct guest_vcpu *io = v->io;
	__u64 section = ns_to_ticks(io->section_ns ? io->section_ns : 50000);
	__u64 gap = ns_to_ticks(io->gap_ns ? io->gap_ns : 50000), i;

	v->page = device_page(v->cpu->index);
	v->doorbell = device_doorbell(v->cpu->index);
	v->ring = (__u64 *)io->ring_gpa;
	v->ring_entries = io->ring_gpa ? io->ring_entries : 0;
	v->period = ns_to_ticks(io->period_ns ? io->period_ns : 1000000);
	v->section = io->iterations;
	if (!v->section)
		v->section = section * CALIBRATE_ITERATIONS / measure_work() + 1;
	v->gap = gap * v->section / (section ? section : 1) + 1;
	for (i = 0; i < v->ring_entries; i += PVSCHED_PAGE_SIZE / sizeof(*v->ring))
		WRITE_ONCE(v->ring[i], 0); /* so that no sample contains a first touch */
	v->seed = io->seed ? io->seed : 1;
	io->section_iterations = v->section;
	io->page_gpa = v->doorbell ? (unsigned long)v->page : 0;
}

static void tell_vmm(struct vcpu *v, __u32 what)
{
	service(SVC_OUTL, what | (__u32)v->cpu->index << 8, 0, GUEST_EXIT_PORT, 0, 0, NULL);
}

void guest_main(struct cpu *cpu);
void guest_main(struct cpu *cpu)
{
	struct vcpu v = {
		.cpu = cpu,
		.io = &control->vcpu[cpu->index],
		.timer_seen = cpu->timer_at,
		.msi_seen = cpu->msi_at,
	};

	WRITE_ONCE(v.io->state, GUEST_BOOTING);
	if (!cpu->index)
		start_guest();
	await_release(&v);
	start_vcpu(&v);
	if (flags & GUEST_F_WAIT_GO) {
		WRITE_ONCE(v.io->state, GUEST_READY);
		tell_vmm(&v, GUEST_EXIT_READY);
		while (!READ_ONCE(control->go))
			if (!take_stamp(&cpu->msi_at, &v.msi_seen))
				halt(&v);
	}
	WRITE_ONCE(v.io->state, GUEST_RUNNING);
	workload_run(&v);
	WRITE_ONCE(v.io->end_tsc, rdtsc());
	WRITE_ONCE(v.io->state, GUEST_DONE);
	tell_vmm(&v, GUEST_EXIT_DONE);
	for (;;)
		if (!take_stamp(&cpu->msi_at, &v.msi_seen) &&
		    !take_stamp(&cpu->timer_at, &v.timer_seen))
			halt(&v);
}
