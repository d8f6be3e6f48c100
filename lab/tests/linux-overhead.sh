# SPDX-License-Identifier: GPL-2.0-only
# What publishing costs hackbench in an idle Linux guest: without anything, with an empty program on
# sched_switch, and with pvsched-guest, interleaved; and ns per run of each program. What it costs a switch alone
# is publish-cost's to say. Time is counted in instructions, for which the guest has one CPU.
# kernels: 6.12
# guests: linux
# tier: soak
# clock: instructions
# timeout: 120
# inner: hackbench bpftool

cat >/tmp/task <<'END'
mkdir -p /sys/fs/bpf
mount -t bpf none /sys/fs/bpf
now() { sed -n 's/^now at \([0-9]*\) nsecs/\1/p' /proc/timer_list; }
stores() { pvsched-guest status --json | sed -n 's/.*"stores": \([0-9]*\).*/\1/p'; }
await() { until grep -q "$1" /tmp/out; do usleep 10000; done; }
with() { # VARIANT: from here on
	: >/tmp/out
	case $1 in
	empty) /yardstick >/tmp/out 2>&1 & other=$!; await attached ;;
	pvsched) pvsched-guest run >/tmp/out 2>&1 & other=$!; await 'share a page' ;;
	esac
}
without() { [ "$1" = none ] || { kill $other; wait $other; }; }
run() { # VARIANT: ns
	from=$(now)
	$hackbench >/dev/null
	echo "run $1 $(($(now) - from))"
}
hackbench="hackbench -p -g 2 -f 5 -l 60"
$hackbench >/dev/null # the caches of the kernel's allocators
for round in 1 2 3 4 5 6 7; do
	for variant in none empty pvsched; do
		with $variant
		run $variant
		without $variant
	done
done
for variant in empty pvsched; do
	with $variant
	[ $variant = pvsched ] && before=$(stores)
	echo 1 >/proc/sys/kernel/bpf_stats_enabled
	$hackbench >/dev/null
	echo 0 >/proc/sys/kernel/bpf_stats_enabled
	[ $variant = pvsched ] && echo "stores $(($(stores) - before))"
	bpftool prog show | sed -n 's/.* name \(publish_\|bench_\)\([a-z_]*\) .* run_time_ns \([0-9]*\) run_cnt \([0-9]*\).*/program \2 \3 \4/p'
	without $variant
done
poweroff -f
END

log=$LAB_OUT/console.log
mkdir -p /tmp/l2
cp "$PVSCHED_BUILD/bench/yardstick" /tmp/l2/
vmm_start /tmp/task "$log" --cpus 1
within linux_guest_ends 115 sh -c "! kill -0 $vmm 2>/dev/null"
vmm_ended linux_guest_powers_off
grep '^run\|^program\|^stores' "$log"

# median VARIANT: ns
median() {
	awk -v variant="$1" '$1 == "run" && $2 == variant { print $3 + 0 }' "$log" |
		sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}
for variant in none empty pvsched; do
	figure "overhead_hackbench_${variant}_us" "$(median $variant | awk '{ print $1 / 1000 }')"
done
expect overhead_of_hackbench_is_at_most_3_percent awk -v a="$(median pvsched)" -v b="$(median none)" \
	'BEGIN { print b " ns without, " a " with"; exit !(a != "" && a <= 1.03 * b) }'
# Run times contain the clock's reading, an empty program's nothing else.
clock=$(awk '$1 == "program" && $2 == "empty" && $4 > 0 { printf "%.0f", $3 / $4 }' "$log")
awk -v clock="$clock" '$1 == "program" && $2 != "empty" && $4 > 0 {
	printf "figure publish_%s_ns %.0f\n", $2, $3 / $4 - clock
	all += $3 - clock * $4; runs += $4 }
	$1 == "stores" { stores = $2 }
	END { if (stores) printf "figure store_ns %.0f\n", all / stores }' "$log"
