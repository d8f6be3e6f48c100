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

#include "confine.h"
#include "uart.h"
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

struct vmm_file {
	int fd; /* -1 = none */
	uint64_t size;
};

enum vmm_machine {
	VMM_MACHINE_RUNS = 0,
	VMM_MACHINE_RESET = 1, /* every vCPU thread parks, the last one resets */
	VMM_MACHINE_OFF = 2, /* every vCPU thread parks for good */
};

struct vmm_start_state { /* of vCPU 0, or of all of a bare-metal guest's */
	uint64_t rip, rsi, cr3, gdt;
	uint16_t gdt_size, code, data; /* selectors */
};

#define VMM_SERIAL_IRQ 4

struct vmm {
	struct vmm_opts opts;
	char *name;
	int kvm, fd;
	struct vmm_memory_block ram, readonly;
	struct guest_control *control; /* in ram; NULL = a Linux guest */
	struct vmm_file kernel, initrd;
	struct vmm_start_state start;
	struct vmm_snapshot *snapshot; /* of Linux: what a reset returns to */
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
	_Atomic uint16_t pm_enable; /* ACPI's register */

	pthread_t injector;
	bool has_injector;
	_Atomic uint64_t injected, inject_worst_ns;

	pthread_mutex_t serial_lock;
	struct uart uart; /* serial_lock */
	bool serial_level; /* serial_lock: of the interrupt line */
	int room_fd; /* eventfd: the uart takes input again */
	pthread_t console;
	bool has_console;

	pthread_mutex_t lock;
	pthread_cond_t cond; /* of everything below */
	bool started;
	bool released; /* vCPU threads may run */
	bool may_exit; /* and end: libpvsched has let go of them */
	unsigned int out; /* vCPU threads that will not run again */
	_Atomic enum vmm_machine machine; /* written under lock */
	unsigned int parked; /* vCPU threads */
	uint64_t resets;
	unsigned int faults; /* triple faults since faults_from, s */
	time_t faults_from;
	bool off; /* Linux has ended */
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
/* Bare-metal guest: RAM at gpa, NULL unless all of it is RAM. For addresses that the guest chose. */
void *vmm_ram(struct vmm *vm, uint64_t gpa, uint64_t size);
uint64_t vmm_ring_entries(const struct vmm_vcpu_opts *o);

/* loader.c */
int vmm_load_image(struct vmm *vm);
void vmm_write_control(struct vmm *vm);

/* linux.c */
int vmm_linux_open(struct vmm *vm);
void vmm_linux_close(struct vmm *vm);
/* Into RAM, and vm->start. Again at each reset. */
int vmm_linux_load(struct vmm *vm);

/* cpuid.c */
int vmm_cpuid_set(struct vmm_vcpu *v);
/* Of what KVM supports. There is room for VMM_CPUID_MORE entries beyond those it has. */
#define VMM_CPUID_MORE 4
void vmm_cpuid_adjust(struct kvm_cpuid2 *cpuid, unsigned int index, unsigned int vcpus);

/* vcpu.c */
int vmm_vcpu_create(struct vmm *vm, unsigned int index);
void vmm_vcpu_destroy(struct vmm_vcpu *v);
void *vmm_vcpu_thread(void *vcpu);
int vmm_vcpu_set_start(struct vmm_vcpu *v);
int vmm_vcpu_set_tsc(struct vmm_vcpu *v);
/* Says what failed, from errno, and returns it negative. */
int vmm_vcpu_fail(struct vmm_vcpu *v, const char *what);

/* vmm.c: a thread is ready to serve the guest. Says what failed; the VM is dead then. */
int vmm_thread_confine(struct vmm *vm, enum vmm_role role);
/* vmm.c: a vCPU thread reports */
void vmm_guest_said(struct vmm_vcpu *v, uint32_t what);
/* The guest cannot go on; the first one is said. */
void vmm_guest_died(struct vmm_vcpu *v, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* pci.c: accesses of the guest */
void vmm_pci_port(struct vmm *vm, uint16_t port, bool write, void *data, size_t size);
void vmm_pci_mmio(struct vmm *vm, uint64_t address, bool write, void *data, size_t size);
void vmm_pci_reset(struct vmm *vm);

/* ports.c: those of a machine that runs Linux */
void vmm_port(struct vmm *vm, uint16_t port, bool write, void *data, size_t size);
void vmm_ports_reset(struct vmm *vm);

/* console.c */
int vmm_console_start(struct vmm *vm);
void vmm_console_port(struct vmm *vm, unsigned int reg, bool write, uint8_t *data);
void vmm_console_reset(struct vmm *vm);

/* reset.c */
int vmm_snapshot_take(struct vmm *vm);
void vmm_snapshot_free(struct vmm *vm);
void vmm_machine_end(struct vmm *vm, enum vmm_machine state);
/* After a triple fault: resets, as real machines do. False: it has too often. */
bool vmm_machine_fault(struct vmm *vm);
/* A vCPU thread, while the machine does not run. Returns when it does again, or stops. */
void vmm_machine_park(struct vmm_vcpu *v);

/* inject.c */
int vmm_injector_start(struct vmm *vm);

#endif
