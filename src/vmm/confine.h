/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a thread of the VMM may still ask of the kernel once it serves a guest: a seccomp filter of
 * its own, by its role. Anything else kills the process, and the guardian restores what was boosted.
 * No state. A thread cannot take its filter off, nor can what it starts, were it to start something.
 */
#ifndef PVSCHED_VMM_CONFINE_H
#define PVSCHED_VMM_CONFINE_H

enum vmm_role {
	VMM_ROLE_VCPU, /* runs a vCPU, and does what its exits ask for */
	VMM_ROLE_SERVICE, /* libpvsched's poll fd; joins the next broker */
	VMM_ROLE_INJECTOR, /* sends interrupts */
	VMM_ROLE_CONSOLE, /* reads the guest's input */
	VMM_ROLES,
};

/* Of the calling thread, after its last set-up. 0 or -errno: the kernel has no seccomp filters. */
int vmm_confine(enum vmm_role role);

#endif
