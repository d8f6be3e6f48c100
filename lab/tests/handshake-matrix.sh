# SPDX-License-Identifier: GPL-2.0-only
# The handshake of pvsched-guest on stock Linux against what it may meet: no device, eight CPUs, a
# device that was left half-way, Bus Master taken away, a reboot, two VMs at once.
# kernels: 6.12 7.3
# guests: linux
# tier: short
# timeout: 500

cat >/tmp/task <<'END'
dev=/sys/bus/pci/devices/0000:00:01.0
mkdir -p /sys/fs/bpf
mount -t bpf none /sys/fs/bpf
stty -echo </dev/console
echo "task waits"
while read -r what more; do
	case $what in
	start)
		pvsched-guest run >/tmp/out 2>&1 &
		daemon=$!
		for i in $(seq 100); do grep -q 'share a page\|pvsched-guest:' /tmp/out && break; usleep 100000; done
		echo "start: $(tail -n 1 /tmp/out)"
		;;
	stop) kill $daemon; wait $daemon; echo "stopped $?" ;;
	half) # STATUS is left at ACKNOWLEDGE | DRIVER, as by a guest that died in the handshake
		echo 1 >$dev/enable; printf '\006\000' | dd of=$dev/config bs=1 seek=4 conv=notrunc 2>/dev/null
		read -r bar rest <$dev/resource
		devmem $((bar + 8)) 32 1; devmem $((bar + 8)) 32 3
		echo "half: $(devmem $((bar + 8)) 32)"
		;;
	deaf) printf '\002\000' | dd of=$dev/config bs=1 seek=4 conv=notrunc 2>/dev/null; echo "deaf" ;;
	again) reboot -f ;;
	off) poweroff -f ;;
	esac
done </dev/console
END

enabled() {
	[ "$(pvsched list --json | grep -c "\"enabled\": $1\$\|\"enabled\": $1,")" = "${2:-1}" ]
}

VMM_APPEND=iomem=relaxed
log=$LAB_OUT/none.log
vmm_start /tmp/task "$log" --cpus 1 --no-device
vmm_shows linux_without_a_device_boots 150 1 '^task waits'
echo start >&3
vmm_shows guest_without_a_device_says_so 30 1 '^start: pvsched-guest: find the device: no PCI function'
echo off >&3
vmm_ended linux_without_a_device_ends

log=$LAB_OUT/eight.log
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
echo deaf >&3
vmm_shows guest_bus_master_is_cleared 30 1 '^deaf'
within guest_bus_master_cleared_detaches_every_page 10 enabled 0
echo stop >&3
vmm_shows guest_stops_without_pages 30 2 '^stopped 0'
echo start >&3
vmm_shows guest_shares_again_with_bus_master 60 3 '^start: 8 of 8 CPUs share'
echo again >&3
within guest_reboot_detaches_every_page 30 enabled 0
vmm_shows linux_boots_again 200 2 '^task waits'
echo start >&3
vmm_shows guest_shares_after_the_reboot 60 4 '^start: 8 of 8 CPUs share'
expect guest_after_the_reboot_has_pages enabled 8
echo off >&3
vmm_ended linux_with_eight_cpus_ends

# Two at once: the second joins the first's broker.
log=$LAB_OUT/first.log
vmm_start /tmp/task "$log" --cpus 1
vmm_shows first_of_two_boots 150 1 '^task waits'
echo start >&3
vmm_shows first_of_two_shares 60 1 '^start: 1 of 1 CPUs share'
first=$vmm
exec 4>&3
log=$LAB_OUT/second.log
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
