# SPDX-License-Identifier: GPL-2.0-only
# For tests that measure with cyclictest in a Linux guest of two vCPUs, beside two ordinary hogs on
# each host CPU, and with cyclictest on the host beside both. Rounds of the variants, interleaved;
# medians of the rounds. Sourced after lib.sh. Variants:
#	none	the guest without pvsched-guest
#	pvsched	with it
#	rt	without it, its vCPU threads SCHED_FIFO 1
# Hogs run only while something is measured.

ROUNDS=7
LOOPS=60
LONGEST=20000 # us, of the histograms; what took longer counts as that, but for max

# cyclictest_judge FILE: "avg A p50 B p99 C max D", us, of all threads of a histogram. busybox's awk
# takes a number that begins with 0 for an octal one.
cyclictest_judge='
cyclictest_judge() {
	grep -v "^[0-9]* 0*.0*$" "$1" | awk -v longest='$LONGEST' "
		function n(s) { sub(/^0+/, \"\", s); return s + 0 }
		/^[0-9]/ { c[n(\$1)] = n(\$2) + n(\$3); sum += n(\$2) + n(\$3) }
		/^# Histogram Overflows/ { for (i = 4; i <= NF; i++) { c[longest] += n(\$i); sum += n(\$i) } }
		/^# Max Latencies/ { for (i = 4; i <= NF; i++) if (n(\$i) > max) max = n(\$i) }
		/^# Avg Latencies/ { for (i = 4; i <= NF; i++) avg += n(\$i) / (NF - 3) }
		END { for (i = 0; i <= longest; i++) { seen += c[i]
			if (p50 == \"\" && seen >= sum * .5) p50 = i
			if (p99 == \"\" && seen >= sum * .99) p99 = i }
			print \"samples\", sum, \"avg\", int(avg), \"p50\", p50, \"p99\", p99, \"max\", max }"
}
'
eval "$cyclictest_judge"

# The guest's side: commands on its console. $CYCLICTEST: how it is started; $DECLARE: whether it
# is declared latency-sensitive.
cyclictest_task() {
	cat <<END
CYCLICTEST="$1"
DECLARE=$2
LONGEST=$LONGEST
$cyclictest_judge
END
	cat <<'END'
mkdir -p /sys/fs/bpf /sys/fs/cgroup
mount -t bpf none /sys/fs/bpf
mount -t cgroup2 none /sys/fs/cgroup
mkdir /sys/fs/cgroup/urgent
sum() { sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" /tmp/status | awk '{ s += $1 } END { print s }'; }
n=0
stty -echo </dev/console
echo "task waits"
while read -r what interval loops; do
	case $what in
	start)
		pvsched-guest run >/tmp/out 2>&1 & daemon=$!
		for i in $(seq 1000); do grep -q 'share a page' /tmp/out && break; usleep 10000; done
		[ $DECLARE = 1 ] && pvsched-guest latency --cgroup /sys/fs/cgroup/urgent
		echo "started"
		;;
	stop)
		pvsched-guest status --json >/tmp/status
		kill $daemon; wait $daemon
		echo "stopped: boosts $(sum boosts) throttles $(sum throttles) rings $(sum rings)"
		;;
	measure)
		n=$((n + 1))
		sh -c "echo \$\$ >/sys/fs/cgroup/urgent/cgroup.procs
			exec $CYCLICTEST -q -a -t 2 -i $interval -l $loops -h $LONGEST" >/tmp/h 2>/tmp/err
		echo "ran $n"
		echo "measured $n $(cyclictest_judge /tmp/h)"
		;;
	off) poweroff -f ;;
	esac
done </dev/console
END
}

# What all hogs have run, and now; in us
cyclictest_times() {
	for hog in $hogs; do cat "/proc/$hog/schedstat"; done |
		awk '{ s += $1 / 1000 } END { printf "%d ", s }'
	awk '/^now at/ { printf "%d\n", $3 / 1000; exit }' /proc/timer_list
}

# cyclictest_wait N PATTERN: until the console has shown it N times; costs the machine little
cyclictest_wait() {
	until count "$1" "$2" "$log" || ! kill -0 "$vmm"; do usleep 5000; done
}

# cyclictest_vcpus CHRT-ARGUMENTS: each vCPU's thread
cyclictest_vcpus() {
	for task in /proc/"$vmm"/task/*; do
		grep -q '^vcpu' "$task/comm" && chrt "$@" "${task##*/}"
	done
}

# cyclictest_measure VARIANT INTERVAL: one run; two lines of it in rounds.txt
cyclictest_measure() {
	runs=$((runs + 1))
	kill -CONT $hogs
	usleep 40000 # until the host takes them for what they are: who rarely runs is waited out
	before=$(cyclictest_times)
	cyclictest -m -p 80 -q -a -t 2 -i "$2" -l "$LOOPS" -h $LONGEST >/tmp/host.h 2>/dev/null &
	echo "measure $2 $LOOPS" >&3
	cyclictest_wait 1 "^ran $runs"
	after=$(cyclictest_times)
	wait $!
	kill -STOP $hogs
	cyclictest_wait 1 "^measured $runs .* max"
	# of two CPUs
	share=$(echo $before $after | awk '{ d = $4 - $2; printf "%.1f", (d > 0) ? 50 * ($3 - $1) / d : 0 }')
	echo "guest $1 $2 $(grep "^measured $runs " "$log") hogs $share" | tr -d '\r'
	echo "host $1 $2 measured $runs $(cyclictest_judge /tmp/host.h)"
} >>"$LAB_OUT/rounds.txt"

# cyclictest_value SIDE VARIANT INTERVAL COLUMN [HOW]: of the rounds; HOW: median (default), spread
cyclictest_value() {
	awk -v key="$1 $2 $3" -v column="$4" '$1 " " $2 " " $3 == key {
		for (i = 4; i < NF; i++) if ($i == column) print $(i + 1) }' "$LAB_OUT/rounds.txt" |
		sort -n | awk -v how="${5:-median}" '{ v[NR] = $1 }
			END { if (NR) print (how == "spread") ? v[NR] - v[1] : v[int((NR + 1) / 2)] }'
}

# cyclictest_ratio NAME INTERVAL COLUMN FACTOR [VARIANT]: median without >= FACTOR * median with
cyclictest_ratio() {
	expect "$1" awk -v a="$(cyclictest_value guest "${5:-pvsched}" "$2" "$3")" \
		-v b="$(cyclictest_value guest none "$2" "$3")" -v f="$4" \
		'BEGIN { print b " us without, " a " with"; exit !(a != "" && b + 0 >= f * a) }'
}

# cyclictest_hogs_keep NAME VARIANT INTERVAL: nine tenths of what they have without
cyclictest_hogs_keep() {
	expect "$1" awk -v a="$(cyclictest_value guest "$2" "$3" hogs)" \
		-v b="$(cyclictest_value guest none "$3" hogs)" \
		'BEGIN { print b " % without, " a " with"; exit !(a != "" && a >= 0.9 * b) }'
}

# cyclictest_rounds HOW DECLARE VARIANTS INTERVALS: boots, measures, prints the figures
cyclictest_rounds() {
	cyclictest_task "$1" "$2" >/tmp/task.cyclictest
	variants=$3 intervals=$4
	log=$LAB_OUT/console.log
	# no_timer_check as L1 has it: see lab/run. And a kernel holds the rate of a TSC-deadline timer, an
	# eighth of the TSC's, in 32 bits: a TSC beyond 34 GHz makes it fire too early, six or eight times
	# until its time is up. L1 has none: QEMU emulates no such timer.
	VMM_APPEND="no_timer_check lapic=notscdeadline"
	pvsched serve >/tmp/served 2>&1 &
	broker=$!
	within broker_is_ready 60 grep -q ready /tmp/served
	vmm_start /tmp/task.cyclictest "$log" --cpus 2
	vmm_shows linux_boots 150 1 '^task waits'
	hogs= runs=0 shown=0
	for mask in 1 1 2 2; do
		taskset $mask sh -c 'while :; do :; done' &
		hogs="$hogs $!"
	done
	kill -STOP $hogs
	for round in $(seq "$ROUNDS"); do
		for variant in $variants; do
			case $variant in
			pvsched) echo start >&3; cyclictest_wait "$round" '^started' ;;
			rt) cyclictest_vcpus -f -p 1 ;;
			esac
			for interval in $intervals; do cyclictest_measure "$variant" "$interval"; done
			if ! kill -0 "$vmm"; then
				kill -KILL $hogs
				tail -n 4 "$LAB_OUT/rounds.txt" /tmp/said
				not_ok "guest_survives_round_$round" "the VMM ended: $(tail -n 1 /tmp/said)"
				return
			fi
			case $variant in
			pvsched)
				echo stop >&3
				cyclictest_wait "$round" '^stopped'
				grep '^stopped' "$log" | tail -n 1 | tr -d '\r' >>"$LAB_OUT/rounds.txt"
				;;
			rt) cyclictest_vcpus -o -p 0 ;;
			esac
		done
		echo "round $round"
		tail -n +$((shown + 1)) "$LAB_OUT/rounds.txt"
		shown=$(wc -l <"$LAB_OUT/rounds.txt")
	done
	kill -KILL $hogs
	pvsched list --json >"$LAB_OUT/list.json"
	echo off >&3
	vmm_ended linux_powers_off
	kill $broker
	wait $broker
	for side in guest host; do
		for variant in $variants; do
			for interval in $intervals; do
				for key in avg p50 p99 max; do
					figure "${side}_${variant}_${interval}_${key}_us" \
						"$(cyclictest_value $side $variant $interval $key)"
				done
			done
		done
	done
	for interval in $intervals; do
		for variant in $variants; do
			figure "hogs_${variant}_${interval}_share" \
				"$(cyclictest_value guest $variant $interval hogs)"
		done
		cyclictest_hogs_keep "hogs_keep_nine_tenths_at_$interval" pvsched "$interval"
	done
}
