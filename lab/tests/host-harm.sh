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
# bounded NAME TASK VARIANT: what is added to TASK's p99 is at most the cap and L
bounded() {
	expect "$1" awk -v added="$(harm "$2_$3_added")" -v bound="$(harm bound)" \
		'BEGIN { print "added " added " us, bound " bound " us"
			exit !(added != "" && bound > 0 && added <= bound) }'
}
bounded realtime_task_is_at_most_the_cap_later fifo10 pvsched
bounded realtime_task_is_at_most_the_cap_later_with_a_gap fifo10 pvsched_gap
bounded ordinary_task_is_at_most_the_cap_later other pvsched
bounded ordinary_task_is_at_most_the_cap_later_with_a_gap other pvsched_gap
