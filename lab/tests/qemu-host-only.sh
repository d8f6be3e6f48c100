# SPDX-License-Identifier: GPL-2.0-only
# Stock QEMU, a stock kernel in it and not one option of ours: pvsched serve finds the VM, whether it
# runs already or comes later, boosts its vCPUs by what the host alone sees, and forgets it.
# kernels: 6.1 6.12 7.3
# guests: linux
# tier: soak
# timeout: 420
# programs: bpftool

echo 'sleep 1000' >/tmp/task-early
echo 'while :; do sleep 0.01; done' >/tmp/task-late

# listed NAME TEXT: what pvsched list says of the VM called NAME
listed() {
	pvsched list --json | tr -d '\n' | sed 's/}, *{/}\n{/g' | grep "\"name\": \"$1\"" | grep -q "$2"
}
unlisted() {
	! pvsched list --json | grep -q "\"name\": \"$1\""
}
boosted() {
	boosts=$(pvsched list --json | sed -n 's/.*"boosts": \([0-9]*\).*/\1/p' | head -n 1)
	[ "${boosts:-0}" -ge "$1" ]
}
# start NAME OPTION...: a VM in the background; killed by the process that its file names
start() {
	start_name=$1
	shift
	l2_linux "/tmp/task-$start_name" "/tmp/console-$start_name" -pidfile "/tmp/pid-$start_name" "$@" &
	within "${start_name}_boots" 90 grep -q '^l2 up' "/tmp/console-$start_name"
}

start early -name early
pvsched serve >/tmp/ready 2>/tmp/said &
serve=$!
within serve_is_ready 150 grep -q ready /tmp/ready
expect vm_that_runs_already_is_found listed early '"vcpus": 2.*"policy": "irq"'
expect vm_that_is_found_is_named_with_its_vmm listed early '"vmm": "qemu".*"found": true'

start late -name guest=late,debug-threads=on
within vm_that_comes_later_is_found 5 listed late '"vcpus": 2'
kill "$(cat /tmp/pid-early)"
within vm_that_ended_is_forgotten 5 unlisted early

# its vCPUs sleep 10 ms at a time beside a hog on each CPU: their timers find them waiting
for cpu in 0 1; do
	taskset $((1 << cpu)) sh -c 'while :; do :; done' &
	hogs="$hogs $!"
done
within vcpus_are_boosted_by_their_interrupts 30 boosted 5
kill $hogs
pvsched list --vcpus
pvsched list --json >"$LAB_OUT/list.json"
pvsched stat --vcpus
pvsched stat --json >"$LAB_OUT/stat.json"
expect delays_of_wake_ups_are_counted grep -q '"wake": {"count": [1-9]' "$LAB_OUT/stat.json"
expect boosts_have_their_reason grep -q '"granted": {"interrupt": [1-9]' "$LAB_OUT/stat.json"

kill -9 "$(cat /tmp/pid-late)"
within vm_that_was_killed_is_forgotten 5 unlisted late
kill $serve
wait $serve
expect serve_ends_well test $? = 0
cat /tmp/said
expect nothing_was_said test ! -s /tmp/said
expect no_program_is_left sh -c '! bpftool prog show | grep pvsched_'
