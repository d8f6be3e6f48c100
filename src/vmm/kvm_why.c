/* SPDX-License-Identifier: GPL-2.0-only */
/* What a host lacks whose /dev/kvm does not open. */
#include <errno.h>
#include <string.h>

#include "vmm.h"

const char *vmm_kvm_why(int error)
{
	switch (error) {
	case ENOENT:
		return "there is no such device: load kvm_intel or kvm_amd, or enable nested "
		       "virtualisation";
	case EACCES:
	case EPERM:
		return "no permission: run as root or join the group that owns it";
	case ENODEV:
	case ENXIO:
		return "the device is there, KVM behind it is not: enable virtualisation in the "
		       "firmware, or nested virtualisation, and load kvm_intel or kvm_amd";
	default:
		return strerror(error);
	}
}
