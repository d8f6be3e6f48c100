// SPDX-License-Identifier: GPL-2.0-only
/* See text.h. */
#include "text.h"

#include <string.h>
#include <sys/mman.h>

#define ROOM 16384 /* of a first one; then twice as much each time */

static ssize_t put(void *cookie, const char *data, size_t n)
{
	struct pvsched_text *t = cookie;
	size_t room = t->room ? t->room : ROOM;
	char *more;

	while (room - t->size < n)
		room *= 2;
	if (room > t->room) {
		more = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (more == MAP_FAILED)
			return 0; /* of a cookie's write: an error */
		if (t->data) {
			memcpy(more, t->data, t->size);
			munmap(t->data, t->room);
		}
		t->data = more;
		t->room = room;
	}
	memcpy(t->data + t->size, data, n);
	t->size += n;
	return n;
}

FILE *pvsched_text_open(struct pvsched_text *t)
{
	*t = (struct pvsched_text){ 0 };
	return fopencookie(t, "w", (cookie_io_functions_t){ .write = put });
}

void pvsched_text_free(struct pvsched_text *t)
{
	if (t->data)
		munmap(t->data, t->room);
	*t = (struct pvsched_text){ 0 };
}
