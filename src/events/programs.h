/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Loads the event programs with one policy, attaches what that policy asks for, and gives access
 * to maps and run-time figures. One instance per broker; the caller serialises.
 */
#ifndef PVSCHED_EVENTS_PROGRAMS_H
#define PVSCHED_EVENTS_PROGRAMS_H

#include <bpf/libbpf.h>
#include <pvsched/policy.h>
#include <stddef.h>
#include <stdint.h>

#include "state.h"

struct pvsched_programs;

/* The .bss of the programs, mapped: live for both sides. */
struct pvsched_bss {
	uint16_t *slot_of_tid;
	struct pvsched_config *config;
	struct pvsched_clock *clocks;
	uint32_t *clock_idx;
	uint64_t *places; /* PVSCHED_CPUS of them */
};

struct pvsched_program {
	const char *name, *attached_to; /* attached_to NULL: run by the broker */
	uint64_t runs, run_ns;
};

/* Says in one line what went wrong and what to do; called at most once per failure. */
typedef void (*pvsched_say_fn)(void *ctx, const char *line);

struct pvsched_engine; /* engine.h */

/* Event programs together with an actuator's own, in place of the plain ones. */
struct pvsched_event_object {
	const struct pvsched_engine *engine; /* no BPF at all: this decides. Then that is all */
	const unsigned char *data;
	const size_t *size;
	int (*prepare)(struct bpf_object *obj, struct pvsched_programs *p); /* opened, not loaded */
	/* Programs of its own that are attached whenever a policy's are, if they were loaded; NULL ends. */
	const char *const *attach;
};

struct pvsched_load_opts {
	const char *policy; /* the name of a built-in, or a file that ends in .bpf.o */
	int policy_fd; /* the file itself, read in place of policy's; -1 = none. Borrowed */
	uint32_t id; /* of the vCPUs that these programs serve, 1.. */
	const struct pvsched_programs *base; /* share its maps; NULL = make them */
	int debts_fd; /* without base: the map of debts to go on with; -1 = make one. Borrowed */
	const struct pvsched_event_object *object; /* NULL = the plain event programs */
};

/*
 * Loads and links; attaches nothing yet. -ENOENT no such policy, -EPERM, -ENOTSUP no BTF, -EINVAL
 * the verifier or the linker refuses it, -EPROTO built for another policy version.
 */
int pvsched_programs_load(const struct pvsched_load_opts *opts, pvsched_say_fn say, void *ctx,
			  struct pvsched_programs **ret);
/* Attaches the programs of the policy's events. -ENOTSUP an event that this host lacks. */
int pvsched_programs_attach(struct pvsched_programs *p);
void pvsched_programs_detach(struct pvsched_programs *p);
void pvsched_programs_free(struct pvsched_programs *p);

const struct pvsched_policy_info *pvsched_programs_policy(const struct pvsched_programs *p);
const struct pvsched_bss *pvsched_programs_bss(const struct pvsched_programs *p);
/* -1 where an engine is in their place, as for the two that follow. */
int pvsched_programs_map_fd(const struct pvsched_programs *p, enum pvsched_map map);
int pvsched_programs_agent_fd(const struct pvsched_programs *p);
struct bpf_object *pvsched_programs_object(const struct pvsched_programs *p);
/* A 32-bit variable of the programs, live for both sides, once they are loaded; NULL = they have none
 * of that name. */
uint32_t *pvsched_programs_word(const struct pvsched_programs *p, const char *name);
/* Runs the broker's program on a slot: see enum pvsched_slot_op. */
int pvsched_programs_slot(struct pvsched_programs *p, uint32_t slot, enum pvsched_slot_op op,
			  uint64_t value);
/* Elements of maps, as bpf(2) has them: 0 or -errno. */
int pvsched_programs_read(struct pvsched_programs *p, enum pvsched_map map, const void *key,
			  void *ret);
int pvsched_programs_write(struct pvsched_programs *p, enum pvsched_map map, const void *key,
			   const void *value);
int pvsched_programs_remove(struct pvsched_programs *p, enum pvsched_map map, const void *key);
/* All of SHARED, DEBTS or LIMITS, which the programs write, too; to be unmapped by the caller. NULL
 * with errno. */
void *pvsched_programs_memory(struct pvsched_programs *p, enum pvsched_map map, size_t size);
/* A descriptor that is mmapped shared: a page for a guest; the caller closes it. */
int pvsched_programs_make_page(struct pvsched_programs *p);
/* The slot's page is that one from now on. When it returns, nothing looks at the one
 * before, and what begins now sees the new one; also if that is the same. */
int pvsched_programs_set_page(struct pvsched_programs *p, uint32_t slot, int fd);
int pvsched_programs_rows(struct pvsched_programs *p, struct pvsched_program *rows, int max);

/* Names of the built-in policies, NULL-terminated. */
const char *const *pvsched_policies(void);

#endif
