/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a vCPU says it is: what KVM supports here, with x2APIC, the TSC-deadline timer, and a
 * topology of its own: each vCPU a core of one package, without siblings.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "internal.h"

#define ENTRIES_MAX 4096
#define CORE_BITS   3 /* of an APIC id: VMM_VCPUS_MAX cores */

static void adjust(struct kvm_cpuid_entry2 *e, unsigned int index, unsigned int vcpus)
{
	unsigned int sharing;

	switch (e->function) {
	case 1:
		e->ebx = (e->ebx & 0x0000ffff) | vcpus << 16 | index << 24;
		e->ecx |= 1u << 21 | 1u << 24 | 1u << 31; /* and: under a hypervisor */
		if (vcpus > 1)
			e->edx |= 1u << 28; /* the number of CPUs above counts */
		break;
	case 4:
	case 0x8000001d:
		/* caches: the third level is everybody's */
		if (!(e->eax & 0x1f))
			break;
		sharing = (e->eax >> 5 & 7) < 3 ? 0 : (1u << CORE_BITS) - 1;
		e->eax = (e->eax & 0x3fff) | sharing << 14;
		if (e->function == 4)
			e->eax |= ((1u << CORE_BITS) - 1) << 26;
		break;
	case 0xb:
	case 0x1f:
		e->eax = e->index == 0 ? 0 : e->index == 1 ? CORE_BITS : 0;
		e->ebx = e->index == 0 ? 1 : e->index == 1 ? vcpus : 0;
		e->ecx = e->index | (e->index < 2 ? (e->index + 1) << 8 : 0);
		e->edx = index;
		break;
	case 0x80000008:
		e->ecx = (e->ecx & ~0xf0ffu) | CORE_BITS << 12 | (vcpus - 1);
		break;
	case 0x8000001e:
		e->eax = e->ebx = index;
		e->ecx = 0;
		break;
	}
}

int vmm_cpuid_set(struct vmm_vcpu *v)
{
	struct kvm_cpuid2 *cpuid = NULL;
	unsigned int entries = 128, i;
	int ret = 0;

	for (;;) {
		free(cpuid);
		cpuid = calloc(1, sizeof(*cpuid) + entries * sizeof(cpuid->entries[0]));
		if (!cpuid)
			return vmm_vcpu_fail(v, "CPUID");
		cpuid->nent = entries;
		if (!ioctl(v->vm->kvm, KVM_GET_SUPPORTED_CPUID, cpuid))
			break;
		if (errno != E2BIG || entries >= ENTRIES_MAX) {
			ret = vmm_vcpu_fail(v, "KVM_GET_SUPPORTED_CPUID");
			goto out;
		}
		entries *= 2;
	}
	for (i = 0; i < cpuid->nent; i++)
		adjust(&cpuid->entries[i], v->index, v->vm->opts.vcpus);
	if (ioctl(v->fd, KVM_SET_CPUID2, cpuid))
		ret = vmm_vcpu_fail(v, "KVM_SET_CPUID2");
out:
	free(cpuid);
	return ret;
}
