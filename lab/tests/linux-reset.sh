# SPDX-License-Identifier: GPL-2.0-only
# A stock Linux guest that clears Bus Master, reboots, or is switched off, with pages registered and its vCPU boosted:
# every page is detached, every thread restored, and the next kernel does its handshake. The guest
# speaks to the device by /dev/mem, over memory that its kernel was told to leave alone.
# kernels: 6.12 7.3
# guests: linux
# tier: long
# timeout: 300

VMM_APPEND='memmap=64K$0x8000000 iomem=relaxed'
cat >/tmp/task <<'END'
dev=/sys/bus/pci/devices/0000:00:01.0
pages=$((0x8000000))
w() { devmem $((bar + $1)) 32 $2; }
r() { devmem $((bar + $1)) 32; }
page() { devmem $((pages + 4096 * $1 + $2)) $3 $4; }

share() {
	page $1 0 32 0x53565000 # magic, ABI version, protocol, its version, vCPU
	page $1 4 32 1
	page $1 8 32 0x45534142
	page $1 12 32 1
	page $1 24 32 $1
	for word in 64 72 80 88 96 128; do page $1 $word 64 0; done
	w 0x3c $1
	w 0x40 $((pages / 4096 + $1))
	w 0x44 0
	w 0x48 1
	result=$(r 0x4c)
	w 0x50 $(page $1 200 32)
	w 0x54 $(page $1 204 32)
	w 0x48 2
	echo "vcpu $1: register $result enable $(r 0x4c) page $(page $1 192 64)"
}

shake() {
	echo 1 >$dev/enable
	printf '\006\000' | dd of=$dev/config bs=1 seek=4 conv=notrunc 2>/dev/null
	read -r bar rest <$dev/resource
	w 8 0; w 8 1; w 8 3
	w 0x18 0; w 0x1c 0
	w 0x30 0x45534142; w 0x34 1
	w 8 0xb
	share 0
	share 1
	w 8 0xf
	echo "shaken, status $(r 8)"
}

stty -echo </dev/console
echo "task waits"
while read -r what; do
	case $what in
	shake) shake ;;
	urgent)
		page 0 64 64 0x100320001 # a FIFO task of priority 50 runs
		taskset 1 sh -c 'while :; do :; done' &
		;;
	deaf) printf '\002\000' | dd of=$dev/config bs=1 seek=4 conv=notrunc 2>/dev/null ;;
	off) poweroff -f ;;
	again) reboot -f ;;
	esac
done </dev/console
END

enabled() {
	pvsched list --json | grep -q "\"enabled\": $1\$\|\"enabled\": $1,"
}

boosted() {
	pvsched list --json | grep -q '"boosts": [1-9]'
}

# threads POLICY NICE of each vCPU's thread
threads_are_ordinary() {
	for task in /proc/"$vmm"/task/*; do
		grep -q '^vcpu' "$task/comm" || continue
		[ "$(awk '{ print $41, $19 }' "$task/stat")" = "0 0" ] || return 1
	done
}

log=$LAB_OUT/console.log
vmm_start /tmp/task "$log" --cpus 2
vmm_shows linux_boots 120 1 '^task waits'
echo shake >&3
vmm_shows linux_does_the_handshake 30 1 '^shaken, status 0x0000000F'
expect linux_has_a_page_per_vcpu enabled 2
# Rivals for the vCPUs, not before Linux is up: emulated twice, it is slow enough alone.
hogs=
for mask in 1 2; do
	taskset $mask sh -c 'while :; do :; done' &
	hogs="$hogs $!"
done
echo urgent >&3
within linux_that_says_it_is_urgent_is_boosted 30 boosted
echo deaf >&3
within bus_master_cleared_under_load_detaches_every_page 30 enabled 0
expect bus_master_cleared_under_load_restores_every_thread threads_are_ordinary
echo shake >&3
vmm_shows bus_master_set_again_allows_a_handshake 30 2 '^shaken, status 0x0000000F'
echo urgent >&3
echo again >&3
within reboot_detaches_every_page 30 enabled 0
expect reboot_restores_every_thread threads_are_ordinary
kill $hogs
vmm_shows linux_boots_again 200 2 '^task waits'
echo shake >&3
vmm_shows reboot_handshake_is_done_again 30 3 '^shaken, status 0x0000000F'
expect reboot_each_vcpu_has_a_page_again enabled 2
expect handshake_results_are_ok sh -c "[ \$(grep -c 'register 0x00000000 enable 0x00000000 page 0x0000000000000002' $log) = 6 ]"
echo urgent >&3
echo off >&3
vmm_ended power_off_with_pages_is_clean
