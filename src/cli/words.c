// SPDX-License-Identifier: GPL-2.0-only
/* Words of the page for people. Everything goes through the validator of src/core first. No state. */
#include <stdio.h>

#include <pvsched/pvsched.h>

#include "core/page.h"
#include "words.h"

const char *show_policy(unsigned int policy)
{
	static const char *const names[] = {
		[PVSCHED_POLICY_NORMAL] = "normal",   [PVSCHED_POLICY_FIFO] = "FIFO",
		[PVSCHED_POLICY_RR] = "RR",	      [PVSCHED_POLICY_BATCH] = "batch",
		[PVSCHED_POLICY_IDLE] = "idle class", [PVSCHED_POLICY_DEADLINE] = "deadline",
		[PVSCHED_POLICY_EXT] = "sched_ext",
	};

	return policy < sizeof(names) / sizeof(*names) && names[policy] ? names[policy] : "?";
}

static int put_class(const struct pvsched_task *t, char *buf, size_t size)
{
	if (t->rt_priority)
		return snprintf(buf, size, "%s %u", show_policy(t->policy), t->rt_priority);
	if (t->policy == PVSCHED_POLICY_NORMAL || t->policy == PVSCHED_POLICY_BATCH)
		return snprintf(buf, size, "%s, nice %d", show_policy(t->policy), t->nice);
	return snprintf(buf, size, "%s", show_policy(t->policy));
}

const char *show_task(uint64_t word, char *buf, size_t size)
{
	struct pvsched_task t;
	int bad = pvsched_task_decode(word, PVSCHED_TASK_LATENCY, &t), used;

	if (bad) {
		snprintf(buf, size, "out of range");
		return buf;
	}
	used = put_class(&t, buf, size);
	if (t.flags & PVSCHED_TASK_LATENCY && used > 0 && (size_t)used < size)
		snprintf(buf + used, size - used, ", latency");
	return buf;
}

const char *show_context(uint64_t word, char *buf, size_t size)
{
	static const struct {
		unsigned int bit;
		const char *name;
	} bits[] = {
		{ PVSCHED_CTX_NMI, "NMI" },	    { PVSCHED_CTX_HARDIRQ, "hardirq" },
		{ PVSCHED_CTX_SOFTIRQ, "softirq" }, { PVSCHED_CTX_CRITICAL, "critical section" },
		{ PVSCHED_CTX_IDLE, "idle" },
	};
	size_t used = 0;
	unsigned int i;

	buf[0] = '\0';
	for (i = 0; i < sizeof(bits) / sizeof(*bits) && used < size; i++)
		if (word & bits[i].bit)
			used += snprintf(buf + used, size - used, "%s%s", used ? ", " : "",
					 bits[i].name);
	return buf;
}

/* The host wrote this one, but it lies in the guest's memory. */
const char *show_grant(uint64_t word, char *buf, size_t size)
{
	unsigned int flags = word >> PVSCHED_TASK_FLAGS_SHIFT & 0xff;
	struct pvsched_task t;
	int used;

	if (!word) {
		snprintf(buf, size, "nothing yet");
		return buf;
	}
	if (pvsched_task_decode(word, 0, &t)) {
		snprintf(buf, size, "out of range");
		return buf;
	}
	used = put_class(&t, buf, size);
	if (used > 0 && (size_t)used < size)
		snprintf(buf + used, size - used, " (%s%s%s)",
			 flags & PVSCHED_GRANT_BOOSTED ? "boosted: " : "",
			 flags & PVSCHED_GRANT_REASON || flags & PVSCHED_GRANT_BOOSTED ? ""
										       : "its own",
			 flags & PVSCHED_GRANT_REASON || flags & PVSCHED_GRANT_BOOSTED
				 ? pvsched_reason_str(flags & PVSCHED_GRANT_REASON)
				 : "");
	return buf;
}

const char *show_state(uint64_t word)
{
	switch (word & 0xff) {
	case PVSCHED_STATE_RUNNING:
		return "running";
	case PVSCHED_STATE_PREEMPTED:
		return "preempted";
	case PVSCHED_STATE_BLOCKED:
		return "blocked";
	default:
		return "unknown";
	}
}

void show_placement_json(struct json *j, uint64_t word)
{
	json_object_inline(j, "placement");
	json_u64(j, "core", word >> PVSCHED_PLACE_CORE_SHIFT & 0xffff);
	json_u64(j, "llc", word >> PVSCHED_PLACE_LLC_SHIFT & 0xffff);
	json_u64(j, "node", word >> PVSCHED_PLACE_NODE_SHIFT & 0xffff);
	json_end(j, '}');
}
