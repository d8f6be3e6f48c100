# SPDX-License-Identifier: GPL-2.0-only
# How much later tasks of the host run because of such a guest; static SCHED_FIFO beside it. Time is
# counted in instructions, so that a p99 is the guest's doing (ACC-32 of spec/accounting.md).
# kernels: 6.1 6.12 7.3
# guests: baremetal
# tier: long
# clock: instructions
# timeout: 300
# soak: 1800

LAB_LIMIT=7200 native_programs host_harm

harm() {
	awk -v name="host_harm_$1_us" '$2 == name { print $3 }' "$LAB_OUT/host_harm.txt"
}
# the turn of an ordinary task in us: EEVDF's base slice, or CFS's minimum before it
turn() {
	mount -t debugfs none /sys/kernel/debug 2>/dev/null
	cat /sys/kernel/debug/sched/base_slice_ns /sys/kernel/debug/sched/min_granularity_ns 2>/dev/null |
		awk 'NR == 1 { print $1 / 1e3 }'
}
# bounded NAME TASK VARIANT TURNS: what is added to TASK's p99 is at most the cap, L and so many turns
bounded() {
	expect "$1" awk -v added="$(harm "$2_$3_added")" -v bound="$(harm bound)" -v turns="$4" \
		-v turn="$(turn)" \
		'BEGIN { print "added " added " us, bound " bound " and " turns " turns of " turn " us"
			exit !(added != "" && bound > 0 && turn > 0 && added <= bound + turns * turn) }'
}
figure host_harm_turn_us "$(turn)"
bounded realtime_task_is_at_most_the_cap_later fifo10 pvsched 0
bounded realtime_task_is_at_most_the_cap_later_with_a_gap fifo10 pvsched_gap 0
bounded ordinary_task_is_at_most_the_cap_later other pvsched 0
# one that wakes in the gap waits for the turn that another is in
bounded ordinary_task_is_at_most_the_cap_and_a_turn_later_with_a_gap other pvsched_gap 1
