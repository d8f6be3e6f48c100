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
	bool added; /* the broker knows its thread, or will when it is back */
	pid_t tid;
	uint32_t apic_id;
	bool enabled; /* the broker was told to act on its page */
	int doorbell; /* eventfd; -1 until somebody needs it, then kept until close */
	struct pvsched_overlay overlay;
};

struct pvsched_vm {
	pthread_mutex_t lock;
	pvsched_print_fn print;
	void *print_ctx;
	struct pvsched_client client;
	bool gone_told; /* the device, or the guest's pages, know that client.gone */
	bool rejoins; /* opts.rejoin: pages outlive a broker */
	char name[64], socket[108]; /* as opened, for a broker to come */
	pthread_mutex_t rejoin_lock; /* one rejoin at a time; taken before lock */
	struct pvsched_memory memory;
	void *reserve; /* of mappings, for giving a page back */
	struct pvsched_device device;
	struct pvsched_pci pci;
	uint64_t register_paid_at; /* core/account.h: the rate of REGISTER; 0 = none was made */
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

/* HELLO on a connection of its own or the VM's. */
int pvsched_vm_hello(struct pvsched_vm *vm, struct pvsched_client *client, uint64_t *ret_features);

/* Registers the vCPU's thread with the broker; *ret is the page's overlay, not attached yet. */
int pvsched_vm_join(struct pvsched_vm *vm, unsigned int index, struct pvsched_overlay *ret);

/* Their pages stay with the guest, unread, until the broker is back. */
void pvsched_vm_pause(struct pvsched_vm *vm);

/* ENABLE, and status ENABLED. 0 or -errno. */
int pvsched_vm_enable(struct pvsched_vm *vm, unsigned int index);

/* Gives the guest its own page back, if need be with the reserve. 0 or -ENOMEM. */
int pvsched_vm_give_back(struct pvsched_vm *vm, unsigned int index);

/* The vCPU's doorbell, made when it is first asked for. */
int pvsched_vm_doorbell(struct pvsched_vm *vm, unsigned int index);

#endif
