/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR BSD-2-Clause */
/*
 * What a policy sees and what it returns. A policy is one C file with one pure function; the
 * same file compiles for BPF (where it is linked to the event programs) and for user space
 * (where unit tests and replay drive it). It keeps no state, calls nothing, and is asked again
 * whenever something changed: it decides from the present, never from a history of events.
 *
 *	#include <pvsched/policy.h>
 *	PVSCHED_POLICY(mine, PVSCHED_EV_PREEMPTED | PVSCHED_EV_WOKEN)
 *	{
 *		if (in->task.rt_priority && in->rivals != PVSCHED_RIVALS_NONE)
 *			pvsched_boost(out, PVSCHED_REASON_TASK, in->now_ns + in->cap_ns);
 *	}
 */
#ifndef PVSCHED_POLICY_H
#define PVSCHED_POLICY_H

#include <pvsched/abi.h>

#define PVSCHED_POLICY_ABI 1 /* of this header: a policy built for another one is refused */

/* Events. A policy names those it wants. Programs on the scheduler's are attached for any policy but `off`, of
 * the others those that it names. */
#define PVSCHED_EV_PREEMPTED	(1u << 0) /* left the CPU but wants it */
#define PVSCHED_EV_BLOCKED	(1u << 1) /* left the CPU to sleep (HLT, or exit to the VMM) */
#define PVSCHED_EV_SCHED_IN	(1u << 2)
#define PVSCHED_EV_WOKEN	(1u << 3)
#define PVSCHED_EV_INTR_PENDING (1u << 4) /* an interrupt became pending, the vCPU is not running */
#define PVSCHED_EV_INTR_DONE	(1u << 5) /* end of interrupt */
#define PVSCHED_EV_TIMER	(1u << 6) /* a time this policy asked for: NEXT_EVENT, grace, expiry */
#define PVSCHED_EV_DOORBELL	(1u << 7)
#define PVSCHED_EV_VMEXIT	(1u << 8)
#define PVSCHED_EV_VMENTRY	(1u << 9)
#define PVSCHED_EV_HALT		(1u << 10)
#define PVSCHED_EV_INTR_INJECT	(1u << 11)
#define PVSCHED_EV_SWITCH	(PVSCHED_EV_PREEMPTED | PVSCHED_EV_BLOCKED | PVSCHED_EV_SCHED_IN)
#define PVSCHED_EV_ALL		((1u << 12) - 1)

/* Why a vCPU left the guest, as far as policies care. */
enum pvsched_exit {
	PVSCHED_EXIT_OTHER = 0,
	PVSCHED_EXIT_HALT = 1,
	PVSCHED_EXIT_INTR = 2, /* a host interrupt */
	PVSCHED_EXIT_MSR = 3,
	PVSCHED_EXIT_IO = 4,
	PVSCHED_EXIT_MMIO = 5, /* nested page fault: MMIO or a page to be mapped */
};

/* A task as the guest published it, validated: every field is inside its range. */
struct pvsched_task {
	__u8 policy; /* PVSCHED_POLICY_* */
	__s8 nice; /* -20..19 */
	__u8 rt_priority; /* 0..99; 0 unless policy is FIFO or RR */
	__u8 flags; /* PVSCHED_TASK_LATENCY, PVSCHED_TASK_VALID */
	__u32 gen;
};

/* Who else wants the vCPU's CPU. */
enum pvsched_rivals {
	PVSCHED_RIVALS_NONE = 0, /* nobody: acting is useless */
	PVSCHED_RIVALS_BRIEF = 1, /* who rarely run; ask again after grace_ns */
	PVSCHED_RIVALS_MANY = 2,
};

struct pvsched_policy_in {
	__u32 event; /* one PVSCHED_EV_*; an exit by HLT is VMEXIT and HALT at once */
	__u32 context; /* PVSCHED_CTX_* flags, known bits only */
	struct pvsched_task task; /* what the vCPU runs */
	struct pvsched_task pending; /* most urgent woken task; flags without VALID = none */
	__u64 now_ns; /* host CLOCK_MONOTONIC; all times below too */
	__u64 next_event_ns; /* the guest's next timer, clamped to now + 10 s; 0 = none */
	__u64 wait_since_ns; /* since when the vCPU waits for a CPU; now_ns when it does not */
	__u64 intr_since_ns; /* since when an interrupt boost is unanswered; 0 = none */
	__u64 cap_ns; /* longest boost the budget allows now; 0 = throttled or in the gap */
	__u64 lead_ns; /* act this long before next_event: the actuator's latency */
	__u64 grace_ns; /* for PVSCHED_RIVALS_BRIEF */
	__u8 state; /* PVSCHED_STATE_* after this event */
	__u8 rivals; /* enum pvsched_rivals */
	__u8 boosted; /* something other than the baseline is in force or on its way */
	__u8 exit_reason; /* PVSCHED_EV_VMEXIT: enum pvsched_exit */
	__u32 features; /* PVSCHED_F_*, as negotiated; 0 for a guest that knows nothing */
	__u8 base_policy; /* the thread's own scheduling, before any boost */
	__s8 base_nice;
	__u8 page; /* the guest's page is enabled: what it says is above */
	__u8 reserved[5];
};

enum pvsched_level {
	PVSCHED_LEVEL_BASE = 0, /* the thread's own scheduling */
	PVSCHED_LEVEL_RT = 1, /* SCHED_FIFO at value 1..99, clamped to the ceiling */
	PVSCHED_LEVEL_NICE = 2, /* SCHED_OTHER at nice value */
	PVSCHED_LEVEL_IDLE = 3, /* SCHED_IDLE */
};

/* Where a boosted vCPU is to run. Only within its thread's own affinity, and only while boosted. */
enum pvsched_wish {
	PVSCHED_WISH_NONE = 0, /* wherever the host puts it */
	PVSCHED_WISH_APART =
		1, /* on a core of its last-level cache where no other vCPU is boosted */
};

struct pvsched_decision {
	__u8 level; /* enum pvsched_level */
	__s8 value; /* RT priority or nice */
	__u8 reason; /* enum pvsched_reason */
	__u8 ticket; /* 1: this answers an interrupt; give it a fresh ticket */
	__u32 wish; /* enum pvsched_wish */
	__u64 expiry_ns; /* the boost ends by itself; clamped to now + cap_ns */
	__u64 again_ns; /* ask again (PVSCHED_EV_TIMER) then if the vCPU is off; 0 = no */
};

/* The default boost: FIFO 1, above all fair tasks, below all real-time work of the host. */
static inline void pvsched_boost(struct pvsched_decision *out, __u8 reason, __u64 expiry_ns)
{
	out->level = PVSCHED_LEVEL_RT;
	out->value = 1;
	out->reason = reason;
	out->expiry_ns = expiry_ns;
}

/*
 * Defines a policy: its name, its events, its body over `in` and `out` (zeroed: BASE).
 * The object carries {abi, events, name} in section .pvsched so that a loader can list and
 * refuse it without running it.
 */
struct pvsched_policy_info {
	__u32 abi;
	__u32 events;
	char name[24];
};

#define PVSCHED_POLICY(policy_name, policy_events)                                                 \
	const struct pvsched_policy_info pvsched_policy_info                                       \
		__attribute__((section(".rodata.pvsched"),                                         \
			       used)) = { PVSCHED_POLICY_ABI, (policy_events), #policy_name };     \
	static inline __attribute__((always_inline)) void pvsched_policy_body(                     \
		const struct pvsched_policy_in *in, struct pvsched_decision *out);                 \
	__attribute__((noinline)) int pvsched_policy(struct pvsched_policy_in *in,                 \
						     struct pvsched_decision *out)                 \
	{                                                                                          \
		if (!in || !out)                                                                   \
			return -1;                                                                 \
		pvsched_policy_body(in, out);                                                      \
		return 0;                                                                          \
	}                                                                                          \
	static inline __attribute__((always_inline)) void pvsched_policy_body(                     \
		const struct pvsched_policy_in *in, struct pvsched_decision *out)

#endif
