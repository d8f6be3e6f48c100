# SPDX-License-Identifier: GPL-2.0-only
# The native tier's programs about boosts, with the actuator kmod: same budgets, same restoring, whoever
# dies, same respect for what somebody else sets. Their vCPUs are threads.
# kernels: 6.1 6.12 7.3
# guests: none
# tier: long
# timeout: 1800
# module: pvsched

expect module_loads insmod /lab/pvsched.ko
export PVSCHED_TEST_ACTUATOR=kmod
LAB_LIMIT=600
native_programs broker_boost host_boosts host_owner broker_death
unset PVSCHED_TEST_ACTUATOR
within module_is_removed 10 rmmod pvsched
