/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The register device as a Linux guest's user space sees it (spec/protocol.md, sections 1 to 4): the
 * PCI function, found through sysfs, BAR0 mapped, spoken to by loads and stores; or where there is none
 * a virtio-serial port, by frames. One thread.
 * What fails is said in e; PVSCHED_R_* results are the host's own words.
 */
#ifndef PVSCHED_GUEST_DEVICE_H
#define PVSCHED_GUEST_DEVICE_H

#include <pvsched/abi.h>
#include <stdbool.h>
#include <stdint.h>

#include "error.h"

struct device {
	char slot[32]; /* 0000:00:01.0; or /dev/vport0p1 */
	int config; /* its configuration space */
	volatile uint32_t *bar; /* NULL = not mapped */
	int stream; /* the port; -1 = none */
	bool broken; /* the stream: an access failed since the last reset, its result was 0 */
	uint64_t features; /* negotiated */
	uint32_t version; /* of the protocol BASE */
	uint32_t vcpus; /* that the host offers */
};

/* Finds, locks, enables (memory, Bus Master) and maps it. Who has it keeps others out until it closes it, or
 * ends. Exit status. */
int device_open(struct device *d, struct cli_error *e);
bool device_is_open(const struct device *d);
/* Could the host still be there? For a PCI function always. */
bool device_is_connected(const struct device *d);
/* Unmaps. What is registered stays so. */
void device_close(struct device *d);

/* Memory decoding and Bus Master on, again, should somebody have switched them off. */
int device_enable(struct device *d, struct cli_error *e);
/* From a reset to FEATURES_OK. version, features: what this guest understands. */
int device_negotiate(struct device *d, uint32_t version, uint64_t features, struct cli_error *e);
/* REGISTER, the nonce read from the page, ENABLE. Waits while the host says RATE. The header of
 * the page is written here; the page must be the guest's own memory at gfn. */
int device_share(struct device *d, uint32_t vcpu, uint64_t gfn, struct pvsched_page *page,
		 struct cli_error *e);
/* Returns PVSCHED_R_*. When it is OK or NOT_REGISTERED the page is the guest's alone. */
uint32_t device_unshare(struct device *d, uint32_t vcpu);
/* Does the host still serve this page, or will again? The page itself says so, and the function's
 * STATUS, one exit; over a stream a host that has gone writes nothing more, and is asked, two frames. */
bool device_has_page(struct device *d, uint32_t vcpu, const struct pvsched_page *page);
/* DRIVER_OK: the host may know that all is set up. */
int device_ready(struct device *d, struct cli_error *e);
/* When it returns no page is attached; false: the function did not answer, and they may be. */
bool device_reset(struct device *d);
/* One store, an exit that KVM answers itself. */
void device_ring(struct device *d, uint32_t vcpu);

#endif
