/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The module pvsched.ko as what decides, in place of BPF: the broker's side of the ioctls from
 * PVSCHED_KMOD_LAYOUT on. The device is opened when the first policy is loaded and closed when the
 * last is freed; the caller serialises.
 */
#ifndef PVSCHED_KMOD_DECIDES_H
#define PVSCHED_KMOD_DECIDES_H

#include "../../events/engine.h"
#include "uapi.h"

#define PVSCHED_KMOD_DEVICE "/dev/pvsched-kmod"

extern const struct pvsched_engine pvsched_kmod_engine;

/* The device, open; borrowed. own: of the engine's. */
int pvsched_kmod_fd(const void *own);
/* One element of the module's: see struct pvsched_kmod_cell. 0 or -errno. */
int pvsched_kmod_cell(int fd, uint32_t map, uint32_t op, const void *key, const void *value);

/* Where this kernel has what the module reads, by its BTF. 0, or -errno and in one line why not. */
int pvsched_kmod_layout(struct pvsched_kmod_layout *ret, char *why, size_t size);

#endif
