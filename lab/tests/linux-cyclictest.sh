# SPDX-License-Identifier: GPL-2.0-only
# cyclictest, SCHED_FIFO 80, on both CPUs of a stock Linux guest beside hogs, and on the host beside
# it: without pvsched-guest, with it, and with vCPU threads that are SCHED_FIFO throughout.
# kernels: 6.12 7.3
# guests: linux
# tier: soak
# clock: slow
# timeout: 200
# programs: chrt cyclictest
# inner: cyclictest

. /lab/cyclictest.sh
cyclictest_rounds "cyclictest -m -p 80" 0 "none pvsched rt" "1000 500"
for interval in 1000 500; do
	cyclictest_ratio "fifo_p99_is_five_times_better_at_$interval" $interval p99 5
	cyclictest_ratio "fifo_median_of_the_maxima_is_three_times_better_at_$interval" $interval max 3
	expect "fifo_max_is_at_most_that_of_static_rt_at_$interval" \
		awk -v a="$(cyclictest_value guest pvsched $interval max)" \
		-v b="$(cyclictest_value guest rt $interval max)" \
		'BEGIN { print a " us, static RT " b; exit !(a != "" && a + 0 <= b + 0) }'
	for key in avg p99 max; do
		expect "host_${key}_is_no_worse_than_without_at_$interval" \
			awk -v a="$(cyclictest_value host pvsched $interval $key)" \
			-v b="$(cyclictest_value host none $interval $key)" \
			-v s="$(cyclictest_value host none $interval $key spread)" \
			'BEGIN { print a " us, without " b ", spread " s; exit !(a != "" && a - b <= s) }'
	done
done
