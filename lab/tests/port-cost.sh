# SPDX-License-Identifier: GPL-2.0-only
# What a page over a port costs beside one under an overlay, in one run. Time is counted in instructions.
# kernels: 6.1 6.12 7.3
# guests: none
# tier: long
# clock: instructions
# timeout: 100

CMOCKA_MESSAGE_OUTPUT=TAP "$PVSCHED_BUILD/tests/native/port_cost" >"$LAB_OUT/port-cost.txt" 2>&1
cat "$LAB_OUT/port-cost.txt"
sed -n 's/^# figure/figure/p' "$LAB_OUT/port-cost.txt"
cost() {
	awk -v name="$1" '$3 == name { print $4 }' "$LAB_OUT/port-cost.txt"
}
expect port_switch_costs_less_than_twice_the_overlay_s \
	awk -v a="$(cost switch_over_port_ns)" -v b="$(cost switch_under_overlay_ns)" \
	'BEGIN { print b " ns under an overlay, " a " ns over a port"; exit !(b > 0 && a > 0 && a < 2 * b) }'
