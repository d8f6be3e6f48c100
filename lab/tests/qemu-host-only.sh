# SPDX-License-Identifier: GPL-2.0-only
# Stock QEMU, a stock kernel in it and not one option of ours: pvsched serve finds the VM, whether it
# runs already or comes later, boosts its vCPUs by what the host alone sees, and forgets it. What that
# gives: cyclictest in the guest, with policy irq and without, beside hogs.
# kernels: 6.12 7.3
# guests: linux
# machine: q35
# tier: soak
# clock: slow
# timeout: 120
# programs: bpftool cyclictest
# inner: cyclictest

. /lab/cyclictest.sh

# listed NAME TEXT: what pvsched list says of the VM called NAME
listed() {
	pvsched list --json | tr -d '\n' | sed 's/}, *{/}\n{/g' | grep "\"name\": \"$1\"" | grep -q "$2"
}
unlisted() {
	! pvsched list --json | grep -q "\"name\": \"$1\""
}
# judged INTERVAL: a round of each variant
judged() {
	for variant in none irq; do
		[ $variant = irq ] && policy=irq || policy=off
		pvsched policy late $policy >/tmp/policy 2>&1 || not_ok "policy_is_$policy" "$(cat /tmp/policy)"
		cyclictest_measure $variant "$1"
	done
}

LOOPS=100
VMM_APPEND=no_timer_check # as L1 has it: see lab/run
mkdir -p /etc

# Both policies are named, so both stay loaded.
printf '[broker]\nfound-policy = irq\n[vm nobody]\npolicy = off\n' >/etc/pvsched.conf
cyclictest_task "cyclictest -m -p 80" 0 | sed 's/poweroff -f/exit/' >/tmp/task.late
echo 'sleep 1000' >/tmp/task.early

l2_q35 /tmp/task.early -name early </dev/null >/tmp/console-early 2>&1 &
early=$!
within early_boots 60 grep -q '^l2 up' /tmp/console-early
pvsched serve >/tmp/ready 2>/tmp/serve-said &
serve=$!
within serve_is_ready 20 grep -q ready /tmp/ready
expect vm_that_runs_already_is_found listed early '"vcpus": 2.*"policy": "irq"'
expect vm_that_is_found_is_named_with_its_vmm listed early '"vmm": "qemu".*"found": true'

log=$LAB_OUT/console.log
qemu_start /tmp/task.late "$log" -name guest=late,debug-threads=on
within vm_that_comes_later_is_found 20 listed late '"vcpus": 2'
kill $early
within vm_that_ended_is_forgotten 5 unlisted early
within task_waits 60 grep -q '^task waits' "$log"

# two hogs on each CPU: timers find the vCPUs waiting
hogs= runs=0
for mask in 1 1 2 2; do
	taskset $mask sh -c 'while :; do :; done' &
	hogs="$hogs $!"
done
kill -STOP $hogs
for round in $(seq $ROUNDS); do
	judged 1000
done
kill -KILL $hogs
cat "$LAB_OUT/rounds.txt"
pvsched list --vcpus
pvsched list --json >"$LAB_OUT/list.json"
pvsched stat --vcpus
pvsched stat --json >"$LAB_OUT/stat.json"
expect delays_of_wake_ups_are_counted grep -q '"wake": {"count": [1-9]' "$LAB_OUT/stat.json"
expect boosts_have_their_reason grep -q '"granted": {"interrupt": [1-9]' "$LAB_OUT/stat.json"
for variant in none irq; do
	for key in avg p50 p99 max; do
		figure "${variant}_1000_${key}_us" "$(cyclictest_value guest $variant 1000 $key)"
	done
	figure "${variant}_1000_hogs_share" "$(cyclictest_value guest $variant 1000 hogs)"
done
cyclictest_ratio p99_is_at_least_twice_as_good 1000 p99 2 irq

kill -9 "$vmm"
within vm_that_was_killed_is_forgotten 5 unlisted late
kill $serve
wait $serve
expect serve_ends_well test $? = 0
cat /tmp/serve-said
expect nothing_was_said test ! -s /tmp/serve-said
within no_program_is_left 5 sh -c '! bpftool prog show | grep pvsched_' # the kernel frees them later
