# SPDX-License-Identifier: GPL-2.0-only
# The stream's port under KVM: a VMM that is found, its guest's frames and pages, the lease, who is refused.
# kernels: 6.1 6.12 7.3
# guests: none
# tier: short
# timeout: 300

LAB_LIMIT=240 native_programs ports
