/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * INTR_PENDING on x86: the local APIC's timer (hrtimer_expire_entry with KVM's callback) and
 * interrupts that a VMM's thread or a sibling vCPU raises (kvm_apic_accept_irq). A vCPU that
 * runs needs no help: only one that is off its CPU is looked at further.
 */
#ifndef PVSCHED_EVENTS_LAPIC_BPF_H
#define PVSCHED_EVENTS_LAPIC_BPF_H

#include "../decide.bpf.h"
#include "../rivals.bpf.h"

/* KVM's timer callback; 0 on a host without KVM loaded. */
extern const void apic_timer_fn __ksym __weak;

static __always_inline void intr_pending(__u32 slot)
{
	struct pvsched_vcpu *v = vcpu_of_slot(slot);
	struct pvsched_cpu *c = this_cpu(); /* once: before 6.13 each look-up may be NULL */
	__u64 now;

	if (!v || v->state == PVSCHED_STATE_RUNNING || v->state == PVSCHED_STATE_UNKNOWN)
		return;
	now = bpf_ktime_get_ns();
	count(c, events[4]);
	decide(v, slot, PVSCHED_EV_INTR_PENDING, now, RIVALS_ASK);
}

SEC("tp_btf/hrtimer_expire_entry")
int BPF_PROG(pvsched_hrtimer_expire, struct hrtimer *timer)
{
	struct kvm_lapic *apic = NULL;
	struct kvm_vcpu *kv;
	struct pid *pid = NULL;
	struct pvsched_vcpu *v;
	int tid = 0, slot;

	if (timer->function != &apic_timer_fn)
		return 0;
	apic = (void *)timer - bpf_core_field_offset(apic->lapic_timer.timer);
	kv = BPF_CORE_READ(apic, vcpu);
	if (!kv || bpf_core_read(&pid, sizeof(pid), &kv->pid) || !pid ||
	    bpf_core_read(&tid, sizeof(tid), &pid->numbers[0].nr))
		return 0;
	slot = slot_of_task(tid, 0, 0);
	if (slot < 0)
		return 0;
	v = vcpu_of_slot(slot);
	if (!v)
		return 0;
	v->kvm_vcpu = (__u64)kv;
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
