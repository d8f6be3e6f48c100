/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The VM object, and what the files of the library share. Every public function takes the mutex
 * by pvsched_vm_lock() and leaves by pvsched_vm_unlock(), which also tells the register device
 * when the broker was lost meanwhile: the device's ops run inside the device and must not.
 */
#ifndef PVSCHED_LIB_VM_H
#define PVSCHED_LIB_VM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <pvsched/pvsched.h>

#include "core/device.h"
#include "lib/client.h"
#include "lib/memory.h"
#include "lib/overlay.h"
#include "transport/pci.h"

struct pvsched_vcpu {
	bool added; /* the broker knows its thread */
	bool enabled; /* the broker was told to act on its page */
	int doorbell; /* eventfd; -1 until somebody needs it, then kept until close */
	struct pvsched_overlay overlay;
};

struct pvsched_vm {
	pthread_mutex_t lock;
	pvsched_print_fn print;
	void *print_ctx;
	struct pvsched_client client;
	bool gone_told; /* the device knows that client.gone */
	struct pvsched_memory memory;
	void *reserve; /* of mappings, for giving a page back */
	struct pvsched_device device;
	struct pvsched_pci pci;
	/* token bucket of REGISTER, in ns of credit */
	uint64_t register_credit_ns;
	uint64_t register_seen_ns;
	unsigned int vcpus;
	struct pvsched_vcpu vcpu[];
};

extern const struct pvsched_device_ops pvsched_vm_device_ops;

void pvsched_vm_lock(struct pvsched_vm *vm);
void pvsched_vm_unlock(struct pvsched_vm *vm);

__attribute__((format(printf, 3, 4))) void
pvsched_vm_print(struct pvsched_vm *vm, enum pvsched_log_level level, const char *format, ...);

/* Copies a caller's versioned struct, as large as it says it is, over *dst, which is zero. What
 * this build does not know must be zero: -EINVAL. */
int pvsched_opts_copy(void *dst, size_t dst_size, const void *src);

/* Gives the guest its own page back, if need be with the reserve. 0 or -ENOMEM. */
int pvsched_vm_give_back(struct pvsched_vm *vm, unsigned int index);

/* The vCPU's doorbell, made when it is first asked for. */
int pvsched_vm_doorbell(struct pvsched_vm *vm, unsigned int index);

#endif
