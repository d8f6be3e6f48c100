# SPDX-License-Identifier: GPL-2.0-only
# cyclictest as an ordinary task (SCHED_OTHER) of a stock Linux guest beside hogs: its cgroup is declared
# by `pvsched-guest latency`.
# kernels: 6.12 7.3
# guests: linux
# tier: soak
# timeout: 900
# inner: cyclictest

. /lab/cyclictest.sh
cyclictest_rounds "cyclictest -m --policy=other" 1
cyclictest_ratio declared_task_p99_is_three_times_better p99 3
