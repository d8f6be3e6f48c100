// SPDX-License-Identifier: GPL-2.0-only
/* Calls the module's kfunc for tests/native/kmod.c, as event programs do; and counts what it tells. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

extern int pvsched_kmod_want(__u32 slot, __u64 word, __u32 cpu) __ksym;

struct call {
	__u64 word;
	__u32 slot, cpu;
};

SEC("syscall")
int call_want(struct call *c)
{
	return pvsched_kmod_want(c->slot, c->word, c->cpu);
}

/* [0] how often, [1] the last word, [2] all that was said */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64[3]);
} told SEC(".maps");

SEC("fentry/pvsched_kmod_done")
int BPF_PROG(on_done, __u32 slot, __u64 word, __u32 what)
{
	__u32 zero = 0;
	__u64(*t)[3] = bpf_map_lookup_elem(&told, &zero);

	if (!t)
		return 0;
	(*t)[1] = word;
	(*t)[2] |= what;
	__sync_fetch_and_add(&(*t)[0], 1);
	return 0;
}
