# SPDX-License-Identifier: GPL-2.0-only
# cyclictest of a stock Linux guest with two vCPUs, two hogs on each host CPU, with and without
# pvsched-guest, interleaved; and the talk's columns: guest and host vanilla, dynamic, static RT.
# kernels: 6.12 7.3
# guests: linux
# tier: soak
# timeout: 1500
# inner: cyclictest

cat >/tmp/task <<'END'
mkdir -p /sys/fs/bpf
mount -t bpf none /sys/fs/bpf
stty -echo </dev/console
echo "task waits"
n=0
while read -r what interval loops; do
	case $what in
	start) pvsched-guest run >/tmp/out 2>&1 & daemon=$!
		for i in $(seq 100); do grep -q 'share a page' /tmp/out && break; usleep 100000; done
		echo "started" ;;
	stop) kill $daemon; wait $daemon; echo "stopped" ;;
	measure)
		n=$((n + 1))
		# -a -t: a thread on each CPU; histogram in us
		cyclictest -q -m -p 80 -a -t 2 -i $interval -d 0 -l $loops -h 40000 >/tmp/h
		# merges both threads; p50, p99, max
		grep '^[0-9]' /tmp/h | awk -v n=$n '{ c[$1 + 0] = $2 + $3; sum += $2 + $3 }
			END { for (i = 0; i < 40000; i++) { seen += c[i]; if (p50 == "" && seen >= sum * .5) p50 = i;
				if (p99 == "" && seen >= sum * .99) p99 = i; }
				printf "measured %d samples %d p50 %d p99 %d", n, sum, p50, p99 }'
		grep '^# Max' /tmp/h | awk '{ m = 0; for (i = 4; i <= NF; i++) if ($i + 0 > m) m = $i + 0; print " max", m }' ;;
	off) poweroff -f ;;
	esac
done </dev/console
END

log=$LAB_OUT/console.log
vmm_start /tmp/task "$log" --cpus 2
vmm_shows linux_boots 150 1 '^task waits'

# Ordinary neighbours: two on each host CPU, and how much of it they got.
hogs=
for mask in 1 1 2 2; do
	taskset $mask sh -c 'while :; do :; done' &
	hogs="$hogs $!"
done
hogs_ticks() {
	for hog in $hogs; do awk '{ print $14 + $15 }' /proc/$hog/stat; done | awk '{ s += $1 } END { print s }'
}
uptime_ticks() {
	awk '{ print int($1 * 100) }' /proc/uptime
}

rounds=${PVSCHED_ROUNDS:-7}
loops=${PVSCHED_LOOPS:-400}
n=0
started=0
measure() {
	name=$1 interval=$2
	n=$((n + 1))
	h0=$(hogs_ticks) t0=$(uptime_ticks)
	echo "measure $interval $loops" >&3
	vmm_shows "cyclictest_${name}_runs_$n" 120 $n '^measured' >/tmp/run
	grep -v '^ok' /tmp/run
	h1=$(hogs_ticks) t1=$(uptime_ticks)
	line=$(grep "^measured $n " "$log")
	# two CPUs: a hundred percent is 200 ticks a second
	share=$(awk -v h=$((h1 - h0)) -v t=$((t1 - t0)) 'BEGIN { printf "%.1f", t ? 50 * h / t : 0 }')
	echo "$name $interval $line hogs $share" | tee -a "$LAB_OUT/rounds.txt"
}

for round in $(seq "$rounds"); do
	measure vanilla 1000
	echo start >&3
	started=$((started + 1))
	vmm_shows "daemon_starts_$round" 60 $started '^started' >/tmp/run; grep -v '^ok' /tmp/run
	measure pvsched 1000
	echo stop >&3
	vmm_shows "daemon_stops_$round" 60 $started '^stopped' >/tmp/run; grep -v '^ok' /tmp/run
done
kill $hogs
echo off >&3
vmm_ended linux_powers_off

# median NAME COLUMN: of the rounds
median() {
	awk -v name="$1" -v key="$2" '$1 == name { for (i = 1; i < NF; i++) if ($i == key) print $(i + 1) }' \
		"$LAB_OUT/rounds.txt" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}
for name in vanilla pvsched; do
	for key in p50 p99 max; do
		figure "cyclictest_${name}_${key}_us" "$(median $name $key)"
	done
	figure "cyclictest_${name}_hogs_share" "$(median $name hogs)"
done
expect cyclictest_p99_is_five_times_better awk -v a="$(median pvsched p99)" -v b="$(median vanilla p99)" \
	'BEGIN { print b " us without, " a " with"; exit !(a != "" && 5 * a <= b) }'
expect cyclictest_median_of_max_is_three_times_better awk -v a="$(median pvsched max)" \
	-v b="$(median vanilla max)" 'BEGIN { print b " us without, " a " with"; exit !(a != "" && 3 * a <= b) }'
expect cyclictest_hogs_keep_nine_tenths awk -v a="$(median pvsched hogs)" -v b="$(median vanilla hogs)" \
	'BEGIN { print b " % without, " a " with"; exit !(a != "" && a >= 0.9 * b) }'
