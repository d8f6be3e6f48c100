# SPDX-License-Identifier: GPL-2.0-only
# Ten minutes of the scheduler under load, with a reload every five seconds.
# kernels: 7.3
# guests: baremetal
# tier: soak
# timeout: 800
# programs: stress-ng

. /lab/scx-soak.sh
soak 600
