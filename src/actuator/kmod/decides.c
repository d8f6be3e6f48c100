// SPDX-License-Identifier: GPL-2.0-only
/* The module's decisions, see decides.h. A page is a memfd that the module pins while it may look. */
#include "decides.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "words.h"

struct device {
	int fd;
	unsigned int policies;
	struct pvsched_kmod_words *words;
};

struct own {
	struct device *dev;
	uint32_t id;
	char name[24];
	pvsched_say_fn say;
	void *ctx;
};

static int call(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) ? -errno : 0;
}

int pvsched_kmod_fd(const void *own)
{
	return ((const struct own *)own)->dev->fd;
}

int pvsched_kmod_cell(int fd, uint32_t map, uint32_t op, const void *key, const void *value)
{
	struct pvsched_kmod_cell c = { map, op, (uintptr_t)key, (uintptr_t)value };

	return call(fd, PVSCHED_KMOD_CELL, &c);
}

static void *map_area(int fd, unsigned int area, size_t size)
{
	void *mem =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, PVSCHED_KMOD_AREA(area));

	return mem == MAP_FAILED ? NULL : mem;
}

static void close_device(struct device *d)
{
	if (d->words)
		munmap(d->words, sizeof(*d->words));
	if (d->fd >= 0)
		close(d->fd);
	free(d);
}

/* why: what failed, in one line. */
static int open_device(struct device **ret, char *why, size_t size)
{
	struct device *d = calloc(1, sizeof(*d));
	struct pvsched_kmod_layout layout;
	int err;

	if (!d)
		return -ENOMEM;
	d->fd = -1;
	err = pvsched_kmod_layout(&layout, why, size);
	if (err)
		goto out;
	d->fd = open(PVSCHED_KMOD_DEVICE, O_RDWR | O_CLOEXEC);
	err = d->fd < 0 ? -errno : call(d->fd, PVSCHED_KMOD_LAYOUT, &layout);
	if (!err) {
		d->words = map_area(d->fd, PVSCHED_KMOD_WORDS, sizeof(*d->words));
		err = d->words ? 0 : -errno;
	}
	if (err)
		snprintf(why, size, "%s: %s", PVSCHED_KMOD_DEVICE,
			 err == -EPROTO || err == -ENOTTY
				 ? "the module is of another release: build it anew"
			 : err == -ENXIO ? "what this kernel's BTF says of its structures is not so"
					 : strerror(-err));
out:
	if (err)
		close_device(d);
	else
		*ret = d;
	return err;
}

static void say(pvsched_say_fn fn, void *ctx, const char *policy, const char *what)
{
	char line[300];

	snprintf(line, sizeof(line), "policy %s: %s", policy, what);
	if (fn)
		fn(ctx, line);
}

static int load(const struct pvsched_load_opts *o, void *base, pvsched_say_fn say_fn, void *ctx,
		void **ret_own, struct pvsched_policy_info *ret_info, struct pvsched_bss *ret_bss)
{
	struct pvsched_kmod_policy p = { .id = o->id };
	struct own *own = calloc(1, sizeof(*own));
	char why[200] = "out of memory";
	int err = own ? 0 : -ENOMEM;

	if (!err && base)
		own->dev = ((struct own *)base)->dev;
	else if (!err)
		err = open_device(&own->dev, why, sizeof(why));
	if (err) {
		say(say_fn, ctx, o->policy, why);
		free(own);
		return err;
	}
	snprintf(p.name, sizeof(p.name), "%s", o->policy);
	/* a file's name would not fit, or not be found */
	err = o->policy_fd >= 0 || strlen(o->policy) >= sizeof(p.name)
		      ? -ENOENT
		      : call(own->dev->fd, PVSCHED_KMOD_POLICY, &p);
	if (err) {
		say(say_fn, ctx, o->policy,
		    err == -ENOENT
			    ? "kmod-policy has off, latency, irq, mirror, vmexit, and takes no "
			      "files: those are BPF"
			    : strerror(-err));
		if (!base)
			close_device(own->dev);
		free(own);
		return err;
	}
	own->dev->policies++;
	own->id = o->id;
	own->say = say_fn;
	own->ctx = ctx;
	snprintf(own->name, sizeof(own->name), "%s", o->policy);
	*ret_info = (struct pvsched_policy_info){ .abi = PVSCHED_POLICY_ABI, .events = p.events };
	snprintf(ret_info->name, sizeof(ret_info->name), "%s", o->policy);
	*ret_bss = (struct pvsched_bss){
		.slot_of_tid = own->dev->words->slot_of_tid,
		.config = &own->dev->words->config,
		.clocks = own->dev->words->clocks,
		.clock_idx = &own->dev->words->clock_idx,
		.places = (uint64_t *)own->dev->words->places,
	};
	*ret_own = own;
	return 0;
}

static int attach(void *arg)
{
	struct own *own = arg;
	struct pvsched_kmod_attach a = { .id = own->id, .on = 1 };
	int err = call(own->dev->fd, PVSCHED_KMOD_ATTACH, &a);
	char what[120];

	if (!err)
		return 0;
	snprintf(what, sizeof(what),
		 "event %.24s: this host lacks it (%s): pvsched check lists what it has", a.missing,
		 strerror(-err));
	say(own->say, own->ctx, own->name, what);
	return -ENOTSUP;
}

static void detach(void *arg)
{
	struct own *own = arg;
	struct pvsched_kmod_attach a = { .id = own->id };

	call(own->dev->fd, PVSCHED_KMOD_ATTACH, &a);
}

static void free_own(void *arg)
{
	struct own *own = arg;

	call(own->dev->fd, PVSCHED_KMOD_FREE, &own->id);
	if (!--own->dev->policies)
		close_device(own->dev);
	free(own);
}

static int slot(void *own, uint32_t slot, enum pvsched_slot_op op, uint64_t value)
{
	struct pvsched_kmod_slot a = { slot, op, value };

	return call(pvsched_kmod_fd(own), PVSCHED_KMOD_SLOT, &a);
}

static int read_cell(void *own, enum pvsched_map map, const void *key, void *ret)
{
	return pvsched_kmod_cell(pvsched_kmod_fd(own), map, PVSCHED_KMOD_READ, key, ret);
}

static int write_cell(void *own, enum pvsched_map map, const void *key, const void *value)
{
	return pvsched_kmod_cell(pvsched_kmod_fd(own), map, PVSCHED_KMOD_WRITE, key, value);
}

static int remove_cell(void *own, enum pvsched_map map, const void *key)
{
	return pvsched_kmod_cell(pvsched_kmod_fd(own), map, PVSCHED_KMOD_DELETE, key, NULL);
}

static void *memory(void *own, enum pvsched_map map, size_t size)
{
	int fd = pvsched_kmod_fd(own);

	switch (map) {
	case PVSCHED_MAP_SHARED:
		return map_area(fd, PVSCHED_KMOD_SHARED, size);
	case PVSCHED_MAP_DEBTS:
		return map_area(fd, PVSCHED_KMOD_DEBTS, size);
	case PVSCHED_MAP_LIMITS:
		return map_area(fd, PVSCHED_KMOD_LIMITS, size);
	default:
		errno = EINVAL;
		return NULL;
	}
}

/* Sealed: a VMM that could cut it short would only lose its own page, but the broker maps it, too. */
static int make_page(void *own)
{
	int fd = memfd_create("pvsched_page", MFD_CLOEXEC | MFD_ALLOW_SEALING), err;

	(void)own;
	if (fd < 0)
		return -errno;
	if (!ftruncate(fd, PVSCHED_PAGE_SIZE) &&
	    !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

static int set_page(void *own, uint32_t slot, int fd)
{
	void *page = mmap(NULL, PVSCHED_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct pvsched_kmod_page a = { .slot = slot, .addr = (uintptr_t)page };
	int err;

	if (page == MAP_FAILED)
		return -errno;
	err = call(pvsched_kmod_fd(own), PVSCHED_KMOD_PAGE, &a);
	munmap(page, PVSCHED_PAGE_SIZE); /* it stays pinned */
	return err;
}

const struct pvsched_engine pvsched_kmod_engine = {
	.load = load,
	.attach = attach,
	.detach = detach,
	.free = free_own,
	.slot = slot,
	.read = read_cell,
	.write = write_cell,
	.remove = remove_cell,
	.memory = memory,
	.make_page = make_page,
	.set_page = set_page,
};
