# SPDX-License-Identifier: GPL-2.0-only
# The same with pages: a VM of stock QEMU whose guest runs pvsched-guest over a port is reset, stopped for longer
# than its lease lasts, saved and loaded again, migrated to another QEMU. Each time the host gives the pages up
# and the guest, which boots, or asks, shares them again; nothing stays boosted where it was.
# kernels: 6.12 7.3
# guests: linux
# machine: q35
# tier: soak
# timeout: 600
# programs: chrt

. /lab/qemu-vm.sh

cat >/tmp/task <<'END'
mkdir -p /sys/fs/bpf
mount -t bpf none /sys/fs/bpf
pvsched-guest run >/tmp/out 2>&1 &
for i in $(seq 600); do grep -q 'share a page\|pvsched-guest:' /tmp/out && break; usleep 100000; done
echo "run: $(tail -n 1 /tmp/out)"
for cpu in 1 2; do
	taskset $cpu sh -c 'while :; do :; done' &
	pvsched-guest latency --pid $!
done
wait
END

# shares NAME N: pages of N vCPUs are enabled
shares() {
	[ "$(value "$1" enabled)" = "$2" ]
}
# shares_again CASE NAME
shares_again() {
	within "${1}_shares_its_pages" 120 shares "$2" 2
	goes_on "${1}_is_boosted" "$2"
}

truncate -s 1M /tmp/disk
PORT="-chardev socket,path=/run/pvsched/port.sock,id=pv,reconnect-ms=1000 -device virtio-serial
	-device virtserialport,chardev=pv,name=org.pvsched.0"
VM_OPTIONS=$PORT
serve serve_is_ready
vm one -drive if=none,id=disk,file=/tmp/disk,format=raw
within guest_runs_pvsched_guest 200 grep -q '^run: 2 of 2 CPUs share' "$LAB_OUT/console-one.log"
for cpu in 0 1; do
	taskset $((1 << cpu)) sh -c 'while :; do :; done' &
	hogs="$hogs $!"
done
shares_again vm one

monitor one system_reset
within reset_vm_has_no_page 30 shares one 0
within reset_vm_boots_again 200 count 2 '^run: 2 of 2 CPUs share' "$LAB_OUT/console-one.log"
shares_again reset_vm one

monitor one stop
within stopped_vm_has_no_page 30 shares one 0
quiet stopped_vm one
monitor one cont
shares_again continued_vm one

# snapshots are qcow2's; the VM stands still while it is saved
monitor one 'snapshot_blkdev disk /tmp/disk.qcow2 qcow2'
monitor one 'savevm then'
monitor one 'info snapshots'
within snapshot_is_taken 120 grep -q ' then ' /tmp/one.said || cat /tmp/one.said
shares_again saved_vm one
monitor one 'loadvm then'
within loaded_vm_has_no_page 60 shares one 0
shares_again loaded_vm one

vm two -incoming unix:/tmp/migration
within destination_is_found 60 listed two 0 # its vCPUs have not run yet
within destination_listens 30 test -S /tmp/migration
monitor one 'migrate -d unix:/tmp/migration'
within destination_s_vcpus_are_found 120 listed two 2
within source_has_no_page 60 shares one 0
quiet source one
shares_again migrated_vm two
expect source_still_has_no_page shares one 0
monitor one quit
within source_that_quits_is_forgotten 10 unlisted one

kill $hogs
kill -9 "$pid_two"
within vm_that_was_killed_is_forgotten 10 unlisted two
kill $serve
wait $serve
expect serve_ends_well test $? = 0
cat /tmp/said
expect nothing_was_said test ! -s /tmp/said
