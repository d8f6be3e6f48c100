// SPDX-License-Identifier: GPL-2.0-only
/*
 * The serial port's registers, as drivers use and probe them.
 */
#include <helpers/unit.h>

#include <linux/serial_reg.h>
#include <vmm/uart.h>

static struct uart u;

static int setup(void **state)
{
	(void)state;
	uart_reset(&u);
	return 0;
}

static void uart_sends_what_is_written(void **state)
{
	(void)state;
	assert_int_equal(uart_write(&u, UART_TX, 'a'), 'a');
	assert_true(uart_read(&u, UART_LSR) & UART_LSR_THRE);
	assert_int_equal(uart_write(&u, UART_SCR, 'b'), -1);
	assert_int_equal(uart_read(&u, UART_SCR), 'b');
}

static void uart_divisor_is_behind_dlab(void **state)
{
	(void)state;
	uart_write(&u, UART_LCR, UART_LCR_DLAB);
	assert_int_equal(uart_write(&u, UART_DLL, 12), -1);
	uart_write(&u, UART_DLM, 3);
	assert_int_equal(uart_read(&u, UART_DLL), 12);
	assert_int_equal(uart_read(&u, UART_DLM), 3);
	uart_write(&u, UART_LCR, UART_LCR_WLEN8);
	assert_int_equal(uart_read(&u, UART_IER), 0);
}

static void uart_received_bytes_interrupt_until_they_are_read(void **state)
{
	(void)state;
	uart_receive(&u, 'x');
	assert_false(uart_irq(&u)); /* nobody asked */
	uart_write(&u, UART_IER, UART_IER_RDI);
	assert_true(uart_irq(&u));
	assert_int_equal(uart_read(&u, UART_IIR) & 0xf, UART_IIR_RDI);
	assert_true(uart_irq(&u));
	assert_true(uart_read(&u, UART_LSR) & UART_LSR_DR);
	assert_int_equal(uart_read(&u, UART_RX), 'x');
	assert_false(uart_irq(&u));
	assert_int_equal(uart_read(&u, UART_RX), 0);
}

static void uart_fifo_keeps_order_and_bound(void **state)
{
	unsigned int i;

	(void)state;
	assert_int_equal(uart_room(&u), 1);
	uart_write(&u, UART_FCR, UART_FCR_ENABLE_FIFO);
	assert_int_equal(uart_read(&u, UART_IIR) & 0xc0, 0xc0); /* so it is a 16550A */
	assert_int_equal(uart_room(&u), UART_FIFO);
	for (i = 0; i < UART_FIFO + 5; i++)
		uart_receive(&u, i);
	assert_int_equal(uart_room(&u), 0);
	for (i = 0; i < UART_FIFO; i++)
		assert_int_equal(uart_read(&u, UART_RX), i);
	assert_int_equal(uart_room(&u), UART_FIFO);
	uart_receive(&u, 1);
	uart_write(&u, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	assert_int_equal(uart_room(&u), UART_FIFO);
}

static void uart_without_fifos_forgets_what_they_held(void **state)
{
	unsigned int i;

	(void)state;
	uart_write(&u, UART_FCR, UART_FCR_ENABLE_FIFO);
	for (i = 0; i < 8; i++)
		uart_receive(&u, i);
	uart_write(&u, UART_FCR, 0);
	assert_int_equal(uart_room(&u), 1);
}

/* What Linux' driver probes before it trusts the transmitter's interrupt. */
static void uart_empty_transmitter_interrupts_again_when_asked_again(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		uart_write(&u, UART_IER, UART_IER_THRI);
		assert_true(uart_irq(&u));
		assert_int_equal(uart_read(&u, UART_IIR) & 0xf, UART_IIR_THRI);
		assert_false(uart_irq(&u));
		assert_int_equal(uart_read(&u, UART_IIR) & 0xf, UART_IIR_NO_INT);
		uart_write(&u, UART_IER, 0);
	}
	uart_write(&u, UART_IER, UART_IER_THRI);
	uart_read(&u, UART_IIR);
	uart_write(&u, UART_TX, 'a');
	assert_true(uart_irq(&u));
}

static void uart_interrupt_needs_out2_and_no_loopback(void **state)
{
	(void)state;
	uart_write(&u, UART_IER, UART_IER_THRI);
	uart_write(&u, UART_MCR, 0);
	assert_false(uart_irq(&u));
	uart_write(&u, UART_MCR, UART_MCR_OUT2 | UART_MCR_LOOP);
	assert_false(uart_irq(&u));
	uart_write(&u, UART_MCR, UART_MCR_OUT2);
	assert_true(uart_irq(&u));
}

static void uart_loopback_returns_bytes_and_lines(void **state)
{
	(void)state;
	uart_write(&u, UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_RTS);
	assert_int_equal(uart_read(&u, UART_MSR) & 0xf0, UART_MSR_DCD | UART_MSR_CTS);
	assert_int_equal(uart_write(&u, UART_TX, 'l'), -1);
	assert_int_equal(uart_read(&u, UART_RX), 'l');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(uart_sends_what_is_written, setup),
		cmocka_unit_test_setup(uart_divisor_is_behind_dlab, setup),
		cmocka_unit_test_setup(uart_received_bytes_interrupt_until_they_are_read, setup),
		cmocka_unit_test_setup(uart_fifo_keeps_order_and_bound, setup),
		cmocka_unit_test_setup(uart_without_fifos_forgets_what_they_held, setup),
		cmocka_unit_test_setup(uart_empty_transmitter_interrupts_again_when_asked_again,
				       setup),
		cmocka_unit_test_setup(uart_interrupt_needs_out2_and_no_loopback, setup),
		cmocka_unit_test_setup(uart_loopback_returns_bytes_and_lines, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
