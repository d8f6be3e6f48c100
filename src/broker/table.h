/* SPDX-License-Identifier: GPL-2.0-only */
/* The calling thread's table of descriptors. No state, no allocation: usable between fork and exit. */
#ifndef PVSCHED_BROKER_TABLE_H
#define PVSCHED_BROKER_TABLE_H

/* Closes all but these, which it sorts. */
void pvsched_table_keep(int *keep, unsigned int n);

#endif
