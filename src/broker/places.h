/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Placement ids: which CPUs share a core, a last-level cache, a NUMA node, by numbers that say
 * nothing else: drawn at random at each start of a broker, so that they name no CPU and match
 * nothing that another host, or this one later, tells.
 */
#ifndef PVSCHED_BROKER_PLACES_H
#define PVSCHED_BROKER_PLACES_H

#include <stdint.h>

/*
 * Fills n words, PVSCHED_PLACE_* of CPU 0.., from sysfs as it is now. cpus: its directory of CPUs,
 * /sys/devices/system/cpu. What it does not tell (a CPU that is offline, a machine without
 * caches) stays 0: not told.
 */
void pvsched_places_read(const char *cpus, uint64_t *places, unsigned int n);

#endif
