/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * One block of 4 KiB per vCPU, in the image at a fixed place so that its GDT, TSS and the
 * pointers between them are constants: descriptor tables and the CPL 0 stack for entry.S, stamps
 * and counters for the workloads. Written by this vCPU only: handlers store, the CPL 3 loop reads.
 */
#ifndef PVSCHED_GUEST_CPU_H
#define PVSCHED_GUEST_CPU_H

#define CPU_GPA	 0x107000 /* of block 0: after the page tables */
#define CPU_SIZE 0x1000

#define CPU_INDEX     0x00
#define CPU_TIMER_AT  0x08
#define CPU_MSI_AT    0x10
#define CPU_NEXT      0x18
#define CPU_ARMED     0x20
#define CPU_GDT	      0x100
#define CPU_GDT_SIZE  0x38
#define CPU_GDTR      0x140
#define CPU_TSS	      0x180
#define CPU_TSS_SIZE  0x68
#define CPU_TIMER_TSC 0x200 /* two rings of 256 bytes, aligned: a byte of the pointer wraps */
#define CPU_MSI_TSC   0x300
#define CPU_STAMPS    32

#define SEL_CODE0 0x08
#define SEL_CODE3 0x1b
#define SEL_DATA3 0x23
#define SEL_TSS	  0x28

#define USER_STACK 0x2000 /* bytes per vCPU */

/* What CPL 3 asks of CPL 0 by executing UD2 with the number in R8: the only way down that works
 * on every KVM (INT n and SYSCALL do not), as one short exception. */
#define SVC_WRMSR 0 /* ECX, EDX:EAX */
#define SVC_HALT  1 /* HLT unless CPU_TIMER_AT differs from RDI, or CPU_MSI_AT from RSI */
#define SVC_RDMSR 2 /* ECX -> EDX:EAX */
#define SVC_OUTL  3 /* DX, EAX */
#define SVC_OUTW  4
#define SVC_OUTB  5
#define SVC_INL	  6 /* DX -> EAX */
#define SVC_INW	  7
#define SVC_INB	  8
#define SVC_END	  9

#ifndef __ASSEMBLER__
#include <linux/types.h>

struct cpu {
	__u64 index;
	__u64 timer_at; /* where the next stamp goes: address in timer_tsc */
	__u64 msi_at;
	__u64 next; /* deadline that the handler arms by itself if it is in the future; 0 = none */
	__u64 armed; /* the last one it did arm */
	__u8 tables[CPU_TIMER_TSC - 5 * 8];
	__u64 timer_tsc[CPU_STAMPS]; /* TSC at the first instruction of each timer interrupt */
	__u64 msi_tsc[CPU_STAMPS];
	__u8 stack[CPU_SIZE - CPU_MSI_TSC - CPU_STAMPS * 8]; /* CPL 0 */
};

#define CPU_AT(f, o) _Static_assert(__builtin_offsetof(struct cpu, f) == (o), #f " moved")
CPU_AT(timer_at, CPU_TIMER_AT);
CPU_AT(msi_at, CPU_MSI_AT);
CPU_AT(next, CPU_NEXT);
CPU_AT(armed, CPU_ARMED);
CPU_AT(timer_tsc, CPU_TIMER_TSC);
CPU_AT(msi_tsc, CPU_MSI_TSC);
_Static_assert(sizeof(struct cpu) == CPU_SIZE, "CPU block size");
#undef CPU_AT
#endif
#endif
