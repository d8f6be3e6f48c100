/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The guest's driver of the pvsched function: finds and places it, negotiates, shares one page
 * per vCPU; or runs a script of accesses in place of that. vCPU 0 only, before `released`, but
 * for GUEST_OP_RELEASE. Every loop is bounded: the device may be anything.
 */
#include "device.h"

#define PCI_ADDRESS 0xcf8
#define PCI_DATA    0xcfc
#define PCI_ID	    0x00

#define REGISTER_TRIES	  100
#define REGISTER_RETRY_NS 20000000 /* after PVSCHED_R_RATE */
#define WANTED_FEATURES                                                                            \
	(PVSCHED_F_TICKET | PVSCHED_F_NEXT_EVENT | PVSCHED_F_PENDING | PVSCHED_F_PLACEMENT)

static struct pvsched_page own_pages[GUEST_VCPUS_MAX] __attribute__((aligned(4096)));
/* What is published without a device: same stores, nobody reads them. */
static struct pvsched_page unread[GUEST_VCPUS_MAX] __attribute__((aligned(4096)));
__u32 function;
unsigned long bar;
__u64 features;

struct pvsched_page *shared_page(__u32 index)
{
	if (control->magic == GUEST_MAGIC && control->pages_gpa)
		return (struct pvsched_page *)control->pages_gpa + index;
	return &own_pages[index];
}

struct pvsched_page *device_page(__u32 index)
{
	return READ_ONCE(publishing) ? shared_page(index) : &unread[index];
}

volatile __u32 *device_doorbell(__u32 index)
{
	if (!READ_ONCE(publishing))
		return NULL;
	return (volatile __u32 *)(bar + PVSCHED_REG_DOORBELL) + index;
}

__u32 config(__u32 where, __u32 offset, __u32 size, int write, __u32 value)
{
	static const __u8 out[] = { [1] = SVC_OUTB, [2] = SVC_OUTW, [4] = SVC_OUTL };
	static const __u8 in[] = { [1] = SVC_INB, [2] = SVC_INW, [4] = SVC_INL };
	__u32 address = 0x80000000 | where << 8 | (offset & 0xfc);

	if (size != 1 && size != 2)
		size = 4;
	service(SVC_OUTL, address, 0, PCI_ADDRESS, 0, 0, NULL);
	return service(write ? out[size] : in[size], value, 0, PCI_DATA + (offset & 3), 0, 0, NULL);
}

static int find_function(void)
{
	__u32 id = PVSCHED_PCI_DEVICE << 16 | PVSCHED_PCI_VENDOR;

	for (function = 0; function < 32 << 3; function += 1 << 3)
		if (config(function, PCI_ID, 4, 0, 0) == id)
			return 1;
	return 0;
}

/* Places BAR0 unless firmware did, then memory decoding and Bus Master on. */
static void enable_function(void)
{
	__u32 command = config(function, PCI_COMMAND, 2, 0, 0);

	bar = config(function, PCI_BAR0, 4, 0, 0) & ~0xful;
	if (!bar) {
		bar = GUEST_BAR_GPA;
		if (control->magic == GUEST_MAGIC && control->bar_gpa)
			bar = control->bar_gpa;
		config(function, PCI_BAR0, 4, 1, bar);
	}
	config(function, PCI_COMMAND, 2, 1, command | PCI_MEMORY | PCI_MASTER);
	control->pci_function = function;
	control->bar = bar;
}

void write_header(struct pvsched_page *page, __u32 index)
{
	__u64 *word = (__u64 *)page;
	unsigned int i;

	for (i = 0; i < sizeof(*page) / sizeof(*word); i++)
		word[i] = 0;
	page->magic = PVSCHED_MAGIC;
	page->abi_version = PVSCHED_ABI_VERSION;
	page->protocol = PVSCHED_PROTO_BASE;
	page->protocol_version = PVSCHED_PROTO_BASE_VERSION;
	page->features = features;
	page->vcpu_id = index;
	barrier();
}

__u32 command(__u32 index, __u32 what)
{
	set_reg(PVSCHED_REG_VCPU_SELECT, index);
	set_reg(PVSCHED_REG_VCPU_COMMAND, what);
	return reg(PVSCHED_REG_VCPU_RESULT);
}

static __u32 share_page(__u32 index)
{
	struct pvsched_page *page = shared_page(index);
	__u32 result, tries;

	write_header(page, index);
	set_reg(PVSCHED_REG_VCPU_SELECT, index);
	set_reg64(PVSCHED_REG_VCPU_GFN, (unsigned long)page / PVSCHED_PAGE_SIZE);
	for (tries = 0; tries < REGISTER_TRIES; tries++) {
		result = command(index, PVSCHED_CMD_REGISTER);
		if (result != PVSCHED_R_RATE)
			break;
		delay_ns(REGISTER_RETRY_NS);
	}
	if (result != PVSCHED_R_OK)
		return result;
	set_reg64(PVSCHED_REG_VCPU_NONCE, READ_ONCE(page->nonce));
	return command(index, PVSCHED_CMD_ENABLE);
}

/* Returns PVSCHED_R_*. On failure the device is told, and no page is used. */
static __u32 negotiate(void)
{
	__u32 result, count, i;

	set_reg(PVSCHED_REG_STATUS, 0);
	if (reg(PVSCHED_REG_MAGIC) != PVSCHED_MAGIC ||
	    reg(PVSCHED_REG_VERSION) != PVSCHED_ABI_VERSION)
		return PVSCHED_R_BAD_HEADER;
	set_reg(PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE);
	set_reg(PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER);
	features = reg(PVSCHED_REG_HOST_FEATURES) | (__u64)reg(PVSCHED_REG_HOST_FEATURES + 4) << 32;
	features &= WANTED_FEATURES;
	set_reg64(PVSCHED_REG_GUEST_FEATURES, features);
	count = reg(PVSCHED_REG_PROTO_COUNT);
	for (i = 0; i < count && i < 256; i++) {
		set_reg(PVSCHED_REG_PROTO_SELECT, i);
		if (reg(PVSCHED_REG_PROTO_ID) == PVSCHED_PROTO_BASE &&
		    reg(PVSCHED_REG_PROTO_VERSION) == PVSCHED_PROTO_BASE_VERSION)
			break;
	}
	set_reg(PVSCHED_REG_CHOICE_ID, PVSCHED_PROTO_BASE);
	set_reg(PVSCHED_REG_CHOICE_VERSION, PVSCHED_PROTO_BASE_VERSION);
	set_reg(PVSCHED_REG_STATUS,
		PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER | PVSCHED_S_FEATURES_OK);
	if (!(reg(PVSCHED_REG_STATUS) & PVSCHED_S_FEATURES_OK)) {
		result = reg(PVSCHED_REG_ERROR);
		return result ? result : PVSCHED_R_BAD_FEATURES;
	}
	control->features = features;
	if (vcpus > reg(PVSCHED_REG_VCPU_COUNT))
		return PVSCHED_R_BAD_VCPU;
	for (i = 0; i < vcpus; i++) {
		result = share_page(i);
		if (result != PVSCHED_R_OK) {
			control->result_vcpu = i;
			return result;
		}
	}
	set_reg(PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER |
					    PVSCHED_S_FEATURES_OK | PVSCHED_S_DRIVER_OK);
	if (!(reg(PVSCHED_REG_STATUS) & PVSCHED_S_DRIVER_OK))
		return PVSCHED_R_BAD_STATUS;
	return PVSCHED_R_OK;
}

static __u32 handshake(void)
{
	__u32 result = negotiate();

	control->result = result;
	if (result != PVSCHED_R_OK)
		set_reg(PVSCHED_REG_STATUS, reg(PVSCHED_REG_STATUS) | PVSCHED_S_FAILED);
	WRITE_ONCE(publishing, result == PVSCHED_R_OK && !(flags & GUEST_F_NO_PAGE));
	return result;
}

static __u64 run_step(const struct guest_step *s, void (*release)(void))
{
	switch (s->op) {
	case GUEST_OP_BAR_WRITE:
		store(bar + s->address, s->size, s->value);
		break;
	case GUEST_OP_BAR_READ:
		return load(bar + s->address, s->size);
	case GUEST_OP_BAR_WRITE_MEM:
		set_reg64(s->address, load(s->value, 8));
		return load(s->value, 8);
	case GUEST_OP_CFG_WRITE:
		config(function, s->address, s->size, 1, s->value);
		break;
	case GUEST_OP_CFG_READ:
		return config(function, s->address, s->size, 0, 0);
	case GUEST_OP_MEM_WRITE:
		store(s->address, s->size, s->value);
		break;
	case GUEST_OP_MEM_READ:
		return load(s->address, s->size);
	case GUEST_OP_HEADER:
		write_header((struct pvsched_page *)s->address, s->value);
		break;
	case GUEST_OP_HANDSHAKE:
		return handshake();
	case GUEST_OP_DELAY:
		delay_ns(s->value);
		break;
	case GUEST_OP_RELEASE:
		release();
		break;
	case GUEST_OP_USE_PAGES:
		WRITE_ONCE(publishing, !!s->value);
		break;
	}
	return 0;
}

static void run_script(__u32 steps, void (*release)(void))
{
	__u32 i;

	if (steps > GUEST_STEPS_MAX)
		steps = GUEST_STEPS_MAX;
	for (i = 0; i < steps && control->step[i].op != GUEST_OP_END; i++) {
		struct guest_step *s = &control->step[i];
		__u64 result = run_step(s, release);

		WRITE_ONCE(s->result, result);
		if ((result ^ s->expect) & s->mask)
			WRITE_ONCE(control->mismatches, control->mismatches + 1);
		WRITE_ONCE(control->steps_done, i + 1);
	}
}

void device_start(void (*release)(void))
{
	__u32 steps = control->magic == GUEST_MAGIC ? control->steps : 0;

	WRITE_ONCE(control->device, GUEST_DEVICE_NONE);
	if (flags & GUEST_F_NO_DEVICE || !find_function())
		return;
	enable_function();
	if (steps) {
		WRITE_ONCE(control->device, GUEST_DEVICE_SCRIPTED);
		run_script(steps, release);
		return;
	}
	WRITE_ONCE(control->device,
		   handshake() == PVSCHED_R_OK ? GUEST_DEVICE_ON : GUEST_DEVICE_REFUSED);
}
