/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest's driver in the VMM's own process: the handshake through BAR0 of a pvsched_vm, as
 * spec/protocol.md orders it, for tests of the library.
 */
#ifndef PVSCHED_TESTS_LIB_GUEST_H
#define PVSCHED_TESTS_LIB_GUEST_H

#include <string.h>

#include <pvsched/pvsched.h>

static inline uint32_t guest_read(struct pvsched_vm *vm, uint64_t reg)
{
	uint32_t value;

	pvsched_vm__bar_read(vm, reg, &value, sizeof(value));
	return value;
}

static inline void guest_write(struct pvsched_vm *vm, uint64_t reg, uint32_t value)
{
	pvsched_vm__bar_write(vm, reg, &value, sizeof(value));
}

/* Bus Master on and negotiation up to FEATURES_OK; returns STATUS. */
static inline uint32_t guest_negotiate(struct pvsched_vm *vm)
{
	uint32_t low = guest_read(vm, PVSCHED_REG_HOST_FEATURES);

	pvsched_vm__set_bus_master(vm, true);
	guest_write(vm, PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE);
	guest_write(vm, PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER);
	guest_write(vm, PVSCHED_REG_GUEST_FEATURES, low);
	guest_write(vm, PVSCHED_REG_CHOICE_ID, PVSCHED_PROTO_BASE);
	guest_write(vm, PVSCHED_REG_CHOICE_VERSION, PVSCHED_PROTO_BASE_VERSION);
	guest_write(vm, PVSCHED_REG_STATUS,
		    PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER | PVSCHED_S_FEATURES_OK);
	return guest_read(vm, PVSCHED_REG_STATUS);
}

/* Line 0 as negotiated; the rest gets a pattern that a copy must keep. */
static inline void guest_prepare(struct pvsched_vm *vm, struct pvsched_page *page, uint32_t vcpu)
{
	memset(page, 0, sizeof(*page));
	page->magic = PVSCHED_MAGIC;
	page->abi_version = PVSCHED_ABI_VERSION;
	page->protocol = PVSCHED_PROTO_BASE;
	page->protocol_version = PVSCHED_PROTO_BASE_VERSION;
	page->features = guest_read(vm, PVSCHED_REG_GUEST_FEATURES);
	page->vcpu_id = vcpu;
	page->current_task = 0x1111;
	page->pending = 0x2222;
	page->extension[471] = 0x3333;
}

static inline uint32_t guest_command(struct pvsched_vm *vm, uint32_t vcpu, uint32_t command)
{
	guest_write(vm, PVSCHED_REG_VCPU_SELECT, vcpu);
	guest_write(vm, PVSCHED_REG_VCPU_COMMAND, command);
	return guest_read(vm, PVSCHED_REG_VCPU_RESULT);
}

static inline uint32_t guest_register(struct pvsched_vm *vm, uint32_t vcpu, uint64_t gfn)
{
	guest_write(vm, PVSCHED_REG_VCPU_SELECT, vcpu);
	guest_write(vm, PVSCHED_REG_VCPU_GFN, gfn);
	guest_write(vm, PVSCHED_REG_VCPU_GFN + 4, gfn >> 32);
	return guest_command(vm, vcpu, PVSCHED_CMD_REGISTER);
}

/* Echoes the nonce that the host wrote into the page. */
static inline uint32_t guest_enable(struct pvsched_vm *vm, uint32_t vcpu,
				    const struct pvsched_page *page)
{
	uint64_t nonce = __atomic_load_n(&page->nonce, __ATOMIC_ACQUIRE);

	guest_write(vm, PVSCHED_REG_VCPU_SELECT, vcpu);
	guest_write(vm, PVSCHED_REG_VCPU_NONCE, nonce);
	guest_write(vm, PVSCHED_REG_VCPU_NONCE + 4, nonce >> 32);
	return guest_command(vm, vcpu, PVSCHED_CMD_ENABLE);
}

#endif
