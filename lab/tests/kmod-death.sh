# SPDX-License-Identifier: GPL-2.0-only
# Nobody's death leaves a thread boosted with the actuator kmod, either: see death.sh.
# kernels: 6.1 6.12 7.3
# guests: none
# tier: short
# timeout: 1200
# module: pvsched

expect module_loads insmod /lab/pvsched.ko
export PVSCHED_TEST_ACTUATOR=kmod
LAB_LIMIT=1100
native_programs broker_death
unset PVSCHED_TEST_ACTUATOR
within module_is_removed 10 rmmod pvsched
