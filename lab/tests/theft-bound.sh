# SPDX-License-Identifier: GPL-2.0-only
# What KVM guests that ask for everything, always, get of a CPU that they share with hogs: one of them,
# and four. Time is counted in instructions: a share of a CPU is then nobody else's business.
# kernels: 6.1 6.12 7.3
# guests: baremetal
# tier: long
# clock: instructions
# timeout: 120
# soak: 1800

LAB_LIMIT=7200 native_programs theft_bound
