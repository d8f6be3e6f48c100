# SPDX-License-Identifier: GPL-2.0-only
# What happens to a VM of stock QEMU that pvsched serve has found: a vCPU plugged and unplugged, reset,
# stopped and continued, migrated to another QEMU, killed; and to the daemon: told to leave the VM
# alone, killed, started again.
# kernels: 6.12 7.3
# guests: linux
# machine: q35
# tier: soak
# timeout: 600
# programs: chrt

cat >/tmp/task <<'END'
while :; do
	for cpu in /sys/devices/system/cpu/cpu*/online; do
		[ "$(cat $cpu)" = 1 ] || echo 1 >$cpu
	done
	sleep 0.01
done
END

. /lab/qemu-vm.sh

VM_OPTIONS=-smp\ 1,sockets=2,cores=1,threads=1,maxcpus=2

vm one
within vm_boots 120 grep -q '^l2 up' "$LAB_OUT/console-one.log"
for cpu in 0 1; do
	taskset $((1 << cpu)) sh -c 'while :; do :; done' &
	hogs="$hogs $!"
done
serve serve_is_ready
within vm_is_found 10 listed one 1
goes_on vcpu_is_boosted one

monitor one 'device_add host-x86_64-cpu,id=second,socket-id=1,core-id=0,thread-id=0'
within plugged_vcpu_is_found 30 listed one 2 || cat /tmp/one.said
monitor one 'device_del second'
within unplugged_vcpu_is_forgotten 60 listed one 1 || cat /tmp/one.said
goes_on other_vcpu_is_boosted one

threads=$(vcpus one)
monitor one system_reset
within vm_boots_again 120 count 2 '^l2 up' "$LAB_OUT/console-one.log"
expect reset_vm_has_its_threads test "$(vcpus one)" = "$threads"
expect reset_vm_is_listed listed one 1
goes_on reset_vm_is_boosted one

monitor one stop
quiet stopped_vm one
expect stopped_vm_is_listed listed one 1
monitor one cont
goes_on continued_vm_is_boosted one

vm two -incoming unix:/tmp/migration
within destination_is_found 60 listed two 0 # its vCPU has not run yet
within destination_listens 30 test -S /tmp/migration
monitor one 'migrate -d unix:/tmp/migration'
within destination_s_vcpu_is_found 60 listed two 1
goes_on migrated_vm_is_boosted two
quiet source one
expect source_is_listed listed one 1
monitor one quit
within source_that_quits_is_forgotten 10 unlisted one

mkdir -p /etc
printf '[vm tw?]\nserve = no\n' >/etc/pvsched.conf
kill -HUP $serve
within vm_not_to_be_served_is_let_go 20 unlisted two
expect vm_let_go_is_ordinary ordinary two
printf '[vm tw?]\nboost = 20\n' >/etc/pvsched.conf
kill -HUP $serve
within vm_to_be_served_is_found_again 20 listed two 1
goes_on vm_found_again_is_boosted two
expect vm_found_again_has_its_budget sh -c 'pvsched budget two | grep -q "20 %"'
cat /tmp/said
: >/tmp/said

kill -9 $serve
wait $serve
within vm_whose_daemon_was_killed_is_ordinary 10 ordinary two
serve daemon_starts_again
within vm_is_found_by_the_next_daemon 10 listed two 1
goes_on vm_is_boosted_by_the_next_daemon two
expect nothing_was_said test ! -s /tmp/said

kill $hogs
kill -9 "$pid_two"
within vm_that_was_killed_is_forgotten 10 unlisted two
kill $serve
wait $serve
expect serve_ends_well test $? = 0
