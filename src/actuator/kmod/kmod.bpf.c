// SPDX-License-Identifier: GPL-2.0-only
/*
 * The event programs of the actuator `kmod`: who calls the module pvsched.ko (module/) with
 * what is desired, and takes note of what it did (note.h).
 *
 * The object is the event programs and this; each policy has one, and all of them are called at each
 * change (pvsched_kmod_done, under the module's lock of the slot, in one of its threads or the
 * broker's): the one of the slot's policy takes note.
 */
#define PVSCHED_IN_KERNEL
#include <linux/bpf.h>

#include "../../events/maps.bpf.h"
#include "took.h"
#include "uapi.h"
static int on_expiry(struct pvsched_vcpu *v, __u32 slot, __u64 now);
int pvsched_settle(__u32 slot, __u64 now);

#include "../../events/events.bpf.c"

extern int pvsched_kmod_want(__u32 slot, __u64 word, __u32 cpu) __ksym;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PVSCHED_SLOTS);
	__type(key, __u32);
	__type(value, struct pvsched_kmod_took);
} kmod_took SEC(".maps");

#define took_of(slot)	      bpf_map_lookup_elem(&kmod_took, &(slot))
#define want(slot, word, cpu) pvsched_kmod_want(slot, word, cpu)
#define acts()		      (config.actuator == PVSCHED_ACTUATOR_KMOD)
#define this_tid()	      ((__u32)bpf_get_current_pid_tgid())

#include "note.h"

SEC("fentry/pvsched_kmod_done")
int BPF_PROG(pvsched_done, __u32 slot, __u64 word, __u32 what, __u64 tsc, __u64 now)
{
	on_done(slot, word, what, tsc, now);
	return 0;
}
