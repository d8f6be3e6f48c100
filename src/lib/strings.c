// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * Names of results and reasons, as operators and logs show them. No state.
 */
#include <pvsched/pvsched.h>

const char *pvsched_result_str(unsigned int result)
{
	static const char *const names[PVSCHED_R_MAX] = {
		[PVSCHED_R_OK] = "OK",
		[PVSCHED_R_BAD_ACCESS] = "BAD_ACCESS",
		[PVSCHED_R_BAD_STATUS] = "BAD_STATUS",
		[PVSCHED_R_BAD_FEATURES] = "BAD_FEATURES",
		[PVSCHED_R_BAD_PROTOCOL] = "BAD_PROTOCOL",
		[PVSCHED_R_BAD_VCPU] = "BAD_VCPU",
		[PVSCHED_R_BAD_GFN] = "BAD_GFN",
		[PVSCHED_R_BAD_HEADER] = "BAD_HEADER",
		[PVSCHED_R_IN_USE] = "IN_USE",
		[PVSCHED_R_NOT_REGISTERED] = "NOT_REGISTERED",
		[PVSCHED_R_BAD_NONCE] = "BAD_NONCE",
		[PVSCHED_R_BAD_COMMAND] = "BAD_COMMAND",
		[PVSCHED_R_READ_ONLY] = "READ_ONLY",
		[PVSCHED_R_HUGETLB] = "HUGETLB",
		[PVSCHED_R_PRIVATE] = "PRIVATE",
		[PVSCHED_R_NO_DMA] = "NO_DMA",
		[PVSCHED_R_RATE] = "RATE",
		[PVSCHED_R_HOST] = "HOST",
	};

	return result < PVSCHED_R_MAX ? names[result] : "UNKNOWN";
}

const char *pvsched_reason_str(unsigned int reason)
{
	static const char *const names[] = {
		[PVSCHED_REASON_NONE] = "none",	      [PVSCHED_REASON_CRITICAL] = "critical",
		[PVSCHED_REASON_TASK] = "task",	      [PVSCHED_REASON_PENDING] = "pending",
		[PVSCHED_REASON_INTR] = "interrupt",  [PVSCHED_REASON_NEXT_EVENT] = "next_event",
		[PVSCHED_REASON_MIRROR] = "mirror",   [PVSCHED_REASON_POLICY] = "policy",
		[PVSCHED_REASON_EXPIRED] = "expired", [PVSCHED_REASON_THROTTLED] = "throttled",
		[PVSCHED_REASON_GAP] = "gap",	      [PVSCHED_REASON_EXTERNAL] = "external",
		[PVSCHED_REASON_PAYBACK] = "payback", [PVSCHED_REASON_HOST_RT] = "host real-time",
	};

	return reason < sizeof(names) / sizeof(names[0]) ? names[reason] : "unknown";
}
