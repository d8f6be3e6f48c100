/* SPDX-License-Identifier: GPL-2.0-only */
/* Which CPUs share a core and a last-level cache: each by the number of its first CPU, from sysfs.
 * Of a CPU that is offline, or where sysfs does not tell: itself, and CPU 0. No state. */
#ifndef PVSCHED_ACTUATOR_TOPOLOGY_H
#define PVSCHED_ACTUATOR_TOPOLOGY_H

#include <stdbool.h>
#include <stddef.h>

#define PVSCHED_TOPOLOGY_ROOT "/sys/devices/system/cpu"

int pvsched_topology_core(const char *root, int cpu);
int pvsched_topology_llc(const char *root, int cpu);

/* Only a CPU that is on tells its core. */
bool pvsched_topology_online(const char *root, int cpu);

/* How many CPUs there may ever be, by the number of the last; 0 = sysfs does not tell. */
int pvsched_topology_possible(const char *root);

/* Has the kernel been told to balance no tasks to some CPUs (isolcpus=)? Their list goes to ret. */
bool pvsched_topology_isolated(const char *root, char *ret, size_t size);

#endif
