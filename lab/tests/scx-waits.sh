# SPDX-License-Identifier: GPL-2.0-only
# Who waits under the scheduler, and for how long at most: a task that real-time work takes the CPU from goes
# to an idle one; a CPU's own kernel thread that computes takes turns; and of many rivals none keeps one of
# low weight from running for as long as the kernel would end the scheduler for that, which is 20 s.
# kernels: 7.3
# guests: none
# tier: long
# timeout: 300
# modules: pktgen
# programs: nice taskset chrt

# ran PID: ms
ran() {
	awk '{ printf "%d", $1 / 1000000 }' "/proc/$1/schedstat"
}

spin='while :; do :; done'

pvsched serve --actuator scx >/tmp/serve 2>&1 &
broker=$!
within scx_starts 180 grep -q '^ready' /tmp/serve || cat /tmp/serve

# on CPU 1, and free to leave it
taskset -c 1 sh -c "$spin" &
hog=$!
sleep 1
taskset -p 3 $hog >/dev/null
from=$(ran $hog)
chrt -f 50 taskset -c 1 sh -c "$spin" &
above=$!
sleep 0.5
to=$(ran $hog)
kill $above $hog
wait $above $hog 2>/dev/null
figure beside_real_time_ms $((to - from))
expect hog_that_real_time_work_preempts_runs_on_the_idle_cpu [ $((to - from)) -gt 400 ]

# a kernel thread of CPU 1 sends without end, beside three hogs
ip link set lo up 2>/dev/null || ifconfig lo up
thread=$(grep -lx kpktgend_1 /proc/[0-9]*/comm | cut -d/ -f3)
echo 'add_device lo' >/proc/net/pktgen/kpktgend_1
echo 'count 0' >/proc/net/pktgen/lo
pids=
for i in 1 2 3; do
	taskset -c 1 sh -c "$spin" &
	pids="$pids $!"
done
(echo start >/proc/net/pktgen/pgctrl) &
sender=$!
sleep 1
from=$(ran "$thread")
sleep 4
to=$(ran "$thread")
echo stop >/proc/net/pktgen/pgctrl
kill $pids $sender
wait $pids $sender 2>/dev/null
figure kernel_thread_ms $((to - from))
expect kernel_thread_computes [ $((to - from)) -gt 400 ]
expect kernel_thread_that_computes_takes_turns [ $((to - from)) -lt 1400 ]

# beside NAME SECONDS: what $low gets of CPU 1 in that time, once all of $pids have had their turns; they end
beside() {
	sleep 10
	from=$(ran $low)
	sleep "$2"
	to=$(ran $low)
	kill $pids
	wait $pids 2>/dev/null
	figure "nice_19_beside_$1_ms" $((to - from))
	expect "hog_of_nice_19_runs_beside_$1" [ $((to - from)) -gt 0 ]
}

nice -n 19 taskset -c 1 sh -c "$spin" &
low=$!
pids=$low
for i in $(seq 60); do
	taskset -c 1 sh -c "$spin" &
	pids="$pids $!"
done
beside 60 50

nice -n 19 taskset -c 1 sh -c "$spin" &
low=$!
nice -n -20 taskset -c 1 sh -c "$spin" &
pids="$low $!"
beside one_of_the_highest 30

expect scheduler_is_on grep -q '^enabled' /sys/kernel/sched_ext/state
cat /tmp/serve
kill $broker
wait $broker
