/* SPDX-License-Identifier: GPL-2.0-only */
/* CPU quotas of cgroups: a sched_ext scheduler holds nobody to them. Reads cgroupfs; no state. */
#ifndef PVSCHED_SCX_QUOTA_H
#define PVSCHED_SCX_QUOTA_H

#include <stdbool.h>
#include <stddef.h>

/* Is there a cgroup below root with a quota (cpu.max, or cpu.cfs_quota_us of version 1)? Its path
 * goes to ret_path. Some 10 us a cgroup. */
bool pvsched_quota_find(const char *root, char *ret_path, size_t size);

#endif
