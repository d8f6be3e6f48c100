# SPDX-License-Identifier: GPL-2.0-only
# A test that reports nothing.
# kernels: 6.1 6.12 7.3
# guests: none
# tier: short
# timeout: 10

true
