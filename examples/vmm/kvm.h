/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A machine of one vCPU under KVM with the bare-metal guest in its memory, ready to run: nothing here
 * knows of pvsched. Ends the program, with why, where something fails.
 */
#ifndef EXAMPLE_KVM_H
#define EXAMPLE_KVM_H

#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <guestabi.h> /* how the guest wants to be loaded */

struct machine {
	int vm, vcpu;
	struct kvm_run *run;
	uint8_t *ram; /* GUEST_MEMORY_MIN bytes at guest address 0 */
};

static int check(int ret, const char *what)
{
	if (ret < 0)
		err(1, "%s", what);
	return ret;
}

static void start_vcpu(int kvm, int vcpu)
{
	struct kvm_regs regs = { .rip = GUEST_LOAD_GPA, .rflags = 2 };
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[256];
	} cpuid = { .head.nent = 256 };
	struct kvm_sregs sregs;

	check(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid), "KVM_GET_SUPPORTED_CPUID");
	for (unsigned int i = 0; i < cpuid.head.nent; i++)
		if (cpuid.entries[i].function == 1) /* x2APIC and its deadline timer; APIC id 0 */
			cpuid.entries[i].ecx |= 1u << 21 | 1u << 24,
				cpuid.entries[i].ebx &= 0xffffff;
	check(ioctl(vcpu, KVM_SET_CPUID2, &cpuid), "KVM_SET_CPUID2");
	check(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs.l = 1, sregs.cs.db = 0, sregs.cs.base = 0, sregs.cs.selector = 8;
	sregs.cr0 = 0x80000001, sregs.cr4 = 0x20, sregs.efer = 0x500, sregs.cr3 = GUEST_CR3_GPA;
	check(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	check(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static void machine_open(struct machine *m, const char *path)
{
	int image = check(open(path, O_RDONLY), path);
	int kvm = check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	struct kvm_userspace_memory_region slot = { .memory_size = GUEST_MEMORY_MIN };

	m->ram = mmap(NULL, GUEST_MEMORY_MIN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	if (m->ram == MAP_FAILED)
		err(1, "guest memory");
	check(read(image, m->ram + GUEST_LOAD_GPA, GUEST_MEMORY_MIN - GUEST_LOAD_GPA), path);
	slot.userspace_addr = (uintptr_t)m->ram;
	m->vm = check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	check(ioctl(m->vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	check(ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");
	m->vcpu = check(ioctl(m->vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	m->run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
		      MAP_SHARED, m->vcpu, 0);
	if (m->run == MAP_FAILED)
		err(1, "kvm_run");
	start_vcpu(kvm, m->vcpu);
}

#endif
