// SPDX-License-Identifier: GPL-2.0-only
/*
 * Offsets of members that no header for modules shows, from the running kernel's BTF: what CO-RE does
 * for programs. No state.
 */
#include <bpf/btf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "decides.h"

/* The member of that name, through anonymous structures and unions. Bytes, or -ENOENT. */
static int member(const struct btf *btf, int id, const char *name, int *ret_type)
{
	const struct btf_type *t = btf__type_by_id(btf, btf__resolve_type(btf, id));
	const struct btf_member *m;
	const char *its;
	int inside;

	if (!t || !btf_is_composite(t))
		return -ENOENT;
	m = btf_members(t);
	for (int i = 0; i < btf_vlen(t); i++, m++) {
		its = btf__name_by_offset(btf, m->name_off);
		if (its[0] && strcmp(its, name))
			continue;
		if (its[0]) {
			*ret_type = m->type;
			return btf_member_bit_offset(t, i) / 8;
		}
		inside = member(btf, m->type, name, ret_type);
		if (inside >= 0)
			return inside + (int)btf_member_bit_offset(t, i) / 8;
	}
	return -ENOENT;
}

/* path: "rt.rt_nr_running"; size: of what it leads to, 0 = whatever it is. */
static int offset_of(const struct btf *btf, const char *type, const char *path, int size,
		     uint32_t *ret)
{
	int id = btf__find_by_name_kind(btf, type, BTF_KIND_STRUCT), total = 0, at;
	char copy[64], *save = NULL, *name;

	snprintf(copy, sizeof(copy), "%s", path);
	for (name = strtok_r(copy, ".", &save); name; name = strtok_r(NULL, ".", &save)) {
		at = id < 0 ? id : member(btf, id, name, &id);
		if (at < 0)
			return at;
		total += at;
	}
	if (size && btf__resolve_size(btf, id) != size)
		return -EINVAL;
	*ret = total;
	return 0;
}

int pvsched_kmod_layout(struct pvsched_kmod_layout *ret, char *why, size_t size)
{
	struct pvsched_kmod_layout l = { .version = PVSCHED_KMOD_VERSION };
	const struct {
		const char *type, *path;
		int size;
		uint32_t *at;
		bool kvm;
	} rows[] = {
		{ "cfs_rq", "rq", 8, &l.cfs_rq_rq, false },
		{ "cfs_rq", "avg.util_avg", 8, &l.cfs_rq_util, false },
		{ "rq", "cpu", 4, &l.rq_cpu, false },
		{ "rq", "curr", 8, &l.rq_curr, false },
		{ "rq", "nr_running", 4, &l.rq_nr_running, false },
		{ "rq", "nr_switches", 8, &l.rq_nr_switches, false },
		{ "rq", "cfs", 0, &l.rq_cfs, false },
		{ "rq", "rt.rt_nr_running", 4, &l.rq_rt_running, false },
		{ "task_group", "parent", 8, &l.group_parent, false },
		{ "task_group", "cfs_bandwidth.quota", 8, &l.group_quota, false },
		{ "kvm_lapic", "vcpu", 8, &l.apic_vcpu, true },
		{ "kvm_lapic", "lapic_timer.timer", 0, &l.apic_timer, true },
	};
	struct btf *kernel = btf__load_vmlinux_btf(), *kvm;
	int err = 0;

	if (!kernel) {
		err = -errno;
		snprintf(why, size, "kernel BTF: /sys/kernel/btf/vmlinux: %s", strerror(-err));
		return err;
	}
	kvm = btf__load_module_btf("kvm", kernel); /* NULL: it is built in, or not there */
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && !err; i++) {
		err = offset_of(rows[i].kvm && kvm ? kvm : kernel, rows[i].type, rows[i].path,
				rows[i].size, rows[i].at);
		if (err)
			snprintf(why, size, "struct %s has no %s as it should be%s", rows[i].type,
				 rows[i].path, rows[i].kvm && !kvm ? ": is kvm loaded?" : "");
	}
	btf__free(kvm);
	btf__free(kernel);
	if (!err)
		*ret = l;
	return err;
}
