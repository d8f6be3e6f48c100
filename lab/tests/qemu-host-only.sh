# SPDX-License-Identifier: GPL-2.0-only
# Stock QEMU, a stock kernel in it and no software of ours: pvsched serve finds the VM, whether it runs
# already or comes later, boosts its vCPUs by what the host alone sees, and forgets it. What that gives:
# cyclictest in the guest beside hogs, with policy irq and without. And, in the same rounds, what the
# whole protocol over a virtio-serial port gives: the same VM once it runs pvsched-guest.
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
# measured VARIANT POLICY
measured() {
	pvsched policy late "$2" >/tmp/policy 2>&1 || not_ok "policy_is_$2" "$(cat /tmp/policy)"
	cyclictest_measure "$1" 1000
}

LOOPS=100
VMM_APPEND="no_timer_check lapic=notscdeadline" # see cyclictest_rounds
mkdir -p /etc

# All policies are named, so they stay loaded.
printf '[broker]\nfound-policy = irq\n[vm x]\npolicy = off\n[vm y]\npolicy = latency\n' >/etc/pvsched.conf
cyclictest_task "cyclictest -m -p 80" 0 | sed 's/poweroff -f/exit/' >/tmp/task.late
echo 'sleep 1000' >/tmp/task.early

l2_q35 /tmp/task.early -name early </dev/null >$LAB_OUT/console-early.log 2>&1 &
early=$!
within early_boots 60 grep -q '^l2 up' $LAB_OUT/console-early.log
pvsched serve >/tmp/ready 2>/tmp/serve-said &
serve=$!
within serve_is_ready 20 grep -q ready /tmp/ready
expect vm_that_runs_already_is_found listed early '"vcpus": 2.*"policy": "irq"'
expect vm_that_is_found_is_named_with_its_vmm listed early '"vmm": "qemu-q35".*"found": true'

log=$LAB_OUT/console.log
qemu_start /tmp/task.late "$log" -name guest=late,debug-threads=on \
	-chardev socket,path=/run/pvsched/port.sock,id=pv,reconnect-ms=1000 \
	-device virtio-serial -device virtserialport,chardev=pv,name=org.pvsched.0
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
	measured none off
	measured irq irq
	echo start >&3
	cyclictest_wait "$round" '^started'
	measured pvsched latency
	echo stop >&3
	cyclictest_wait "$round" '^stopped'
done
kill -KILL $hogs
grep '^stopped' "$log" | tr -d '\r' >>"$LAB_OUT/rounds.txt"
cat "$LAB_OUT/rounds.txt"
expect guest_shares_its_pages_in_every_round test "$(grep -c '^stopped: boosts [1-9]' "$log")" = $ROUNDS
pvsched list --vcpus
pvsched list --json >"$LAB_OUT/list.json"
pvsched stat --vcpus
pvsched stat --json >"$LAB_OUT/stat.json"
expect delays_of_wake_ups_are_counted grep -q '"wake": {"count": [1-9]' "$LAB_OUT/stat.json"
expect boosts_have_their_reason grep -q '"granted": {[^}]*"interrupt": [1-9]' "$LAB_OUT/stat.json"
for variant in none irq pvsched; do
	for key in avg p50 p99 max; do
		figure "${variant}_1000_${key}_us" "$(cyclictest_value guest $variant 1000 $key)"
	done
	figure "${variant}_1000_hogs_share" "$(cyclictest_value guest $variant 1000 hogs)"
done
cyclictest_ratio p99_without_guest_software_is_at_least_twice_as_good 1000 p99 2 irq
cyclictest_ratio p99_over_the_port_is_at_least_three_times_as_good 1000 p99 3 pvsched
cyclictest_hogs_keep hogs_keep_nine_tenths_beside_the_port pvsched 1000

kill -9 "$vmm"
within vm_that_was_killed_is_forgotten 5 unlisted late
kill $serve
wait $serve
expect serve_ends_well test $? = 0
cat /tmp/serve-said
expect nothing_was_said test ! -s /tmp/serve-said
within no_program_is_left 5 sh -c '! bpftool prog show | grep pvsched_' # the kernel frees them later
