/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the guest wrote, as the VMM's callers see it: each word read once, each number bounded.
 */
#include <errno.h>
#include <string.h>

#include "internal.h"

#define READ_ONCE(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)

static const char *const workload_names[GUEST_WORKLOADS] = {
	[GUEST_DEMO] = "demo",
	[GUEST_SLEEPING] = "sleeping",
	[GUEST_BUSY] = "busy",
	[GUEST_CRITICAL] = "critical",
	[GUEST_BUSY_RANDOM] = "busy-random",
	[GUEST_HOSTILE] = "hostile",
	[GUEST_IDLE] = "idle",
	[GUEST_TASK] = "task",
	[GUEST_EXITS] = "exits",
	[GUEST_GREEDY] = "greedy",
	[GUEST_BELLS] = "bells",
	[GUEST_TIMERS] = "timers",
	[GUEST_REGISTERS] = "registers",
	[GUEST_SOON] = "soon",
	[GUEST_PAST] = "past",
	[GUEST_TICKETS] = "tickets",
	[GUEST_STUCK] = "stuck",
	[GUEST_RESERVED] = "reserved",
	[GUEST_HEADERS] = "headers",
	[GUEST_ORDER] = "order",
	[GUEST_RESETS] = "resets",
	[GUEST_GFNS] = "gfns",
	[GUEST_TWICE] = "twice",
};

const char *vmm_workload_str(unsigned int workload)
{
	return workload < GUEST_WORKLOADS ? workload_names[workload] : NULL;
}

int vmm_workload_parse(const char *name, enum guest_workload *ret_workload)
{
	unsigned int i;

	for (i = 0; i < GUEST_WORKLOADS; i++) {
		if (!strcmp(name, workload_names[i])) {
			*ret_workload = i;
			return 0;
		}
	}
	return -EINVAL;
}

uint32_t vmm_tsc_khz(const struct vmm *vm)
{
	return vm->tsc_khz;
}

uint64_t vmm_ticks_to_ns(const struct vmm *vm, uint64_t ticks)
{
	unsigned __int128 ns = (unsigned __int128)ticks * 1000000 / vm->tsc_khz;

	return ns > UINT64_MAX ? UINT64_MAX : (uint64_t)ns;
}

static void copy_page(struct vmm *vm, uint64_t gpa, struct pvsched_page *ret_page)
{
	const uint64_t *from = vmm_ram(vm, gpa, sizeof(*ret_page));
	uint64_t *to = (uint64_t *)ret_page;
	size_t i;

	for (i = 0; i < sizeof(*ret_page) / sizeof(*to); i++)
		to[i] = READ_ONCE(from[i]);
}

int vmm_vcpu_info(struct vmm *vm, unsigned int index, struct vmm_vcpu_info *ret_info)
{
	struct vmm_vcpu_info info = { 0 };
	const struct guest_vcpu *g;

	if (index >= vm->opts.vcpus)
		return -EINVAL;
	if (!vm->control)
		return -ENOTSUP;
	g = &vm->control->vcpu[index];
	info.state = READ_ONCE(g->state);
	if (info.state > GUEST_FAULT)
		info.state = GUEST_FAULT;
	info.phase = READ_ONCE(g->phase);
	if (info.phase >= GUEST_WORKLOADS)
		info.phase = GUEST_IDLE;
	info.page_gpa = READ_ONCE(g->page_gpa);
	if (info.page_gpa % PVSCHED_PAGE_SIZE || !vmm_ram(vm, info.page_gpa, PVSCHED_PAGE_SIZE))
		info.page_gpa = 0;
	if (info.page_gpa)
		copy_page(vm, info.page_gpa, &info.page);
	info.samples = READ_ONCE(g->samples);
	info.interrupts = READ_ONCE(g->interrupts);
	info.missed = READ_ONCE(g->missed);
	info.sections = READ_ONCE(g->sections);
	info.doorbells = READ_ONCE(g->doorbells);
	info.acks = READ_ONCE(g->acks);
	info.start_tsc = READ_ONCE(g->start_tsc);
	info.end_tsc = READ_ONCE(g->end_tsc);
	info.section_iterations = READ_ONCE(g->section_iterations);
	pthread_mutex_lock(&vm->lock);
	info.tid = vm->vcpu[index].tid;
	pthread_mutex_unlock(&vm->lock);
	*ret_info = info;
	return 0;
}

int vmm_guest_info(struct vmm *vm, struct vmm_guest_info *ret_info)
{
	const struct guest_control *c = vm->control;

	if (!c)
		return -ENOTSUP;
	ret_info->device = READ_ONCE(c->device);
	if (ret_info->device > GUEST_DEVICE_SCRIPTED)
		ret_info->device = GUEST_DEVICE_REFUSED;
	ret_info->result = READ_ONCE(c->result);
	ret_info->result_vcpu = READ_ONCE(c->result_vcpu);
	ret_info->steps_done = READ_ONCE(c->steps_done);
	ret_info->mismatches = READ_ONCE(c->mismatches);
	ret_info->features = READ_ONCE(c->features);
	ret_info->bar = READ_ONCE(c->bar);
	return 0;
}

int vmm_step(struct vmm *vm, unsigned int index, struct guest_step *ret_step)
{
	if (!vm->control || index >= vm->opts.steps)
		return -EINVAL;
	*ret_step = vm->control->step[index];
	return 0;
}

size_t vmm_samples(struct vmm *vm, unsigned int index, uint64_t *buf, size_t max)
{
	const struct vmm_vcpu_opts *o;
	uint64_t written, entries, first, count, i;
	const uint64_t *ring;

	if (!vm->control || index >= vm->opts.vcpus)
		return 0;
	o = &vm->opts.vcpu[index];
	/* places and sizes are the VMM's own, not read back from the guest */
	ring = (const uint64_t *)(vm->ram.hva + GUEST_RINGS_GPA);
	for (i = 0; i < index; i++)
		ring += vmm_ring_entries(&vm->opts.vcpu[i]);
	entries = vmm_ring_entries(o);
	written = READ_ONCE(vm->control->vcpu[index].samples);
	first = written > entries ? written - entries : 0;
	count = written - first;
	if (o->samples && first < o->samples && count > o->samples - first)
		count = o->samples - first;
	if (count > max) {
		if (!o->samples)
			first += count - max;
		count = max;
	}
	for (i = 0; i < count; i++)
		buf[i] = vmm_ticks_to_ns(vm, READ_ONCE(ring[(first + i) % entries]));
	return count;
}

struct pvsched_vm *vmm_pvsched(struct vmm *vm)
{
	return vm->pvsched;
}
