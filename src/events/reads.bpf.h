/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reads of kernel structures by addresses that were latched earlier. A stale one is no fault: it reads as 0,
 * or as what lies there now.
 */
#ifndef PVSCHED_EVENTS_READS_BPF_H
#define PVSCHED_EVENTS_READS_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "kernel.h"

#ifdef TYPED_READS
/* For objects that are only loaded since Linux 6.17, which has both forms of the function: the verifier makes a
 * move of it, and each read is a load that the exception table guards. ~5 instructions; ~90 with the helper. Only
 * types of vmlinux have an id there; what lies in a module's, KVM's, is memory of no type: what is read of
 * it is a number, an address to be told the type of. */
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym;

#define AT(type, address)                                                                          \
	((type *)bpf_rdonly_cast((void *)(address), bpf_core_type_id_kernel(type)))
#define AT_ANY(type, address) ((type *)bpf_rdonly_cast((void *)(address), 0))
#define READ(dst, p, field)   ((dst) = (p)->field, 0)
#define FIELD(p, field)	      ((p)->field)
#define FIELD_OF(p, a, b)     ((p)->a->b)
#else
#define AT(type, address)     ((type *)(address))
#define AT_ANY(type, address) ((type *)(address))
#define READ(dst, p, field)   bpf_core_read(&(dst), sizeof(dst), &(p)->field) /* 0 or -errno */
#define FIELD(p, field)	      BPF_CORE_READ(p, field)
#define FIELD_OF(p, a, b)     BPF_CORE_READ(p, a, b)
#endif

#endif
