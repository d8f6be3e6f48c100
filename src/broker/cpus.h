/* SPDX-License-Identifier: GPL-2.0-only */
/* Where agents run: CPUs that their administrator has not set apart. Reads sysfs; no state. */
#ifndef PVSCHED_BROKER_CPUS_H
#define PVSCHED_BROKER_CPUS_H

#include <sched.h>

/* Takes the CPUs of a list as the kernel prints it ("0-3,8") out of set; what is no list ends it. */
void pvsched_cpus_remove(cpu_set_t *set, const char *list);
/* Takes isolated and nohz_full CPUs out of set, unless it would be empty: whoever set them apart
 * wants no thread of ours there. vCPUs on them are served from elsewhere. */
void pvsched_cpus_shared(cpu_set_t *set);

#endif
