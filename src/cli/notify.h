/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tells systemd how the service is, by the protocol of sd_notify(3). Without a service manager all of
 * it does nothing.
 */
#ifndef CLI_NOTIFY_H
#define CLI_NOTIFY_H

/* "READY=1", "WATCHDOG=1", ...; from any thread. A manager that cannot hear is no error. */
void notify(const char *state);
/* Half of the time in which the manager wants to hear WATCHDOG=1; -1: it wants nothing. */
int notify_watchdog_ms(void);

#endif
