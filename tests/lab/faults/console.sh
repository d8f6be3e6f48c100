# SPDX-License-Identifier: GPL-2.0-only
# The same for a second kernel's console.
# kernels: 6.1 6.12 7.3
# guests: none
# tier: short
# timeout: 10

ok console_saw_nothing
echo "[    1.0] sched_ext: BPF scheduler lab runtime error" >"$LAB_OUT/console-l2.log"
