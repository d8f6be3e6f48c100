# SPDX-License-Identifier: GPL-2.0-only
# A test that does not end.
# kernels: 6.1 6.12 7.3
# guests: none
# tier: short
# timeout: 2

ok slow_began
sleep 1000
