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
/* What is left of it, if WATCHDOG=1 was said at told_ns: however often one is woken for something else.
 * 0: it is time. */
int notify_watchdog_left(unsigned long long told_ns, unsigned long long now_ns);

#endif
