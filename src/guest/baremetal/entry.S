/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * All that runs at CPL 0, with the tables it needs as constants of the image: entry of a vCPU,
 * the two interrupt handlers, the services for CPL 3 (cpu.h), and the end after an exception.
 * A KVM without VMX/SVM emulates CPL 0, 1.5-2 us for each instruction: so it is kept short, and
 * everything else is C at CPL 3.
 */
#include "../../vmm/guestabi.h"
#include "cpu.h"

#define MSR_APIC_BASE	0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC_EOI	0x80b
#define MSR_X2APIC_SVR	0x80f
#define MSR_X2APIC_LVTT	0x832
#define MSR_GS_BASE	0xc0000101
#define LVTT_TSC_DEADLINE (2 << 17)

	.section .head, "awx", @progbits
	.code64
	.globl start
start:
	cmp	$GUEST_VCPUS_MAX, %edi
	jae	die
	mov	%edi, %ebx
	shl	$12, %ebx
	add	$CPU_GPA, %ebx
	lgdt	CPU_GDTR(%rbx)
	lidt	idtr
	mov	$SEL_TSS, %eax
	ltr	%ax
	/* null segments: IRET to CPL 3 would take them away, and the GS base with them */
	xor	%eax, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %fs
	mov	%eax, %gs
	xor	%edx, %edx
	mov	%ebx, %eax
	mov	$MSR_GS_BASE, %ecx
	wrmsr
	mov	$MSR_APIC_BASE, %ecx
	rdmsr
	or	$0xc00, %eax /* enable, x2APIC */
	wrmsr
	xor	%edx, %edx
	mov	$(0x100 | (GUEST_VECTOR_TIMER - 1)), %eax /* enable; spurious */
	mov	$MSR_X2APIC_SVR, %ecx
	wrmsr
	mov	$(LVTT_TSC_DEADLINE | GUEST_VECTOR_TIMER), %eax
	mov	$MSR_X2APIC_LVTT, %ecx
	wrmsr
	lea	CPU_SIZE(%rbx), %rsp
	lea	1(%rdi), %eax
	shl	$13, %eax
	add	$user_stacks, %rax
	sub	$8, %rax /* as after a call */
	push	$SEL_DATA3
	push	%rax
	push	$0x202
	push	$SEL_CODE3
	push	$guest_main
	mov	%rbx, %rdi
	iretq

	.macro	end_of_interrupt
	mov	$MSR_X2APIC_EOI, %ecx
	xor	%eax, %eax
	xor	%edx, %edx
	wrmsr
	pop	%rcx
	pop	%rdx
	pop	%rax
	iretq
	.endm

/*
 * Both stamp into a ring, since a second one may come before CPL 3 looks. The timer's arms the
 * next deadline, if that is still to come: an interrupt's work is not done before.
 */
timer:
	push	%rax
	push	%rdx
	rdtsc
	push	%rcx
	mov	%gs:CPU_TIMER_AT, %rcx
	mov	%eax, (%rcx)
	mov	%edx, 4(%rcx)
	addb	$8, %gs:CPU_TIMER_AT
	mov	%gs:CPU_NEXT, %rdx
	cmp	(%rcx), %rdx
	jbe	1f
	mov	%rdx, %gs:CPU_ARMED
	mov	%edx, %eax
	shr	$32, %rdx
	mov	$MSR_TSC_DEADLINE, %ecx
	wrmsr
1:	end_of_interrupt

msi:
	push	%rax
	push	%rdx
	rdtsc
	push	%rcx
	mov	%gs:CPU_MSI_AT, %rcx
	mov	%eax, (%rcx)
	mov	%edx, 4(%rcx)
	addb	$8, %gs:CPU_MSI_AT
	end_of_interrupt

spurious:
	iretq

invalid_opcode:
	testl	$3, 8(%rsp)
	jz	vector_6
	cmp	$SVC_HALT, %r8d
	jb	svc_wrmsr
	je	svc_halt
	cmp	$SVC_END, %r8d
	jae	vector_6
	jmp	*services(, %r8, 8)
svc_halt:
	/* an interrupt between the caller's look and here is not lost: IF is clear */
	cmp	%rdi, %gs:CPU_TIMER_AT
	jne	svc_done
	cmp	%rsi, %gs:CPU_MSI_AT
	jne	svc_done
	sti
	hlt
	jmp	svc_done
svc_wrmsr:
	wrmsr
svc_done:
	addq	$2, (%rsp) /* over the UD2 */
	iretq
svc_rdmsr:
	rdmsr
	jmp	svc_done
svc_outl:
	outl	%eax, %dx
	jmp	svc_done
svc_outw:
	outw	%ax, %dx
	jmp	svc_done
svc_outb:
	outb	%al, %dx
	jmp	svc_done
svc_inl:
	inl	%dx, %eax
	jmp	svc_done
svc_inw:
	inw	%dx, %ax
	jmp	svc_done
svc_inb:
	inb	%dx, %al
	jmp	svc_done

	.macro	exception vector, code=0
vector_\vector:
	.if	\code == 0
	push	$0
	.endif
	push	$\vector
	jmp	fault
	.endm

	exception 0
	exception 1
	exception 2
	exception 3
	exception 4
	exception 5
	exception 6
	exception 7
	exception 8, 1
	exception 9
	exception 10, 1
	exception 11, 1
	exception 12, 1
	exception 13, 1
	exception 14, 1
	exception 15
	exception 16
	exception 17, 1
	exception 18
	exception 19

/* Leaves what happened in guest_vcpu.fault_*, tells the VMM, and is no more. */
fault:
	mov	%gs:CPU_INDEX, %rbx
	imul	$GUEST_VCPU_SIZE, %rbx, %rbx
	add	$(GUEST_CONTROL_GPA + GUEST_VCPUS_AT), %rbx
	movl	$GUEST_STATE_FAULT, GUEST_VCPU_STATE(%rbx)
	pop	%rax
	mov	%rax, GUEST_VCPU_FAULT(%rbx)
	pop	%rax
	mov	%rax, GUEST_VCPU_FAULT + 8(%rbx)
	pop	%rax
	mov	%rax, GUEST_VCPU_FAULT + 16(%rbx)
	mov	%cr2, %rax
	mov	%rax, GUEST_VCPU_FAULT + 24(%rbx)
	mov	%gs:CPU_INDEX, %rax
	shl	$8, %eax
	or	$GUEST_EXIT_FAULT, %eax
	mov	$GUEST_EXIT_PORT, %edx
	outl	%eax, %dx
die:
	cli
	hlt
	jmp	die

	.balign	8
services:
	.quad	svc_wrmsr, svc_halt, svc_rdmsr, svc_outl, svc_outw, svc_outb, svc_inl, svc_inw
	.quad	svc_inb
idtr:
	.word	idt_end - idt - 1
	.quad	idt

/* The head is linked at GUEST_LOAD_GPA, 64 KiB aligned: bits 16.. of its addresses are known. */
	.macro	gate handler
	.word	\handler - start
	.word	SEL_CODE0
	.word	0x8e00
	.word	GUEST_LOAD_GPA >> 16
	.quad	0
	.endm

	.balign	16
idt:
	.irp	n, 0, 1, 2, 3, 4, 5
	gate	vector_\n
	.endr
	gate	invalid_opcode
	.irp	n, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19
	gate	vector_\n
	.endr
	.rept	GUEST_VECTOR_TIMER - 20
	gate	spurious
	.endr
	gate	timer
	gate	msi
idt_end:

	.org	GUEST_SIGNATURE_AT
	.long	GUEST_MAGIC, GUEST_VERSION

	/* page tables: 4 GiB identity in 2 MiB pages, present, writable, user */
	.org	GUEST_CR3_GPA - GUEST_LOAD_GPA
	.quad	GUEST_CR3_GPA + 0x1000 + 7
	.org	GUEST_CR3_GPA - GUEST_LOAD_GPA + 0x1000
	.set	n, 0
	.rept	4
	.quad	GUEST_CR3_GPA + 0x2000 + n * 0x1000 + 7
	.set	n, n + 1
	.endr
	.org	GUEST_CR3_GPA - GUEST_LOAD_GPA + 0x2000
	.set	n, 0
	.rept	2048
	.quad	n * 0x200000 + 0x87
	.set	n, n + 1
	.endr

	/* CPU blocks */
	.set	n, 0
	.rept	GUEST_VCPUS_MAX
	.set	block, CPU_GPA - GUEST_LOAD_GPA + n * CPU_SIZE
	.set	tss, CPU_GPA + n * CPU_SIZE + CPU_TSS
	.org	block + CPU_INDEX
	.quad	n
	.quad	CPU_GPA + n * CPU_SIZE + CPU_TIMER_TSC
	.quad	CPU_GPA + n * CPU_SIZE + CPU_MSI_TSC
	.org	block + CPU_GDT
	.quad	0
	.quad	0x00af9b000000ffff /* SEL_CODE0 */
	.quad	0x00cf93000000ffff
	.quad	0x00affb000000ffff /* SEL_CODE3 */
	.quad	0x00cff3000000ffff /* SEL_DATA3 */
	.quad	(CPU_TSS_SIZE - 1) | ((tss & 0xffffff) << 16) | (0x89 << 40) | ((tss >> 24) << 56)
	.quad	0
	.org	block + CPU_GDTR
	.word	CPU_GDT_SIZE - 1
	.quad	CPU_GPA + n * CPU_SIZE + CPU_GDT
	.org	block + CPU_TSS + 4
	.quad	CPU_GPA + (n + 1) * CPU_SIZE /* RSP0 */
	.org	block + CPU_TSS + 0x66
	.word	CPU_TSS_SIZE /* no I/O bitmap */
	.set	n, n + 1
	.endr
	.org	CPU_GPA - GUEST_LOAD_GPA + GUEST_VCPUS_MAX * CPU_SIZE
	.section .note.GNU-stack, "", @progbits
