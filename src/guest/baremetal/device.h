/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The pvsched function, to the two files that speak to it: device.c as a driver does, harm.c not so.
 * Places are vCPU 0's to choose, before the others are released; registers are anybody's.
 */
#ifndef PVSCHED_GUEST_DEVICE_H
#define PVSCHED_GUEST_DEVICE_H

#include "guest.h"

#define PCI_COMMAND 0x04
#define PCI_BAR0    0x10
#define PCI_MEMORY  0x2
#define PCI_MASTER  0x4

extern __u32 function; /* device << 3 | function */
extern unsigned long bar; /* 0 = there is no function */
extern __u64 features; /* negotiated */

/* The page of a vCPU, whether it is published or not. */
struct pvsched_page *shared_page(__u32 index);
__u32 config(__u32 where, __u32 offset, __u32 size, int write, __u32 value);
void write_header(struct pvsched_page *page, __u32 index);
/* Returns PVSCHED_R_*. */
__u32 command(__u32 index, __u32 what);

static inline __u32 reg(__u32 offset)
{
	return *(volatile __u32 *)(bar + offset);
}

static inline void set_reg(__u32 offset, __u32 value)
{
	*(volatile __u32 *)(bar + offset) = value;
}

static inline void set_reg64(__u32 offset, __u64 value)
{
	set_reg(offset, value);
	set_reg(offset + 4, value >> 32);
}

static inline __u64 load(unsigned long address, __u32 size)
{
	switch (size) {
	case 1:
		return *(volatile __u8 *)address;
	case 2:
		return *(volatile __u16 *)address;
	case 4:
		return *(volatile __u32 *)address;
	default:
		return *(volatile __u64 *)address;
	}
}

static inline void store(unsigned long address, __u32 size, __u64 value)
{
	switch (size) {
	case 1:
		*(volatile __u8 *)address = value;
		break;
	case 2:
		*(volatile __u16 *)address = value;
		break;
	case 4:
		*(volatile __u32 *)address = value;
		break;
	default:
		*(volatile __u64 *)address = value;
	}
}

#endif
