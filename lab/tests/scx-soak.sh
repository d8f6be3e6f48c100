# SPDX-License-Identifier: GPL-2.0-only
# 45 seconds of the scheduler under load, with reloads. scx-soak-long.sh is the long form.
# kernels: 7.3
# guests: baremetal
# tier: long
# short: 7.3
# timeout: 300
# programs: stress-ng

. /lab/scx-soak.sh
soak 45
