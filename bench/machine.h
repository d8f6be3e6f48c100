/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Facts of the machine that a figure depends on, read from the kernel's own files. No state.
 */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <stddef.h>

#include "result.h"

/* What cannot be read stays empty, -1 for numbers whose 0 would mean something. */
void bench_machine_read(struct bench_machine *m);

struct bench_ticks {
	unsigned long long steal, all;
	int valid;
};
/* All CPUs' time so far; twice around a run gives machine.steal. */
void bench_ticks_read(struct bench_ticks *t);
double bench_steal(const struct bench_ticks *from, const struct bench_ticks *to);

/* First line of a file without its newline. -errno; *buf untouched on failure. */
int bench_read_line(const char *path, char *buf, size_t size);

#endif
