/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * libpvsched: what a VMM embeds. It gives the VMM the pvsched device (PCI function: config
 * space, BAR0, one doorbell per vCPU), puts each guest page under the host's BPF programs, and
 * speaks to the broker that owns them. The library needs no privilege, prints nothing, never
 * exits, and starts no thread.
 *
 * Returns: 0 or -errno; constructors return NULL and set errno. Strings are UTF-8.
 *
 * Threads: all functions on one pvsched_vm may be called from any thread; a mutex inside
 * serialises them. pvsched_vm__add_vcpu() is about the thread `tid`, whoever calls. The print
 * callback runs on the calling thread with the mutex held and must not call back.
 * pvsched_vm__close() must be the last call.
 *
 * Blocking: bar_write() of a command, config_write() and set_bus_master() that clear Bus Master
 * Enable, reset(), add_vcpu(), remove_vcpu(), del_memory(), vcpu_stats(), open(), rejoin() and
 * close() talk to the broker over a local socket and wait at most PVSCHED_TIMEOUT_MS, rejoin() once more that
 * for each vCPU; a broker that took longer counts as gone. Nothing else waits, but for the mutex.
 */
#ifndef PVSCHED_PVSCHED_H
#define PVSCHED_PVSCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <pvsched/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PVSCHED_TIMEOUT_MS 2000
#define PVSCHED_SOCKET	   "/run/pvsched/broker.sock"

struct pvsched_vm;

enum pvsched_log_level { PVSCHED_LOG_ERROR, PVSCHED_LOG_WARN, PVSCHED_LOG_INFO };
typedef void (*pvsched_print_fn)(enum pvsched_log_level level, const char *line, void *ctx);

struct pvsched_vm_opts {
	size_t sz; /* sizeof(struct pvsched_vm_opts) */
	const char *name; /* shown to operators; NULL = the process's name. Copied */
	const char *socket; /* NULL = $PVSCHED_SOCKET, else PVSCHED_SOCKET. Copied */
	unsigned int vcpus; /* 1..PVSCHED_VCPUS_MAX */
	pvsched_print_fn print; /* NULL = silent */
	void *print_ctx;
	bool rejoin; /* when the broker is lost keep the guest's pages for pvsched_vm__rejoin() */
};

/*
 * Connects to the broker. errno: ENOENT or ECONNREFUSED no broker runs, EACCES the broker
 * refuses this user, EPROTO another version, EINVAL bad options, ENOMEM, ETIMEDOUT.
 */
struct pvsched_vm *pvsched_vm__open(const struct pvsched_vm_opts *opts);

/* Detaches every page (guest memory gets its own backing again, contents kept), restores every
 * thread, frees. The VMM must still have its guest memory mapped. NULL is allowed. */
void pvsched_vm__close(struct pvsched_vm *vm);

#define PVSCHED_MEM_READONLY (1u << 0)
#define PVSCHED_MEM_PRIVATE  (1u << 1) /* guest_memfd, encrypted: never readable by the host */

/*
 * Tells of guest memory, as KVM_SET_USER_MEMORY_REGION did: gpa, size in bytes, both 4 KiB
 * aligned; hva where it is mapped. fd and fd_offset name its backing, -1 and 0 for anonymous
 * memory; it shows huge pages in time, and is not needed after the call: while a page is attached
 * the guest's own waits elsewhere in the process and is moved back as it was. Until then nothing
 * may discard, protect or unmap that page (ballooning: MADV_DONTNEED over it makes the guest's
 * next access fault). -EINVAL alignment, -EEXIST overlap, -ENOSPC more than 64 slots.
 */
int pvsched_vm__add_memory(struct pvsched_vm *vm, uint64_t gpa, uint64_t size, void *hva, int fd,
			   uint64_t fd_offset, unsigned int flags);
/* Detaches pages in it first; call it before the memory is unmapped. -ENOENT no slot starts at
 * gpa, -ENOMEM a page could not be moved back (vm.max_map_count) and the slot stays. */
int pvsched_vm__del_memory(struct pvsched_vm *vm, uint64_t gpa);

/*
 * Registers a vCPU thread of this process. index: 0..vcpus-1, the number the guest selects: Linux
 * guests on x86 select their APIC ids, so let both be one; some may stay unused. apic_id: its local
 * APIC's id; vcpu_fd: KVM's, borrowed until remove or close.
 * Call when the thread exists (before its first KVM_RUN is fine).
 * -EPERM the thread is not this process's, -EEXIST, -EINVAL, -ENOSPC the broker is full, -EUSERS this
 * user has his share of it, -EPIPE broker gone, -ETIMEDOUT.
 * remove_vcpu: call before the thread ends; -ENOENT it was not added, -ENOMEM its page could not
 * be moved back: del_memory first.
 */
int pvsched_vm__add_vcpu(struct pvsched_vm *vm, unsigned int index, pid_t tid, uint32_t apic_id,
			 int vcpu_fd);
int pvsched_vm__remove_vcpu(struct pvsched_vm *vm, unsigned int index);

/* The eventfd to give to KVM_IOEVENTFD for BAR0 + PVSCHED_REG_DOORBELL + 4 * index (length 4, no
 * data match). Owned by the library. -EINVAL bad index. A VMM without ioeventfd passes the MMIO
 * write to bar_write() instead. */
int pvsched_vm__doorbell_fd(struct pvsched_vm *vm, unsigned int index);

/* BAR0. offset below PVSCHED_BAR_SIZE; any size the guest used: bad ones read 0 or are ignored,
 * and counted (a guest cannot make these fail). data: little-endian, size bytes. */
void pvsched_vm__bar_read(struct pvsched_vm *vm, uint64_t offset, void *data, size_t size);
void pvsched_vm__bar_write(struct pvsched_vm *vm, uint64_t offset, const void *data, size_t size);

/* For a VMM with a PCI layer of its own: tell of Bus Master Enable, and of resets of the function
 * or the system; reset clears Bus Master Enable, too. */
void pvsched_vm__set_bus_master(struct pvsched_vm *vm, bool on);
void pvsched_vm__reset(struct pvsched_vm *vm);

/*
 * For a VMM without: the function's 256 bytes of configuration space. size 1, 2 or 4. *ret_bar
 * is BAR0's guest physical address while memory decoding is on, else 0; compare it after a write
 * to place or move the MMIO region and its ioeventfds.
 */
void pvsched_vm__config_read(struct pvsched_vm *vm, unsigned int offset, void *data, size_t size);
void pvsched_vm__config_write(struct pvsched_vm *vm, unsigned int offset, const void *data,
			      size_t size, uint64_t *ret_bar);

/* Readable when the broker has something to say; then call dispatch(), which does not block.
 * dispatch: 0, or -EPIPE once the broker is gone: threads are restored, the guest has its own
 * pages back, with status OFF, and NEEDS_RESET in the device (opts.rejoin: see rejoin()). The VM
 * goes on without pvsched: stop polling; all functions go on working, add_vcpu() and vcpu_stats()
 * with -EPIPE. */
int pvsched_vm__poll_fd(struct pvsched_vm *vm);
int pvsched_vm__dispatch(struct pvsched_vm *vm);

/*
 * After dispatch() told of a lost broker: joins the one that runs now. 0: its vCPU threads are
 * registered again, poll_fd() is watched again, same number. With opts.rejoin the guest's pages
 * were kept meanwhile, status PAUSED, unread; they are enabled again as they are and the guest need
 * not notice. Without, it starts over when it finds NEEDS_RESET. Errors as of open(): none of them
 * final, so call it every now and then; -EEXIST the old broker has not let the threads go yet.
 */
int pvsched_vm__rejoin(struct pvsched_vm *vm);

struct pvsched_vcpu_stats {
	size_t sz; /* in: sizeof the caller's struct; out: bytes filled */
	uint64_t boosts; /* applied since add_vcpu */
	uint64_t boosted_ns; /* time run at better than baseline */
	uint64_t run_ns; /* time run */
	uint64_t steal_ns; /* time runnable, not running */
	uint64_t denied_throttle; /* requests refused: budget */
	uint64_t denied_gap; /* requests refused: the gap after a full stretch */
	uint64_t expired; /* boosts ended by expiry */
	uint64_t bad_words; /* fields of the page out of range */
	uint64_t doorbells;
	uint32_t page; /* PVSCHED_PAGE_* */
	uint32_t grant; /* low half of the page's grant word, as last written */
};
/* -EINVAL bad index or sz, -ENOENT no such vCPU was added, -EPIPE, -ETIMEDOUT. */
int pvsched_vm__vcpu_stats(struct pvsched_vm *vm, unsigned int index,
			   struct pvsched_vcpu_stats *ret_stats);

struct pvsched_device_stats {
	size_t sz;
	uint32_t status; /* PVSCHED_S_* */
	uint32_t epoch;
	uint64_t features; /* negotiated */
	uint32_t protocol, protocol_version;
	uint64_t errors
		[PVSCHED_R_MAX]; /* by result code: what the guest did wrong; last, for it grows */
};
int pvsched_vm__device_stats(struct pvsched_vm *vm, struct pvsched_device_stats *ret_stats);

const char *pvsched_result_str(unsigned int result); /* "BAD_GFN"; never NULL */
const char *pvsched_reason_str(unsigned int reason); /* "critical"; never NULL */

#ifdef __cplusplus
}
#endif
#endif
