/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest in the reference VMM with pvsched, and the test's own peer in the broker's place: a case
 * sees each page as BPF would, and decides what the host grants.
 */
#ifndef PVSCHED_TESTS_VMM_PEER_H
#define PVSCHED_TESTS_VMM_PEER_H

#include <helpers/vmm_bed.h>

#include <helpers/lib_peer.h>
#include <poll.h>

static struct vmm_bed bed;
static struct peer *peer;

static inline int vmm_peer_setup(void **state)
{
	(void)state;
	peer = peer_start();
	return peer ? 0 : -1;
}

static inline int vmm_peer_teardown(void **state)
{
	(void)state;
	vmm_destroy(bed.vm);
	bed.vm = NULL;
	peer_stop(peer);
	return 0;
}

static inline void vmm_peer_init(unsigned int vcpus, enum guest_workload workload, uint64_t samples)
{
	vmm_bed_init(&bed, vcpus, workload, samples);
	bed.opts.pvsched = true;
	bed.opts.socket = peer->path;
}

/* The page as BPF sees it: another mapping of the same memory. */
static inline uint64_t seen(const __u64 *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline void host_writes(__u64 *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static inline struct pvsched_device_stats device_stats(void)
{
	struct pvsched_device_stats stats = { .sz = sizeof(stats) };

	assert_int_equal(pvsched_vm__device_stats(vmm_pvsched(bed.vm), &stats), 0);
	return stats;
}

/* How often the doorbell of the last vCPU rang since the last call; waits for the first. */
static inline uint64_t rings(int timeout_ms)
{
	struct pollfd fd = { .fd = peer->doorbell, .events = POLLIN };
	uint64_t count;

	if (poll(&fd, 1, timeout_ms) != 1)
		return 0;
	assert_int_equal(read(peer->doorbell, &count, sizeof(count)), sizeof(count));
	return count;
}

#endif
