# SPDX-License-Identifier: GPL-2.0-only
# L1 dies in the middle of a test.
# kernels: 6.1 6.12 7.3
# guests: none
# tier: short
# timeout: 20

echo "<4>last words of panic" >/dev/kmsg
ok panic_reached_the_test
echo 1 >/proc/sys/kernel/sysrq
echo c >/proc/sysrq-trigger
