# SPDX-License-Identifier: GPL-2.0-only
# For tests that measure with cyclictest in a Linux guest of two vCPUs, beside two ordinary hogs on
# each host CPU: rounds without and with pvsched-guest, interleaved; medians of the rounds.
# Sourced after lib.sh. PVSCHED_ROUNDS and PVSCHED_LOOPS make it shorter or longer.

ROUNDS=${PVSCHED_ROUNDS:-7}
LOOPS=${PVSCHED_LOOPS:-300}

# The guest's side: commands on its console. $CYCLICTEST: how it is started; $DECLARE: whether it
# is declared latency-sensitive.
cyclictest_task() {
	cat <<END
CYCLICTEST="$1"
DECLARE=$2
END
	cat <<'END'
mkdir -p /sys/fs/bpf /sys/fs/cgroup
mount -t bpf none /sys/fs/bpf
mount -t cgroup2 none /sys/fs/cgroup
mkdir /sys/fs/cgroup/urgent
# p50, p99 and max of both threads' histograms, us
judge() {
	grep '^[0-9]' /tmp/h | awk -v n="$1" '{ c[$1 + 0] = $2 + $3; sum += $2 + $3 }
		END { for (i = 0; i < 100000; i++) { seen += c[i]
			if (p50 == "" && seen >= sum * .5) p50 = i
			if (p99 == "" && seen >= sum * .99) p99 = i }
			printf "measured %d samples %d p50 %d p99 %d", n, sum, p50, p99 }'
	grep '^# Max' /tmp/h | awk '{ for (i = 4; i <= NF; i++) if ($i + 0 > m) m = $i + 0; print " max", m }'
}
n=0
stty -echo </dev/console
echo "task waits"
while read -r what interval loops; do
	case $what in
	start)
		pvsched-guest run >/tmp/out 2>&1 & daemon=$!
		for i in $(seq 100); do grep -q 'share a page' /tmp/out && break; usleep 100000; done
		[ $DECLARE = 1 ] && pvsched-guest latency --cgroup /sys/fs/cgroup/urgent
		echo "started"
		;;
	stop) kill $daemon; wait $daemon; echo "stopped" ;;
	measure)
		n=$((n + 1))
		sh -c "echo \$\$ >/sys/fs/cgroup/urgent/cgroup.procs
			exec $CYCLICTEST -q -a -t 2 -i $interval -d 0 -l $loops -h 100000" >/tmp/h 2>/tmp/err
		judge $n
		;;
	off) poweroff -f ;;
	esac
done </dev/console
END
}

cyclictest_hogs_ticks() {
	for hog in $hogs; do awk '{ print $14 + $15 }' "/proc/$hog/stat"; done |
		awk '{ s += $1 } END { print s }'
}

# cyclictest_measure NAME INTERVAL: one run; a line of it in rounds.txt
cyclictest_measure() {
	runs=$((runs + 1))
	before="$(cyclictest_hogs_ticks) $(awk '{ print int($1 * 100) }' /proc/uptime)"
	echo "measure $2 $LOOPS" >&3
	vmm_shows "cyclictest_$1_run_$runs" 120 $runs '^measured .* max' | grep -v '^ok'
	after="$(cyclictest_hogs_ticks) $(awk '{ print int($1 * 100) }' /proc/uptime)"
	# two CPUs: all of the time is 200 ticks a second
	share=$(echo "$before $after" | awk '{ printf "%.1f", $4 > $2 ? 50 * ($3 - $1) / ($4 - $2) : 0 }')
	echo "$1 $2 $(grep "^measured $runs " "$log") hogs $share" | tee -a "$LAB_OUT/rounds.txt"
}

# cyclictest_median NAME COLUMN: of the rounds
cyclictest_median() {
	awk -v name="$1" -v key="$2" '$1 == name { for (i = 1; i < NF; i++) if ($i == key) print $(i + 1) }' \
		"$LAB_OUT/rounds.txt" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

# cyclictest_ratio NAME COLUMN FACTOR: median without >= FACTOR * median with
cyclictest_ratio() {
	expect "$1" awk -v a="$(cyclictest_median pvsched "$2")" -v b="$(cyclictest_median none "$2")" \
		-v f="$3" 'BEGIN { print b " without, " a " with"; exit !(a != "" && b >= f * a) }'
}

# cyclictest_rounds HOW DECLARE: boots, measures, prints the figures
cyclictest_rounds() {
	cyclictest_task "$1" "$2" >/tmp/task.cyclictest
	log=$LAB_OUT/console.log
	vmm_start /tmp/task.cyclictest "$log" --cpus 2
	vmm_shows linux_boots 150 1 '^task waits'
	hogs= runs=0
	for mask in 1 1 2 2; do
		taskset $mask sh -c 'while :; do :; done' &
		hogs="$hogs $!"
	done
	for round in $(seq "$ROUNDS"); do
		cyclictest_measure none 1000
		echo start >&3
		vmm_shows "daemon_starts_in_round_$round" 60 "$round" '^started' | grep -v '^ok'
		cyclictest_measure pvsched 1000
		echo stop >&3
		vmm_shows "daemon_stops_in_round_$round" 60 "$round" '^stopped' | grep -v '^ok'
	done
	kill $hogs
	echo off >&3
	vmm_ended linux_powers_off
	for name in none pvsched; do
		for key in p50 p99 max; do
			figure "cyclictest_${name}_${key}_us" "$(cyclictest_median $name $key)"
		done
		figure "cyclictest_${name}_hogs_share" "$(cyclictest_median $name hogs)"
	done
	expect hogs_keep_nine_tenths awk -v a="$(cyclictest_median pvsched hogs)" \
		-v b="$(cyclictest_median none hogs)" \
		'BEGIN { print b " % without, " a " with"; exit !(a != "" && a >= 0.9 * b) }'
}
