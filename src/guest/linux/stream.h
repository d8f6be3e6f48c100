/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The register device over a virtio-serial port (spec/protocol.md, section 7.2): the guest's end. One
 * access at a time; a host that does not answer within STREAM_WAIT_MS, or is not there, fails it.
 */
#ifndef PVSCHED_GUEST_STREAM_H
#define PVSCHED_GUEST_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STREAM_WAIT_MS 5000

/* The device file of the port named PVSCHED_STREAM_PORT. False: there is none. */
bool stream_find(char *ret_path, size_t size);
/* Whatever was under way before is void. 0 or -errno; -EPIPE nobody is at the other end. */
int stream_sync(int fd);
int stream_read(int fd, uint32_t offset, uint32_t *ret_value);
int stream_write(int fd, uint32_t offset, uint32_t value);
/* Is a host at the other end? */
bool stream_is_connected(int fd);

#endif
