/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The desired state of a vCPU, and in the same layout what was applied: one word, so that it is
 * replaced whole and a reader never sees half a decision.
 *   48..63 seq   46..47 level   38..45 value   32..37 reason   0..31 expiry, ns >> 10
 * Compiles for user space, BPF and the kernel (src/actuator/kmod).
 */
#ifndef PVSCHED_EVENTS_WORD_H
#define PVSCHED_EVENTS_WORD_H

#include <pvsched/policy.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

static __always_inline __u64 pvsched_word(__u16 seq, __u8 level, __s8 value, __u8 reason,
					  __u64 expiry_ns)
{
	return (__u64)seq << 48 | (__u64)(level & 3) << 46 | (__u64)(__u8)value << 38 |
	       (__u64)(reason & 63) << 32 | (__u32)(expiry_ns >> 10);
}
#define PVSCHED_WORD_SEQ(w)    ((__u16)((w) >> 48))
#define PVSCHED_WORD_LEVEL(w)  ((__u8)((w) >> 46 & 3))
#define PVSCHED_WORD_VALUE(w)  ((__s8)((w) >> 38))
#define PVSCHED_WORD_REASON(w) ((__u8)((w) >> 32 & 63))

/* Time left until expiry, negative when past. Exact within 36 minutes; boosts last ms. */
static __always_inline __s64 pvsched_word_left(__u64 word, __u64 now)
{
	return (__s64)(__s32)((__u32)word - (__u32)(now >> 10)) * 1024;
}

/* Does the word ask for something other than the thread's own scheduling, now? */
static __always_inline int pvsched_word_active(__u64 word, __u64 now)
{
	return PVSCHED_WORD_LEVEL(word) != PVSCHED_LEVEL_BASE && pvsched_word_left(word, now) > 0;
}

#endif
