// SPDX-License-Identifier: GPL-2.0-only
/* The broker's way to state that the programs have, be they BPF (maps) or an engine. See programs.h. */
#include <bpf/bpf.h>
#include <errno.h>
#include <sys/mman.h>

#include "engine.h"

int pvsched_programs_read(struct pvsched_programs *p, enum pvsched_map map, const void *key,
			  void *ret)
{
	const struct pvsched_engine *e = pvsched_programs_engine(p);

	if (e)
		return e->read(pvsched_programs_own(p), map, key, ret);
	return bpf_map_lookup_elem(pvsched_programs_map_fd(p, map), key, ret) ? -errno : 0;
}

int pvsched_programs_write(struct pvsched_programs *p, enum pvsched_map map, const void *key,
			   const void *value)
{
	const struct pvsched_engine *e = pvsched_programs_engine(p);

	if (e)
		return e->write(pvsched_programs_own(p), map, key, value);
	return bpf_map_update_elem(pvsched_programs_map_fd(p, map), key, value, BPF_ANY) ? -errno
											 : 0;
}

int pvsched_programs_remove(struct pvsched_programs *p, enum pvsched_map map, const void *key)
{
	const struct pvsched_engine *e = pvsched_programs_engine(p);

	if (e)
		return e->remove(pvsched_programs_own(p), map, key);
	return bpf_map_delete_elem(pvsched_programs_map_fd(p, map), key) ? -errno : 0;
}

void *pvsched_programs_memory(struct pvsched_programs *p, enum pvsched_map map, size_t size)
{
	const struct pvsched_engine *e = pvsched_programs_engine(p);
	void *mem;

	if (e)
		return e->memory(pvsched_programs_own(p), map, size);
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, pvsched_programs_map_fd(p, map),
		   0);
	return mem == MAP_FAILED ? NULL : mem;
}

int pvsched_programs_make_page(struct pvsched_programs *p)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	const struct pvsched_engine *e = pvsched_programs_engine(p);
	int fd;

	if (e)
		return e->make_page(pvsched_programs_own(p));
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "pvsched_page", 4, PVSCHED_PAGE_SIZE, 1, &opts);
	return fd < 0 ? -errno : fd;
}

int pvsched_programs_set_page(struct pvsched_programs *p, uint32_t slot, int fd)
{
	const struct pvsched_engine *e = pvsched_programs_engine(p);

	if (e)
		return e->set_page(pvsched_programs_own(p), slot, fd);
	return pvsched_programs_write(p, PVSCHED_MAP_PAGES, &slot, &fd);
}
