/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * What a guest that means harm does to the pvsched function. Any vCPU at any time, but for the function's
 * configuration space, which is vCPU 0's. No state but the caller's; one call is one step.
 */
#include "device.h"

/* Where a page may be asked for: pages of this guest with a header and without, RAM that is code or
 * tables, the end of RAM and beyond, MMIO, and numbers that are no GFN. */
static __u64 any_gfn(struct vcpu *v)
{
	__u64 x = next_random(v);

	switch (x % 8) {
	case 0:
		return x >> 8;
	case 1:
		return bar / PVSCHED_PAGE_SIZE;
	case 2:
		return GUEST_MEMORY_MIN / PVSCHED_PAGE_SIZE + (x >> 8) % 4096;
	case 3:
		return (x >> 8) % (GUEST_MEMORY_MIN / PVSCHED_PAGE_SIZE);
	case 4:
		return ~0ull;
	default: /* those of the others, too */
		return (unsigned long)shared_page((x >> 8) % vcpus) / PVSCHED_PAGE_SIZE;
	}
}

/* A page with a header that is right, or nearly, named for any vCPU, then enabled or not. */
static void harm_pages(struct vcpu *v)
{
	__u64 x = next_random(v);
	struct pvsched_page *page = shared_page(x % vcpus);
	__u32 target = (x >> 8) % (vcpus + 1);

	write_header(page, target);
	if (!(x >> 16 & 7))
		((__u64 *)page)[(x >> 24) % 8] ^= x >> 32;
	set_reg(PVSCHED_REG_VCPU_SELECT, target);
	set_reg64(PVSCHED_REG_VCPU_GFN, any_gfn(v));
	set_reg(PVSCHED_REG_VCPU_COMMAND, PVSCHED_CMD_REGISTER);
	if (x >> 19 & 3)
		set_reg64(PVSCHED_REG_VCPU_NONCE, READ_ONCE(page->nonce));
	set_reg(PVSCHED_REG_VCPU_COMMAND,
		x >> 21 & 3 ? PVSCHED_CMD_ENABLE : PVSCHED_CMD_UNREGISTER);
	/* urgent for ever, and a header that changes when it must not */
	WRITE_ONCE(page->context, pvsched_context_word(PVSCHED_CTX_CRITICAL, x));
	WRITE_ONCE(page->vcpu_id, x);
}

/* STATUS as a driver writes it, as far as it goes. */
static void harm_status(struct vcpu *v)
{
	__u32 status = 0, steps = next_random(v) % 8, i;
	static const __u32 order[] = { PVSCHED_S_ACKNOWLEDGE, PVSCHED_S_DRIVER,
				       PVSCHED_S_FEATURES_OK, PVSCHED_S_DRIVER_OK };

	set_reg(PVSCHED_REG_STATUS, 0);
	set_reg64(PVSCHED_REG_GUEST_FEATURES, features);
	set_reg(PVSCHED_REG_CHOICE_ID, PVSCHED_PROTO_BASE);
	set_reg(PVSCHED_REG_CHOICE_VERSION, PVSCHED_PROTO_BASE_VERSION);
	for (i = 0; i < 4 && i < steps + 2; i++)
		set_reg(PVSCHED_REG_STATUS, status |= order[i]);
}

/* vCPU 0 only: the two ports are one after the other. */
static void harm_function(struct vcpu *v)
{
	__u64 x = next_random(v);

	switch (x % 4) {
	case 0: /* BAR0 elsewhere, over RAM perhaps, and back */
		config(function, PCI_BAR0, 4, 1, x >> 32);
		config(function, PCI_BAR0, 4, 1, bar);
		break;
	case 1:
		config(function, PCI_COMMAND, 2, 1, PCI_MEMORY);
		break;
	case 2:
		config(function, (x >> 8) % 256, 1 << (x >> 16) % 3, 1, x >> 32);
		config(function, PCI_BAR0, 4, 1, bar);
		break;
	}
	config(function, PCI_COMMAND, 2, 1, PCI_MEMORY | PCI_MASTER);
}

void device_harm(struct vcpu *v)
{
	__u64 x = next_random(v);
	unsigned long at = bar + (x >> 8) % PVSCHED_BAR_SIZE;

	if (!bar)
		return;
	switch (x % 16) {
	case 0:
		harm_status(v);
		break;
	case 1:
		if (!v->cpu->index)
			harm_function(v);
		break;
	case 2:
	case 3:
	case 4:
	case 5:
		harm_pages(v);
		break;
	case 6:
		set_reg(PVSCHED_REG_STATUS, x >> 32);
		break;
	case 7:
		set_reg(PVSCHED_REG_DOORBELL + 4 * ((x >> 32) % PVSCHED_VCPUS_MAX), x);
		break;
	case 8:
	case 9:
	case 10:
		load(at, 1 << (x >> 32) % 4);
		break;
	case 11: /* a register, whole */
		set_reg((x >> 32) % (PVSCHED_REG_END / 4) * 4, next_random(v) % 8);
		break;
	default:
		store(at, 1 << (x >> 32) % 4, next_random(v));
	}
}

/* STATUS as a driver writes it, up to FEATURES_OK. */
static void negotiate_again(void)
{
	set_reg(PVSCHED_REG_STATUS, 0);
	set_reg(PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE);
	set_reg(PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER);
	set_reg64(PVSCHED_REG_GUEST_FEATURES, features);
	set_reg(PVSCHED_REG_CHOICE_ID, PVSCHED_PROTO_BASE);
	set_reg(PVSCHED_REG_CHOICE_VERSION, PVSCHED_PROTO_BASE_VERSION);
	set_reg(PVSCHED_REG_STATUS,
		PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER | PVSCHED_S_FEATURES_OK);
}

static __u32 enroll(__u32 index, __u64 gfn)
{
	set_reg(PVSCHED_REG_VCPU_SELECT, index);
	set_reg64(PVSCHED_REG_VCPU_GFN, gfn);
	return command(index, PVSCHED_CMD_REGISTER);
}

static __u64 frame_of(__u32 index)
{
	return (unsigned long)shared_page(index) / PVSCHED_PAGE_SIZE;
}

/* One reserved bit in a header that is right otherwise, of the last vCPU, whose page it gave up. */
void harm_reserved(struct vcpu *v)
{
	__u32 last = vcpus - 1;
	__u64 x = next_random(v);

	if (!bar)
		return;
	command(last, PVSCHED_CMD_UNREGISTER);
	write_header(shared_page(last), last);
	switch (x % 3) {
	case 0:
		shared_page(last)->reserved0 = 1 << (x >> 8) % 16;
		break;
	case 1:
		shared_page(last)->reserved1 = 1u << (x >> 8) % 32;
		break;
	default:
		shared_page(last)->reserved2[(x >> 16) % 4] = 1ull << (x >> 8) % 64;
	}
	enroll(last, frame_of(last));
}

/* Whole registers, the values that a driver writes there: only when is what it gets wrong. */
void harm_order(struct vcpu *v)
{
	static const struct {
		__u32 offset, value;
	} good[] = {
		{ PVSCHED_REG_STATUS, 0 },
		{ PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE },
		{ PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER },
		{ PVSCHED_REG_STATUS,
		  PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER | PVSCHED_S_FEATURES_OK },
		{ PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER |
					      PVSCHED_S_FEATURES_OK | PVSCHED_S_DRIVER_OK },
		{ PVSCHED_REG_GUEST_FEATURES, 0 },
		{ PVSCHED_REG_GUEST_FEATURES + 4, 0 },
		{ PVSCHED_REG_PROTO_SELECT, 0 },
		{ PVSCHED_REG_CHOICE_ID, PVSCHED_PROTO_BASE },
		{ PVSCHED_REG_CHOICE_VERSION, PVSCHED_PROTO_BASE_VERSION },
		{ PVSCHED_REG_VCPU_SELECT, 0 },
		{ PVSCHED_REG_VCPU_COMMAND, PVSCHED_CMD_ENABLE },
		{ PVSCHED_REG_VCPU_COMMAND, PVSCHED_CMD_UNREGISTER },
		{ PVSCHED_REG_DOORBELL, 1 },
	};
	__u64 x = next_random(v) % (sizeof(good) / sizeof(*good));

	if (bar)
		set_reg(good[x].offset, good[x].value);
}

void harm_resets(struct vcpu *v)
{
	__u32 index = v->cpu->index;

	if (!bar)
		return;
	negotiate_again();
	write_header(shared_page(index), index);
	if (enroll(index, frame_of(index)) != PVSCHED_R_OK)
		return;
	set_reg64(PVSCHED_REG_VCPU_NONCE, READ_ONCE(shared_page(index)->nonce));
	if (command(index, PVSCHED_CMD_ENABLE) == PVSCHED_R_OK)
		WRITE_ONCE(v->io->samples, v->io->samples + 1);
}

/* Frames of the last vCPU's own page, of this guest's other memory, of none, and numbers that are none; but
 * no other vCPU's. */
void harm_gfns(struct vcpu *v)
{
	__u32 last = vcpus - 1;
	__u64 x = next_random(v), gfn;

	if (!bar)
		return;
	gfn = x % 5 == 0   ? x >> 8
	      : x % 5 == 1 ? bar / PVSCHED_PAGE_SIZE
	      : x % 5 == 2 ? (x >> 8) % (GUEST_MEMORY_MIN / PVSCHED_PAGE_SIZE)
	      : x % 5 == 3 ? (1ull << 52) - 1
			   : frame_of(last);
	if (gfn == frame_of(v->cpu->index))
		return;
	command(last, PVSCHED_CMD_UNREGISTER);
	write_header(shared_page(last), last);
	enroll(last, gfn);
}

/* This vCPU's frame for the last one, which has none. */
void harm_twice(struct vcpu *v)
{
	__u32 last = vcpus - 1;

	if (!bar)
		return;
	if (!v->io->samples)
		command(last, PVSCHED_CMD_UNREGISTER);
	if (enroll(last, frame_of(v->cpu->index)) == PVSCHED_R_IN_USE)
		WRITE_ONCE(v->io->samples, v->io->samples + 1);
}
