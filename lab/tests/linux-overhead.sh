# SPDX-License-Identifier: GPL-2.0-only
# What publishing costs an idle Linux guest: hackbench, and two processes that only switch to each
# other, with and without pvsched-guest, interleaved; ns per run of each program.
# kernels: 6.12 7.3
# guests: linux
# tier: soak
# timeout: 900
# inner: hackbench bpftool

cat >/tmp/task <<'END'
mkdir -p /sys/fs/bpf
mount -t bpf none /sys/fs/bpf
seconds() { # of "Time: 1.234"
	"$@" | sed -n 's/^Time: //p'
}
for round in 1 2 3 4 5 6 7; do
	for with in none pvsched; do
		if [ $with = pvsched ]; then
			pvsched-guest run >/tmp/out 2>&1 & daemon=$!
			for i in $(seq 100); do grep -q 'share a page' /tmp/out && break; usleep 100000; done
		fi
		echo "run $with hackbench $(seconds hackbench -p -g 2 -f 5 -l 100)"
		echo "run $with switch $(seconds taskset 2 hackbench -p -g 1 -f 1 -l 6000)"
		if [ $with = pvsched ]; then kill $daemon; wait $daemon; fi
	done
done
pvsched-guest run >/tmp/out 2>&1 & daemon=$!
for i in $(seq 100); do grep -q 'share a page' /tmp/out && break; usleep 100000; done
echo 1 >/proc/sys/kernel/bpf_stats_enabled
hackbench -p -g 2 -f 5 -l 100 >/dev/null
echo 0 >/proc/sys/kernel/bpf_stats_enabled
bpftool prog show | sed -n 's/.* name publish_\([a-z_]*\) .* run_time_ns \([0-9]*\) run_cnt \([0-9]*\).*/program \1 \2 \3/p'
poweroff -f
END

log=$LAB_OUT/console.log
vmm_start /tmp/task "$log" --cpus 2
within linux_guest_ends 800 sh -c "! kill -0 $vmm 2>/dev/null"
vmm_ended linux_guest_powers_off
grep '^run\|^program' "$log"

# median VARIANT WHAT, seconds
median() {
	awk -v with="$1" -v what="$2" '$1 == "run" && $2 == with && $3 == what { print $4 }' "$log" |
		sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}
for what in hackbench switch; do
	none=$(median none $what) with=$(median pvsched $what)
	figure "overhead_${what}_none_us" "$(awk -v v="$none" 'BEGIN { print v * 1e6 }')"
	figure "overhead_${what}_pvsched_us" "$(awk -v v="$with" 'BEGIN { print v * 1e6 }')"
	expect "overhead_of_${what}_is_at_most_3_percent" awk -v a="$with" -v b="$none" \
		'BEGIN { print b " s without, " a " with"; exit !(a != "" && a <= 1.03 * b) }'
done
awk '$1 == "program" && $4 > 0 { printf "figure publish_%s_ns %.0f\n", $2, $3 / $4 }' "$log"
