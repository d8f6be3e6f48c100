# SPDX-License-Identifier: GPL-2.0-only
# A guest's next timer is met whatever its TSC's offset. Time is counted in instructions: a boost is
# looked for within 3 ms of a timer, which a crowded machine's wall clock does not keep.
# kernels: 6.1 6.12 7.3
# guests: baremetal
# tier: long
# clock: instructions
# timeout: 200

native_programs host_tsc
