# SPDX-License-Identifier: GPL-2.0-only
# What the guest's BPF programs cost a context switch, on each kernel, beside empty programs on the same
# tracepoints. Time is counted in instructions.
# kernels: 6.1 6.12 7.3
# guests: none
# tier: long
# clock: instructions
# timeout: 100

CMOCKA_MESSAGE_OUTPUT=TAP "$PVSCHED_BUILD/tests/native/publish_cost" >"$LAB_OUT/publish-cost.txt" 2>&1
cat "$LAB_OUT/publish-cost.txt"
expect publishing_is_measured grep -q '^ok .*publishing_is_measured' "$LAB_OUT/publish-cost.txt"
sed -n 's/^# figure/figure/p' "$LAB_OUT/publish-cost.txt"
cost() {
	awk -v name="$1" '$3 == name { print $4 }' "$LAB_OUT/publish-cost.txt"
}
# percent FIGURE REFERENCE
percent() {
	awk -v a="$(cost "$1")" -v b="$(cost "$2")" 'BEGIN { if (a && b) printf "%.1f", (a / b - 1) * 100 }'
}
figure empty_programs_percent "$(percent switch_with_empty_programs_ns switch_without_ns)"
figure published_percent "$(percent switch_published_ns switch_without_ns)"
figure unlike_published_percent "$(percent switch_unlike_published_ns switch_unlike_without_ns)"
# two programs to a switch, one of them its wake-up's
tracepoint=$(awk -v a="$(cost switch_with_empty_programs_ns)" -v b="$(cost switch_without_ns)" \
	'BEGIN { printf "%.0f", (a - b) / 2 }')
figure tracepoint_ns "$tracepoint"
# what a switch that is told costs more than one that need not be
figure told_ns "$(awk -v a="$(cost switch_unlike_published_ns)" -v b="$(cost switch_unlike_without_ns)" \
	-v c="$(cost switch_published_ns)" -v d="$(cost switch_without_ns)" 'BEGIN { printf "%.0f", a - b - c + d }')"
expect published_switch_is_at_most_a_tenth_slower \
	awk -v a="$(cost switch_published_ns)" -v b="$(cost switch_without_ns)" \
	'BEGIN { print b " ns without, " a " published"; exit !(a > 0 && b > 0 && a < 1.1 * b) }'
