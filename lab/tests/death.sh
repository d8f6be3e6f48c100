# SPDX-License-Identifier: GPL-2.0-only
# Nobody's death leaves a thread boosted, on this kernel. Of its own because it loads the programs ten
# times, each a few seconds on an emulated machine.
# kernels: 6.1 6.12 7.3
# guests: none
# tier: long
# timeout: 900

export CMOCKA_MESSAGE_OUTPUT=TAP
"$PVSCHED_BUILD/tests/native/broker_death"
LAB_FAILED=$?
