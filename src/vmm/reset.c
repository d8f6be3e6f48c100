/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Power-off and reset of a machine that runs Linux. Whoever asks for it names the state; every
 * vCPU thread then leaves the guest and parks. At a reset the last one there puts everything back
 * to what it was after creation, from a snapshot of then, and lets all run. `lock` guards
 * machine, parked, resets, faults; the reset itself runs while nobody else touches the VM.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "internal.h"

#define MSR_IA32_TSC 0x10
#define CHIPS	     3
#define FINISH_TRIES 64
#define FAULTS_MAX   3 /* triple faults that reset it, */
#define FAULTS_S     60 /* in so long: a kernel that cannot boot ends by more */

struct vmm_vcpu_snapshot {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_xsave xsave;
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debug;
	struct kvm_vcpu_events events;
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp;
	bool has_xcrs;
	unsigned int msrs;
	struct kvm_msr_entry msr[];
};

struct vmm_snapshot {
	struct kvm_irqchip chip[CHIPS];
	struct kvm_pit_state2 pit;
	struct vmm_vcpu_snapshot *vcpu[VMM_VCPUS_MAX];
};

static int access_msr(struct vmm_vcpu *v, unsigned long request, struct kvm_msr_entry *entry)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head = { .nmsrs = 1 }, .entry = *entry };
	int ret = ioctl(v->fd, request, &msrs);

	entry->data = msrs.entry.data;
	return ret == 1 ? 0 : -EINVAL;
}

/* Room for all MSRs of this KVM, filled with those that this vCPU has. */
static int save_msrs(struct vmm_vcpu *v, struct vmm_vcpu_snapshot **ret_snapshot)
{
	struct kvm_msr_list count = { .nmsrs = 0 }, *list;
	struct vmm_vcpu_snapshot *s;
	unsigned int i;

	ioctl(v->vm->kvm, KVM_GET_MSR_INDEX_LIST, &count); /* E2BIG: says how many */
	list = calloc(1, sizeof(*list) + count.nmsrs * sizeof(list->indices[0]));
	s = calloc(1, sizeof(*s) + count.nmsrs * sizeof(s->msr[0]));
	if (!list || !s)
		goto fail;
	list->nmsrs = count.nmsrs;
	if (ioctl(v->vm->kvm, KVM_GET_MSR_INDEX_LIST, list))
		goto fail;
	for (i = 0; i < list->nmsrs; i++) {
		struct kvm_msr_entry *e = &s->msr[s->msrs];

		e->index = list->indices[i];
		if (e->index != MSR_IA32_TSC && !access_msr(v, KVM_GET_MSRS, e))
			s->msrs++;
	}
	free(list);
	*ret_snapshot = s;
	return 0;
fail:
	free(list);
	free(s);
	return vmm_vcpu_fail(v, "MSRs");
}

static int save_vcpu(struct vmm_vcpu *v, struct vmm_vcpu_snapshot **ret_snapshot)
{
	struct vmm_vcpu_snapshot *s;
	int ret = save_msrs(v, ret_snapshot);

	if (ret)
		return ret;
	s = *ret_snapshot;
	if (ioctl(v->fd, KVM_GET_REGS, &s->regs) || ioctl(v->fd, KVM_GET_SREGS, &s->sregs) ||
	    ioctl(v->fd, KVM_GET_XSAVE, &s->xsave) || ioctl(v->fd, KVM_GET_DEBUGREGS, &s->debug) ||
	    ioctl(v->fd, KVM_GET_LAPIC, &s->lapic) ||
	    ioctl(v->fd, KVM_GET_VCPU_EVENTS, &s->events) || ioctl(v->fd, KVM_GET_MP_STATE, &s->mp))
		return vmm_vcpu_fail(v, "saving its state for a reset");
	s->has_xcrs = !ioctl(v->fd, KVM_GET_XCRS, &s->xcrs); /* not where there is no XSAVE */
	return 0;
}

int vmm_snapshot_take(struct vmm *vm)
{
	struct vmm_snapshot *s = calloc(1, sizeof(*s));
	unsigned int i;
	int ret = 0;

	if (!s)
		return -ENOMEM;
	vm->snapshot = s;
	for (i = 0; i < CHIPS; i++) {
		s->chip[i].chip_id = i;
		if (ioctl(vm->fd, KVM_GET_IRQCHIP, &s->chip[i]))
			goto fail;
	}
	if (ioctl(vm->fd, KVM_GET_PIT2, &s->pit))
		goto fail;
	for (i = 0; !ret && i < vm->opts.vcpus; i++)
		ret = save_vcpu(&vm->vcpu[i], &s->vcpu[i]);
	return ret;
fail:
	ret = -errno;
	vmm_say(vm, PVSCHED_LOG_ERROR, "saving the interrupt controllers' state: %s",
		strerror(-ret));
	return ret;
}

void vmm_snapshot_free(struct vmm *vm)
{
	unsigned int i;

	for (i = 0; vm->snapshot && i < VMM_VCPUS_MAX; i++)
		free(vm->snapshot->vcpu[i]);
	free(vm->snapshot);
}

static int restore_vcpu(struct vmm_vcpu *v, const struct vmm_vcpu_snapshot *s)
{
	struct kvm_msr_entry e;
	unsigned int i;

	if (ioctl(v->fd, KVM_SET_MP_STATE, &s->mp) || ioctl(v->fd, KVM_SET_REGS, &s->regs) ||
	    ioctl(v->fd, KVM_SET_SREGS, &s->sregs) || ioctl(v->fd, KVM_SET_XSAVE, &s->xsave) ||
	    (s->has_xcrs && ioctl(v->fd, KVM_SET_XCRS, &s->xcrs)) ||
	    ioctl(v->fd, KVM_SET_DEBUGREGS, &s->debug) || ioctl(v->fd, KVM_SET_LAPIC, &s->lapic))
		return vmm_vcpu_fail(v, "reset");
	for (i = 0; i < s->msrs; i++) {
		e = s->msr[i];
		access_msr(v, KVM_SET_MSRS, &e); /* some can only be read */
	}
	if (ioctl(v->fd, KVM_SET_VCPU_EVENTS, &s->events))
		return vmm_vcpu_fail(v, "reset");
	return vmm_vcpu_set_tsc(v);
}

/* No vCPU is in the guest. The device first: its pages are in the memory that is loaded anew. */
static int reset_machine(struct vmm *vm)
{
	const struct vmm_snapshot *s = vm->snapshot;
	unsigned int i;
	int ret = 0;

	vmm_pci_reset(vm);
	vmm_ports_reset(vm);
	vmm_console_reset(vm);
	for (i = 0; i < CHIPS; i++)
		if (ioctl(vm->fd, KVM_SET_IRQCHIP, &s->chip[i]))
			ret = -errno;
	if (ioctl(vm->fd, KVM_SET_PIT2, &s->pit))
		ret = -errno;
	if (ret) {
		vmm_say(vm, PVSCHED_LOG_ERROR, "reset of the interrupt controllers: %s",
			strerror(-ret));
		return ret;
	}
	for (i = 0; !ret && i < vm->opts.vcpus; i++)
		ret = restore_vcpu(&vm->vcpu[i], s->vcpu[i]);
	if (!ret)
		ret = vmm_linux_load(vm);
	if (!ret)
		ret = vmm_vcpu_set_start(&vm->vcpu[0]);
	return ret;
}

void vmm_machine_end(struct vmm *vm, enum vmm_machine state)
{
	unsigned int i;

	pthread_mutex_lock(&vm->lock);
	if (state == VMM_MACHINE_OFF)
		vm->off = true;
	/* one that stops kicks them itself, and they may have ended since */
	if (atomic_load(&vm->machine) == VMM_MACHINE_RUNS && !atomic_load(&vm->stopping)) {
		atomic_store(&vm->machine, state);
		for (i = 0; i < vm->opts.vcpus; i++)
			if (vm->vcpu[i].has_thread)
				pthread_kill(vm->vcpu[i].thread, VMM_KICK);
	}
	pthread_cond_broadcast(&vm->cond);
	pthread_mutex_unlock(&vm->lock);
}

bool vmm_machine_fault(struct vmm *vm)
{
	bool resets = true;
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	pthread_mutex_lock(&vm->lock);
	/* two vCPUs in one life of the machine count once */
	if (atomic_load(&vm->machine) == VMM_MACHINE_RUNS) {
		if (t.tv_sec - vm->faults_from > FAULTS_S)
			vm->faults = 0;
		if (!vm->faults++)
			vm->faults_from = t.tv_sec;
		resets = vm->faults <= FAULTS_MAX;
	}
	pthread_mutex_unlock(&vm->lock);
	if (resets)
		vmm_machine_end(vm, VMM_MACHINE_RESET);
	return resets;
}

/* KVM has yet to write back what a port access left open, and would do it after a reset. */
static void finish_exit(struct vmm_vcpu *v)
{
	unsigned int i;

	v->run->immediate_exit = 1;
	for (i = 0; i < FINISH_TRIES && !ioctl(v->fd, KVM_RUN, 0); i++)
		;
	v->run->immediate_exit = 0;
}

void vmm_machine_park(struct vmm_vcpu *v)
{
	struct vmm *vm = v->vm;
	uint64_t resets;
	int ret;

	finish_exit(v);
	pthread_mutex_lock(&vm->lock);
	resets = vm->resets;
	if (++vm->parked == vm->opts.vcpus && atomic_load(&vm->machine) == VMM_MACHINE_RESET) {
		pthread_mutex_unlock(&vm->lock);
		ret = reset_machine(vm);
		if (ret)
			vmm_guest_died(v, "reset: %s", strerror(-ret));
		pthread_mutex_lock(&vm->lock);
		if (!ret) {
			vm->resets++;
			vm->parked = 0;
			atomic_store(&vm->machine, VMM_MACHINE_RUNS);
			pthread_cond_broadcast(&vm->cond);
		}
	}
	while (vm->resets == resets && !atomic_load(&vm->stopping))
		pthread_cond_wait(&vm->cond, &vm->lock);
	pthread_mutex_unlock(&vm->lock);
}

uint64_t vmm_resets(struct vmm *vm)
{
	uint64_t resets;

	pthread_mutex_lock(&vm->lock);
	resets = vm->resets;
	pthread_mutex_unlock(&vm->lock);
	return resets;
}
