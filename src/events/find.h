/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Finds the VMs of a host without their VMMs' help: from the files that each process holds open to
 * KVM's VMs and vCPUs, and thence to the thread that runs a vCPU. For those that come, go or change
 * later there is news: nothing is looked at, and nobody wakes, while there is none. One per broker;
 * the caller serialises.
 */
#ifndef PVSCHED_EVENTS_FIND_H
#define PVSCHED_EVENTS_FIND_H

#include <linux/types.h>
#include <pvsched/abi.h>

/*
 * Anybody who may open /dev/kvm has his process looked at, so what that takes is bounded: by the descriptors of
 * one thread below this number, of which a VMM makes these among the first,
 */
#define PVSCHED_FOUND_FILES 16384
/* and by their rows: more than a broker has places for, vCPUs' and VMs'. */
#define PVSCHED_FOUND_ROWS 2048

/* A vCPU's file, or a VM's (vcpu is 0), that a process whose memory is that VM's holds open. */
struct pvsched_found {
	__u64 kvm, vcpu; /* the kernel's addresses: to tell them apart, nothing else */
	__s32 tgid;
	__s32 tid; /* runs the vCPU; 0 = none has yet, or the last that did has ended */
	__u32 vcpu_idx, vcpu_id;
	__u64 task, start_time; /* of tid */
};

enum pvsched_news_type {
	PVSCHED_NEWS_VCPU = 1, /* a vCPU was made, or given another TSC as when plugged again */
	PVSCHED_NEWS_RUNS = 2, /* a thread that is not known runs one, in a process awaited */
	PVSCHED_NEWS_EXIT = 3, /* a known thread ended */
};

struct pvsched_news {
	__u32 type;
	__s32 tgid, tid;
	__u32 reserved;
};

/* Asks for, and tells, where a guest frame is in its VMM's memory. */
struct pvsched_frame_at {
	__u64 kvm, gfn;
	__u64 hva; /* 0 = nowhere */
	__u64 slots; /* of which this is true: another number after each change of the VM's */
	__u32 flags; /* KVM_MEM_* of the slot */
	__u32 reserved;
};

#define PVSCHED_NO_FRAME (~0ull) /* asks for nothing but the slots' number */

/* Of one type and process none follows another within this time: whoever hears of one looks when
 * that is over, and has seen all. */
#define PVSCHED_NEWS_QUIET_NS 10000000ull

#ifndef __bpf__
#include <stdbool.h>
#include <sys/types.h>

struct pvsched_finder;
typedef void (*pvsched_finder_say_fn)(void *ctx, const char *line);
typedef void (*pvsched_news_fn)(void *ctx, const struct pvsched_news *news);

/* -ENOTSUP: this kernel cannot; -EPERM. Why is said. */
int pvsched_finder_open(pvsched_finder_say_fn say, void *ctx, struct pvsched_finder **ret);
void pvsched_finder_free(struct pvsched_finder *f);

/* Is there news of new vCPUs at all? If not, only scans find them. */
bool pvsched_finder_has_news(const struct pvsched_finder *f);
int pvsched_finder_poll_fd(const struct pvsched_finder *f); /* readable: news */
int pvsched_finder_news(struct pvsched_finder *f, pvsched_news_fn fn, void *ctx);

/*
 * Processes that may have a VM, one by one: from the first on, and the next; 0 = that was all. -errno. ~50 ns
 * per thread of the host.
 */
int pvsched_finder_rewind(struct pvsched_finder *f);
pid_t pvsched_finder_next(struct pvsched_finder *f);

/*
 * Rows of the process tgid: of the files that its first thread, the leader, has; *ret_rows is the caller's to
 * free. Returns how many, or -errno. *ret_cut: there were more than the bounds allow. ~150 ns per open file,
 * so some ms at most.
 */
int pvsched_finder_scan(struct pvsched_finder *f, pid_t tgid, struct pvsched_found **ret_rows,
			bool *ret_cut);

/* Of a VM that was found and whose process lives. -ENOENT no slot has it now; -EAGAIN slots changed
 * meanwhile; -ESRCH the VM is gone. By any thread while the finder lives, and needs no capability. ~1.5 us. */
int pvsched_finder_frame(struct pvsched_finder *f, __u64 kvm, __u64 gfn,
			 struct pvsched_frame_at *ret);

/* A thread of which no more news is wanted than its end. */
int pvsched_finder_know(struct pvsched_finder *f, pid_t tid, bool known);
/* A process in which a vCPU has no thread yet. While there is one, a program on kvm_fpu sees each
 * way into and out of KVM_RUN on the host; otherwise it is not attached. Returns 1 when the process
 * was not awaited before: who ran its first time until now was missed, so look again. */
int pvsched_finder_await(struct pvsched_finder *f, pid_t tgid, bool awaited);
#endif

#endif
