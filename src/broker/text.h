/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A text that is written as a file and as long as need be, in pages of its own: what a large one took
 * goes back to the system with it, where a heap keeps it.
 */
#ifndef PVSCHED_BROKER_TEXT_H
#define PVSCHED_BROKER_TEXT_H

#include <stddef.h>
#include <stdio.h>

struct pvsched_text {
	char *data;
	size_t size, room; /* bytes, of them mapped */
};

/* Writes t anew, which must be there until the file is closed; NULL with errno. When closing it fails, or
 * ferror() is set, the text is not whole. */
FILE *pvsched_text_open(struct pvsched_text *t);
void pvsched_text_free(struct pvsched_text *t);

#endif
