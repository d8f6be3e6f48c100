/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a VM is called, from its VMM's command line. Pure: no OS call, no state.
 */
#ifndef PVSCHED_BROKER_VMNAME_H
#define PVSCHED_BROKER_VMNAME_H

#include <stdbool.h>
#include <stddef.h>

/*
 * cmdline: arguments, each ended by a NUL, as in /proc/PID/cmdline; may be cut off anywhere. Knows
 * QEMU's "-name NAME", "-name guest=NAME,..." (libvirt) and "--id NAME" (Firecracker). What a terminal
 * would obey becomes '?'. False when there is no name; ret_name is then untouched.
 */
bool pvsched_vm_name(const char *cmdline, size_t len, char *ret_name, size_t size);

#endif
