# SPDX-License-Identifier: GPL-2.0-only
# Stock Debian Linux in the reference VMM: one, two and eight CPUs, what it finds, its serial
# console in both directions, power-off, reboot, and what cannot be booted.
# kernels: 6.12 7.3
# guests: linux
# tier: long
# timeout: 500

# What is typed on the guest's console tells it what to do.
cat >/tmp/task <<'END'
echo "cpus $(nproc)"
for f in /sys/bus/pci/devices/*; do echo "pci $(cat $f/vendor) $(cat $f/device)"; done
echo "packages $(sort -u /sys/devices/system/cpu/cpu*/topology/physical_package_id | wc -l)"
echo "clock $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
stty -echo </dev/console
echo "task waits"
while read -r what; do
	case $what in
	off) poweroff -f ;;
	again) reboot -f ;;
	*) echo "heard $what" ;;
	esac
done </dev/console
END

# confined PROCESS THREAD: it has a seccomp filter, and gains nothing by what it executes
confined() {
	for status in /proc/"$1"/task/*/status; do
		grep -q "^Name:	$2\$" "$status" || continue
		grep -q '^Seccomp:	2' "$status" && grep -q '^NoNewPrivs:	1' "$status"
		return
	done
	echo "no thread $2"
	return 1
}

for cpus in 1 2 8; do
	log=$LAB_OUT/console$cpus.log
	began=$(cut -d. -f1 /proc/uptime)
	device=
	[ $cpus = 1 ] && device=--no-device
	vmm_start /tmp/task "$log" --cpus $cpus $device
	vmm_shows "linux_boots_with_${cpus}_cpus" 120 1 '^task waits'
	figure "boot_${cpus}_cpus_seconds" $(($(cut -d. -f1 /proc/uptime) - began))
	if [ $cpus = 2 ]; then
		for thread in vcpu0 vcpu1 service console; do
			expect "vmm_thread_${thread}_is_confined" confined "$vmm" $thread
		done
		echo "words to it" >&3
		vmm_shows linux_console_takes_input 20 1 '^heard words to it'
		echo again >&3
		vmm_shows linux_reboots 120 2 '^task waits'
	fi
	echo off >&3
	vmm_ended "linux_with_${cpus}_cpus_powers_off"
	cp /tmp/said /tmp/said.$cpus
	expect "linux_has_${cpus}_cpus" grep -q "^cpus $cpus" "$log"
	expect "linux_with_${cpus}_cpus_is_one_package" grep -q '^packages 1[^0-9]*$' "$log"
	expect "linux_with_${cpus}_cpus_finds_no_fault_in_acpi" sh -c "! grep -E 'ACPI.*(Error|Warning)|No response from Global Lock' $log"
done
expect linux_is_the_stock_kernel grep -q "^l2 up $(uname -r)" "$LAB_OUT/console2.log"
expect linux_finds_the_function grep -q '^pci 0x1b36 0x10f5' "$LAB_OUT/console2.log"
expect linux_without_the_function_finds_none sh -c "! grep 10f5 $LAB_OUT/console1.log"
expect linux_keeps_the_paravirtual_clock grep -q '^clock kvm-clock' "$LAB_OUT/console2.log"
expect linux_rebooted_once grep -q 'and 1 reboots' /tmp/said.2

# Without the local APIC's timer the PIT is the clock: Linux boots only if it ticks.
log=$LAB_OUT/console-pit.log
VMM_APPEND="nolapic_timer lapic=notscdeadline" # else Linux wants no PIT
cat >/tmp/task.pit <<'END'
ticks() { awk '$1 == "0:" { print $2 }' /proc/interrupts; }
before=$(ticks)
sleep 1
echo "ticks $(($(ticks) - before))"
poweroff -f
END
vmm_start /tmp/task.pit "$log" --cpus 1 --no-device
vmm_shows linux_hears_the_pit 150 1 '^ticks [1-9]'
vmm_ended linux_on_the_pit_powers_off

# A triple fault resets a machine, and is how Linux reboots where it is told to.
log=$LAB_OUT/console-fault.log
VMM_APPEND=reboot=triple
vmm_start /tmp/task "$log" --cpus 2 --no-device
vmm_shows linux_that_reboots_by_triple_fault_boots 120 1 '^task waits'
echo again >&3
vmm_shows linux_reboots_by_triple_fault 120 2 '^task waits'
echo off >&3
vmm_ended linux_after_a_triple_fault_powers_off
expect linux_rebooted_once_by_triple_fault grep -q 'and 1 reboots' /tmp/said
VMM_APPEND=

# refused NAME WORDS ARGUMENTS: one line that has these words, status not 0
refused() {
	name=$1 words=$2
	shift 2
	if pvsched run --no-device "$@" </dev/null >/tmp/out 2>&1; then
		not_ok "$name" "it ran"
	elif tail -n 1 /tmp/out | grep -q "$words"; then
		ok "$name"
	else
		not_ok "$name" "it said: $(tail -n 1 /tmp/out)"
	fi
}
head -c 100000 /l2/bzImage >/tmp/cut
refused run_file_that_is_no_kernel_is_refused 'not a Linux kernel' --kernel /l2/qemu
refused run_kernel_that_is_cut_short_is_refused 'cut short' --kernel /tmp/cut
refused run_too_little_memory_is_refused 'too little' --kernel /l2/bzImage --memory 32M
refused run_too_many_cpus_is_refused 'out of range' --kernel /l2/bzImage --cpus 9
refused run_initrd_that_is_not_there_is_refused 'initrd: /none: No such file' \
	--kernel /l2/bzImage --initrd /none
