/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * INTR_PENDING on x86: the local APIC's timer (hrtimer_expire_entry with KVM's callback); any
 * interrupt that a local APIC accepts, by fentry; or, where fentry is refused, those that a VMM's
 * thread or a sibling vCPU raises (kvm_apic_accept_irq). A vCPU that runs needs no help: only one
 * that is off its CPU is looked at further.
 */
#ifndef PVSCHED_EVENTS_LAPIC_BPF_H
#define PVSCHED_EVENTS_LAPIC_BPF_H

#include "../decide.bpf.h"
#include "../pending.h"

/* KVM's timer callback; 0 on a host without KVM loaded. */
extern const void apic_timer_fn __ksym __weak;

/* The slot of the vCPU that a local APIC belongs to, or -1. */
static __always_inline int slot_of_apic(struct kvm_lapic *apic)
{
	struct kvm_vcpu *kv = FIELD(AT_ANY(struct kvm_lapic, apic), vcpu);
	struct hlist_node *task = NULL;
	struct pid *pid = NULL;
	struct pvsched_vcpu *v;
	int tid = 0, slot;

	if (!kv || READ(pid, AT_ANY(struct kvm_vcpu, kv), pid) || !pid ||
	    READ(tid, AT(struct pid, pid), numbers[0].nr))
		return -1;
	slot = slot_of_task(tid, 0, 0);
	v = slot < 0 ? NULL : vcpu_of_slot(slot);
	/* KVM's struct pid outlives its thread, and so its number, which may be another's by now */
	if (!v || READ(task, AT(struct pid, pid), tasks[0].first) || !task)
		return -1;
	v->kvm_vcpu = (__u64)kv;
	return slot;
}

SEC("tp_btf/hrtimer_expire_entry")
int BPF_PROG(pvsched_hrtimer_expire, struct hrtimer *timer)
{
	struct kvm_lapic *apic = NULL;
	int slot;

	/* without KVM there is neither the function nor the type */
	if (!bpf_core_field_exists(apic->lapic_timer.timer) || timer->function != &apic_timer_fn)
		return 0;
	apic = (void *)timer - bpf_core_field_offset(apic->lapic_timer.timer);
	slot = slot_of_apic(apic);
	if (slot >= 0)
		intr_pending(slot);
	return 0;
}

/* The APIC itself, so the very vCPU, whoever raises the interrupt: a vhost worker, an irqfd, a
 * sibling. In place of the tracepoint below where the kernel allows it. */
SEC("fentry/__apic_accept_irq")
int BPF_PROG(pvsched_accept_irq_fentry, struct kvm_lapic *apic)
{
	int slot = apic ? slot_of_apic(apic) : -1;

	if (slot >= 0)
		intr_pending(slot);
	return 0;
}

SEC("tp_btf/kvm_apic_accept_irq")
int BPF_PROG(pvsched_accept_irq, __u32 apic_id)
{
	struct pvsched_apic_key key = { .tgid = bpf_get_current_pid_tgid() >> 32,
					.apic_id = apic_id };
	__u32 *at = bpf_map_lookup_elem(&apics, &key);

	/* The tracepoint names an APIC id but no VM; the process that raises the interrupt does.
	 * A LAPIC timer that expires while another process runs was seen by hrtimer_expire. */
	if (at)
		intr_pending(*at - 1);
	return 0;
}

#endif
