/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * The register device over a byte stream: the host's end. Takes bytes as they come, in any pieces, and
 * says what to send back. Pure state, no OS call; the owner serialises calls. Whatever comes, the call
 * ends well: what is no frame is skipped until the next SYNC.
 * Rules: spec/protocol.md, section 7.2.
 */
#ifndef PVSCHED_TRANSPORT_STREAM_H
#define PVSCHED_TRANSPORT_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include <core/device.h>

struct pvsched_stream {
	struct pvsched_device *dev;
	uint8_t in[sizeof(struct pvsched_frame)]; /* the beginning of a frame */
	unsigned int used;
	bool synced;
	uint64_t skipped; /* bytes that were no frame's */
};

/* dev must be initialised. There is no Bus Master: host writes are allowed while the lease lasts. */
void pvsched_stream_init(struct pvsched_stream *s, struct pvsched_device *dev);
/* send: called for each answer, in order; it may drop it, and the guest then waits in vain. */
void pvsched_stream_take(struct pvsched_stream *s, const void *data, size_t size,
			 void (*send)(void *ctx, const struct pvsched_frame *answer), void *ctx);

#endif
