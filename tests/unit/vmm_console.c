// SPDX-License-Identifier: GPL-2.0-only
/* The thread of the serial console, between a pipe and a UART that this test reads as a guest would. */
#include <helpers/unit.h>

#include <linux/serial_reg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <vmm/internal.h>

#define PATIENCE_MS 10000

static struct vmm vm;
static int keys; /* the other end of its input */

static void pause_ms(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

static int start(bool escape)
{
	int ends[2];

	memset(&vm, 0, sizeof(vm));
	if (pipe(ends))
		return -1;
	keys = ends[1];
	pthread_mutex_init(&vm.lock, NULL);
	pthread_mutex_init(&vm.serial_lock, NULL);
	pthread_cond_init(&vm.cond, NULL);
	uart_reset(&vm.uart);
	vm.fd = -1; /* no KVM: nobody hears the interrupt */
	vm.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vm.room_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vm.opts.kernel.file = "none";
	vm.opts.kernel.in = ends[0];
	vm.opts.kernel.out = -1;
	vm.opts.kernel.escape = escape;
	return vmm_console_start(&vm);
}

static int at_terminal(void **state)
{
	(void)state;
	return start(true);
}

static int at_pipe(void **state)
{
	(void)state;
	return start(false);
}

static int stop(void **state)
{
	(void)state;
	eventfd_write(vm.stop_fd, 1);
	pthread_join(vm.console, NULL);
	close(vm.stop_fd);
	close(vm.room_fd);
	close(vm.opts.kernel.in);
	close(keys);
	return 0;
}

/* Until the thread has read it. */
static void type(const char *bytes, size_t size)
{
	int i, left = 1;

	assert_int_equal(write(keys, bytes, size), size);
	for (i = 0; left && i < PATIENCE_MS; i++) {
		assert_int_equal(ioctl(vm.opts.kernel.in, FIONREAD, &left), 0);
		if (left)
			pause_ms();
	}
	if (left)
		fail_msg("%d bytes are not read", left);
}

static void ends(void)
{
	bool off = false;
	int i;

	for (i = 0; !off && i < PATIENCE_MS; i++) {
		pthread_mutex_lock(&vm.lock);
		off = vm.off;
		pthread_mutex_unlock(&vm.lock);
		if (!off)
			pause_ms();
	}
	assert_true(off);
}

static uint8_t in(unsigned int reg)
{
	uint8_t value = 0;

	vmm_console_port(&vm, reg, false, &value);
	return value;
}

static uint8_t received(void)
{
	int i;

	for (i = 0; i < PATIENCE_MS && !(in(UART_LSR)&UART_LSR_DR); i++)
		pause_ms();
	assert_true(in(UART_LSR)&UART_LSR_DR);
	return in(UART_RX);
}

static void console_that_the_guest_does_not_read_sees_the_escape(void **state)
{
	(void)state;
	type("a", 1);
	type("b", 1);
	type("\x01x", 2);
	ends();
}

static void console_with_more_typed_than_it_keeps_sees_the_escape(void **state)
{
	char many[1024];
	int i;

	(void)state;
	memset(many, '.', sizeof(many));
	for (i = 0; i < 64; i++)
		type(many, sizeof(many));
	type("\x01x", 2);
	ends();
}

static void console_keeps_what_was_typed_in_order_for_a_guest_that_reads_late(void **state)
{
	static const char keys[] = "0123456789 0123456789 0123456789 \x01y\x01\x01z";
	static const char reads[] = "0123456789 0123456789 0123456789 \x01y\x01z";
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(keys) - 1; i++)
		type(keys + i, 1);
	for (i = 0; i < sizeof(reads) - 1; i++)
		assert_int_equal(received(), reads[i]);
	assert_false(vm.off);
}

static void *feed(void *bytes)
{
	char *at = bytes;

	for (int i = 0; i < 64; i++, at += 1024)
		if (write(keys, at, 1024) != 1024)
			return bytes;
	return NULL;
}

static void lose_nothing(int first)
{
	uint8_t *bytes = malloc(64 * 1024), fifos = UART_FCR_ENABLE_FIFO;
	pthread_t feeder;
	void *failed;
	int i;

	assert_non_null(bytes);
	for (i = 0; i < 64 * 1024; i++)
		bytes[i] = i % 2 ? 'x' : first + i / 2 % 200;
	vmm_console_port(&vm, UART_FCR, true, &fifos);
	assert_int_equal(pthread_create(&feeder, NULL, feed, bytes), 0);
	for (i = 0; i < 64 * 1024; i++)
		assert_int_equal(received(), bytes[i]);
	pthread_join(feeder, &failed);
	assert_null(failed);
	assert_false(vm.off);
	free(bytes);
}

static void console_that_is_no_terminal_loses_nothing_and_has_no_escape(void **state)
{
	(void)state;
	lose_nothing(1); /* Ctrl-A x among it */
}

static void console_loses_nothing_of_what_is_pasted_to_a_guest_that_reads(void **state)
{
	(void)state;
	lose_nothing(2);
}

static void console_whose_input_ends_still_delivers_it(void **state)
{
	(void)state;
	assert_int_equal(write(keys, "abc", 3), 3);
	close(keys);
	keys = -1;
	assert_int_equal(received(), 'a');
	assert_int_equal(received(), 'b');
	assert_int_equal(received(), 'c');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			console_that_the_guest_does_not_read_sees_the_escape, at_terminal, stop),
		cmocka_unit_test_setup_teardown(
			console_with_more_typed_than_it_keeps_sees_the_escape, at_terminal, stop),
		cmocka_unit_test_setup_teardown(
			console_keeps_what_was_typed_in_order_for_a_guest_that_reads_late,
			at_terminal, stop),
		cmocka_unit_test_setup_teardown(
			console_that_is_no_terminal_loses_nothing_and_has_no_escape, at_pipe, stop),
		cmocka_unit_test_setup_teardown(
			console_loses_nothing_of_what_is_pasted_to_a_guest_that_reads, at_terminal,
			stop),
		cmocka_unit_test_setup_teardown(console_whose_input_ends_still_delivers_it,
						at_terminal, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
