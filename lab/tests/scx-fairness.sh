# SPDX-License-Identifier: GPL-2.0-only
# What the scheduler does to ordinary tasks, against the kernel's own: hackbench, and CPU hogs of
# different nice values. Time is counted in instructions: the kernel's own repeats to the digit.
# kernels: 7.3
# guests: none
# tier: long
# clock: instructions
# timeout: 200
# programs: hackbench nice

# mix: the CPU seconds of six hogs in ten, four at nice 0 and two at nice 5: total, nice 0, nice 5
mix() {
	pids=
	for nice in 0 0 0 0 5 5; do
		nice -n $nice sh -c 'while :; do :; done' &
		pids="$pids $!"
	done
	sleep 1
	for p in $pids; do awk '{ print $14 + $15 }' /proc/$p/stat; done >/tmp/mix.from
	sleep 10
	for p in $pids; do awk '{ print $14 + $15 }' /proc/$p/stat; done >/tmp/mix.to
	kill $pids
	wait $pids 2>/dev/null
	paste /tmp/mix.from /tmp/mix.to | awk '{ d = $2 - $1; all += d; if (NR <= 4) zero += d; else five += d }
		END { print all, zero, five }'
}

# bench: seconds of hackbench
bench() {
	hackbench -g 4 -l 200 | awk '/Time:/ { print $2 }'
}

measure() {
	set -- $(mix)
	figure "$kind"_mix_cpu $1
	figure "$kind"_mix_nice0 $2
	figure "$kind"_mix_nice5 $3
	eval "${kind}_all=$1 ${kind}_zero=$2 ${kind}_five=$3"
	a=$(bench) b=$(bench)
	figure "$kind"_hackbench_s "$(awk -v a="$a" -v b="$b" 'BEGIN { print (a + b) / 2 }')"
	eval "${kind}_hackbench=$(awk -v a="$a" -v b="$b" 'BEGIN { print (a + b) / 2 }')"
}

kind=own measure
pvsched serve --actuator scx >/tmp/serve 2>&1 &
broker=$!
within scx_starts 180 grep -q '^ready' /tmp/serve || cat /tmp/serve
expect scheduler_is_on grep -q '^enabled' /sys/kernel/sched_ext/state
kind=scx measure
expect scheduler_is_on_still grep -q '^enabled' /sys/kernel/sched_ext/state
kill $broker
wait $broker

# near NAME OURS THEIRS FROM TO: OURS / THEIRS within the bounds
near() {
	expect "$1" awk -v a="$2" -v b="$3" -v from="$4" -v to="$5" \
		'BEGIN { print a, b; exit !(b > 0 && a / b >= from && a / b <= to) }'
}

near mix_has_as_much_cpu "$scx_all" "$own_all" 0.9 1.1
near mix_nice_0_has_its_share "$scx_zero" "$own_zero" 0.9 1.1
near mix_nice_5_has_its_share "$scx_five" "$own_five" 0.9 1.1
near hackbench_takes_as_long "$scx_hackbench" "$own_hackbench" 0 1.1
