# SPDX-License-Identifier: GPL-2.0-only
# Tasks that may run on one CPU only, beside others of the same cache: nice counts between those of one
# CPU whatever waits for the other, and who had a CPU alone does not pay for that once it is shared. Time
# is counted in instructions.
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
hog 0 nice -n 0
hog 0 nice -n 19
hog 1 nice -n 0
hog 1 nice -n 0
sleep 1
set -- $(during 5)
kill $pids
wait $pids 2>/dev/null
figure pinned_nice0_ms $1
figure pinned_nice19_ms $2
figure other_cpu_one_ms $3
figure other_cpu_two_ms $4
expect pinned_hog_of_nice_19_leaves_the_cpu_to_that_of_nice_0 \
	awk -v zero=$1 -v low=$2 'BEGIN { print zero, low; exit !(low < zero / 20) }'
expect pinned_hog_of_nice_19_is_not_starved [ $2 -gt 0 ]
expect pinned_hogs_of_one_nice_have_the_same \
	awk -v a=$3 -v b=$4 'BEGIN { print a, b; exit !(a > 0.8 * b && b > 0.8 * a) }'

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
