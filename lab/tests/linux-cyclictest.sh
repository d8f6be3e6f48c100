# SPDX-License-Identifier: GPL-2.0-only
# cyclictest, SCHED_FIFO 80, on both CPUs of a stock Linux guest beside hogs, with and without
# pvsched-guest.
# kernels: 6.12 7.3
# guests: linux
# tier: soak
# timeout: 900
# inner: cyclictest

. /lab/cyclictest.sh
cyclictest_rounds "cyclictest -m -p 80" 0
cyclictest_ratio fifo_p99_is_five_times_better p99 5
cyclictest_ratio fifo_median_of_the_maxima_is_three_times_better max 3
