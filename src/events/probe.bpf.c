// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two-instruction programs, one per event source: whether one loads and attaches decides whether
 * the host has the source. Never a kernel version.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define PROBE(name, section)                                                                       \
	SEC(section) int probe_##name(void *ctx)                                                   \
	{                                                                                          \
		return 0;                                                                          \
	}

PROBE(sched_switch, "tp_btf/sched_switch")
PROBE(sched_waking, "tp_btf/sched_waking")
PROBE(hrtimer_expire_entry, "tp_btf/hrtimer_expire_entry")
PROBE(kvm_apic_accept_irq, "tp_btf/kvm_apic_accept_irq")
PROBE(kvm_eoi, "tp_btf/kvm_eoi")
PROBE(kvm_exit, "tp_btf/kvm_exit")
PROBE(kvm_entry, "tp_btf/kvm_entry")
PROBE(kvm_inj_virq, "tp_btf/kvm_inj_virq")
PROBE(kvm_write_tsc_offset, "tp_btf/kvm_write_tsc_offset")
PROBE(kvm_fpu, "tp_btf/kvm_fpu")
PROBE(accept_irq_fentry, "fentry/__apic_accept_irq")
PROBE(ioeventfd_fentry, "fentry/ioeventfd_write")

char LICENSE[] SEC("license") = "GPL";
