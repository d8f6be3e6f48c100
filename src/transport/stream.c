// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/* Frames to register accesses, see stream.h. */
#include "transport/stream.h"

#include <endian.h>
#include <string.h>

void pvsched_stream_init(struct pvsched_stream *s, struct pvsched_device *dev)
{
	*s = (struct pvsched_stream){ .dev = dev };
	pvsched_device_set_bus_master(dev, true);
}

static void answer(void (*send)(void *ctx, const struct pvsched_frame *answer), void *ctx,
		   uint32_t op, uint32_t offset, uint32_t value)
{
	const struct pvsched_frame f = { htole32(op), htole32(offset), htole32(value) };

	send(ctx, &f);
}

/* False: it is none. */
static bool take(struct pvsched_stream *s,
		 void (*send)(void *ctx, const struct pvsched_frame *answer), void *ctx)
{
	struct pvsched_frame f;
	uint32_t op, offset, value;

	memcpy(&f, s->in, sizeof(f));
	op = le32toh(f.op);
	offset = le32toh(f.offset);
	value = le32toh(f.value);
	if (op == PVSCHED_FRAME_SYNC && value == ~offset) {
		s->synced = true;
		answer(send, ctx, op, offset, value);
	} else if (s->synced && op == PVSCHED_FRAME_READ) {
		answer(send, ctx, op, offset, pvsched_device_read(s->dev, offset, 4));
	} else if (s->synced && op == PVSCHED_FRAME_WRITE) {
		pvsched_device_write(s->dev, offset, 4, value);
	} else {
		s->synced = false;
		return false;
	}
	return true;
}

void pvsched_stream_take(struct pvsched_stream *s, const void *data, size_t size,
			 void (*send)(void *ctx, const struct pvsched_frame *answer), void *ctx)
{
	const uint8_t *at = data;
	size_t n;

	while (size) {
		n = sizeof(s->in) - s->used;
		n = n < size ? n : size;
		memcpy(s->in + s->used, at, n);
		s->used += n;
		at += n;
		size -= n;
		if (s->used < sizeof(s->in))
			return;
		if (take(s, send, ctx)) {
			s->used = 0;
			continue;
		}
		memmove(s->in, s->in + 1, --s->used);
		s->skipped++;
	}
}
