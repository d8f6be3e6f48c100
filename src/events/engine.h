/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who takes the decisions, where it is not BPF: code in the kernel of an actuator's
 * (src/actuator/kmod). programs.h has the same calls for both; each of these is what the function of
 * that name does there. own: of one policy, made by load.
 */
#ifndef PVSCHED_EVENTS_ENGINE_H
#define PVSCHED_EVENTS_ENGINE_H

#include "programs.h"

struct pvsched_engine {
	/* base: the first one's own, of which maps are shared; NULL = this is the first. What failed is
	 * said. Fills what programs.h answers from memory. */
	int (*load)(const struct pvsched_load_opts *opts, void *base, pvsched_say_fn say, void *ctx,
		    void **ret_own, struct pvsched_policy_info *ret_info,
		    struct pvsched_bss *ret_bss);
	int (*attach)(void *own);
	void (*detach)(void *own);
	void (*free)(void *own);
	int (*slot)(void *own, uint32_t slot, enum pvsched_slot_op op, uint64_t value);
	int (*read)(void *own, enum pvsched_map map, const void *key, void *ret);
	int (*write)(void *own, enum pvsched_map map, const void *key, const void *value);
	int (*remove)(void *own, enum pvsched_map map, const void *key);
	void *(*memory)(void *own, enum pvsched_map map, size_t size);
	int (*make_page)(void *own);
	int (*set_page)(void *own, uint32_t slot, int fd);
};

/* NULL = BPF. */
const struct pvsched_engine *pvsched_programs_engine(const struct pvsched_programs *p);
void *pvsched_programs_own(const struct pvsched_programs *p);

#endif
