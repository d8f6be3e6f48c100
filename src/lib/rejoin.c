// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * After a lost broker: the next one takes the VM over as it is. Connection and HELLO come before the
 * VM's mutex is taken, so that a broker that does not answer delays nobody; then its threads are
 * registered and its pages, which the guest uses all the while, are moved under the new broker's maps.
 * State and locking: vm.h.
 */
#include "lib/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* The new connection under the old one's number, which the VMM polls. */
static int adopt(struct pvsched_vm *vm, struct pvsched_client *fresh)
{
	int fd = vm->client.fd;

	if (dup3(fresh->fd, fd, O_CLOEXEC) < 0)
		return -errno;
	close(fresh->fd);
	vm->client = *fresh;
	vm->client.fd = fd;
	vm->client.deadline_ns = 0;
	fresh->fd = -1;
	return 0;
}

static int rejoin_vcpu(struct pvsched_vm *vm, unsigned int index)
{
	struct pvsched_overlay next = PVSCHED_OVERLAY_NONE, *now = &vm->vcpu[index].overlay;
	const struct pvsched_device_vcpu *device = &vm->device.vcpu[index];
	int err;

	vm->client.deadline_ns = 0; /* per vCPU: a new broker may be busy with other VMs, too */
	err = pvsched_vm_join(vm, index, &next);
	if (err)
		return err;
	if (device->page == PVSCHED_PAGE_OFF && !now->hva) {
		pvsched_overlay_close(now);
		*now = next;
		return 0;
	}
	if (device->page == PVSCHED_PAGE_OFF) {
		struct pvsched_msg msg = { .type = PVSCHED_MSG_REMOVE_VCPU, .index = index };

		/* a page that could not be given back: it stays with the map that it is in, and this vCPU
		 * goes without; the others do not */
		pvsched_overlay_close(&next);
		return pvsched_client_call(&vm->client, &msg, NULL, 0, NULL);
	}
	err = pvsched_overlay_move(now, &next,
				   device->page == PVSCHED_PAGE_ENABLED ? PVSCHED_PAGE_PAUSED
									: PVSCHED_PAGE_ATTACHED,
				   device->nonce);
	if (err)
		pvsched_device_host_gone(&vm->device);
	else if (device->page == PVSCHED_PAGE_ENABLED)
		err = pvsched_vm_enable(vm, index);
	return err;
}

/* Under the mutex. */
static int take_over(struct pvsched_vm *vm, struct pvsched_client *fresh, uint64_t features)
{
	int err = adopt(vm, fresh);

	if (err)
		return err;
	/* What the guest has agreed on must go on, or it must agree anew. */
	vm->device.host_features = features;
	if (vm->device.guest_features & ~features)
		pvsched_device_host_gone(&vm->device);
	for (unsigned int i = 0; i < vm->vcpus && !err; i++)
		if (vm->vcpu[i].added)
			err = rejoin_vcpu(vm, i);
	if (err) {
		/* half a VM is none: hang up, which restores all, and come again */
		pvsched_client_hang_up(&vm->client);
		pvsched_vm_pause(vm);
		return err;
	}
	vm->gone_told = false;
	pvsched_vm_print(vm, PVSCHED_LOG_INFO, "the broker is back: the VM has joined it");
	return 0;
}

int pvsched_vm__rejoin(struct pvsched_vm *vm)
{
	struct pvsched_client fresh = { .fd = -1 };
	uint64_t features = 0;
	bool gone;
	int err = 0;

	pthread_mutex_lock(&vm->rejoin_lock);
	pvsched_vm_lock(vm);
	gone = vm->client.gone;
	pvsched_vm_unlock(vm);
	if (!gone)
		goto out;
	err = pvsched_client_connect(&fresh, vm->socket);
	if (!err)
		err = pvsched_vm_hello(vm, &fresh, &features);
	if (!err) {
		pvsched_vm_lock(vm);
		err = take_over(vm, &fresh, features);
		pvsched_vm_unlock(vm);
	}
	pvsched_client_close(&fresh); /* unless it was taken over */
out:
	pthread_mutex_unlock(&vm->rejoin_lock);
	return err;
}
