# SPDX-License-Identifier: GPL-2.0-only
# The frame itself: a stock kernel with SVM KVM and what BPF needs.
# kernels: 6.1 6.12 7.3
# guests: none
# tier: short
# programs: bpftool
# timeout: 20

expect kvm_amd_is_loaded test -d /sys/module/kvm_amd
expect kvm_amd_uses_nested_paging grep -q '[1Y]' /sys/module/kvm_amd/parameters/npt
expect dev_kvm_is_a_device test -c /dev/kvm
expect vmlinux_has_btf test -s /sys/kernel/btf/vmlinux
expect kvm_module_has_btf test -s /sys/kernel/btf/kvm
expect two_cpus_are_online test "$(nproc)" = 2
expect clocksource_is_tsc grep -q '^tsc' \
	/sys/devices/system/clocksource/clocksource0/current_clocksource
expect kvm_tracepoints_are_there test -d /sys/kernel/tracing/events/kvm/kvm_exit
bpftool btf dump file /sys/kernel/btf/kvm >/tmp/btf
for event in kvm_entry kvm_exit kvm_inj_virq kvm_apic_accept_irq; do
	expect "btf_names_$event" grep -q "btf_trace_$event" /tmp/btf
done
case $(uname -r) in
7.*) expect sched_ext_is_there test -e /sys/kernel/sched_ext/state ;;
esac
figure boot_seconds "$(cut -d' ' -f1 /proc/uptime)"
