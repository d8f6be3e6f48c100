# SPDX-License-Identifier: GPL-2.0-only
# What broker, agents, guardian and the reference VMM's threads may still do, where KVM is a module
# and its types are looked up by id.
# kernels: 6.1 6.12 7.3
# guests: baremetal
# tier: long
# timeout: 600

LAB_LIMIT=500 # it loads the programs six times, each some seconds on an emulated machine
native_programs privilege
