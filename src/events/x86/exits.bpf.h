/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VMEXIT, VMENTRY, HALT, INTR_INJECT and INTR_DONE: KVM's own tracepoints, in the vCPU's thread.
 * Attached only for a policy that names them: each exit of each VM on the host then pays for a
 * program (60 ns to find that a vCPU is not this policy's).
 */
#ifndef PVSCHED_EVENTS_EXITS_BPF_H
#define PVSCHED_EVENTS_EXITS_BPF_H

#include "../decide.bpf.h"

#define ISA_VMX 1 /* KVM_ISA_VMX, KVM_ISA_SVM of arch/x86/kvm/trace.h */
#define ISA_SVM 2

#define SVM_EXIT_INTR  0x060 /* APM volume 2, appendix C */
#define SVM_EXIT_HLT   0x078
#define SVM_EXIT_MSR   0x07c
#define SVM_EXIT_IOIO  0x07b
#define SVM_EXIT_NPF   0x400
#define VMX_EXIT_INTR  1 /* SDM volume 3, appendix C */
#define VMX_EXIT_HLT   12
#define VMX_EXIT_IO    30
#define VMX_EXIT_RDMSR 31
#define VMX_EXIT_WRMSR 32
#define VMX_EXIT_EPT   48

static __always_inline __u8 svm_reason(struct kvm_vcpu *kv)
{
	struct vcpu_svm *svm = (void *)kv; /* vcpu is its first member */
	struct vmcb *vmcb = NULL;
	__u32 code = 0;

	if (bpf_core_read(&vmcb, sizeof(vmcb), &svm->vmcb) || !vmcb ||
	    bpf_core_read(&code, sizeof(code), &vmcb->control.exit_code))
		return PVSCHED_EXIT_OTHER;
	switch (code) {
	case SVM_EXIT_HLT:
		return PVSCHED_EXIT_HALT;
	case SVM_EXIT_INTR:
		return PVSCHED_EXIT_INTR;
	case SVM_EXIT_MSR:
		return PVSCHED_EXIT_MSR;
	case SVM_EXIT_IOIO:
		return PVSCHED_EXIT_IO;
	case SVM_EXIT_NPF:
		return PVSCHED_EXIT_MMIO;
	}
	return PVSCHED_EXIT_OTHER;
}

/* Written from the SDM and KVM's source; no VMX machine has run it. */
static __always_inline __u8 vmx_reason(struct kvm_vcpu *kv)
{
	struct vcpu_vmx *vmx = (void *)kv; /* vcpu is its first member */
	struct vcpu_vmx___vt *vt = (void *)kv;
	__u32 code = 0;

	if (bpf_core_field_exists(vt->vt.exit_reason.full)) {
		if (bpf_core_read(&code, sizeof(code), &vt->vt.exit_reason.full))
			return PVSCHED_EXIT_OTHER;
	} else if (!bpf_core_field_exists(vmx->exit_reason.full) ||
		   bpf_core_read(&code, sizeof(code), &vmx->exit_reason.full)) {
		return PVSCHED_EXIT_OTHER;
	}
	switch (code & 0xffff) { /* the basic reason */
	case VMX_EXIT_HLT:
		return PVSCHED_EXIT_HALT;
	case VMX_EXIT_INTR:
		return PVSCHED_EXIT_INTR;
	case VMX_EXIT_RDMSR:
	case VMX_EXIT_WRMSR:
		return PVSCHED_EXIT_MSR;
	case VMX_EXIT_IO:
		return PVSCHED_EXIT_IO;
	case VMX_EXIT_EPT:
		return PVSCHED_EXIT_MMIO;
	}
	return PVSCHED_EXIT_OTHER;
}

/* The slot of the thread that runs, if it is this policy's; else -1. */
static __always_inline int current_slot(void)
{
	return slot_of_task((__u32)bpf_get_current_pid_tgid(), 0, 0);
}

SEC("tp_btf/kvm_exit")
int BPF_PROG(pvsched_kvm_exit, struct kvm_vcpu *kv, __u32 isa)
{
	struct pvsched_vcpu *v;
	__u32 event = PVSCHED_EV_VMEXIT;
	int slot = current_slot();
	__u8 reason;

	if (slot < 0 || !kv)
		return 0;
	v = vcpu_of_slot(slot);
	if (!v)
		return 0;
	reason = isa == ISA_SVM	  ? svm_reason(kv)
		 : isa == ISA_VMX ? vmx_reason(kv)
				  : PVSCHED_EXIT_OTHER;
	v->kvm_vcpu = (__u64)kv;
	v->exit_reason = reason;
	count(this_cpu(), events[8]);
	if (reason == PVSCHED_EXIT_HALT) {
		event |= PVSCHED_EV_HALT;
		count(this_cpu(), events[10]);
	}
	event &= policy_events; /* a policy that asks for HALT alone hears of no other exit */
	if (event)
		pvsched_decide(slot, event, bpf_ktime_get_ns(), RIVALS_ASK);
	return 0;
}

SEC("tp_btf/kvm_entry")
int BPF_PROG(pvsched_kvm_entry)
{
	int slot = current_slot();
	struct pvsched_vcpu *v;

	if (slot < 0)
		return 0;
	v = vcpu_of_slot(slot);
	if (!v)
		return 0;
	count(this_cpu(), events[9]);
	pvsched_decide(slot, PVSCHED_EV_VMENTRY, bpf_ktime_get_ns(), RIVALS_ASK);
	return 0;
}

SEC("tp_btf/kvm_inj_virq")
int BPF_PROG(pvsched_inj_virq)
{
	int slot = current_slot();
	struct pvsched_vcpu *v;

	if (slot < 0)
		return 0;
	v = vcpu_of_slot(slot);
	if (!v)
		return 0;
	count(this_cpu(), events[11]);
	pvsched_decide(slot, PVSCHED_EV_INTR_INJECT, bpf_ktime_get_ns(), RIVALS_ASK);
	return 0;
}

SEC("tp_btf/kvm_eoi")
int BPF_PROG(pvsched_eoi)
{
	int slot = current_slot();
	struct pvsched_vcpu *v;

	if (slot < 0)
		return 0;
	v = vcpu_of_slot(slot);
	if (!v || !v->intr_ns) /* nothing was done for it */
		return 0;
	count(this_cpu(), events[5]);
	pvsched_decide(slot, PVSCHED_EV_INTR_DONE, bpf_ktime_get_ns(), RIVALS_ASK);
	return 0;
}

#endif
