/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Puts the image and the parameters into guest memory, before any vCPU runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

extern const uint8_t vmm_image[], vmm_image_end[];

static int check_image(struct vmm *vm, const char *name, size_t size)
{
	uint32_t signature[2] = { 0, 0 };

	if (size >= GUEST_SIGNATURE_AT + sizeof(signature))
		memcpy(signature, vm->ram.hva + GUEST_LOAD_GPA + GUEST_SIGNATURE_AT,
		       sizeof(signature));
	if (signature[0] != GUEST_MAGIC) {
		vmm_say(vm, PVSCHED_LOG_ERROR,
			"guest image: %s: not a pvsched guest: take the installed baremetal.bin",
			name);
		return -ENOEXEC;
	}
	if (signature[1] != GUEST_VERSION) {
		vmm_say(vm, PVSCHED_LOG_ERROR,
			"guest image: %s: version %u, this program loads %u: take the one built with it",
			name, signature[1], GUEST_VERSION);
		return -ENOEXEC;
	}
	return 0;
}

static int read_image(struct vmm *vm, const char *path)
{
	uint8_t *to = vm->ram.hva + GUEST_LOAD_GPA;
	size_t size = 0, max = GUEST_RINGS_GPA - GUEST_LOAD_GPA;
	int fd, ret = 0;
	ssize_t got;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		ret = -errno;
		vmm_say(vm, PVSCHED_LOG_ERROR, "guest image: %s: %s", path, strerror(errno));
		return ret;
	}
	do {
		got = read(fd, to + size, max - size);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			ret = -errno;
			vmm_say(vm, PVSCHED_LOG_ERROR, "guest image: %s: %s", path,
				strerror(errno));
			goto out;
		}
		size += got;
	} while (got && size < max);
	ret = check_image(vm, path, size);
out:
	close(fd);
	return ret;
}

int vmm_load_image(struct vmm *vm)
{
	size_t size = vmm_image_end - vmm_image;

	vm->start = (struct vmm_start_state){
		.rip = GUEST_LOAD_GPA,
		.cr3 = GUEST_CR3_GPA,
		.code = 0x08,
		.data = 0x10,
	};
	if (vm->opts.image)
		return read_image(vm, vm->opts.image);
	if (size > GUEST_RINGS_GPA - GUEST_LOAD_GPA)
		return -E2BIG;
	memcpy(vm->ram.hva + GUEST_LOAD_GPA, vmm_image, size);
	return check_image(vm, "the one in this program", size);
}

void vmm_write_control(struct vmm *vm)
{
	struct guest_control *c = vm->control;
	uint64_t ring = GUEST_RINGS_GPA;
	unsigned int i;

	c->magic = GUEST_MAGIC;
	c->version = GUEST_VERSION;
	c->vcpus = vm->opts.vcpus;
	c->flags = vm->opts.guest_flags;
	c->tsc_khz = vm->tsc_khz;
	c->pages_gpa = vm->opts.pages_gpa;
	c->steps = vm->opts.steps;
	if (vm->opts.steps)
		memcpy(c->step, vm->opts.script, vm->opts.steps * sizeof(*c->step));
	for (i = 0; i < vm->opts.vcpus; i++) {
		const struct vmm_vcpu_opts *o = &vm->opts.vcpu[i];
		struct guest_vcpu *g = &c->vcpu[i];

		g->workload = o->workload;
		g->iterations = o->iterations;
		g->period_ns = o->period_ns;
		g->section_ns = o->section_ns;
		g->gap_ns = o->gap_ns;
		g->samples_wanted = o->samples;
		g->ring_gpa = ring;
		g->ring_entries = vmm_ring_entries(o);
		g->seed = vm->opts.seed + i;
		ring += g->ring_entries * sizeof(uint64_t);
	}
}
