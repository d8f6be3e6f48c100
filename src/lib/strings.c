// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * Names of results and reasons, as operators and logs show them. No state.
 */
#include <pvsched/pvsched.h>

#include "../core/names.h"

const char *pvsched_result_str(unsigned int result)
{
	return result < PVSCHED_R_MAX ? pvsched_result_names[result] : "UNKNOWN";
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
