# SPDX-License-Identifier: GPL-2.0-only
# What KVM guests that ask for everything, always, get of a CPU that they share with hogs: one of them,
# and four.
# kernels: 6.1 6.12 7.3
# guests: baremetal
# tier: short
# timeout: 120
# soak: 400

LAB_LIMIT=7200 native_programs theft_bound
