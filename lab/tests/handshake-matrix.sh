# SPDX-License-Identifier: GPL-2.0-only
# The handshake of pvsched-guest on stock Linux against what it may meet: no device, eight CPUs, a
# device that was left half-way, Bus Master taken away, versions and features that the other side does
# not know, a reboot, kexec, two VMs at once. What is killed in it: handshake-killed.sh.
# kernels: 6.12 7.3
# guests: linux
# tier: long
# timeout: 500
# inner: chrt kexec

cat >/tmp/task <<'END'
dev=/sys/bus/pci/devices/0000:00:01.0
mkdir -p /sys/fs/bpf
mount -t bpf none /sys/fs/bpf
r() { devmem $((bar + $1)) 32; }
w() { devmem $((bar + $1)) 32 $2; }
open_device() {
	echo 1 >$dev/enable
	printf '\006\000' | dd of=$dev/config bs=1 seek=4 conv=notrunc 2>/dev/null
	read -r bar rest <$dev/resource
}
stty -echo </dev/console
echo "task waits"
while read -r what more; do
	case $what in
	start)
		pvsched-guest run $more >/tmp/out 2>&1 &
		daemon=$!
		for i in $(seq 100); do grep -q 'share a page\|pvsched-guest:' /tmp/out && break; usleep 100000; done
		echo "start: $(tail -n 1 /tmp/out)"
		;;
	stop) kill $daemon; wait $daemon; echo "stopped $?" ;;
	half) # STATUS is left at ACKNOWLEDGE | DRIVER, as by a guest that died in the handshake
		open_device
		w 8 1; w 8 3
		echo "half: $(r 8)"
		;;
	insist) # on a version, or a feature, that is not on offer: STATUS and ERROR
		open_device
		w 8 0; w 8 1; w 8 3
		w 0x18 0; w 0x1c 0
		case $more in
		version) w 0x30 0x45534142; w 0x34 2 ;;
		feature) w 0x30 0x45534142; w 0x34 1; w 0x1c 0x100 ;;
		esac
		w 8 0xb
		echo "insisted on a $more: $(r 8) $(r 0xc)"
		;;
	urgent) # a real-time task on each CPU
		for mask in 1 2; do
			taskset $mask chrt -f 5 sh -c 'while :; do :; done' & hogs="$hogs $!"
		done
		echo "urgent"
		;;
	calm) kill $hogs; echo "calm" ;;
	deaf) printf '\002\000' | dd of=$dev/config bs=1 seek=4 conv=notrunc 2>/dev/null; echo "deaf" ;;
	revived) # the daemon looks at its pages every four seconds
		for i in $(seq 300); do grep -q 'shares its pages again' /tmp/out && break; usleep 100000; done
		echo "revived: $(tail -n 1 /tmp/out)"
		;;
	kexec) # the same kernel; its initramfs is what is here
		(cd / && find . -xdev ! -path './proc/*' ! -path './sys/*' ! -path './tmp/*' |
			cpio -o -H newc) >/tmp/again.cpio 2>/dev/null
		kexec -s -l /bzImage --initrd=/tmp/again.cpio --reuse-cmdline 2>&1
		echo "kexec: loaded $?"
		kexec -e -x
		;;
	again) reboot -f ;;
	off) poweroff -f ;;
	esac
done </dev/console
END

# enabled N [VMS]: pages, of so many VMs
enabled() {
	[ "$(pvsched list --json | grep -c "\"enabled\": $1\$\|\"enabled\": $1,")" = "${2:-1}" ]
}

boosted() {
	pvsched list --json | grep -q '"boosts": [1-9]'
}

# of each vCPU's thread
threads_are_ordinary() {
	for task in /proc/"$vmm"/task/*; do
		grep -q '^vcpu' "$task/comm" || continue
		[ "$(awk '{ print $41, $19 }' "$task/stat")" = "0 0" ] || return 1
	done
}

VMM_APPEND=iomem=relaxed
log=$LAB_OUT/console-none.log
vmm_start /tmp/task "$log" --cpus 1 --no-device
vmm_shows linux_without_a_device_boots 150 1 '^task waits'
echo start >&3
vmm_shows guest_without_a_device_says_so 30 1 '^start: pvsched-guest: find the device: no PCI function'
echo off >&3
vmm_ended linux_without_a_device_ends

log=$LAB_OUT/console-eight.log
vmm_start /tmp/task "$log" --cpus 8
vmm_shows linux_boots_with_eight_cpus 200 1 '^task waits'
echo start >&3
vmm_shows guest_shares_eight_pages 60 1 '^start: 8 of 8 CPUs share'
grep '^start:' "$log"
ms=$(sed -n 's/^start: .*handshake \([0-9.]*\) ms.*/\1/p' "$log" | head -n 1)
figure handshake_8_ms "$ms"
expect guest_eight_pages_are_enabled enabled 8
echo stop >&3
vmm_shows guest_stops 30 1 '^stopped 0'
echo half >&3
vmm_shows guest_device_is_left_half_way 30 1 '^half: 0x00000003'
echo start >&3
vmm_shows guest_starts_over_from_half_way 60 2 '^start: 8 of 8 CPUs share'
echo again >&3
within guest_reboot_detaches_every_page 30 enabled 0
vmm_shows linux_boots_again 200 2 '^task waits'
echo start >&3
vmm_shows guest_shares_after_the_reboot 60 3 '^start: 8 of 8 CPUs share'
expect guest_after_the_reboot_has_pages enabled 8
echo off >&3
vmm_ended linux_with_eight_cpus_ends

# Versions and features: what is refused is said, leaves no page, and stands in no later one's way.
# The host is the newer one where it offers what the guest does not know.
log=$LAB_OUT/console-versions.log
cp /l2/bzImage /tmp/l2/bzImage
vmm_start /tmp/task "$log" --cpus 2 --placement
vmm_shows linux_boots_with_a_newer_host 150 1 '^task waits'
none='no protocol in common: the host offers BASE 1, this program speaks BASE'
echo start --protocol 2 >&3
vmm_shows newer_guest_without_a_common_protocol_says_so 30 1 "^start: .*$none 2"
echo start --protocol 0 >&3
vmm_shows older_guest_without_a_common_protocol_says_so 30 1 "^start: .*$none 0"
expect guest_without_a_common_protocol_has_no_page enabled 0
echo insist version >&3
vmm_shows version_not_on_offer_is_refused 30 1 '^insisted on a version: 0x00000003 0x00000004'
echo insist feature >&3
vmm_shows feature_not_on_offer_is_refused 30 1 '^insisted on a feature: 0x00000003 0x00000003'
echo start --features pending >&3
vmm_shows older_guest_shares_with_what_it_knows 60 1 '^start: 2 of 2 CPUs .* features 0x4;'
echo stop >&3
vmm_shows older_guest_stops 30 1 '^stopped 0'
echo start >&3
vmm_shows guest_shares_after_refusals 60 1 '^start: 2 of 2 CPUs .* features 0xf;'

# Bus Master cleared while its vCPUs are boosted beside hogs; the daemon starts over by itself.
hogs=
for mask in 1 2; do
	taskset $mask sh -c 'while :; do :; done' &
	hogs="$hogs $!"
done
echo urgent >&3
vmm_shows guest_is_urgent 60 1 '^urgent'
within guest_that_is_urgent_is_boosted 30 boosted
echo deaf >&3
vmm_shows guest_bus_master_is_cleared 60 1 '^deaf'
echo calm >&3
vmm_shows guest_is_calm 60 1 '^calm'
echo revived >&3
vmm_shows guest_bus_master_cleared_starts_over 60 1 '^revived: shares its pages again'
within guest_that_started_over_has_pages 10 enabled 2
kill $hogs
within guest_that_started_over_is_restored 10 threads_are_ordinary

# kexec: the kernel that goes clears Bus Master, the one that comes knows nothing of the pages.
echo kexec >&3
vmm_shows guest_kexec_is_loaded 60 1 '^kexec: loaded 0'
within guest_kexec_detaches_every_page 60 enabled 0
vmm_shows linux_boots_by_kexec 150 2 '^task waits'
expect guest_kexec_restores_every_thread threads_are_ordinary
echo start >&3
vmm_shows guest_shares_after_kexec 60 2 '^start: 2 of 2 CPUs .* features 0xf;'
expect guest_after_kexec_has_pages enabled 2
echo off >&3
vmm_ended linux_after_kexec_ends
expect linux_after_kexec_did_not_reboot grep -q 'and 0 reboots' /tmp/said
rm /tmp/l2/bzImage

# Two at once: the second joins the first's broker.
log=$LAB_OUT/console-first.log
vmm_start /tmp/task "$log" --cpus 1
vmm_shows first_of_two_boots 150 1 '^task waits'
echo start >&3
vmm_shows first_of_two_shares 60 1 '^start: 1 of 1 CPUs share'
first=$vmm
exec 4>&3
log=$LAB_OUT/console-second.log
vmm_start /tmp/task "$log" --cpus 1
vmm_shows second_of_two_boots 150 1 '^task waits'
echo start >&3
vmm_shows second_of_two_shares 60 1 '^start: 1 of 1 CPUs share'
expect two_vms_have_a_page_each enabled 1 2
echo off >&3
vmm_ended second_of_two_ends
expect first_of_two_keeps_its_page enabled 1 1
echo off >&4
vmm=$first
exec 3>&4 4>&-
vmm_ended first_of_two_ends
