// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * vCPU threads: telling the broker of them, their doorbells, and taking their page away again.
 * State and locking: vm.h.
 */
#include "lib/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL /* linux/pidfd.h since Linux 6.9 */
#endif

/* Of the thread; before Linux 6.9, which lacks that (EINVAL), of the process. Drop the second
 * call when no supported kernel is older. */
static int open_pidfd(pid_t tid)
{
	int fd;

	fd = syscall(SYS_pidfd_open, tid, PIDFD_THREAD);
	if (fd < 0 && errno == EINVAL)
		fd = syscall(SYS_pidfd_open, getpid(), 0);
	return fd < 0 ? -errno : fd;
}

int pvsched_vm_doorbell(struct pvsched_vm *vm, unsigned int index)
{
	struct pvsched_vcpu *vcpu = &vm->vcpu[index];

	if (vcpu->doorbell < 0) {
		vcpu->doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (vcpu->doorbell < 0)
			return -errno;
	}
	return vcpu->doorbell;
}

int pvsched_vm__doorbell_fd(struct pvsched_vm *vm, unsigned int index)
{
	int fd;

	if (index >= vm->vcpus)
		return -EINVAL;
	pvsched_vm_lock(vm);
	fd = pvsched_vm_doorbell(vm, index);
	pvsched_vm_unlock(vm);
	return fd;
}

int pvsched_vm_join(struct pvsched_vm *vm, unsigned int index, struct pvsched_overlay *ret)
{
	struct pvsched_msg msg = { .type = PVSCHED_MSG_ADD_VCPU, .index = index };
	struct pvsched_vcpu *vcpu = &vm->vcpu[index];
	int fds[2] = { -1, -1 }, map_fd = -1, err;

	err = fds[0] = open_pidfd(vcpu->tid);
	if (err < 0)
		goto out;
	err = fds[1] = pvsched_vm_doorbell(vm, index);
	if (err < 0)
		goto out;
	msg.add.tid = vcpu->tid;
	msg.add.apic_id = vcpu->apic_id;
	err = pvsched_client_call(&vm->client, &msg, fds, 2, &map_fd);
	if (err)
		goto out;
	err = map_fd < 0 ? -EPROTO : pvsched_overlay_open(ret, map_fd);
	if (err) {
		struct pvsched_msg undo = { .type = PVSCHED_MSG_REMOVE_VCPU, .index = index };

		pvsched_client_call(&vm->client, &undo, NULL, 0, NULL);
		goto out;
	}
	map_fd = -1;
out:
	if (map_fd >= 0)
		close(map_fd);
	if (fds[0] >= 0)
		close(fds[0]);
	return err;
}

int pvsched_vm__add_vcpu(struct pvsched_vm *vm, unsigned int index, pid_t tid, uint32_t apic_id,
			 int vcpu_fd)
{
	int err;

	if (index >= vm->vcpus || tid <= 0 || fcntl(vcpu_fd, F_GETFD) < 0)
		return -EINVAL;
	if (syscall(SYS_tgkill, getpid(), tid, 0))
		return errno == ESRCH ? -EPERM : -errno;
	pvsched_vm_lock(vm);
	if (vm->vcpu[index].added) {
		err = -EEXIST;
		goto out;
	}
	vm->vcpu[index].tid = tid;
	vm->vcpu[index].apic_id = apic_id;
	err = pvsched_vm_join(vm, index, &vm->vcpu[index].overlay);
	vm->vcpu[index].added = !err;
out:
	pvsched_vm_unlock(vm);
	return err;
}

int pvsched_vm__remove_vcpu(struct pvsched_vm *vm, unsigned int index)
{
	struct pvsched_msg msg = { .type = PVSCHED_MSG_REMOVE_VCPU, .index = index };
	int err;

	if (index >= vm->vcpus)
		return -EINVAL;
	pvsched_vm_lock(vm);
	if (!vm->vcpu[index].added) {
		err = -ENOENT;
		goto out;
	}
	pvsched_device_detach(&vm->device, index);
	if (vm->vcpu[index].overlay.hva) {
		err = -ENOMEM;
		goto out;
	}
	err = 0;
	/* With the broker lost the thread is restored all the same, and the vCPU is not ours. */
	pvsched_client_call(&vm->client, &msg, NULL, 0, NULL);
	pvsched_overlay_close(&vm->vcpu[index].overlay);
	vm->vcpu[index].added = false;
out:
	pvsched_vm_unlock(vm);
	return err;
}
