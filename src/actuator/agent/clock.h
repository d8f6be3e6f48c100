/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The pair (TSC, CLOCK_MONOTONIC) that lets BPF turn a guest's TSC into host time. Whoever wakes
 * refreshes it when it is older than 50 ms; nobody wakes for it.
 */
#ifndef PVSCHED_ACTUATOR_CLOCK_H
#define PVSCHED_ACTUATOR_CLOCK_H

#include <stdint.h>

#include "../../events/state.h"

void pvsched_clock_start(volatile struct pvsched_clock *clocks, volatile uint32_t *idx);
void pvsched_clock_refresh(volatile struct pvsched_clock *clocks, volatile uint32_t *idx);

#endif
