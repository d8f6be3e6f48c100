// SPDX-License-Identifier: GPL-2.0-only
/*
 * VMs and their vCPUs' threads, as the kernel has them: iterators over tasks and open files, and three
 * tracepoints that say when it is worth to look again. Loaded by a broker that serves VMs which
 * are not its clients, once; maps of its own.
 */
#include <linux/bpf.h>

#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "find.h"

#define ANON_INODE_FS_MAGIC 0x09041934
#define THREADS_MAX	    4096 /* vCPUs' threads, and one for each process */
#define PROCESSES_MAX	    1024

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct qstr {
	const unsigned char *name;
};

struct dentry {
	struct qstr d_name;
};

struct path {
	struct dentry *dentry;
};

struct super_block {
	unsigned long s_magic;
};

struct inode {
	struct super_block *i_sb;
};

struct file {
	struct path f_path;
	struct inode *f_inode;
	void *private_data;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

struct mm_struct {
	void *notifier_subscriptions;
};

struct rb_node {
	struct rb_node *rb_right, *rb_left;
};

struct rb_root {
	struct rb_node *rb_node;
};

struct kvm_memslots {
	__u64 generation;
	struct rb_root gfn_tree;
	int node_idx;
};

struct kvm_memory_slot {
	struct rb_node gfn_node[2];
	__u64 base_gfn;
	unsigned long npages;
	unsigned long userspace_addr;
	__u32 flags;
};

struct atomic {
	int counter;
};

struct refcount_struct {
	struct atomic refs;
};

struct kvm {
	struct mm_struct *mm;
	struct kvm_memslots *memslots[1]; /* [0] is the one outside system management mode */
	struct refcount_struct users_count;
};

#pragma clang attribute pop

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, THREADS_MAX);
	__type(key, __u32);
	__type(value, __u32);
} known SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PROCESSES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} awaited SEC(".maps");

struct told_key {
	__u32 tgid, type;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, PROCESSES_MAX);
	__type(key, struct told_key);
	__type(value, __u64);
} told SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} news SEC(".maps");

/* The thread that runs a vCPU, if it lives and is of this process. A struct pid outlives its
 * number, which may be somebody else's by now: the task that it leads to is asked. */
static __always_inline void find_thread(struct kvm_vcpu *kv, struct pvsched_found *row)
{
	struct pid *pid = BPF_CORE_READ(kv, pid);
	struct task_struct *t = NULL;
	struct hlist_node *link;

	if (!pid)
		return;
	link = BPF_CORE_READ(pid, tasks[0].first);
	if (!link)
		return;
	t = (void *)link - bpf_core_field_offset(t->pid_links);
	if (BPF_CORE_READ(t, tgid) != row->tgid)
		return;
	row->tid = BPF_CORE_READ(t, pid);
	row->start_time = BPF_CORE_READ(t, start_time);
	row->task = (__u64)t;
}

static __always_inline bool begins(const char *name, const char *with, int n)
{
	for (int i = 0; i < n; i++)
		if (name[i] != with[i])
			return false;
	return true;
}

/* KVM has itself told of what happens to the memory of a VM's process: few others' are watched. Of a process
 * whose leader has ended there is nothing to be seen. */
SEC("iter/task")
int pvsched_find_process(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct mm_struct *mm;
	__s32 tgid;

	if (!task || task->pid != task->tgid)
		return 0;
	mm = task->mm;
	tgid = task->tgid;
	if (mm && BPF_CORE_READ(mm, notifier_subscriptions))
		bpf_seq_write(ctx->meta->seq, &tgid, sizeof(tgid));
	return 0;
}

/*
 * By the name that KVM gives an anonymous inode, which no process can choose. A VM belongs to the
 * process whose memory it has; a file passed on to another one, or inherited by a child, does not
 * make it that one's.
 */
SEC("iter/task_file")
int pvsched_find(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct pvsched_found row = {};
	const unsigned char *from;
	struct kvm_vcpu *kv;
	char name[16] = "";
	struct kvm *kvm;

	if (!task || !file)
		return 0;
	if (ctx->fd >= PVSCHED_FOUND_FILES) /* the reader's EAGAIN, after all rows */
		return 1;
	if (file->f_inode->i_sb->s_magic != ANON_INODE_FS_MAGIC)
		return 0;
	from = BPF_CORE_READ(file, f_path.dentry, d_name.name);
	if (bpf_probe_read_kernel_str(name, sizeof(name), from) < 7 || !begins(name, "kvm-v", 5))
		return 0;
	row.tgid = task->tgid;
	if (begins(name, "kvm-vcpu:", 9)) {
		kv = file->private_data;
		kvm = BPF_CORE_READ(kv, kvm);
		row.vcpu = (__u64)kv;
		row.vcpu_id = BPF_CORE_READ(kv, vcpu_id);
		row.vcpu_idx = BPF_CORE_READ(kv, vcpu_idx);
		if (row.vcpu_idx >= PVSCHED_VCPUS_MAX)
			return 0;
		find_thread(kv, &row);
	} else if (begins(name, "kvm-vm", 7)) {
		kvm = file->private_data;
	} else {
		return 0;
	}
	row.kvm = (__u64)kvm;
	if (kvm && BPF_CORE_READ(kvm, mm) == task->mm)
		bpf_seq_write(ctx->meta->seq, &row, sizeof(row));
	return 0;
}

#define SLOTS_DEEP   64 /* a red-black tree of 32,764 slots is at most 30 deep */
#define SLOT_INVALID (1u << 16) /* KVM_MEMSLOT_INVALID: it is being deleted, or moved */
#define EAGAIN	     11
#define ENOENT	     2
#define ESRCH	     3

/* Freed memory that is nobody else's yet looks as it did. */
static __always_inline bool is_gone(struct kvm *kvm)
{
	return bpf_core_field_exists(kvm->users_count) &&
	       !BPF_CORE_READ(kvm, users_count.refs.counter);
}

/* The slot that has the frame, by the tree that KVM keeps of them. The generation, read before and after,
 * tells whether they were changed meanwhile: an update writes it last, into the set that takes over. */
SEC("syscall")
int pvsched_find_frame(struct pvsched_frame_at *arg)
{
	struct kvm *kvm = (void *)arg->kvm;
	struct kvm_memslots *slots = BPF_CORE_READ(kvm, memslots[0]);
	__u64 generation = BPF_CORE_READ(slots, generation), gfn = arg->gfn, base;
	struct rb_node *node = BPF_CORE_READ(slots, gfn_tree.rb_node);
	__u32 second = BPF_CORE_READ(slots, node_idx) != 0, offset, flags;
	struct kvm_memory_slot *slot;
	unsigned long npages;

	if (is_gone(kvm))
		return -ESRCH;
	arg->slots = generation;
	if (gfn == PVSCHED_NO_FRAME)
		return 0;
	offset = bpf_core_field_offset(struct kvm_memory_slot, gfn_node) +
		 (second ? sizeof(unsigned long) * 3 : 0); /* struct rb_node is three words */
	for (int i = 0; i < SLOTS_DEEP && node; i++) {
		slot = (void *)node - offset;
		base = BPF_CORE_READ(slot, base_gfn);
		npages = BPF_CORE_READ(slot, npages);
		if (gfn < base) {
			node = BPF_CORE_READ(node, rb_left);
			continue;
		}
		if (gfn - base >= npages) {
			node = BPF_CORE_READ(node, rb_right);
			continue;
		}
		arg->hva = BPF_CORE_READ(slot, userspace_addr) + (gfn - base) * 4096;
		flags = BPF_CORE_READ(slot, flags);
		arg->flags = flags;
		if (BPF_CORE_READ(kvm, memslots[0]) != slots ||
		    BPF_CORE_READ(slots, generation) != generation)
			return -EAGAIN;
		return flags & SLOT_INVALID ? -ENOENT : 0;
	}
	return -ENOENT;
}

/* ~400 ns, and the waking of the broker, but not more often than PVSCHED_NEWS_QUIET_NS allows:
 * whoever makes vCPUs in a loop cannot keep it awake. */
static __always_inline void tell(__u32 type)
{
	__u64 id = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns(), *at;
	struct pvsched_news n = { .type = type, .tgid = id >> 32, .tid = (__u32)id };
	struct told_key key = { .tgid = n.tgid, .type = type };

	at = bpf_map_lookup_elem(&told, &key);
	if (at && now - *at < PVSCHED_NEWS_QUIET_NS)
		return;
	bpf_map_update_elem(&told, &key, &now, BPF_ANY);
	bpf_ringbuf_output(&news, &n, sizeof(n), 0);
}

static __always_inline bool is_known(void)
{
	__u32 tid = bpf_get_current_pid_tgid();

	return bpf_map_lookup_elem(&known, &tid);
}

/* Passed when a vCPU is made, and when its TSC is set. A guest that sets its own does it in a
 * known thread. */
SEC("tp_btf/kvm_write_tsc_offset")
int BPF_PROG(pvsched_find_vcpu)
{
	if (!is_known())
		tell(PVSCHED_NEWS_VCPU);
	return 0;
}

/* KVM_RUN begins: by then the thread is the vCPU's. ~60 ns for all others. */
SEC("tp_btf/kvm_fpu")
int BPF_PROG(pvsched_find_run)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;

	if (bpf_map_lookup_elem(&awaited, &tgid) && !is_known())
		tell(PVSCHED_NEWS_RUNS);
	return 0;
}

/* ~80 ns for each thread of the host that ends. Never held back: each is one of ours. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(pvsched_find_exit)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct pvsched_news n = { .type = PVSCHED_NEWS_EXIT, .tgid = id >> 32, .tid = (__u32)id };

	if (is_known())
		bpf_ringbuf_output(&news, &n, sizeof(n), 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
