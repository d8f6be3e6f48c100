# SPDX-License-Identifier: GPL-2.0-only
# cyclictest as an ordinary task (SCHED_OTHER) of a stock Linux guest beside hogs: its cgroup is declared
# by `pvsched-guest latency`.
# kernels: 6.12 7.3
# guests: linux
# tier: soak
# clock: slow
# timeout: 120
# programs: chrt cyclictest
# inner: cyclictest

. /lab/cyclictest.sh
cyclictest_rounds "cyclictest -m --policy=other" 1 "none pvsched" 1000
cyclictest_ratio declared_task_p99_is_three_times_better 1000 p99 3
