/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What lies below the broker's registry and server, for tests of those alone: programs and maps of
 * BPF as plain memory that remembers what it was told, and of which any call may be made to fail
 * once. Define-and-link: the functions stand in for src/events/programs.c and libbpf's.
 */
#ifndef PVSCHED_TESTS_BPF_EDGE_H
#define PVSCHED_TESTS_BPF_EDGE_H

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <events/engine.h>

#define EDGE_APICS   16
#define EDGE_MAP     100000 /* "descriptors" of maps that are memory here */
#define EDGE_PROGRAM 200000

#define EDGE_CHECK(condition)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition);    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

struct pvsched_programs {
	struct pvsched_policy_info info;
	bool attached;
};

static struct {
	bool fail; /* the next call fails */
	void (*on_slot)(enum pvsched_slot_op op); /* before the slot is told; NULL = nothing */
	unsigned int programs; /* loaded */
	struct pvsched_vcpu vcpu[PVSCHED_SLOTS];
	bool has_page[PVSCHED_SLOTS];
	unsigned int waits; /* for grace periods: changes of pages */
	struct {
		struct pvsched_apic_key key; /* tgid 0: free */
		uint32_t value;
	} apic[EDGE_APICS];
	uint16_t slot_of_tid[PVSCHED_TIDS];
	struct pvsched_config config;
	struct pvsched_bss bss;
	int shared_fd, debts_fd, limits_fd;
} edge;

static inline int edge_memory(const char *name, size_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	EDGE_CHECK(fd >= 0 && !ftruncate(fd, size));
	return fd;
}

static inline void edge_open(void)
{
	edge.shared_fd = edge_memory("shared", PVSCHED_SLOTS * sizeof(struct pvsched_shared));
	edge.debts_fd = edge_memory("debts", PVSCHED_DEBTS * sizeof(struct pvsched_debt));
	edge.limits_fd = edge_memory("limits", PVSCHED_SLOTS * sizeof(struct pvsched_slot_limits));
	edge.bss = (struct pvsched_bss){ .slot_of_tid = edge.slot_of_tid, .config = &edge.config };
}

static inline void edge_close(void)
{
	close(edge.shared_fd);
	close(edge.debts_fd);
	close(edge.limits_fd);
}

static inline bool edge_fails(void)
{
	bool now = edge.fail;

	edge.fail = false;
	errno = ENOMEM;
	return now;
}

/* --- programs */

int pvsched_programs_load(const struct pvsched_load_opts *o, pvsched_say_fn say, void *ctx,
			  struct pvsched_programs **ret)
{
	struct pvsched_programs *p;

	EDGE_CHECK(o->id && strnlen(o->policy, PATH_MAX) < PATH_MAX);
	if (strcmp(o->policy, "latency") && strcmp(o->policy, "off") && o->policy_fd < 0 &&
	    (!strstr(o->policy, ".bpf.o") || access(o->policy, R_OK))) {
		say(ctx, "no such policy");
		return -ENOENT;
	}
	if (edge_fails())
		return -EINVAL;
	p = calloc(1, sizeof(*p));
	EDGE_CHECK(p);
	snprintf(p->info.name, sizeof(p->info.name), "%s", o->policy);
	edge.programs++;
	*ret = p;
	return 0;
}

int pvsched_programs_attach(struct pvsched_programs *p)
{
	EDGE_CHECK(!p->attached);
	if (edge_fails())
		return -ENOTSUP;
	p->attached = true;
	return 0;
}

void pvsched_programs_detach(struct pvsched_programs *p)
{
	p->attached = false;
}

void pvsched_programs_free(struct pvsched_programs *p)
{
	edge.programs -= p != NULL;
	free(p);
}

const struct pvsched_policy_info *pvsched_programs_policy(const struct pvsched_programs *p)
{
	return &p->info;
}

const char *const *pvsched_policies(void)
{
	static const char *const names[] = { "latency", "off", NULL };

	return names;
}

const struct pvsched_bss *pvsched_programs_bss(const struct pvsched_programs *p)
{
	EDGE_CHECK(p);
	return &edge.bss;
}

const struct pvsched_engine *pvsched_programs_engine(const struct pvsched_programs *p)
{
	EDGE_CHECK(p);
	return NULL; /* tables.c calls the maps below */
}

void *pvsched_programs_own(const struct pvsched_programs *p)
{
	EDGE_CHECK(p);
	return NULL;
}

int pvsched_programs_agent_fd(const struct pvsched_programs *p)
{
	EDGE_CHECK(p);
	return EDGE_PROGRAM;
}

int pvsched_programs_map_fd(const struct pvsched_programs *p, enum pvsched_map map)
{
	EDGE_CHECK(p);
	switch (map) {
	case PVSCHED_MAP_SHARED:
		return edge.shared_fd;
	case PVSCHED_MAP_DEBTS:
		return edge.debts_fd;
	case PVSCHED_MAP_LIMITS:
		return edge.limits_fd;
	default:
		return EDGE_MAP + (int)map;
	}
}

int pvsched_programs_slot(struct pvsched_programs *p, uint32_t slot, enum pvsched_slot_op op,
			  uint64_t value)
{
	struct pvsched_vcpu *v = &edge.vcpu[slot];

	EDGE_CHECK(p && slot < PVSCHED_SLOTS);
	if (edge_fails())
		return -ENOMEM;
	if (edge.on_slot)
		edge.on_slot(op);
	switch (op) {
	case PVSCHED_SLOT_INIT:
		EDGE_CHECK(v->flags == PVSCHED_V_USED);
		break;
	case PVSCHED_SLOT_ENABLE:
		EDGE_CHECK(v->flags & PVSCHED_V_USED && edge.has_page[slot]);
		v->flags |= PVSCHED_V_ENABLED;
		v->features = value;
		break;
	case PVSCHED_SLOT_DISABLE:
		v->flags &= ~PVSCHED_V_ENABLED;
		break;
	case PVSCHED_SLOT_HVA:
		v->hva = value;
		break;
	case PVSCHED_SLOT_CHAIN:
		v->chain = value;
		break;
	case PVSCHED_SLOT_POLICY:
		v->policy = value;
		break;
	case PVSCHED_SLOT_BASE:
		v->base_prio = (int16_t)(value >> 16);
		break;
	case PVSCHED_SLOT_FINI:
		v->flags = 0;
		break;
	case PVSCHED_SLOT_SETTLE:
		break;
	}
	return 0;
}

/* --- maps */

int bpf_map_create(enum bpf_map_type type, const char *name, __u32 key_size, __u32 value_size,
		   __u32 max_entries, const struct bpf_map_create_opts *opts)
{
	int fd;

	EDGE_CHECK(type == BPF_MAP_TYPE_ARRAY && key_size == 4 && max_entries == 1 && opts);
	if (edge_fails())
		return -1;
	fd = memfd_create(name, MFD_CLOEXEC);
	EDGE_CHECK(fd >= 0 && !ftruncate(fd, value_size));
	return fd;
}

static inline unsigned int edge_apic_at(const struct pvsched_apic_key *key)
{
	unsigned int i;

	for (i = 0; i < EDGE_APICS && memcmp(&edge.apic[i].key, key, sizeof(*key)); i++)
		;
	return i;
}

int bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags)
{
	static const struct pvsched_apic_key none;
	uint32_t index = *(const uint32_t *)key;
	unsigned int at;

	EDGE_CHECK(flags == BPF_ANY);
	if (edge_fails())
		return -1;
	switch (fd - EDGE_MAP) {
	case PVSCHED_MAP_VCPUS:
		EDGE_CHECK(index < PVSCHED_SLOTS);
		memcpy(&edge.vcpu[index], value, sizeof(edge.vcpu[index]));
		return 0;
	case PVSCHED_MAP_PAGES:
		EDGE_CHECK(index < PVSCHED_SLOTS && fcntl(*(const int *)value, F_GETFD) >= 0);
		edge.has_page[index] = true;
		edge.waits++;
		return 0;
	case PVSCHED_MAP_DELAYS:
	case PVSCHED_MAP_REACH:
		EDGE_CHECK(index < PVSCHED_SLOTS);
		return 0;
	case PVSCHED_MAP_APICS:
		at = edge_apic_at(key);
		if (at == EDGE_APICS)
			at = edge_apic_at(&none);
		EDGE_CHECK(at < EDGE_APICS);
		memcpy(&edge.apic[at].key, key, sizeof(edge.apic[at].key));
		edge.apic[at].value = *(const uint32_t *)value;
		return 0;
	}
	EDGE_CHECK(!"a map that the registry changes");
}

int bpf_map_lookup_elem(int fd, const void *key, void *value)
{
	uint32_t index = *(const uint32_t *)key;
	unsigned int at;

	if (edge_fails())
		return -1;
	if (fd - EDGE_MAP == PVSCHED_MAP_VCPUS) {
		EDGE_CHECK(index < PVSCHED_SLOTS);
		memcpy(value, &edge.vcpu[index], sizeof(edge.vcpu[index]));
		return 0;
	}
	if (fd - EDGE_MAP == PVSCHED_MAP_DELAYS || fd - EDGE_MAP == PVSCHED_MAP_REACH) {
		EDGE_CHECK(index < PVSCHED_SLOTS);
		memset(value, 0, sizeof(struct pvsched_hist)); /* they are not kept */
		return 0;
	}
	EDGE_CHECK(fd - EDGE_MAP == PVSCHED_MAP_APICS);
	at = edge_apic_at(key);
	errno = ENOENT;
	if (at == EDGE_APICS)
		return -1;
	memcpy(value, &edge.apic[at].value, sizeof(edge.apic[at].value));
	return 0;
}

int bpf_map_delete_elem(int fd, const void *key)
{
	unsigned int at;

	if (edge_fails())
		return -1;
	EDGE_CHECK(fd - EDGE_MAP == PVSCHED_MAP_APICS);
	at = edge_apic_at(key);
	EDGE_CHECK(at < EDGE_APICS);
	memset(&edge.apic[at], 0, sizeof(edge.apic[at]));
	return 0;
}

#endif
