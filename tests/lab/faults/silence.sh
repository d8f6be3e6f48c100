# SPDX-License-Identifier: GPL-2.0-only
# L1 says nothing any more: even the time limit inside it is dead.
# kernels: 6.1 6.12 7.3
# guests: none
# tier: short
# timeout: 2

echo "<4>last words of silence" >/dev/kmsg
kill -KILL $(pidof timeout)
sleep 1000
