// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * Line 0 of a page against what the registers agreed on. Works on the caller's own copy: the
 * guest may go on writing its page, but not the bytes that are judged here.
 */
#include <core/page.h>

static int reserved_is_zero(const struct pvsched_page *line0)
{
	__u64 all = (__u64)line0->reserved0 | line0->reserved1;
	unsigned int i;

	for (i = 0; i < sizeof(line0->reserved2) / sizeof(line0->reserved2[0]); i++)
		all |= line0->reserved2[i];
	return all == 0;
}

__u32 pvsched_header_check(const struct pvsched_page *line0, __u32 vcpu, __u32 protocol,
			   __u32 protocol_version, __u64 features)
{
	if (line0->magic != PVSCHED_MAGIC || line0->abi_version != PVSCHED_ABI_VERSION ||
	    !reserved_is_zero(line0))
		return PVSCHED_R_BAD_HEADER;
	if (line0->protocol != protocol || line0->protocol_version != protocol_version)
		return PVSCHED_R_BAD_PROTOCOL;
	if (line0->features != features)
		return PVSCHED_R_BAD_FEATURES;
	if (line0->vcpu_id != vcpu)
		return PVSCHED_R_BAD_VCPU;
	return PVSCHED_R_OK;
}
