/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The VM's parts, shared by the files of the VMM. Set up by vmm_create and constant from
 * vmm_start on, but for what is marked: `lock` guards it, or it is atomic.
 */
#ifndef PVSCHED_VMM_INTERNAL_H
#define PVSCHED_VMM_INTERNAL_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

#include "vmm.h"

#define VMM_KICK SIGRTMIN /* blocked but in KVM_RUN: takes a vCPU thread out, no handler runs */

struct vmm_vcpu {
	struct vmm *vm;
	unsigned int index;
	int fd;
	struct kvm_run *run;
	size_t run_size;
	int64_t tsc_offset; /* guest TSC - host TSC; 0 where KVM lets us say so */
	pthread_t thread;
	bool has_thread;
	pid_t tid; /* lock */
	int setup_error; /* lock: 1 = not yet known */
};

struct vmm_memory_block {
	uint8_t *hva;
	size_t size;
	void *map; /* as mapped: hva is aligned inside it */
	size_t map_size;
	int fd; /* -1 = anonymous */
};

struct vmm {
	struct vmm_opts opts;
	char *name;
	int kvm, fd;
	struct vmm_memory_block ram, readonly;
	struct guest_control *control; /* in ram */
	struct vmm_vcpu vcpu[VMM_VCPUS_MAX];
	uint32_t tsc_khz;

	struct pvsched_vm *pvsched;
	int stop_fd; /* eventfd: readable from vmm_stop on */
	pthread_t service;
	bool has_service;

	pthread_mutex_t pci_lock;
	uint32_t pci_address; /* pci_lock: port 0xcf8 */
	uint64_t doorbells_at; /* pci_lock: BAR0 of the ioeventfds; 0 = none */
	_Atomic uint64_t bar;

	pthread_t injector;
	bool has_injector;
	_Atomic uint64_t injected, inject_worst_ns;

	pthread_mutex_t lock;
	pthread_cond_t cond; /* of everything below */
	bool started;
	bool released; /* vCPU threads may run */
	bool may_exit; /* and end: libpvsched has let go of them */
	unsigned int out; /* vCPU threads that will not run again */
	_Atomic bool stopping;
	_Atomic bool dying; /* somebody says why */
	bool dead;
	uint32_t ready, done; /* bit per vCPU */
	pthread_mutex_t stop_lock; /* one vmm_stop at a time */
};

void vmm_say(struct vmm *vm, enum pvsched_log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* memory.c */
int vmm_memory_create(struct vmm *vm);
void vmm_memory_destroy(struct vmm *vm);
/* RAM at gpa, NULL unless all of it is RAM. For addresses that the guest chose. */
void *vmm_ram(struct vmm *vm, uint64_t gpa, uint64_t size);
uint64_t vmm_ring_entries(const struct vmm_vcpu_opts *o);

/* loader.c */
int vmm_load_image(struct vmm *vm);
void vmm_write_control(struct vmm *vm);

/* vcpu.c */
int vmm_vcpu_create(struct vmm *vm, unsigned int index);
void vmm_vcpu_destroy(struct vmm_vcpu *v);
void *vmm_vcpu_thread(void *vcpu);

/* vmm.c: a vCPU thread reports */
void vmm_guest_said(struct vmm_vcpu *v, uint32_t what);
/* The guest cannot go on; the first one is said. */
void vmm_guest_died(struct vmm_vcpu *v, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* pci.c: accesses of the guest */
void vmm_pci_port(struct vmm *vm, uint16_t port, bool write, void *data, size_t size);
void vmm_pci_mmio(struct vmm *vm, uint64_t address, bool write, void *data, size_t size);

/* inject.c */
int vmm_injector_start(struct vmm *vm);

#endif
