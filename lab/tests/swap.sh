# SPDX-License-Identifier: GPL-2.0-only
# Policies swapped under running threads: debts stay, what is bad is refused, nobody waits for a load.
# Of its own because it is little but loads, each a few seconds on an emulated machine.
# kernels: 6.1 6.12 7.3
# guests: none
# tier: long
# timeout: 1200

LAB_LIMIT=1150 native_programs policy_swap
