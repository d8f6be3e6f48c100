/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What sched_ext (kernel/sched/ext.c) gives to a scheduler, as far as ours uses it. Its functions
 * and structures are no stable interface: this is how Linux 6.19 and later have them; pvsched
 * check tells where one is missing.
 */
#ifndef PVSCHED_SCX_KFUNCS_H
#define PVSCHED_SCX_KFUNCS_H

#include "../../events/kernel.h"

#include <bpf/bpf_helpers.h>

#define SCX_TASK_QUEUED 1u /* sched_ext_entity.flags */

#define SCX_DSQ_LOCAL 0x8000000000000002ull

#define SCX_ENQ_WAKEUP	     1ull
#define SCX_ENQ_HEAD	     (1ull << 16)
#define SCX_ENQ_CPU_SELECTED (1ull << 20)
#define SCX_ENQ_PREEMPT	     (1ull << 32)
#define SCX_ENQ_REENQ	     (1ull << 40)

#define SCX_KICK_IDLE	 1ull
#define SCX_KICK_PREEMPT 2ull

struct bpf_iter_scx_dsq {
	__u64 opaque[6];
} __attribute__((aligned(8)));

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

enum scx_exit_kind { SCX_EXIT_NONE };

struct scx_exit_info {
	enum scx_exit_kind kind;
	__s64 exit_code;
	const char *reason;
	char *msg;
};

#pragma clang attribute pop

extern __s32 scx_bpf_create_dsq(__u64 id, __s32 node) __ksym __weak;
extern __s32 scx_bpf_select_cpu_dfl(struct task_struct *p, __s32 prev_cpu, __u64 wake_flags,
				    bool *is_idle) __ksym __weak;
extern bool scx_bpf_test_and_clear_cpu_idle(__s32 cpu) __ksym __weak;
extern __s32 scx_bpf_pick_idle_cpu(const struct cpumask *allowed, __u64 flags) __ksym __weak;
extern bool bpf_cpumask_test_cpu(__u32 cpu, const struct cpumask *mask) __ksym __weak;
extern __s32 scx_bpf_task_cpu(const struct task_struct *p) __ksym __weak;
extern void scx_bpf_dsq_insert(struct task_struct *p, __u64 dsq, __u64 slice,
			       __u64 flags) __ksym __weak;
/* The older of two forms: clang writes no BTF for the newer one's name, which begins with __. */
extern void scx_bpf_dsq_insert_vtime(struct task_struct *p, __u64 dsq, __u64 slice, __u64 vtime,
				     __u64 flags) __ksym __weak;
extern bool scx_bpf_dsq_move_to_local(__u64 dsq) __ksym __weak;
extern __s32 scx_bpf_dsq_nr_queued(__u64 dsq) __ksym __weak;
extern struct task_struct *scx_bpf_dsq_peek(__u64 dsq) __ksym __weak;
extern int bpf_iter_scx_dsq_new(struct bpf_iter_scx_dsq *it, __u64 dsq, __u64 flags) __ksym __weak;
extern struct task_struct *bpf_iter_scx_dsq_next(struct bpf_iter_scx_dsq *it) __ksym __weak;
extern void bpf_iter_scx_dsq_destroy(struct bpf_iter_scx_dsq *it) __ksym __weak;
extern bool scx_bpf_dsq_move(struct bpf_iter_scx_dsq *it, struct task_struct *p, __u64 dsq,
			     __u64 flags) __ksym __weak;
extern void scx_bpf_dsq_move_set_vtime(struct bpf_iter_scx_dsq *it, __u64 vtime) __ksym __weak;
extern bool scx_bpf_dsq_move_vtime(struct bpf_iter_scx_dsq *it, struct task_struct *p, __u64 dsq,
				   __u64 flags) __ksym __weak;
extern bool scx_bpf_task_set_slice(struct task_struct *p, __u64 slice) __ksym __weak;
extern bool scx_bpf_task_set_dsq_vtime(struct task_struct *p, __u64 vtime) __ksym __weak;
extern __u64 scx_bpf_now(void) __ksym __weak;
extern void bpf_preempt_disable(void) __ksym __weak;
extern void bpf_preempt_enable(void) __ksym __weak;
extern void scx_bpf_kick_cpu(__s32 cpu, __u64 flags) __ksym __weak;

#endif
