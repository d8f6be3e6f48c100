# SPDX-License-Identifier: GPL-2.0-only
# How much later tasks of the host run because of such a guest; static SCHED_FIFO beside it.
# kernels: 6.1 6.12 7.3
# guests: baremetal
# tier: long
# timeout: 120
# soak: 600

LAB_LIMIT=7200 native_programs host_harm
