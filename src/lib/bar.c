// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * The device as the guest sees it: what the register device's ops do in a VM, and the entries
 * through which the VMM passes the guest's accesses. Everything here may be guest-driven, at any
 * rate and in any order: results are codes and counters, and nothing is printed for the guest's
 * sake. State and locking: vm.h; the ops run with the mutex held.
 */
#include "lib/vm.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "core/account.h"
#include "lib/clock.h"

/*
 * REGISTER splits a huge page and makes every vCPU drop translations, so the guest gets a start
 * and a rate: each vCPU twice at once (boot, and a guest that boots another kernel), then 50/s.
 */
#define REGISTER_PER_S		50
#define REGISTER_BURST_PER_VCPU 2

static uint32_t op_read_header(void *ctx, uint64_t gfn, struct pvsched_page *ret_line0)
{
	struct pvsched_vm *vm = ctx;
	uint32_t result;
	void *hva;

	result = pvsched_memory_resolve(&vm->memory, gfn, &hva);
	if (result == PVSCHED_R_OK)
		memcpy(ret_line0, hva, PVSCHED_LINE);
	return result;
}

int pvsched_vm_give_back(struct pvsched_vm *vm, unsigned int index)
{
	struct pvsched_overlay *overlay = &vm->vcpu[index].overlay;
	int err;

	err = pvsched_overlay_detach(overlay);
	if (!err)
		return 0;
	pvsched_reserve_drop(vm->reserve);
	vm->reserve = NULL;
	err = pvsched_overlay_detach(overlay);
	vm->reserve = pvsched_reserve_take();
	return err;
}

static uint32_t op_attach(void *ctx, unsigned int index, uint64_t gfn, uint64_t nonce)
{
	struct pvsched_vm *vm = ctx;
	struct pvsched_vcpu *vcpu = &vm->vcpu[index];
	uint32_t result;
	void *hva;

	if (vm->client.gone)
		return PVSCHED_R_HOST;
	if (!vcpu->added)
		return PVSCHED_R_BAD_VCPU;
	result = pvsched_memory_resolve(&vm->memory, gfn, &hva);
	if (result != PVSCHED_R_OK)
		return result;
	/* The device compares GFNs; two slots of a VM may show one memory under two of them. */
	for (unsigned int i = 0; i < vm->vcpus; i++) {
		if (i != index && vm->vcpu[i].overlay.hva == hva)
			return PVSCHED_R_IN_USE;
	}
	if (vcpu->overlay.hva)
		return PVSCHED_R_HOST; /* left of an earlier one; it cannot stand in for two */
	result = pvsched_overlay_attach(&vcpu->overlay, hva, nonce);
	if (result != PVSCHED_R_OK && vcpu->overlay.hva)
		pvsched_vm_give_back(vm, index);
	return result;
}

int pvsched_vm_enable(struct pvsched_vm *vm, unsigned int index)
{
	struct pvsched_msg msg = { .type = PVSCHED_MSG_ENABLE, .index = index };
	int err;

	msg.enable.features = vm->device.guest_features;
	msg.enable.epoch = vm->device.epoch;
	err = pvsched_client_call(&vm->client, &msg, NULL, 0, NULL);
	if (err)
		return err;
	vm->vcpu[index].enabled = true;
	pvsched_overlay_set_status(&vm->vcpu[index].overlay, PVSCHED_PAGE_ENABLED);
	return 0;
}

static uint32_t op_enable(void *ctx, unsigned int index, uint64_t features)
{
	(void)features; /* the device's, which pvsched_vm_enable() knows */
	/* A request that failed changed nothing, or the connection is closed and that undoes it. */
	return pvsched_vm_enable(ctx, index) ? PVSCHED_R_HOST : PVSCHED_R_OK;
}

static void op_detach(void *ctx, unsigned int index)
{
	struct pvsched_vm *vm = ctx;
	struct pvsched_vcpu *vcpu = &vm->vcpu[index];
	struct pvsched_msg msg = { .type = PVSCHED_MSG_DISABLE, .index = index };

	pvsched_overlay_set_status(&vcpu->overlay, PVSCHED_PAGE_DEAD);
	/*
	 * A broker that is gone, or does not answer, restores the threads when it finds the
	 * connection closed, and a program of its that still runs writes to the map's memory,
	 * which is no longer the guest's. So there is nothing to wait for.
	 */
	if (vcpu->enabled)
		pvsched_client_call(&vm->client, &msg, NULL, 0, NULL);
	vcpu->enabled = false;
	/* Where even the reserve did not help the page stays shared, with nobody of the host on the
	 * other side. The guest may use it for anything now, so a copy could lose what it stores:
	 * only del_memory and close, with no vCPU on this memory, try again. */
	pvsched_vm_give_back(vm, index);
}

static uint64_t op_nonce(void *ctx)
{
	uint64_t nonce;

	(void)ctx;
	/* 8 bytes come whole. Where a sandbox forbids the call: 0, which the device refuses. */
	return getrandom(&nonce, sizeof(nonce), 0) == sizeof(nonce) ? nonce : 0;
}

static uint32_t op_may_register(void *ctx)
{
	struct pvsched_vm *vm = ctx;
	struct pvsched_rate_conf rate =
		pvsched_rate_conf(REGISTER_PER_S, REGISTER_BURST_PER_VCPU * vm->vcpus);
	uint64_t now = now_ns();

	if (pvsched_rate_wait(vm->register_paid_at, now, &rate))
		return PVSCHED_R_RATE;
	vm->register_paid_at = pvsched_rate_charge(vm->register_paid_at, now, &rate);
	return PVSCHED_R_OK;
}

static void op_doorbell(void *ctx, unsigned int index)
{
	struct pvsched_vm *vm = ctx;
	int fd = pvsched_vm_doorbell(vm, index);

	/* Fails when the counter is full, and then it is readable already. */
	if (fd >= 0)
		eventfd_write(fd, 1);
}

const struct pvsched_device_ops pvsched_vm_device_ops = {
	.read_header = op_read_header,
	.attach = op_attach,
	.enable = op_enable,
	.detach = op_detach,
	.nonce = op_nonce,
	.may_register = op_may_register,
	.doorbell = op_doorbell,
};

void pvsched_vm__bar_read(struct pvsched_vm *vm, uint64_t offset, void *data, size_t size)
{
	pvsched_vm_lock(vm);
	pvsched_pci_bar_read(&vm->pci, offset, data, size);
	pvsched_vm_unlock(vm);
}

void pvsched_vm__bar_write(struct pvsched_vm *vm, uint64_t offset, const void *data, size_t size)
{
	pvsched_vm_lock(vm);
	pvsched_pci_bar_write(&vm->pci, offset, data, size);
	pvsched_vm_unlock(vm);
}

void pvsched_vm__set_bus_master(struct pvsched_vm *vm, bool on)
{
	pvsched_vm_lock(vm);
	pvsched_device_set_bus_master(&vm->device, on);
	pvsched_vm_unlock(vm);
}

void pvsched_vm__reset(struct pvsched_vm *vm)
{
	pvsched_vm_lock(vm);
	pvsched_pci_reset(&vm->pci);
	pvsched_vm_unlock(vm);
}

void pvsched_vm__config_read(struct pvsched_vm *vm, unsigned int offset, void *data, size_t size)
{
	pvsched_vm_lock(vm);
	pvsched_pci_config_read(&vm->pci, offset, data, size);
	pvsched_vm_unlock(vm);
}

void pvsched_vm__config_write(struct pvsched_vm *vm, unsigned int offset, const void *data,
			      size_t size, uint64_t *ret_bar)
{
	pvsched_vm_lock(vm);
	pvsched_pci_config_write(&vm->pci, offset, data, size);
	if (ret_bar)
		*ret_bar = pvsched_pci_bar(&vm->pci);
	pvsched_vm_unlock(vm);
}
