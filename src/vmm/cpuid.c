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
	case 0x80000008:
		e->ecx = (e->ecx & ~0xf0ffu) | CORE_BITS << 12 | (vcpus - 1);
		break;
	case 0x8000001e:
		e->eax = e->ebx = index;
		e->ecx = 0;
		break;
	}
}

/* KVM offers the first level alone, empty, and leaves the topology to user space. */
static void append_topology(struct kvm_cpuid2 *cpuid, uint32_t function, unsigned int index,
			    unsigned int vcpus)
{
	struct kvm_cpuid_entry2 *e = &cpuid->entries[cpuid->nent];
	uint32_t level;

	for (level = 0; level < 2; level++)
		*e++ = (struct kvm_cpuid_entry2){
			.function = function,
			.index = level,
			.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			.eax = level ? CORE_BITS : 0, /* of an APIC id, up to this level */
			.ebx = level ? vcpus : 1,
			.ecx = level | (level + 1) << 8, /* SMT, core */
			.edx = index,
		};
	cpuid->nent += 2;
}

void vmm_cpuid_adjust(struct kvm_cpuid2 *cpuid, unsigned int index, unsigned int vcpus)
{
	uint32_t i, kept = 0, max = 0;

	for (i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		if (e->function == 0xb || e->function == 0x1f)
			continue;
		if (!e->function)
			max = e->eax;
		adjust(e, index, vcpus);
		cpuid->entries[kept++] = *e;
	}
	cpuid->nent = kept;
	if (max >= 0xb)
		append_topology(cpuid, 0xb, index, vcpus);
	if (max >= 0x1f)
		append_topology(cpuid, 0x1f, index, vcpus);
}

int vmm_cpuid_set(struct vmm_vcpu *v)
{
	struct kvm_cpuid2 *cpuid = NULL;
	unsigned int entries = 128;
	int ret = 0;

	for (;;) {
		free(cpuid);
		cpuid = calloc(1, sizeof(*cpuid) +
					  (entries + VMM_CPUID_MORE) * sizeof(cpuid->entries[0]));
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
	vmm_cpuid_adjust(cpuid, v->index, v->vm->opts.vcpus);
	if (ioctl(v->fd, KVM_SET_CPUID2, cpuid))
		ret = vmm_vcpu_fail(v, "KVM_SET_CPUID2");
out:
	free(cpuid);
	return ret;
}
