// SPDX-License-Identifier: GPL-2.0-only
/*
 * All event programs, one object. It is linked to one policy's object (src/policy) before it is
 * loaded; the broker attaches only the programs of the events that the policy names.
 */
#include <linux/bpf.h>

#include "x86/exits.bpf.h"
#include "x86/lapic.bpf.h"
#include "sched.bpf.h"
#include "timer.h"

char LICENSE[] SEC("license") = "GPL";

static int on_timer(void *map, __u32 *key, struct pvsched_vcpu *v)
{
	return on_time(v, key);
}

/* Run by the broker; registrations are rare. INIT comes before the slot is reachable by any
 * event, FINI after. Flags and features change here and not by a map update, which would write
 * over the counters of a running vCPU. */
SEC("syscall")
int pvsched_slot(struct pvsched_slot_arg *arg)
{
	__u32 slot = arg->slot;
	struct pvsched_vcpu *v = bpf_map_lookup_elem(&vcpus, &slot);
	long err;

	if (!v)
		return -1;
	switch (arg->op) {
	case PVSCHED_SLOT_INIT:
		/* A slot keeps its timer. Since 6.18 the kernel may be out of memory for one: it takes
		 * it without waiting. */
		err = bpf_timer_init(&v->timer, &vcpus, 1 /* CLOCK_MONOTONIC */);
		if (err && err != -16 /* EBUSY */)
			return err;
		return bpf_timer_set_callback(&v->timer, on_timer);
	case PVSCHED_SLOT_ENABLE:
		v->features = arg->value;
		v->placed = 0;
		__sync_fetch_and_or(&v->flags, PVSCHED_V_ENABLED);
		return 0;
	case PVSCHED_SLOT_DISABLE:
		__sync_fetch_and_and(&v->flags, ~PVSCHED_V_ENABLED);
		v->features = 0;
		v->intr_ns = 0;
		v->hva = 0;
		return 0;
	case PVSCHED_SLOT_HVA:
		v->hva = arg->value;
		return 0;
	case PVSCHED_SLOT_CHAIN:
		v->chain = arg->value;
		return 0;
	case PVSCHED_SLOT_POLICY:
		v->policy = arg->value;
		v->timer_at = 0;
		if (!policy_events || arg->value != policy_id)
			pvsched_unseen(v);
		return bpf_timer_set_callback(&v->timer, on_timer);
	case PVSCHED_SLOT_BASE:
		v->base_prio = (__s16)(arg->value >> 16);
		v->base_policy = (__u8)(arg->value >> 8);
		v->base_nice = (__s8)arg->value;
		return 0;
	case PVSCHED_SLOT_FINI:
		v->flags = 0;
		bpf_timer_cancel(&v->timer);
		return 0;
	case PVSCHED_SLOT_SETTLE:
#ifdef PVSCHED_IN_KERNEL
		pvsched_settle(slot, bpf_ktime_get_ns());
#endif
		return 0;
	}
	return -1;
}

/* Run by an agent: a doorbell it heard, or the time it slept for. It applies the result itself.
 * ~1.5 us with its system call. */
SEC("syscall")
int pvsched_agent(struct pvsched_slot_arg *arg)
{
	__u32 slot = arg->slot, event = arg->op;
	struct pvsched_vcpu *v = vcpu_of_slot(slot);

	if (!v || v->policy != policy_id)
		return 0;
	if (event == PVSCHED_EV_DOORBELL)
		count(this_cpu(), events[7]);
	else
		count(this_cpu(), events[6]);
	return pvsched_decide(slot, event | BY_AGENT, bpf_ktime_get_ns(), RIVALS_ASK);
}
