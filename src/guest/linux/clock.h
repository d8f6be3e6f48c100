/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The relation between the guest's CLOCK_MONOTONIC, in which the kernel arms its timers, and its
 * TSC, in which next_event is told. Measured again every few seconds: NTP bends the clock.
 */
#ifndef PVSCHED_GUEST_CLOCK_H
#define PVSCHED_GUEST_CLOCK_H

#include "publish.h"

#define CLOCK_PERIOD_S 4

/* Takes 50 ms. */
void clock_start(struct publish_clock *c);
/* Every CLOCK_PERIOD_S; the slope is that of the time since the last call. */
void clock_update(struct publish_clock *c);

#endif
