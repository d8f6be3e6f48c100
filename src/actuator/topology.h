/* SPDX-License-Identifier: GPL-2.0-only */
/* Which CPUs share a core and a last-level cache: each by the number of its first CPU, from sysfs.
 * Of a CPU that is offline, or where sysfs does not tell: itself, and CPU 0. No state. */
#ifndef PVSCHED_ACTUATOR_TOPOLOGY_H
#define PVSCHED_ACTUATOR_TOPOLOGY_H

#define PVSCHED_TOPOLOGY_ROOT "/sys/devices/system/cpu"

int pvsched_topology_core(const char *root, int cpu);
int pvsched_topology_llc(const char *root, int cpu);

#endif
