# SPDX-License-Identifier: GPL-2.0-only
# KVM guests that break every rule there is, one kind at a time, beside a VM that keeps to them and a
# task of the host: in one process, and against a standing broker whose memory and log are watched.
# kernels: 6.1 6.12 7.3
# guests: baremetal
# tier: long
# timeout: 900
# soak: 4000

LAB_LIMIT=7200 native_programs hostile_guest port_hostile

# rss PID: kB of anonymous memory
rss() {
	awk '/^RssAnon:/ { print $2 }' "/proc/$1/status"
}

seconds=2
[ "$PVSCHED_SOAK" = 1 ] && seconds=60
pvsched serve >/tmp/serve 2>&1 &
serve=$!
within broker_listens 200 pvsched list
taskset 2 sh -c 'while :; do :; done' &
hog=$!
# whatever is allocated once is, after the first
for workload in hostile greedy bells timers tickets stuck reserved headers registers order resets gfns twice; do
	[ "$workload" = greedy ] && before=$(rss $serve) && lines=$(wc -l </tmp/serve)
	expect "broker_survives_a_guest_of_${workload}" pvsched run --cpus 2 --workload $workload \
		--seconds $seconds --json
	cp /tmp/expect "$LAB_OUT/$workload.json"
done
after=$(rss $serve)
figure broker_memory_kb "$after"
figure broker_memory_grown_kb $((after - before))
if [ $((after - before)) -le 64 ]; then
	ok broker_memory_does_not_grow
else
	not_ok broker_memory_does_not_grow "$before kB, then $after kB"
fi
expect broker_says_nothing_because_of_a_guest [ "$(wc -l </tmp/serve)" = "$lines" ]
kill $hog $serve
wait $serve
