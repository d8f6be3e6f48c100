# SPDX-License-Identifier: GPL-2.0-only
# A test that is content while the kernel is not.
# kernels: 6.1 6.12 7.3
# guests: none
# tier: short
# timeout: 10

ok warning_saw_nothing
echo "<4>WARNING: CPU: 0 PID: 1 at lab/faults" >/dev/kmsg
