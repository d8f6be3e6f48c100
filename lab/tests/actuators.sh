# SPDX-License-Identifier: GPL-2.0-only
# Every actuator that this kernel can use, on every workload of the bench beside four hogs, for the table
# that lab/run prints; and what an actuator in the kernel must be better at. Time is counted in
# instructions. The long form has samples enough to judge p99.9.
# kernels: 6.1 6.12 7.3
# guests: baremetal
# tier: long
# clock: instructions
# slice: 20
# timeout: 400
# soak: 1800
# module: pvsched

samples=400
[ "$PVSCHED_SOAK" = 1 ] && samples=2000
expect module_loads insmod /lab/pvsched.ko
pvsched check >/tmp/check.txt
expect agent_is_usable grep -q '^ *ok .*agent ' /tmp/check.txt
expect kmod_policy_is_usable grep -q '^ *ok .*kmod-policy ' /tmp/check.txt
expect kmod_is_usable grep -q '^ *ok .*kmod ' /tmp/check.txt
if [ -e /sys/kernel/sched_ext ]; then
	expect scx_is_usable grep -q '^ *ok .*scx ' /tmp/check.txt
else
	expect check_says_why_scx_is_not grep -q 'scx  *not here: this kernel has no sched_ext' /tmp/check.txt
	if pvsched serve --actuator scx >/tmp/out 2>&1; then
		not_ok scx_is_refused_in_one_line "it started"
	else
		expect scx_is_refused_in_one_line grep -q 'no sched_ext .*use --actuator agent' /tmp/out
	fi
fi

: >/tmp/cells
used=
for actuator in agent kmod kmod-policy scx; do
	grep -q "^ *ok .*$actuator " /tmp/check.txt || continue
	used="$used $actuator"
	expect "${actuator}_bench_runs" pvsched bench --rounds 1 --samples $samples --hogs 4 --seed "$LAB_SEED" \
		--variant pvsched --actuator $actuator --no-cost --json "$LAB_OUT/$actuator.json"
	# who tells of more has been driven by his own lateness: the guest's fault, and no figure of the actuator's
	expect "${actuator}_guest_takes_its_timer_once_a_period" awk -F '[":, ]+' '
		/^      "workload"/ { timer = $3 == "busy" || $3 == "sleeping" }
		/^      "samples"/ { samples = $3 }
		/^      "interrupts"/ && timer { print $3, "for", samples; seen++; bad += $3 > 1.1 * samples }
		END { exit bad || seen != 2 }' "$LAB_OUT/$actuator.json"
	cells "$LAB_OUT/$actuator.json" | sed "s/figure /figure ${actuator}_/; s/_pvsched_4_/_/" >>/tmp/cells
done
cat /tmp/cells

value() {
	awk -v name="$1" '$2 == name { print $3 }' /tmp/cells
}

# at_most NAME FIGURE FACTOR REFERENCE: FIGURE <= FACTOR * REFERENCE, both measured
at_most() {
	a=$(value "$2") b=$(value "$4")
	if awk -v a="$a" -v f="$3" -v b="$b" 'BEGIN { exit !(a != "" && b != "" && a <= f * b) }'; then
		ok "$1"
	else
		not_ok "$1" "$2 is ${a:-not measured}, wanted at most $3 of $4 = ${b:-not measured}"
	fi
}

for actuator in kmod kmod-policy; do
	for workload in busy busy-random critical sleeping; do
		at_most "${actuator}_p50_of_${workload}_is_no_worse" "${actuator}_${workload}_p50_us" 1.05 \
			"agent_${workload}_p50_us"
	done
done
case $used in
*scx*)
	# of one that waits for a CPU that others have
	at_most scx_runs_a_vcpu_in_half_of_the_agents_time scx_busy_reach_p50_us 0.5 agent_busy_reach_p50_us
	# a boosted vCPU that nobody runs is boosted anew when 500 us are over: the worst of all shows it
	expect scx_boosted_vcpu_runs_before_its_boost_is_over awk -v us="$(value scx_busy_p999_us)" \
		'BEGIN { print us; exit !(us > 0 && us < 300) }'
	# a vCPU that slept and woke boosted is no further behind than others that slept
	expect scx_hogs_keep_what_they_have_with_the_agent awk -v scx="$(value scx_critical_hogs_share)" \
		-v agent="$(value agent_critical_hogs_share)" \
		'BEGIN { print scx " of a CPU, " agent " with the agent"; exit !(agent > 0 && scx > 0.85 * agent) }'
	added=$(value scx_sleeping_reach_added_switches)
	if awk -v a="$added" 'BEGIN { exit !(a != "" && a < 0.05) }'; then
		ok scx_adds_no_context_switch_to_a_wake_up
	else
		not_ok scx_adds_no_context_switch_to_a_wake_up "${added:-not measured} a wake-up"
	fi
	[ "$PVSCHED_SOAK" = 1 ] && at_most scx_runs_a_woken_vcpu_in_half_of_the_agents_time \
		scx_sleeping_reach_p50_us 0.5 agent_sleeping_reach_p50_us
	for workload in $([ "$PVSCHED_SOAK" = 1 ] && echo busy busy-random critical sleeping); do
		at_most "scx_p999_of_${workload}_is_as_good" "scx_${workload}_p999_us" 1.05 \
			"agent_${workload}_p999_us"
	done
	;;
esac
expect no_scheduler_is_left sh -c '! [ -e /sys/kernel/sched_ext/state ] || grep -q disabled /sys/kernel/sched_ext/state'
