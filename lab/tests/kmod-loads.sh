# SPDX-License-Identifier: GPL-2.0-only
# The kernel module builds for the newest kernel, whose headers change most, loads there, is what would be
# chosen, and goes. All else about it is `kmod`'s, on all kernels.
# kernels: 7.3
# guests: none
# tier: short
# timeout: 60
# module: pvsched

expect module_loads insmod /lab/pvsched.ko
expect module_is_chosen sh -c 'pvsched check | grep "chosen .*kmod,"'
within module_goes 10 rmmod pvsched
