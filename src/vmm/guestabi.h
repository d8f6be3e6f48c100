/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Between a VMM and the bare-metal guest: how the image is loaded, and the control block in
 * guest memory through which it gets its parameters and gives its results. Shared by both;
 * compiles freestanding. Fields marked "VMM" are written by the VMM (before the vCPUs start
 * unless said otherwise), the others by the guest: a VMM reads them once and bounds them.
 *
 * Load contract, all that a VMM needs:
 *   RAM from GPA 0, at least GUEST_MEMORY_MIN bytes, zeroed; the image copied to GUEST_LOAD_GPA.
 *   In-kernel irqchip; CPUID with x2APIC and TSC-deadline timer, APIC id = vCPU index.
 *   Every vCPU (no INIT/SIPI: KVM_SET_MP_STATE runnable) starts in long mode: CS 64-bit code,
 *   CR0 PG|PE, CR4 PAE, EFER LME|LMA, CR3 = GUEST_CR3_GPA (tables in the image: 4 GiB identity),
 *   RIP = GUEST_LOAD_GPA, RDI = vCPU index, RFLAGS = 2.
 *   PCI configuration space at ports 0xcf8/0xcfc, if there is a function to be found.
 * A control block that is all zero means: one vCPU, workload GUEST_DEMO, endless.
 */
#ifndef PVSCHED_GUESTABI_H
#define PVSCHED_GUESTABI_H

#define GUEST_LOAD_GPA	   0x100000
#define GUEST_CR3_GPA	   0x101000
#define GUEST_CONTROL_GPA  0x010000
#define GUEST_BAR_GPA	   0xe0000000 /* where the guest puts BAR0 unless told otherwise */
#define GUEST_MEMORY_MIN   0x200000
#define GUEST_SIGNATURE_AT 0xff8 /* in the image: GUEST_MAGIC, GUEST_VERSION, 32 bits each */
#define GUEST_RINGS_GPA	   0x200000 /* free for sample rings from here on */

#define GUEST_MAGIC   0x47535650 /* "PVSG" */
#define GUEST_VERSION 1

#define GUEST_EXIT_PORT	 0xf4 /* 32-bit OUT: GUEST_EXIT_* | vCPU << 8; the vCPU then halts */
#define GUEST_EXIT_DONE	 1 /* samples wanted reached */
#define GUEST_EXIT_FAULT 2 /* an exception the guest did not expect: see vcpu.fault_* */
#define GUEST_EXIT_READY 3 /* waits for `go`; does not halt for ever */

#define GUEST_VECTOR_TIMER 0x50
#define GUEST_VECTOR_MSI   0x51 /* injected by the VMM: workload GUEST_BUSY_RANDOM, and wake-up */

#define GUEST_VCPUS_MAX 8
#define GUEST_STEPS_MAX 256
#define GUEST_STAMPS	1024 /* power of two */

/* For assembly: asserted below. */
#define GUEST_STATE_FAULT 5
#define GUEST_VCPUS_AT	  128
#define GUEST_VCPU_SIZE	  (320 + 8 * GUEST_STAMPS)
#define GUEST_VCPU_STATE  64
#define GUEST_VCPU_FAULT  152

#ifndef __ASSEMBLER__
#include <linux/types.h>

enum guest_workload {
	GUEST_DEMO = 0, /* phases for a human to watch: idle, timer, critical, RT task; endless */
	GUEST_SLEEPING = 1, /* HLT until the timer; sample: deadline to first instruction */
	GUEST_BUSY = 2, /* CPU-bound, takes the timer interrupt; same sample */
	GUEST_CRITICAL = 3, /* critical sections and other work; sample: duration of a section */
	GUEST_BUSY_RANDOM = 4, /* CPU-bound, MSIs from the VMM; sample: stamp to first instr. */
	GUEST_HOSTILE = 5, /* random words into the page's guest lines at full speed, for ever */
	GUEST_IDLE = 6, /* HLT for ever */
	GUEST_TASK = 7, /* CPU-bound, says now and then that a FIFO task runs; endless */
	GUEST_EXITS = 8, /* exits into KVM as fast as it can; sample: the time of one round trip */
	/* The rules broken one by one, each for ever (also GUEST_HOSTILE); `sections` counts rounds. */
	GUEST_GREEDY = 9, /* CPU-bound; every word asks for all there is; no ring, no ack */
	GUEST_BELLS = 10, /* critical for ever, and doorbells as fast as it can */
	GUEST_TIMERS =
		11, /* next_event always 1 us away, past or absurd; interrupts all the time */
	GUEST_REGISTERS = 12, /* the device: any access, resets, pages anywhere, from each vCPU */
	GUEST_SOON = 13, /* next_event always 1 us away */
	GUEST_PAST = 14, /* next_event always in the past */
	GUEST_TICKETS = 15, /* says nothing, takes interrupts, never acknowledges a ticket */
	GUEST_STUCK = 16, /* in a critical section for ever */
	/* The same, and the vCPU at the device, alone; the last vCPU lends its registers. */
	GUEST_RESERVED =
		17, /* nothing but bits and numbers without a meaning, in words and headers */
	GUEST_HEADERS = 18, /* line 0 written again and again, after REGISTER and ENABLE */
	GUEST_ORDER = 19, /* registers that there are, values that there are, in any order */
	GUEST_RESETS = 20, /* from a reset to an enabled page, and again */
	GUEST_GFNS = 21, /* REGISTER of any frame */
	GUEST_TWICE = 22, /* REGISTER of a frame that another vCPU has */
	GUEST_WORKLOADS
};

/* guest_control.flags */
#define GUEST_F_WAIT_GO	    0x01 /* after boot and calibration halt until `go` */
#define GUEST_F_NO_PAGE	    0x02 /* handshake done, but publish nothing and never ring */
#define GUEST_F_NO_DEVICE   0x04 /* do not look for the PCI function */
#define GUEST_F_NO_DOORBELL 0x08 /* break the rule: never ring */
#define GUEST_F_NO_ACK	    0x10 /* break the rule: never answer a ticket */

enum guest_state {
	GUEST_OFF = 0,
	GUEST_BOOTING = 1,
	GUEST_READY = 2, /* waits for `go` */
	GUEST_RUNNING = 3,
	GUEST_DONE = 4,
	GUEST_FAULT = GUEST_STATE_FAULT,
};

enum guest_device {
	GUEST_DEVICE_NONE = 0, /* no such PCI function (or GUEST_F_NO_DEVICE) */
	GUEST_DEVICE_ON = 1, /* handshake complete */
	GUEST_DEVICE_REFUSED = 2, /* handshake failed: see result */
	GUEST_DEVICE_SCRIPTED = 3, /* a script ran in its place */
};

/*
 * A handshake script: executed by vCPU 0 in place of the handshake, in order. Any sequence of
 * accesses, right or wrong, can be driven by it. Reads record `result`; a result that differs
 * from `expect` under `mask` is counted in guest_control.mismatches and does not stop the script.
 */
enum guest_op {
	GUEST_OP_END = 0,
	GUEST_OP_BAR_WRITE = 1, /* size 1, 2, 4 or 8 at BAR0 + address */
	GUEST_OP_BAR_READ = 2,
	GUEST_OP_BAR_WRITE_MEM = 3, /* 8 bytes from GPA `value`, as two 4-byte writes (a nonce) */
	GUEST_OP_CFG_WRITE = 4, /* configuration space of the function, size 1, 2 or 4 */
	GUEST_OP_CFG_READ = 5,
	GUEST_OP_MEM_WRITE = 6, /* RAM at GPA address */
	GUEST_OP_MEM_READ = 7,
	GUEST_OP_HEADER = 8, /* line 0 of a page at GPA address, for vCPU `value`, as negotiated */
	GUEST_OP_HANDSHAKE = 9, /* the whole handshake of all vCPUs; result: PVSCHED_R_* */
	GUEST_OP_DELAY = 10, /* `value` ns, busy */
	GUEST_OP_RELEASE = 11, /* the other vCPUs start their workloads now, not after the script */
	GUEST_OP_USE_PAGES = 12, /* value 1: publish (as after a handshake), 0: no longer */
};

struct guest_step {
	__u32 op; /* VMM, as all but result */
	__u32 size;
	__u64 address;
	__u64 value;
	__u64 expect;
	__u64 mask; /* 0 = record only */
	__u64 result;
};

struct guest_vcpu {
	/* VMM */
	__u32 workload; /* enum guest_workload */
	__u32 iterations; /* that are section_ns of work; 0 = the guest calibrates */
	__u64 period_ns; /* timer period; 0 = 1 ms */
	__u64 section_ns; /* work inside a critical section; 0 = 50 us */
	__u64 gap_ns; /* work between two; 0 = 50 us */
	__u64 samples_wanted; /* 0 = endless */
	__u64 ring_gpa; /* __u64 samples[ring_entries], in TSC ticks; 0 = none are kept */
	__u64 ring_entries;
	__u64 seed; /* GUEST_HOSTILE; 0 = 1 */

	/* guest */
	__u32 state; /* enum guest_state */
	__u32 phase; /* GUEST_DEMO: the workload it plays now */
	__u64 page_gpa;
	__u64 samples; /* written so far; sample n is at ring[n % ring_entries] */
	__u64 interrupts; /* handled: timer and MSI */
	__u64 missed; /* samples that stand for a period whose interrupt came too late to be seen */
	__u64 sections;
	__u64 doorbells;
	__u64 acks;
	__u64 start_tsc; /* first deadline or section */
	__u64 end_tsc;
	__u64 section_iterations; /* loop iterations that are section_ns of work */
	__u64 fault_vector;
	__u64 fault_code;
	__u64 fault_rip;
	__u64 fault_address;
	__u64 reserved1[9];

	/* GUEST_BUSY_RANDOM, VMM, while running: TSC just before each injection, then the head */
	__u64 stamp_head;
	__u64 reserved2[7];
	__u64 stamp[GUEST_STAMPS];
};

struct guest_control {
	/* VMM */
	__u32 magic; /* GUEST_MAGIC, else all of the VMM's fields count as zero */
	__u32 version; /* GUEST_VERSION */
	__u32 vcpus; /* 0 = 1 */
	__u32 flags; /* GUEST_F_* */
	__u32 tsc_khz; /* 0 = calibrated against the APIC timer (1 GHz in KVM) */
	__u32 steps; /* of the script; 0 = the normal handshake */
	__u64 bar_gpa; /* 0 = GUEST_BAR_GPA */
	__u64 pages_gpa; /* one 4 KiB page per vCPU from here; 0 = the guest's own */
	__u32 go; /* VMM, while running: 1 = start (then inject GUEST_VECTOR_MSI to wake) */
	__u32 reserved0;
	__u64 reserved1[2];

	/* guest */
	__u32 device; /* enum guest_device */
	__u32 pci_function; /* device << 3 | function, on bus 0 */
	__u32 result; /* PVSCHED_R_* of the handshake */
	__u32 result_vcpu; /* which vCPU's command gave it */
	__u64 features; /* negotiated */
	__u32 steps_done;
	__u32 mismatches;
	__u64 bar; /* where BAR0 is */
	__u64 tsc_khz_used;
	__u64 reserved2[2];

	struct guest_vcpu vcpu[GUEST_VCPUS_MAX];
	struct guest_step step[GUEST_STEPS_MAX];
};

#define GUEST_AT(s, f, o) _Static_assert(__builtin_offsetof(struct s, f) == (o), #f " moved")
_Static_assert(sizeof(struct guest_step) == 48, "step size");
_Static_assert(sizeof(struct guest_vcpu) == GUEST_VCPU_SIZE, "vCPU block size");
GUEST_AT(guest_vcpu, state, GUEST_VCPU_STATE);
GUEST_AT(guest_vcpu, fault_vector, GUEST_VCPU_FAULT);
GUEST_AT(guest_vcpu, stamp_head, 256);
GUEST_AT(guest_control, vcpu, GUEST_VCPUS_AT);
_Static_assert(GUEST_CONTROL_GPA + sizeof(struct guest_control) <= 0x9f000, "low memory");
#undef GUEST_AT
#endif
#endif
