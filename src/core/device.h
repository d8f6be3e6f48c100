/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The register device as a pure state machine: reads, writes, Bus Master, reset; effects only
 * through ops. No OS call, no allocation, no time. The owner serialises calls.
 * Rules: spec/protocol.md, section "Device"; each numbered MUST names its test.
 */
#ifndef PVSCHED_CORE_DEVICE_H
#define PVSCHED_CORE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <pvsched/abi.h>

/*
 * What attaching a page needs from the transport. Each returns PVSCHED_R_* and changes nothing
 * when that is not R_OK; none calls back into the device.
 * epoch: counts resets; whoever acts later for a page compares it and drops stale work.
 */
struct pvsched_device_ops {
	/* Copies line 0 of the page at gfn, once. R_BAD_GFN, R_READ_ONLY, R_PRIVATE, ... */
	uint32_t (*read_header)(void *ctx, uint64_t gfn, struct pvsched_page *ret_line0);
	/* Puts the page under the host and writes status ATTACHED and the nonce into it. */
	uint32_t (*attach)(void *ctx, unsigned int vcpu, uint64_t gfn, uint64_t nonce);
	/* From here on the host reads the page and acts. On failure the device detaches the page. */
	uint32_t (*enable)(void *ctx, unsigned int vcpu, uint64_t features);
	/* Restores the thread, gives the page back; cannot fail. Called for attached pages only. */
	void (*detach)(void *ctx, unsigned int vcpu);
	/* Unpredictable, never 0. */
	uint64_t (*nonce)(void *ctx);
	/* Rate limit of REGISTER: R_OK or R_RATE. */
	uint32_t (*may_register)(void *ctx);
	void (*doorbell)(void *ctx, unsigned int vcpu);
};

struct pvsched_device_vcpu {
	uint64_t gfn; /* register VCPU_GFN; frozen, so the page's GFN, while page != OFF */
	uint64_t nonce_in; /* register VCPU_NONCE; cleared by REGISTER */
	uint64_t nonce; /* expected; 0 while page != ATTACHED */
	uint32_t result;
	uint32_t page; /* PVSCHED_PAGE_OFF, ATTACHED, ENABLED */
};

struct pvsched_device {
	const struct pvsched_device_ops *ops;
	void *ctx;
	uint64_t host_features;
	uint64_t guest_features;
	uint32_t status;
	uint32_t error;
	uint32_t proto_select;
	uint32_t choice_id, choice_version;
	uint32_t vcpu_select;
	uint32_t vcpus;
	uint32_t epoch;
	bool bus_master;
	uint64_t errors[PVSCHED_R_MAX];
	struct pvsched_device_vcpu vcpu[PVSCHED_VCPUS_MAX];
};

void pvsched_device_init(struct pvsched_device *d, const struct pvsched_device_ops *ops, void *ctx,
			 unsigned int vcpus, uint64_t host_features);
/* 4-byte aligned accesses; anything else reads 0 / is ignored and counts R_BAD_ACCESS. */
uint32_t pvsched_device_read(struct pvsched_device *d, uint64_t offset, size_t size);
void pvsched_device_write(struct pvsched_device *d, uint64_t offset, size_t size, uint32_t value);
/* Clearing it detaches every page and sets NEEDS_RESET if DRIVER_OK was set. Telling the present
 * value again does nothing. */
void pvsched_device_set_bus_master(struct pvsched_device *d, bool on);
/* Detaches every page, epoch + 1, all registers as after init (errors and bus_master kept). */
void pvsched_device_reset(struct pvsched_device *d);
/* The host takes one page away, its memory or its vCPU goes: as UNREGISTER. vcpu < d->vcpus. */
void pvsched_device_detach(struct pvsched_device *d, unsigned int vcpu);
/* The host side failed (broker gone): detaches, sets NEEDS_RESET. */
void pvsched_device_host_gone(struct pvsched_device *d);

#endif
