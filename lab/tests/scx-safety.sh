# SPDX-License-Identifier: GPL-2.0-only
# The scheduler goes with its broker, however that ends; is back after a CPU went or came; and when
# the kernel ends it, agents act and the broker says why.
# kernels: 7.3
# guests: baremetal
# tier: long
# timeout: 600
# programs: stress-ng bpftool

# state WORD: what the kernel says of sched_ext
state() {
	grep -q "^$1" /sys/kernel/sched_ext/state
}

# is_anew BEFORE: a scheduler was made the kernel's since it had been that often, and is on
is_anew() {
	[ "$(cat /sys/kernel/sched_ext/enable_seq)" -gt "$1" ] && state enabled
}

serve() {
	pvsched serve --actuator scx "$@" >/tmp/serve 2>&1 &
	broker=$!
	within "$name" 180 grep -q '^ready' /tmp/serve || cat /tmp/serve
}

name=scx_starts serve
expect scheduler_is_on state enabled
expect scheduler_has_its_name grep -q '^pvsched' /sys/kernel/sched_ext/root/ops
pvsched run --seconds 6 --json >"$LAB_OUT/run.json" 2>&1 &
guest=$!
stress-ng --cpu 2 --switch 2 --timeout 6 >/tmp/stress 2>&1 &
stress=$!
sleep 2
was=$(cat /sys/kernel/sched_ext/enable_seq)
echo 0 >/sys/devices/system/cpu/cpu1/online
within scheduler_is_back_after_a_cpu_went 10 is_anew "$was"
was=$(cat /sys/kernel/sched_ext/enable_seq)
echo 1 >/sys/devices/system/cpu/cpu1/online
within scheduler_is_back_after_a_cpu_came 10 is_anew "$was"
expect guest_runs_through_it wait $guest
expect stress_runs_through_it wait $stress
kill $broker
wait $broker
expect scx_broker_ends_well_on_sigterm [ $? = 0 ]
expect scheduler_ends_with_sigterm state disabled

name=scx_starts_again serve
kill -9 $broker
wait $broker 2>/dev/null
within scheduler_ends_with_a_killed_broker 10 state disabled

name=scx_starts_once_more serve
echo S >/proc/sysrq-trigger # "reset sched_ext", as an operator would
within scheduler_ended_by_the_kernel 10 state disabled
within broker_says_why 10 grep -q 'scx: the kernel ended the scheduler: .*agents act' /tmp/serve
pvsched run --seconds 3 --hogs 2 --workload critical --json >"$LAB_OUT/after.json" 2>&1
expect agents_act_from_then_on grep -q '"boosts": [1-9]' "$LAB_OUT/after.json"
kill $broker
wait $broker
expect broker_ends_well_after_that [ $? = 0 ]
within no_program_is_left 10 sh -c '! bpftool prog show | grep pvsched_'
