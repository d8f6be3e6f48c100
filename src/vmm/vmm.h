/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The reference VMM: one VM on /dev/kvm that runs the bare-metal guest or a stock Linux kernel,
 * with or without a pvsched device. For `pvsched run`, `pvsched bench` and tests; not a product.
 *
 * Life: vmm_create -> vmm_start -> (vmm_wait_ready -> vmm_go) -> vmm_wait -> vmm_stop ->
 * results -> vmm_destroy; with Linux vmm_create -> vmm_start -> vmm_wait -> vmm_destroy. Functions of one VM are called from one thread, except vmm_stop,
 * which may be called from any. Each vCPU has a thread; one more serves libpvsched's poll fd,
 * one more injects (only with a vCPU that runs GUEST_BUSY_RANDOM).
 *
 * Returns 0 or -errno. Whatever fails is also said in one line (what, on what, why, what to do)
 * through opts.print, which may be called from any of the VM's threads.
 * A Linux guest has no results: what asks for them says -ENOTSUP.
 * What the guest wrote (struct guest_vcpu, pages, samples) is copied by the accessors, bounded.
 */
#ifndef PVSCHED_VMM_H
#define PVSCHED_VMM_H

#include <pvsched/pvsched.h>

#include "guestabi.h"

#define VMM_VCPUS_MAX GUEST_VCPUS_MAX

struct vmm;

enum vmm_memory {
	VMM_MEMORY_ANON = 0, /* 4 KiB pages */
	VMM_MEMORY_THP = 1, /* transparent huge pages (madvise) */
	VMM_MEMORY_HUGETLB = 2, /* reserved 2 MiB pages: overlay is refused */
	VMM_MEMORY_MEMFD = 3, /* a shared memfd */
};

enum vmm_sched { /* of the vCPU threads */
		 VMM_SCHED_OTHER = 0, /* SCHED_OTHER, nice 0 */
		 VMM_SCHED_NICE = 1, /* SCHED_OTHER, nice -20 */
		 VMM_SCHED_FIFO = 2, /* SCHED_FIFO 1 */
};

struct vmm_vcpu_opts {
	enum guest_workload workload;
	uint64_t period_ns; /* 0 = 1 ms; GUEST_BUSY_RANDOM: mean of the gaps */
	uint64_t floor_ns; /* GUEST_BUSY_RANDOM: least gap; 0 = 200 us */
	uint64_t section_ns, gap_ns; /* GUEST_CRITICAL; 0 = 50 us */
	/* Loop iterations that are section_ns of work; 0 = the guest calibrates when it boots. To
	 * compare VMs give all of them the section_iterations that one reported. */
	uint32_t iterations;
	uint64_t samples; /* wanted; 0 = endless */
	bool pinned; /* to cpu */
	int cpu;
};

#define VMM_READONLY_GPA 0x40000000ull /* opts.readonly_slot: 2 MiB that the guest cannot write */

/* A Linux guest in place of the bare-metal one, whose options then count for nothing. */
struct vmm_kernel_opts {
	const char *file; /* bzImage; NULL = the bare-metal guest */
	const char *initrd; /* NULL = none */
	const char *append; /* command line; NULL = "console=ttyS0" */
	uint64_t memory; /* bytes, in steps of 2 MiB */
	int in, out; /* its serial console; -1 = none. Borrowed until vmm_stop */
	bool escape; /* in: Ctrl-A x ends the VM, Ctrl-A Ctrl-A is Ctrl-A */
};

struct vmm_opts {
	const char *name; /* shown to operators; NULL = "guest" */
	bool pvsched; /* has the PCI function; needs a broker */
	const char *socket; /* the broker's; NULL = libpvsched's default */
	const char *image; /* file; NULL = the image linked into this program */
	struct vmm_kernel_opts kernel;
	unsigned int vcpus; /* 1..VMM_VCPUS_MAX */
	struct vmm_vcpu_opts vcpu[VMM_VCPUS_MAX];
	enum vmm_sched sched;
	enum vmm_memory memory;
	bool readonly_slot;
	uint32_t guest_flags; /* GUEST_F_* */
	int64_t tsc_offset; /* guest TSC - host TSC, after scaling */
	/* Of the guest's TSC; 0 = the host's. Not with GUEST_BUSY_RANDOM, whose stamps are the
	 * host's. -ENOTSUP where this KVM cannot scale. */
	uint32_t tsc_khz;
	uint64_t pages_gpa; /* where the guest's pages are; 0 = its own choice */
	uint64_t seed; /* of the random intervals and of GUEST_HOSTILE */
	const struct guest_step *script; /* in place of the handshake; NULL = none. Copied */
	unsigned int steps;
	pvsched_print_fn print; /* NULL = silent */
	void *print_ctx;
};

int vmm_create(const struct vmm_opts *opts, struct vmm **ret_vm);
/* Stops first if need be. NULL is allowed. */
void vmm_destroy(struct vmm *vm);

/* Starts the threads; they are registered, pinned and scheduled as asked when it returns. */
int vmm_start(struct vmm *vm);
/* With GUEST_F_WAIT_GO: until every vCPU is booted, through the handshake and calibrated; it
 * then halts. -ETIMEDOUT; -EIO the guest died; -ECANCELED stopped. */
int vmm_wait_ready(struct vmm *vm, unsigned int timeout_ms);
int vmm_go(struct vmm *vm);
/* Until every vCPU with a number of samples wanted has them, or Linux has switched the machine
 * off. Errors as above. An endless guest: returns -ETIMEDOUT when the time is over. */
int vmm_wait(struct vmm *vm, unsigned int timeout_ms);
/* Any thread, any time, any number of times. When it returns no thread of the VM is left. */
void vmm_stop(struct vmm *vm);

/* How often Linux has rebooted: then every page was detached, every thread restored. */
uint64_t vmm_resets(struct vmm *vm);

/* A snapshot of the control block without vCPU blocks' stamps: cheap enough to poll. */
struct vmm_vcpu_info {
	struct pvsched_page page; /* what the guest published and was granted; zero if none */
	uint32_t state; /* enum guest_state; an unknown value reads GUEST_FAULT */
	uint32_t phase; /* enum guest_workload: what GUEST_DEMO plays now */
	uint64_t page_gpa; /* 0 = none, or not RAM */
	uint64_t samples, interrupts, missed, sections, doorbells, acks;
	uint64_t start_tsc, end_tsc, section_iterations;
	pid_t tid;
};
int vmm_vcpu_info(struct vmm *vm, unsigned int index, struct vmm_vcpu_info *ret_info);

struct vmm_guest_info {
	uint32_t device; /* enum guest_device */
	uint32_t result; /* PVSCHED_R_* of the handshake */
	uint32_t result_vcpu;
	uint32_t steps_done, mismatches;
	uint64_t features;
	uint64_t bar;
};
int vmm_guest_info(struct vmm *vm, struct vmm_guest_info *ret_info);
/* Step of the script as executed. -EINVAL no such step. */
int vmm_step(struct vmm *vm, unsigned int index, struct guest_step *ret_step);

/* Copies up to max samples (ns) of a vCPU, oldest first; returns how many. With samples wanted,
 * exactly the first that many; endless: the newest. */
size_t vmm_samples(struct vmm *vm, unsigned int index, uint64_t *buf, size_t max);
uint32_t vmm_tsc_khz(const struct vmm *vm);
uint64_t vmm_ticks_to_ns(const struct vmm *vm, uint64_t ticks);

/* The random injector: how many, and the longest time between a stamp and the end of its
 * injection (host noise that the samples contain). Zero without one. */
struct vmm_injector_info {
	uint64_t injected;
	uint64_t worst_ns;
};
int vmm_injector_info(struct vmm *vm, struct vmm_injector_info *ret_info);

/* For pvsched_vm__vcpu_stats() and the like; NULL without pvsched. Valid until vmm_destroy. */
struct pvsched_vm *vmm_pvsched(struct vmm *vm);
/* Injects GUEST_VECTOR_MSI into a vCPU (an MSI as a device would send it). */
int vmm_inject(struct vmm *vm, unsigned int index);

/* Why /dev/kvm did not open with this errno, and what to do. */
const char *vmm_kvm_why(int error);

const char *vmm_workload_str(unsigned int workload); /* "busy-random"; NULL if unknown */
/* -EINVAL if there is none of that name. */
int vmm_workload_parse(const char *name, enum guest_workload *ret_workload);

#endif
