# SPDX-License-Identifier: GPL-2.0-only
# Tasks that may run on one CPU only, beside others of the same cache: who had a CPU alone does not pay for
# that once it is shared. Time is counted in instructions.
# kernels: 7.3
# guests: none
# tier: long
# clock: instructions
# timeout: 120
# programs: nice taskset chrt

# hog CPU COMMAND...: begins with these words before it; its id is the last of $pids
hog() {
	hog_cpu=$1
	shift
	"$@" taskset -c "$hog_cpu" sh -c 'while :; do :; done' &
	pids="$pids $!"
}

# ran: ms that each of $pids has run
ran() {
	for p in $pids; do awk '{ printf "%d ", $1 / 1000000 }' /proc/$p/schedstat; done
}

# during SECONDS: ms that each ran meanwhile
during() {
	ran >/tmp/from
	sleep "$1"
	ran | cat /tmp/from - | awk -v n="$(echo $pids | wc -w)" '{ for (i = 1; i <= n; i++) printf "%d ", $(n + i) - $i }'
}

pvsched serve --actuator scx >/tmp/serve 2>&1 &
broker=$!
within scx_starts 60 grep -q '^ready' /tmp/serve || cat /tmp/serve

pids=
hog 1 chrt -i 0
sleep 1
hog 1 nice -n 0
within hog_that_comes_runs 10 sh -c "[ \$(cut -d' ' -f1 /proc/$!/schedstat) -gt 100000000 ]"
set -- $(during 4)
kill $pids
wait $pids 2>/dev/null
figure idle_after_alone_ms $1
figure beside_it_ms $2
expect idle_hog_that_was_alone_runs_again_beside_another [ $1 -gt 0 ]
expect idle_hog_that_was_alone_leaves_the_cpu_to_the_other \
	awk -v low=$1 -v zero=$2 'BEGIN { print low, zero; exit !(low < zero / 20) }'

expect scheduler_is_on grep -q '^enabled' /sys/kernel/sched_ext/state
kill $broker
wait $broker
