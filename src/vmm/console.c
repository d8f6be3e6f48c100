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
#define TYPED_MAX  16384
#define DEAF_MS	   100

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

/* What was typed and has yet to reach the guest. */
struct typed {
	uint8_t byte[TYPED_MAX];
	size_t head, count;
	bool escape; /* Ctrl-A is one */
	bool escaped; /* the last byte was it */
};

/* What does not fit is lost, as on a line. */
static void keep(struct typed *t, uint8_t byte)
{
	if (t->count < TYPED_MAX)
		t->byte[(t->head + t->count++) % TYPED_MAX] = byte;
}

/* Takes the escapes out: Ctrl-A x ends the VM, Ctrl-A Ctrl-A is Ctrl-A, others are kept. */
static void take_in(struct vmm *vm, struct typed *t, const uint8_t *bytes, size_t size)
{
	size_t i;

	for (i = 0; i < size; i++) {
		if (t->escape && !t->escaped && bytes[i] == ESCAPE) {
			t->escaped = true;
			continue;
		}
		if (t->escaped && bytes[i] == ESCAPE_END) {
			vmm_machine_end(vm, VMM_MACHINE_OFF);
			return;
		}
		if (t->escaped && bytes[i] != ESCAPE)
			keep(t, ESCAPE);
		t->escaped = false;
		keep(t, bytes[i]);
	}
}

static void pass_on(struct vmm *vm, struct typed *t)
{
	pthread_mutex_lock(&vm->serial_lock);
	for (; t->count && uart_room(&vm->uart); t->count--) {
		uart_receive(&vm->uart, t->byte[t->head]);
		t->head = (t->head + 1) % TYPED_MAX;
	}
	update_irq(vm);
	pthread_mutex_unlock(&vm->serial_lock);
}

/* A terminal is read whether or not the guest reads: the escape may be next. Input waits, that of a terminal until
 * DEAF_MS have passed in which the guest took nothing. */
static void *console_thread(void *arg)
{
	struct vmm *vm = arg;
	struct typed t = { .escape = vm->opts.kernel.escape };
	uint8_t bytes[64];
	bool more = true, deaf = false, full;
	struct pollfd fds[3] = {
		{ .fd = vm->stop_fd, .events = POLLIN },
		{ .events = POLLIN },
		{ .events = POLLIN },
	};
	eventfd_t room;
	ssize_t got;
	int n;

	prctl(PR_SET_NAME, "console");
	if (vmm_thread_confine(vm, VMM_ROLE_CONSOLE))
		return NULL;
	while (more || t.count) {
		fds[1].fd = t.count ? vm->room_fd : -1;
		full = t.count >
		       TYPED_MAX - sizeof(bytes) - 1; /* one more: an escape that is none */
		fds[2].fd = more && (t.escape ? !full || deaf : !t.count) ? vm->opts.kernel.in : -1;
		n = poll(fds, 3, full && !deaf ? DEAF_MS : -1);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			break;
		}
		deaf |= full && !n;
		if (fds[0].revents)
			break;
		if (fds[1].revents) {
			eventfd_read(vm->room_fd, &room);
			deaf = false;
		}
		if (fds[2].revents) {
			got = read(vm->opts.kernel.in, bytes, sizeof(bytes));
			if (got > 0)
				take_in(vm, &t, bytes, got);
			else if (!got || (errno != EINTR && errno != EAGAIN))
				more = false; /* the guest goes on */
		}
		pass_on(vm, &t);
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
