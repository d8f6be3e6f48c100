/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The registers of a 16550A whose line is infinitely fast: what is written has been sent. Pure
 * state, the owner serialises; every value comes from the guest and none can hurt.
 */
#ifndef PVSCHED_VMM_UART_H
#define PVSCHED_VMM_UART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UART_FIFO 16

struct uart {
	uint8_t ier, lcr, mcr, scratch, divisor[2];
	bool fifos; /* FCR: on */
	bool empty; /* the "transmitter is empty" interrupt waits to be seen */
	uint8_t fifo[UART_FIFO];
	unsigned int head, count;
};

void uart_reset(struct uart *u);
/* reg: 0 to 7. */
uint8_t uart_read(struct uart *u, unsigned int reg);
/* Returns the byte that goes out, or -1. */
int uart_write(struct uart *u, unsigned int reg, uint8_t value);
/* The level of its interrupt. */
bool uart_irq(const struct uart *u);
/* How many bytes it can take in now. */
unsigned int uart_room(const struct uart *u);
/* From outside; beyond uart_room they are lost, as on a line. */
void uart_receive(struct uart *u, uint8_t byte);

#endif
