/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One vCPU: long mode as the load contract says, its thread and its exits. The thread is
 * the only one that runs it; vmm_stop takes it out of KVM_RUN with VMM_KICK, which is blocked
 * outside of it, so that none is lost and no handler is needed.
 */
#include <asm/kvm.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <x86intrin.h>

#include "internal.h"

#define MSR_IA32_TSC	 0x10
#define MSR_MTRR_DEFAULT 0x2ff
#define MTRR_ENABLED	 0x800
#define MTRR_WRITE_BACK	 6

int vmm_vcpu_fail(struct vmm_vcpu *v, const char *what)
{
	int error = errno;

	vmm_say(v->vm, PVSCHED_LOG_ERROR, "vCPU %u: %s: %s", v->index, what, strerror(error));
	return -error;
}

/* Long mode, ready to run at vm->start. */
int vmm_vcpu_set_start(struct vmm_vcpu *v)
{
	const struct vmm_start_state *s = &v->vm->start;
	struct kvm_regs regs = {
		.rip = s->rip,
		.rsi = s->rsi,
		.rdi = v->index,
		.rflags = 2,
	};
	struct kvm_segment code = {
		.base = 0,
		.limit = 0xffffffff,
		.selector = s->code,
		.type = 11,
		.present = 1,
		.dpl = 0,
		.db = 0,
		.s = 1,
		.l = 1,
		.g = 1,
	};
	struct kvm_segment data = {
		.base = 0,
		.limit = 0xffffffff,
		.selector = s->data,
		.type = 3,
		.present = 1,
		.dpl = 0,
		.db = 1,
		.s = 1,
		.l = 0,
		.g = 1,
	};
	struct kvm_mp_state state = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct kvm_sregs sregs;

	if (ioctl(v->fd, KVM_GET_SREGS, &sregs))
		return vmm_vcpu_fail(v, "KVM_GET_SREGS");
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr0 = 0x80000033; /* PG, NE, ET, MP, PE */
	sregs.cr3 = s->cr3;
	sregs.cr4 = 0x20; /* PAE */
	if (s->gdt_size) {
		sregs.gdt.base = s->gdt;
		sregs.gdt.limit = s->gdt_size - 1;
	}
	sregs.efer = 0x500; /* LMA, LME */
	if (ioctl(v->fd, KVM_SET_SREGS, &sregs))
		return vmm_vcpu_fail(v, "KVM_SET_SREGS (long mode)");
	if (ioctl(v->fd, KVM_SET_REGS, &regs))
		return vmm_vcpu_fail(v, "KVM_SET_REGS");
	if (ioctl(v->fd, KVM_SET_MP_STATE, &state))
		return vmm_vcpu_fail(v, "KVM_SET_MP_STATE");
	return 0;
}

static int set_tsc_speed(struct vmm_vcpu *v)
{
	uint32_t khz = v->vm->opts.tsc_khz;

	if (!khz)
		return 0;
	if (ioctl(v->vm->kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) <= 0) {
		vmm_say(v->vm, PVSCHED_LOG_ERROR,
			"vCPU %u: TSC of %u kHz: this host cannot scale: leave it at the host's",
			v->index, khz);
		return -ENOTSUP;
	}
	return ioctl(v->fd, KVM_SET_TSC_KHZ, khz) ? vmm_vcpu_fail(v, "KVM_SET_TSC_KHZ") : 0;
}

/* Guest TSC = host TSC + tsc_offset, exactly where KVM offers to say so (5.16), else nearly; then
 * the difference is measured. */
int vmm_vcpu_set_tsc(struct vmm_vcpu *v)
{
	uint64_t wanted = v->vm->opts.tsc_offset, before, after, best = UINT64_MAX;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)&wanted,
	};
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head = { .nmsrs = 1 }, .entry = { .index = MSR_IA32_TSC } };
	int i, ret;

	ret = set_tsc_speed(v);
	if (ret)
		return ret;
	v->tsc_offset = wanted;
	if (!ioctl(v->fd, KVM_SET_DEVICE_ATTR, &attr))
		return 0;
	msrs.entry.data = __rdtsc() + wanted;
	if (wanted && ioctl(v->fd, KVM_SET_MSRS, &msrs) != 1)
		return vmm_vcpu_fail(v, "KVM_SET_MSRS (TSC)");
	for (i = 0; i < 16; i++) {
		before = __rdtsc();
		if (ioctl(v->fd, KVM_GET_MSRS, &msrs) != 1)
			return vmm_vcpu_fail(v, "KVM_GET_MSRS (TSC)");
		after = __rdtsc();
		if (after - before < best) {
			best = after - before;
			v->tsc_offset = (int64_t)(msrs.entry.data - before - best / 2);
		}
	}
	return 0;
}

/* Firmware's work on every CPU: memory is cached. Off, as after a reset, would mean that it is not,
 * and Linux warns of CPUs that differ. */
static int set_memory_type(struct vmm_vcpu *v)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = {
		.head = { .nmsrs = 1 },
		.entry = { .index = MSR_MTRR_DEFAULT, .data = MTRR_ENABLED | MTRR_WRITE_BACK },
	};

	return ioctl(v->fd, KVM_SET_MSRS, &msrs) == 1 ? 0 : vmm_vcpu_fail(v, "KVM_SET_MSRS (MTRR)");
}

static int set_kick_mask(struct vmm_vcpu *v)
{
	struct {
		struct kvm_signal_mask head;
		uint64_t set;
	} __attribute__((packed)) mask = { .head = { .len = 8 }, .set = ~(1ull << (VMM_KICK - 1)) };

	if (ioctl(v->fd, KVM_SET_SIGNAL_MASK, &mask))
		return vmm_vcpu_fail(v, "KVM_SET_SIGNAL_MASK");
	return 0;
}

int vmm_vcpu_create(struct vmm *vm, unsigned int index)
{
	struct vmm_vcpu *v = &vm->vcpu[index];
	void *run;
	int ret;

	v->fd = ioctl(vm->fd, KVM_CREATE_VCPU, index);
	if (v->fd < 0)
		return vmm_vcpu_fail(v, "KVM_CREATE_VCPU");
	ret = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (ret < 0)
		return vmm_vcpu_fail(v, "KVM_GET_VCPU_MMAP_SIZE");
	v->run_size = ret;
	run = mmap(NULL, v->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (run == MAP_FAILED)
		return vmm_vcpu_fail(v, "mmap of kvm_run");
	v->run = run;
	ret = vmm_cpuid_set(v);
	if (!ret && vm->opts.kernel.file)
		ret = set_memory_type(v);
	/* Linux calls the others itself */
	if (!ret && (!vm->opts.kernel.file || !index))
		ret = vmm_vcpu_set_start(v);
	if (!ret)
		ret = vmm_vcpu_set_tsc(v);
	if (!ret)
		ret = set_kick_mask(v);
	return ret;
}

void vmm_vcpu_destroy(struct vmm_vcpu *v)
{
	if (v->run)
		munmap(v->run, v->run_size);
	if (v->fd >= 0)
		close(v->fd);
	v->run = NULL;
	v->fd = -1;
}

/* The thread's own scheduling, set whatever it inherited. */
static int set_scheduling(struct vmm_vcpu *v)
{
	const struct vmm_opts *o = &v->vm->opts;
	struct sched_param param = { .sched_priority = o->sched == VMM_SCHED_FIFO };
	int nice = o->sched == VMM_SCHED_NICE ? -20 : 0, inherited;
	char what[64];
	cpu_set_t set;

	if (o->vcpu[v->index].pinned) {
		CPU_ZERO(&set);
		CPU_SET(o->vcpu[v->index].cpu, &set);
		if (sched_setaffinity(0, sizeof(set), &set)) {
			int error = errno;

			vmm_say(v->vm, PVSCHED_LOG_ERROR,
				"vCPU %u: pinning to CPU %d: %s: choose one that this process may use",
				v->index, o->vcpu[v->index].cpu, strerror(error));
			return -error;
		}
	}
	if (o->sched == VMM_SCHED_FIFO) {
		if (sched_setscheduler(0, SCHED_FIFO, &param))
			return vmm_vcpu_fail(v, "SCHED_FIFO 1 (needs root or CAP_SYS_NICE)");
		return 0;
	}
	if (sched_getscheduler(0) != SCHED_OTHER && sched_setscheduler(0, SCHED_OTHER, &param))
		return vmm_vcpu_fail(v, "SCHED_OTHER");
	inherited = getpriority(PRIO_PROCESS, 0);
	if (inherited == nice || !setpriority(PRIO_PROCESS, 0, nice))
		return 0;
	if (nice)
		return vmm_vcpu_fail(v, "nice -20 (needs root or CAP_SYS_NICE)");
	snprintf(what, sizeof(what), "nice 0 (start it without nice %d, or as root)", inherited);
	return vmm_vcpu_fail(v, what);
}

static void handle_io(struct vmm_vcpu *v)
{
	struct kvm_run *run = v->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	bool write = run->io.direction == KVM_EXIT_IO_OUT;
	uint32_t i, value;

	for (i = 0; i < run->io.count; i++, data += run->io.size) {
		if (!v->vm->control) {
			vmm_port(v->vm, run->io.port, write, data, run->io.size);
		} else if (run->io.port == GUEST_EXIT_PORT && write && run->io.size == 4) {
			memcpy(&value, data, 4);
			vmm_guest_said(v, value & 0xff);
		} else {
			vmm_pci_port(v->vm, run->io.port, write, data, run->io.size);
		}
	}
}

static void died(struct vmm_vcpu *v, const char *what, unsigned int detail)
{
	struct kvm_regs regs = { 0 };

	ioctl(v->fd, KVM_GET_REGS, &regs);
	vmm_guest_died(v, "%s (%u) at RIP 0x%llx", what, detail, (unsigned long long)regs.rip);
}

/* A machine that runs Linux resets. Returns false when the vCPU cannot go on. */
static bool handle_triple_fault(struct vmm_vcpu *v)
{
	if (!v->vm->opts.kernel.file)
		died(v, "triple fault", 0);
	else if (vmm_machine_fault(v->vm))
		return true;
	else
		died(v, "triple fault, again and again", 0);
	return false;
}

/* Returns false when the vCPU cannot go on. */
static bool handle_exit(struct vmm_vcpu *v)
{
	struct kvm_run *run = v->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		handle_io(v);
		return true;
	case KVM_EXIT_MMIO:
		vmm_pci_mmio(v->vm, run->mmio.phys_addr, run->mmio.is_write, run->mmio.data,
			     run->mmio.len);
		return true;
	case KVM_EXIT_INTR:
	case KVM_EXIT_HLT:
		return true;
	case KVM_EXIT_SHUTDOWN:
		return handle_triple_fault(v);
	case KVM_EXIT_FAIL_ENTRY:
		died(v, "KVM cannot enter the guest",
		     run->fail_entry.hardware_entry_failure_reason);
		return false;
	case KVM_EXIT_INTERNAL_ERROR:
		died(v, "KVM internal error", run->internal.suberror);
		return false;
	default:
		died(v, "unexpected exit", run->exit_reason);
		return false;
	}
}

static void run_vcpu(struct vmm_vcpu *v)
{
	const struct timespec now = { 0 };
	sigset_t kick;

	sigemptyset(&kick);
	sigaddset(&kick, VMM_KICK);
	while (!atomic_load(&v->vm->stopping)) {
		if (atomic_load(&v->vm->machine) != VMM_MACHINE_RUNS) {
			vmm_machine_park(v);
			continue;
		}
		if (!ioctl(v->fd, KVM_RUN, 0)) {
			if (!handle_exit(v))
				return;
		} else if (errno == EINTR) {
			sigtimedwait(&kick, NULL, &now);
		} else if (errno != EAGAIN) {
			vmm_guest_died(v, "KVM_RUN: %s", strerror(errno));
			return;
		}
	}
}

void *vmm_vcpu_thread(void *vcpu)
{
	struct vmm_vcpu *v = vcpu;
	struct vmm *vm = v->vm;
	char name[16];
	int ret;

	snprintf(name, sizeof(name), "vcpu%u", v->index);
	prctl(PR_SET_NAME, name);
	ret = set_scheduling(v);
	if (!ret)
		ret = vmm_thread_confine(vm, VMM_ROLE_VCPU);
	pthread_mutex_lock(&vm->lock);
	v->tid = gettid();
	v->setup_error = ret;
	pthread_cond_broadcast(&vm->cond);
	while (!vm->released && !atomic_load(&vm->stopping))
		pthread_cond_wait(&vm->cond, &vm->lock);
	pthread_mutex_unlock(&vm->lock);
	if (!ret)
		run_vcpu(v);
	pthread_mutex_lock(&vm->lock);
	vm->out++;
	pthread_cond_broadcast(&vm->cond);
	while (!vm->may_exit)
		pthread_cond_wait(&vm->cond, &vm->lock);
	pthread_mutex_unlock(&vm->lock);
	return NULL;
}
