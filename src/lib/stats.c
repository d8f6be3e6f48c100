// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * Statistics: a vCPU's from the broker, the device's from its own counters. Callers' structs
 * are filled as far as they reach (sz). State and locking: vm.h.
 */
#include "lib/vm.h"

#include <errno.h>
#include <string.h>

/* dst begins with the size that its owner knows; src, of src_size, begins with a size, too. */
static int copy_out(void *dst, void *src, size_t src_size)
{
	size_t size;

	memcpy(&size, dst, sizeof(size));
	if (size < sizeof(size))
		return -EINVAL;
	if (size > src_size)
		size = src_size;
	memcpy(src, &size, sizeof(size));
	memcpy(dst, src, size);
	return 0;
}

int pvsched_vm__vcpu_stats(struct pvsched_vm *vm, unsigned int index,
			   struct pvsched_vcpu_stats *ret_stats)
{
	struct pvsched_msg msg = { .type = PVSCHED_MSG_STATS, .index = index };
	struct pvsched_vcpu_stats stats = { 0 };
	int err;

	if (!ret_stats || index >= vm->vcpus)
		return -EINVAL;
	pvsched_vm_lock(vm);
	err = vm->vcpu[index].added ? 0 : -ENOENT;
	if (!err)
		err = pvsched_client_call(&vm->client, &msg, NULL, 0, NULL);
	if (!err) {
		stats.boosts = msg.stats.boosts;
		stats.boosted_ns = msg.stats.boosted_ns;
		stats.run_ns = msg.stats.run_ns;
		stats.steal_ns = msg.stats.steal_ns;
		stats.denied_throttle = msg.stats.denied_throttle;
		stats.denied_gap = msg.stats.denied_gap;
		stats.expired = msg.stats.expired;
		stats.bad_words = msg.stats.bad_words;
		stats.doorbells = msg.stats.doorbells;
		stats.page = vm->device.vcpu[index].page;
		/* the broker's word: the guest may have overwritten the page's */
		stats.grant = msg.stats.grant;
		err = copy_out(ret_stats, &stats, sizeof(stats));
	}
	pvsched_vm_unlock(vm);
	return err;
}

int pvsched_vm__device_stats(struct pvsched_vm *vm, struct pvsched_device_stats *ret_stats)
{
	struct pvsched_device_stats stats = { 0 };
	int err;

	if (!ret_stats)
		return -EINVAL;
	pvsched_vm_lock(vm);
	memcpy(stats.errors, vm->device.errors, sizeof(stats.errors));
	stats.status = vm->device.status;
	stats.epoch = vm->device.epoch;
	if (vm->device.status & PVSCHED_S_FEATURES_OK) {
		stats.features = vm->device.guest_features;
		stats.protocol = vm->device.choice_id;
		stats.protocol_version = vm->device.choice_version;
	}
	err = copy_out(ret_stats, &stats, sizeof(stats));
	pvsched_vm_unlock(vm);
	return err;
}
