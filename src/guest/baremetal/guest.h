/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * What the guest's C files share. All of it runs at CPL 3 and natively, on every vCPU; state is
 * per vCPU (struct vcpu, struct cpu) but for the handshake, which vCPU 0 does alone.
 */
#ifndef PVSCHED_GUEST_H
#define PVSCHED_GUEST_H

#include <stddef.h>

#include <pvsched/abi.h>

#include "core/page.h"
#include "vmm/guestabi.h"
#include "cpu.h"

#define barrier()	 __asm__ volatile("" ::: "memory")
#define READ_ONCE(x)	 (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

#define MSR_TSC_DEADLINE 0x6e0

#define control ((struct guest_control *)(unsigned long)GUEST_CONTROL_GPA)

struct vcpu {
	struct cpu *cpu;
	struct guest_vcpu *io; /* this vCPU's part of the control block */
	struct pvsched_page *page; /* the shared one, or one that nobody reads */
	volatile __u32 *doorbell; /* NULL = no device */
	__u64 timer_seen, msi_seen; /* stamps taken: as cpu->timer_at, cpu->msi_at */
	__u64 *ring;
	__u64 ring_entries, ring_at;
	__u64 period, section, gap; /* ticks, and loop iterations */
	__u64 seed;
	__u32 generation;
};

extern __u64 tsc_khz;
extern __u32 vcpus, flags;
extern __u32 publishing; /* pages are shared: read when a workload starts */

static inline __u64 rdtsc(void)
{
	__u32 low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
	return low | (__u64)high << 32;
}

static inline void pause(void)
{
	__asm__ volatile("pause" ::: "memory");
}

/* Orders the words of this page against the read of grant; pairs with the host's store of grant,
 * which comes after its decision read them. */
static inline void full_barrier(void)
{
	__asm__ volatile("lock orl $0, (%%rsp)" ::: "memory", "cc");
}

static inline __u32 service(__u64 number, __u32 eax, __u32 ecx, __u32 edx, __u64 rdi, __u64 rsi,
			    __u32 *ret_edx)
{
	register __u64 r8 __asm__("r8") = number;

	__asm__ volatile("ud2"
			 : "+a"(eax), "+d"(edx)
			 : "c"(ecx), "D"(rdi), "S"(rsi), "r"(r8)
			 : "memory", "cc");
	if (ret_edx)
		*ret_edx = edx;
	return eax;
}

static inline void wrmsr(__u32 msr, __u64 value)
{
	service(SVC_WRMSR, (__u32)value, msr, value >> 32, 0, 0, NULL);
}

static inline __u64 rdmsr(__u32 msr)
{
	__u32 high, low = service(SVC_RDMSR, 0, msr, 0, 0, 0, &high);

	return low | (__u64)high << 32;
}

/* Sleeps unless a stamp waits that was not taken. */
static inline void halt(struct vcpu *v)
{
	service(SVC_HALT, 0, 0, 0, v->timer_seen, v->msi_seen, NULL);
}

/* The oldest stamp not taken yet; 0 = there is none. `seen` wraps as the handler's pointer. */
static inline __u64 take_stamp(const __u64 *at, __u64 *seen)
{
	__u64 stamp;

	if (READ_ONCE(*at) == *seen)
		return 0;
	stamp = *(const volatile __u64 *)*seen;
	*seen = (*seen & ~0xffull) | ((*seen + 8) & 0xff);
	return stamp;
}

/* xorshift64: Marsaglia, "Xorshift RNGs", 2003 */
static inline __u64 next_random(struct vcpu *v)
{
	v->seed ^= v->seed << 13;
	v->seed ^= v->seed >> 7;
	v->seed ^= v->seed << 17;
	return v->seed;
}

static inline __u64 ns_to_ticks(__u64 ns)
{
	return ns / 1000000 * tsc_khz + ns % 1000000 * tsc_khz / 1000000;
}

/* `iterations` rounds of work that only running can finish. */
static inline void work(__u64 iterations)
{
	__asm__ volatile("1: dec %0; jnz 1b" : "+r"(iterations)::"cc");
}

void delay_ns(__u64 ns);
/* Handshake or script; sets control->device and `publishing`. release: lets the others go. */
void device_start(void (*release)(void));
struct pvsched_page *device_page(__u32 index);
volatile __u32 *device_doorbell(__u32 index);
/* One step of a guest that means harm to the device; any vCPU, at any time. `samples` counts what each
 * of these kinds is about: pages enabled after a reset, refusals of a frame that is another vCPU's. */
void device_harm(struct vcpu *v);
void harm_reserved(struct vcpu *v);
void harm_order(struct vcpu *v);
void harm_resets(struct vcpu *v);
void harm_gfns(struct vcpu *v);
void harm_twice(struct vcpu *v);

/* From control->go to the last sample. */
void workload_run(struct vcpu *v);

#endif
