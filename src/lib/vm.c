// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * Life of a VM object: open, close, dispatch, printing. State and locking: vm.h.
 */
#include "lib/vm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void pvsched_vm_print(struct pvsched_vm *vm, enum pvsched_log_level level, const char *format, ...)
{
	char line[256];
	va_list args;

	if (!vm->print)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	vm->print(level, line, vm->print_ctx);
}

void pvsched_vm_lock(struct pvsched_vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->client.deadline_ns = 0;
}

void pvsched_vm_pause(struct pvsched_vm *vm)
{
	for (unsigned int i = 0; i < vm->vcpus; i++) {
		struct pvsched_overlay *o = &vm->vcpu[i].overlay;

		vm->vcpu[i].enabled = false;
		if (o->hva && !o->given_up) /* else the guest may use all of it */
			pvsched_overlay_pause(o);
	}
}

void pvsched_vm_unlock(struct pvsched_vm *vm)
{
	if (vm->client.gone && !vm->gone_told) {
		vm->gone_told = true;
		pvsched_vm_print(vm, PVSCHED_LOG_WARN,
				 "the broker is gone: the VM goes on without pvsched");
		if (vm->rejoins)
			pvsched_vm_pause(vm);
		else
			pvsched_device_host_gone(&vm->device);
	}
	pthread_mutex_unlock(&vm->lock);
}

int pvsched_opts_copy(void *dst, size_t dst_size, const void *src)
{
	size_t size;

	if (!src)
		return -EINVAL;
	memcpy(&size, src, sizeof(size));
	if (size < sizeof(size))
		return -EINVAL;
	for (size_t i = dst_size; i < size; i++) {
		if (((const char *)src)[i])
			return -EINVAL;
	}
	memcpy(dst, src, size < dst_size ? size : dst_size);
	return 0;
}

/* The name, shortened to what fits, at a boundary of UTF-8 characters. */
static void copy_name(char *dst, size_t size, const char *name)
{
	size_t n = strnlen(name, size);

	if (n == size) {
		n--;
		while (n && ((unsigned char)name[n] & 0xc0) == 0x80)
			n--;
	}
	memcpy(dst, name, n);
	memset(dst + n, 0, size - n);
}

int pvsched_vm_hello(struct pvsched_vm *vm, struct pvsched_client *client, uint64_t *ret_features)
{
	struct pvsched_msg msg = { .type = PVSCHED_MSG_HELLO };
	int err;

	msg.hello.version = PVSCHED_WIRE_VERSION;
	msg.hello.vcpus = vm->vcpus;
	_Static_assert(sizeof(msg.hello.name) == sizeof(vm->name), "names");
	memcpy(msg.hello.name, vm->name, sizeof(vm->name));
	err = pvsched_client_call(client, &msg, NULL, 0, NULL);
	if (err)
		return err;
	if (msg.hello.version != PVSCHED_WIRE_VERSION)
		return -EPROTO;
	*ret_features = msg.hello.host_features;
	return 0;
}

static void vm_free(struct pvsched_vm *vm)
{
	for (unsigned int i = 0; i < vm->vcpus; i++) {
		pvsched_overlay_close(&vm->vcpu[i].overlay);
		if (vm->vcpu[i].doorbell >= 0)
			close(vm->vcpu[i].doorbell);
	}
	pvsched_reserve_drop(vm->reserve);
	pvsched_client_close(&vm->client);
	pthread_mutex_destroy(&vm->rejoin_lock);
	pthread_mutex_destroy(&vm->lock);
	free(vm);
}

struct pvsched_vm *pvsched_vm__open(const struct pvsched_vm_opts *caller_opts)
{
	struct pvsched_vm_opts opts = { 0 };
	struct pvsched_vm *vm = NULL;
	uint64_t features;
	int err;

	err = pvsched_opts_copy(&opts, sizeof(opts), caller_opts);
	if (err)
		goto out;
	if (opts.vcpus < 1 || opts.vcpus > PVSCHED_VCPUS_MAX) {
		err = -EINVAL;
		goto out;
	}
	if (!opts.name)
		opts.name = program_invocation_short_name;
	if (!opts.socket)
		opts.socket = secure_getenv("PVSCHED_SOCKET");
	if (!opts.socket || !*opts.socket)
		opts.socket = PVSCHED_SOCKET;

	vm = calloc(1, sizeof(*vm) + opts.vcpus * sizeof(vm->vcpu[0]));
	if (!vm) {
		err = -ENOMEM;
		goto out;
	}
	pthread_mutex_init(&vm->lock, NULL);
	pthread_mutex_init(&vm->rejoin_lock, NULL);
	vm->rejoins = opts.rejoin;
	copy_name(vm->name, sizeof(vm->name), opts.name);
	vm->print = opts.print;
	vm->print_ctx = opts.print_ctx;
	vm->client.fd = -1;
	vm->vcpus = opts.vcpus;
	for (unsigned int i = 0; i < vm->vcpus; i++) {
		vm->vcpu[i].doorbell = -1;
		vm->vcpu[i].overlay = PVSCHED_OVERLAY_NONE;
	}

	vm->reserve = pvsched_reserve_take();
	if (!vm->reserve) {
		err = -ENOMEM;
		goto out;
	}
	err = strlen(opts.socket) < sizeof(vm->socket) ? 0 : -ENAMETOOLONG;
	if (!err) {
		strcpy(vm->socket, opts.socket);
		err = pvsched_client_connect(&vm->client, vm->socket);
	}
	if (err) {
		pvsched_vm_print(vm, PVSCHED_LOG_ERROR, "no broker at %s: %s", opts.socket,
				 strerror(-err));
		goto out;
	}
	err = pvsched_vm_hello(vm, &vm->client, &features);
	if (err) {
		pvsched_vm_print(vm, PVSCHED_LOG_ERROR, "the broker at %s refuses: %s", opts.socket,
				 strerror(-err));
		goto out;
	}
	pvsched_device_init(&vm->device, &pvsched_vm_device_ops, vm, vm->vcpus, features);
	pvsched_pci_init(&vm->pci, &vm->device);
out:
	if (err) {
		if (vm)
			vm_free(vm);
		errno = -err;
		return NULL;
	}
	return vm;
}

void pvsched_vm__close(struct pvsched_vm *vm)
{
	if (!vm)
		return;
	pvsched_vm_lock(vm);
	pvsched_device_reset(&vm->device);
	for (unsigned int i = 0; i < vm->vcpus; i++) {
		struct pvsched_msg msg = { .type = PVSCHED_MSG_REMOVE_VCPU, .index = i };

		if (pvsched_vm_give_back(vm, i))
			pvsched_vm_print(vm, PVSCHED_LOG_ERROR,
					 "vCPU %u: its page could not be unmapped and stays shared",
					 i);
		/* Hanging up would do; but then nobody would know when the threads are restored. */
		if (vm->vcpu[i].added)
			pvsched_client_call(&vm->client, &msg, NULL, 0, NULL);
	}
	pvsched_vm_unlock(vm);
	vm_free(vm);
}

int pvsched_vm__poll_fd(struct pvsched_vm *vm)
{
	return vm->client.fd; /* constant from open to close */
}

int pvsched_vm__dispatch(struct pvsched_vm *vm)
{
	int err;

	pvsched_vm_lock(vm);
	err = pvsched_client_drain(&vm->client);
	pvsched_vm_unlock(vm);
	return err;
}
