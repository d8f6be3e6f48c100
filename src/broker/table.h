/* SPDX-License-Identifier: GPL-2.0-only */
/* The calling thread's table of descriptors. */
#ifndef PVSCHED_BROKER_TABLE_H
#define PVSCHED_BROKER_TABLE_H

/* Closes all but these, which it sorts. No state, no allocation: usable between fork and exit. */
void pvsched_table_keep(int *keep, unsigned int n);

/*
 * A thread or a child that gets a copy of the process's table throws away of it what is not its own. Should
 * somebody else close one of these descriptors meanwhile, the copy is the last, and to close it may take as long
 * as whoever passed it likes. So who has a copy made holds the table until the copy is what it shall be; and who
 * closes what may block, until he has. Any thread; not twice.
 */
void pvsched_table_hold(void);
void pvsched_table_release(void);

#endif
