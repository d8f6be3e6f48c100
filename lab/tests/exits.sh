# SPDX-License-Identifier: GPL-2.0-only
# The VM-exit path of a guest that exits as fast as it can, without pvsched, with `latency` and
# with `vmexit`, interleaved; and the talk's sample at work. Time is counted in instructions.
# kernels: 6.1 6.12 7.3
# guests: baremetal
# tier: long
# short: 7.3
# clock: instructions
# timeout: 200

CMOCKA_MESSAGE_OUTPUT=TAP "$PVSCHED_BUILD/tests/native/exit_cost" >"$LAB_OUT/exits.txt" 2>&1
sed -n 's/^# figure/figure/p' "$LAB_OUT/exits.txt"
sed -n 's/^ok [0-9]* - /ok /p' "$LAB_OUT/exits.txt"
sed -n 's/^not ok [0-9]* - \(.*\)/\1/p' "$LAB_OUT/exits.txt" | while read -r name; do
	not_ok "$name" "$(grep error "$LAB_OUT/exits.txt" | tail -n 1)"
done
expect exits_every_case_ran sh -c "[ \$(grep -c '^ok ' $LAB_OUT/exits.txt) = 5 ]"

none=$(awk '$3 == "beside_latency_exit_none_ns" { print $4 }' "$LAB_OUT/exits.txt")
latency=$(awk '$3 == "beside_latency_exit_latency_ns" { print $4 }' "$LAB_OUT/exits.txt")
expect exits_with_latency_cost_no_more_than_a_percent \
	awk -v a="$latency" -v b="$none" 'BEGIN { exit !(a != "" && b > 0 && a <= 1.01 * b) }'
