/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rows of `pvsched check`: each looks at one thing on this host and says what it found. The
 * list belongs to the caller; one thread.
 */
#ifndef CLI_CHECK_H
#define CLI_CHECK_H

#include <stdbool.h>

enum check_state {
	CHECK_OK,
	CHECK_NOTE, /* works; worth knowing */
	CHECK_LIMIT, /* works with less */
	CHECK_NO, /* pvsched cannot work without it */
};

struct check_row {
	const char *section; /* constant */
	char name[40];
	enum check_state state;
	char text[520]; /* a cgroup's path among it */
};

#define CHECK_ROWS_MAX 64

struct check_list {
	struct check_row row[CHECK_ROWS_MAX];
	unsigned int n;
};

__attribute__((format(printf, 5, 6))) void check_add(struct check_list *l, const char *section,
						     const char *name, enum check_state state,
						     const char *format, ...);

void check_kvm(struct check_list *l);
void check_bpf(struct check_list *l);
void check_stream(struct check_list *l);
/* Measures: takes about half a second. */
void check_actuators(struct check_list *l);
void check_limits(struct check_list *l);

#endif
