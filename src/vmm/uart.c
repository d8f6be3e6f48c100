/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The 16550A. Interrupts by priority: data received, then transmitter empty; there are no line
 * errors, and no modem that could change its mind.
 */
#include "uart.h"

#include <linux/serial_reg.h>
#include <string.h>

#define IIR_FIFOS 0xc0
#define MSR_READY (UART_MSR_CTS | UART_MSR_DSR | UART_MSR_DCD)

void uart_reset(struct uart *u)
{
	memset(u, 0, sizeof(*u));
	u->divisor[0] = 1;
	u->lcr = UART_LCR_WLEN8;
	u->mcr = UART_MCR_OUT2;
}

static uint8_t pending(const struct uart *u)
{
	if (u->ier & UART_IER_RDI && u->count)
		return UART_IIR_RDI;
	if (u->ier & UART_IER_THRI && u->empty)
		return UART_IIR_THRI;
	return UART_IIR_NO_INT;
}

bool uart_irq(const struct uart *u)
{
	/* OUT2 gates the line on a PC; in loopback it does not leave the chip */
	return u->mcr & UART_MCR_OUT2 && !(u->mcr & UART_MCR_LOOP) && pending(u) != UART_IIR_NO_INT;
}

unsigned int uart_room(const struct uart *u)
{
	return (u->fifos ? UART_FIFO : 1) > u->count ? (u->fifos ? UART_FIFO : 1) - u->count : 0;
}

void uart_receive(struct uart *u, uint8_t byte)
{
	if (uart_room(u))
		u->fifo[(u->head + u->count++) % UART_FIFO] = byte;
}

static uint8_t take(struct uart *u)
{
	uint8_t byte = u->fifo[u->head];

	if (!u->count)
		return 0;
	u->head = (u->head + 1) % UART_FIFO;
	u->count--;
	return byte;
}

static uint8_t modem_status(const struct uart *u)
{
	uint8_t m = u->mcr;

	if (!(m & UART_MCR_LOOP))
		return MSR_READY;
	return (m & UART_MCR_RTS ? UART_MSR_CTS : 0) | (m & UART_MCR_DTR ? UART_MSR_DSR : 0) |
	       (m & UART_MCR_OUT1 ? UART_MSR_RI : 0) | (m & UART_MCR_OUT2 ? UART_MSR_DCD : 0);
}

uint8_t uart_read(struct uart *u, unsigned int reg)
{
	uint8_t value;

	if (reg < 2 && u->lcr & UART_LCR_DLAB)
		return u->divisor[reg];
	switch (reg) {
	case UART_RX:
		return take(u);
	case UART_IER:
		return u->ier;
	case UART_IIR:
		value = pending(u);
		if (value == UART_IIR_THRI)
			u->empty = false; /* seen */
		return value | (u->fifos ? IIR_FIFOS : 0);
	case UART_LCR:
		return u->lcr;
	case UART_MCR:
		return u->mcr;
	case UART_LSR:
		return UART_LSR_THRE | UART_LSR_TEMT | (u->count ? UART_LSR_DR : 0);
	case UART_MSR:
		return modem_status(u);
	default:
		return u->scratch;
	}
}

static int send(struct uart *u, uint8_t value)
{
	u->empty = true;
	if (!(u->mcr & UART_MCR_LOOP))
		return value;
	uart_receive(u, value);
	return -1;
}

int uart_write(struct uart *u, unsigned int reg, uint8_t value)
{
	if (reg < 2 && u->lcr & UART_LCR_DLAB) {
		u->divisor[reg] = value;
		return -1;
	}
	switch (reg) {
	case UART_TX:
		return send(u, value);
	case UART_IER:
		/* turning it on asks: the transmitter is empty, as always */
		if (value & ~u->ier & UART_IER_THRI)
			u->empty = true;
		u->ier = value & 0xf;
		break;
	case UART_FCR:
		u->fifos = value & UART_FCR_ENABLE_FIFO;
		if (value & UART_FCR_CLEAR_RCVR || !u->fifos)
			u->head = u->count = 0;
		break;
	case UART_LCR:
		u->lcr = value;
		break;
	case UART_MCR:
		u->mcr = value & 0x1f;
		break;
	case UART_SCR:
		u->scratch = value;
		break;
	}
	return -1;
}
