/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The serial console of a Linux guest: a 16550A at COM1, between the guest and two descriptors of
 * the program's. A thread passes input on as fast as the guest takes it; output is written by the
 * vCPU that sends it. serial_lock guards the registers and the interrupt line.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "internal.h"

#define ESCAPE	   0x01 /* Ctrl-A */
#define ESCAPE_END 'x'

/* serial_lock is held. */
static void update_irq(struct vmm *vm)
{
	bool level = uart_irq(&vm->uart);
	struct kvm_irq_level irq = { .irq = VMM_SERIAL_IRQ, .level = level };

	if (level == vm->serial_level)
		return;
	vm->serial_level = level;
	ioctl(vm->fd, KVM_IRQ_LINE, &irq);
}

/* A reader that stands still stops the guest's console, but not the end of the VM. */
static void put_byte(struct vmm *vm, uint8_t byte)
{
	struct pollfd fds[2] = {
		{ .fd = vm->opts.kernel.out, .events = POLLOUT },
		{ .fd = vm->stop_fd, .events = POLLIN },
	};

	if (vm->opts.kernel.out < 0)
		return;
	while (!atomic_load(&vm->stopping)) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return;
		if (fds[1].revents)
			return;
		if (!fds[0].revents)
			continue;
		if (write(vm->opts.kernel.out, &byte, 1) == 1 ||
		    (errno != EAGAIN && errno != EINTR))
			return; /* nobody reads it: as a line that is not connected */
	}
}

void vmm_console_port(struct vmm *vm, unsigned int reg, bool write, uint8_t *data)
{
	int out = -1;
	bool room;

	pthread_mutex_lock(&vm->serial_lock);
	room = uart_room(&vm->uart);
	if (write)
		out = uart_write(&vm->uart, reg, *data);
	else
		*data = uart_read(&vm->uart, reg);
	update_irq(vm);
	room = !room && uart_room(&vm->uart);
	pthread_mutex_unlock(&vm->serial_lock);
	if (room)
		eventfd_write(vm->room_fd, 1);
	if (out >= 0)
		put_byte(vm, out);
}

void vmm_console_reset(struct vmm *vm)
{
	pthread_mutex_lock(&vm->serial_lock);
	uart_reset(&vm->uart);
	update_irq(vm);
	pthread_mutex_unlock(&vm->serial_lock);
	eventfd_write(vm->room_fd, 1);
}

/* Returns how many of the bytes were taken. */
static size_t receive(struct vmm *vm, const uint8_t *bytes, size_t size)
{
	size_t i;

	pthread_mutex_lock(&vm->serial_lock);
	for (i = 0; i < size && uart_room(&vm->uart); i++)
		uart_receive(&vm->uart, bytes[i]);
	update_irq(vm);
	pthread_mutex_unlock(&vm->serial_lock);
	return i;
}

/* Takes the escapes out: Ctrl-A x ends the VM, Ctrl-A Ctrl-A is Ctrl-A, others are kept. */
static size_t unescape(struct vmm *vm, bool *escaped, uint8_t *bytes, size_t size)
{
	uint8_t in[64];
	size_t i, n = 0;

	memcpy(in, bytes, size);
	for (i = 0; i < size; i++) {
		if (!*escaped && in[i] == ESCAPE) {
			*escaped = true;
			continue;
		}
		if (*escaped && in[i] == ESCAPE_END) {
			vmm_machine_end(vm, VMM_MACHINE_OFF);
			return n;
		}
		if (*escaped && in[i] != ESCAPE)
			bytes[n++] = ESCAPE;
		*escaped = false;
		bytes[n++] = in[i];
	}
	return n;
}

static void *console_thread(void *arg)
{
	struct vmm *vm = arg;
	uint8_t bytes[65]; /* one more: an escape that turns out to be none */
	size_t have = 0, done = 0;
	bool escaped = false;
	struct pollfd fds[2] = { { .fd = vm->stop_fd, .events = POLLIN }, { .events = POLLIN } };
	eventfd_t count;
	ssize_t got;

	prctl(PR_SET_NAME, "console");
	if (vmm_thread_confine(vm, VMM_ROLE_CONSOLE))
		return NULL;
	for (;;) {
		fds[1].fd = done < have ? vm->room_fd : vm->opts.kernel.in;
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		if (fds[0].revents)
			break;
		if (!fds[1].revents)
			continue;
		if (done < have) {
			eventfd_read(vm->room_fd, &count);
		} else {
			got = read(vm->opts.kernel.in, bytes, sizeof(bytes) - 1);
			if (got < 0 && (errno == EINTR || errno == EAGAIN))
				continue;
			if (got <= 0)
				break; /* no more input; the guest goes on */
			have = got;
			done = 0;
			if (vm->opts.kernel.escape)
				have = unescape(vm, &escaped, bytes, have);
		}
		done += receive(vm, bytes + done, have - done);
	}
	return NULL;
}

int vmm_console_start(struct vmm *vm)
{
	int ret;

	if (!vm->opts.kernel.file || vm->opts.kernel.in < 0)
		return 0;
	ret = -pthread_create(&vm->console, NULL, console_thread, vm);
	if (ret)
		vmm_say(vm, PVSCHED_LOG_ERROR, "console: thread: %s", strerror(-ret));
	vm->has_console = !ret;
	return ret;
}
