# SPDX-License-Identifier: GPL-2.0-only
# soak SECONDS: the scheduler under stress-ng and four VMs, reloaded every five seconds: by a CPU
# that goes, by one that comes, by another policy. For lab/tests/scx-soak*.sh.

# enabled: how often a scheduler was made the kernel's
enabled() {
	cat /sys/kernel/sched_ext/enable_seq
}

# is_anew BEFORE: it was, since that many times, and is
is_anew() {
	[ "$(enabled)" -gt "$1" ] && grep -q '^enabled' /sys/kernel/sched_ext/state
}

soak() {
	soak_seconds=$1
	pvsched serve --actuator scx >/tmp/serve 2>&1 &
	broker=$!
	within scx_starts 180 grep -q '^ready' /tmp/serve || cat /tmp/serve
	guests=
	for n in 1 2 3 4; do
		pvsched run --cpus 2 --seconds "$soak_seconds" --json >"/tmp/guest$n.json" 2>&1 &
		guests="$guests $!"
	done
	stress-ng --cpu 2 --switch 2 --fork 1 --timer 1 --timeout "$soak_seconds" >/tmp/stress 2>&1 &
	stress=$!
	end=$(($(cut -d. -f1 /proc/uptime) + soak_seconds - 5))
	reloads=0 off=0 refused=0 boosts=0
	while [ "$(cut -d. -f1 /proc/uptime)" -lt $end ]; do
		sleep 5
		# the guests may have ended before the last look: a reload takes long on a slow machine
		n=$(pvsched list --json | grep -o '"boosts": [0-9]*' | awk '{ n += $2 } END { print n + 0 }')
		[ "$n" -gt $boosts ] && boosts=$n
		was=$(enabled)
		case $((reloads % 4)) in
		0) echo 0 >/sys/devices/system/cpu/cpu1/online ;;
		1) echo 1 >/sys/devices/system/cpu/cpu1/online ;;
		2) pvsched policy --all irq >/tmp/policy 2>&1 || { refused=$((refused + 1)) && cat /tmp/policy; } ;;
		3) pvsched policy --all latency >/tmp/policy 2>&1 || { refused=$((refused + 1)) && cat /tmp/policy; } ;;
		esac
		reloads=$((reloads + 1))
		for i in $(seq 100); do
			is_anew "$was" && break
			usleep 100000
		done
		is_anew "$was" || { off=$((off + 1)) && echo "# reload $reloads: enable_seq $was, now $(enabled)"; }
	done
	echo 1 >/sys/devices/system/cpu/cpu1/online 2>/dev/null
	figure reloads $reloads
	figure boosts "$boosts"
	expect it_was_reloaded [ $reloads -ge 2 ] # a slow machine: by CPUs alone
	expect each_policy_is_taken [ $refused = 0 ]
	expect scheduler_began_anew_at_each_reload [ $off = 0 ]
	expect vcpus_are_boosted_meanwhile [ "$boosts" -gt 0 ]
	lost=0
	for p in $guests; do wait $p || lost=$((lost + 1)); done
	expect guests_end_by_themselves [ $lost = 0 ]
	expect stress_ends_by_itself wait $stress
	expect scheduler_is_on_still grep -q '^enabled' /sys/kernel/sched_ext/state
	expect nothing_was_said_of_an_end sh -c '! grep -q "ended the scheduler" /tmp/serve'
	kill $broker
	wait $broker
	expect broker_ends_well [ $? = 0 ]
	expect scheduler_ends_with_it grep -q '^disabled' /sys/kernel/sched_ext/state
	cat /tmp/serve >"$LAB_OUT/serve.txt"
}
