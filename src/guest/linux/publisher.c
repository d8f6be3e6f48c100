// SPDX-License-Identifier: GPL-2.0-only
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "declared.h"
#include "publisher.h"

#define BPFFS	    "/sys/fs/bpf"
#define BPFFS_MAGIC 0xcafe4a11 /* linux/magic.h */
#define LINK	    "link_"

extern const unsigned char publish_bpf[];
extern const size_t publish_bpf_size;

/* Where each map is pinned, whose file system takes no dot in a name. Those that go do so in this order:
 * who writes the pages before the pages. */
static const struct pin {
	const char *map, *name;
	bool kept; /* beyond the daemon's life */
} pins[] = {
	{ DECLARED_TASKS, DECLARED_TASKS, true },
	{ DECLARED_CGROUPS, DECLARED_CGROUPS, true },
	{ PUBLISH_STATE, "state", false },
	{ "pages", "pages", false },
};
#define PINS (sizeof(pins) / sizeof(*pins))

static void pin_path(char *path, size_t size, const char *name)
{
	snprintf(path, size, PUBLISH_PINS "/%s", name);
}

static void each_link(void (*then)(const char *path, unsigned int *n), unsigned int *n)
{
	DIR *dir = opendir(PUBLISH_PINS);
	struct dirent *entry;
	char path[300];

	while (dir && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, LINK, strlen(LINK)))
			continue;
		pin_path(path, sizeof(path), entry->d_name);
		then(path, n);
	}
	if (dir)
		closedir(dir);
}

static void count_link(const char *path, unsigned int *n)
{
	(void)path;
	++*n;
}

static void remove_link(const char *path, unsigned int *n)
{
	*n += !unlink(path);
}

bool publisher_left_over(void)
{
	unsigned int n = 0;

	each_link(count_link, &n);
	return n || !access(PUBLISH_PINS "/pages", F_OK);
}

void publisher_unpin(void)
{
	unsigned int n, i;
	char path[64];

	do {
		n = 0;
		each_link(remove_link,
			  &n); /* a directory that is read while it shrinks skips some */
	} while (n);
	for (i = 0; i < PINS; i++) {
		pin_path(path, sizeof(path), pins[i].name);
		if (!pins[i].kept)
			unlink(path);
	}
}

static int make_room(struct cli_error *e)
{
	struct statfs fs;
	struct stat st;

	if (statfs(BPFFS, &fs) || (unsigned int)fs.f_type != BPFFS_MAGIC)
		if (mount("bpf", BPFFS, "bpf", 0, "mode=0700"))
			return cli_fail(e, CLI_FAILED, "mount the BPF file system", BPFFS,
					"run as root, on a kernel with BPF", "%s", strerror(errno));
	if ((mkdir(PUBLISH_PINS, 0700) && errno != EEXIST) || lstat(PUBLISH_PINS, &st))
		return cli_fail(e, CLI_FAILED, "make room for pins", PUBLISH_PINS, NULL, "%s",
				strerror(errno));
	/* whose it is could unpin a page that the host still writes; where others mounted it, anybody
	 * may have been here before */
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 022)
		return cli_fail(e, CLI_FAILED, "make room for pins", PUBLISH_PINS, "remove it",
				"another user could change what is there");
	return 0;
}

/* A tracepoint that this kernel lacks is left out: what it would publish is not published. */
static void choose_programs(struct bpf_object *obj)
{
	struct btf *btf = btf__load_vmlinux_btf();
	struct bpf_program *prog;
	char name[96];

	bpf_object__for_each_program(prog, obj) {
		const char *section = strchr(bpf_program__section_name(prog), '/');

		snprintf(name, sizeof(name), "btf_trace_%s", section ? section + 1 : "");
		if (btf && btf__find_by_name_kind(btf, name, BTF_KIND_TYPEDEF) < 0)
			bpf_program__set_autoload(prog, false);
	}
	btf__free(btf);
}

static int set_pins(struct bpf_object *obj)
{
	struct bpf_map *map;
	char path[64];
	int err = 0;

	for (unsigned int i = 0; i < PINS && !err; i++) {
		map = bpf_object__find_map_by_name(obj, pins[i].map);
		pin_path(path, sizeof(path), pins[i].name);
		err = map ? bpf_map__set_pin_path(map, path) : -ENOENT;
	}
	return err;
}

static void *map_memory(int fd, size_t size, int prot)
{
	void *p = mmap(NULL, size, prot, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static size_t state_size(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (sizeof(struct publish_state) + page - 1) / page * page;
}

static int map_both(struct publisher *p, int pages_fd, int state_fd, int prot)
{
	p->pages = map_memory(pages_fd, (size_t)p->cpus * PVSCHED_PAGE_SIZE, prot);
	if (!p->pages)
		return -errno;
	p->state = map_memory(state_fd, state_size(), prot);
	return p->state ? 0 : -errno;
}

static int attach_all(struct publisher *p)
{
	struct bpf_program *prog;
	struct bpf_link *link;
	char path[160];
	int err;

	bpf_object__for_each_program(prog, p->obj) {
		if (!bpf_program__autoload(prog))
			continue;
		link = bpf_program__attach(prog);
		if (!link)
			return -errno;
		snprintf(path, sizeof(path), PUBLISH_PINS "/" LINK "%s", bpf_program__name(prog));
		err = bpf_link__pin(link, path);
		bpf_link__destroy(link); /* closed: the pin holds it, not this process */
		if (err)
			return err;
		p->attached++;
	}
	return 0;
}

struct bell {
	void (*ring)(void *ctx, unsigned int cpu);
	void *ctx;
};

static struct bell bell;

static int on_bell(void *ctx, void *data, size_t size)
{
	const struct bell *b = ctx;
	uint32_t cpu;

	if (size >= sizeof(cpu)) {
		memcpy(&cpu, data, sizeof(cpu));
		b->ring(b->ctx, cpu);
	}
	return 0;
}

static int print_nothing(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level, (void)format, (void)args;
	return 0;
}

/* choose: look first which tracepoints there are, which takes as long as the rest of the load. */
static int load(struct publisher *p, bool choose)
{
	int err;

	bpf_object__close(p->obj);
	p->obj = bpf_object__open_mem(publish_bpf, publish_bpf_size, NULL);
	if (!p->obj)
		return -errno;
	if (choose)
		choose_programs(p->obj);
	err = bpf_map__set_max_entries(bpf_object__find_map_by_name(p->obj, "pages"), p->cpus);
	if (!err)
		err = set_pins(p->obj);
	return err ? err : bpf_object__load(p->obj);
}

int publisher_open(struct publisher *p, unsigned int cpus,
		   void (*ring)(void *ctx, unsigned int cpu), void *ctx, struct cli_error *e)
{
	int err;

	*p = (struct publisher){ .cpus = cpus };
	if (make_room(e))
		return e->exit;
	if (!getenv("PVSCHED_DEBUG"))
		libbpf_set_print(print_nothing);
	if (load(p, false)) {
		publisher_unpin(); /* what the half-done load pinned: no page is shared yet */
		err = load(p, true);
	} else {
		err = 0;
	}
	if (err)
		return cli_fail(e, CLI_FAILED, "load the BPF programs", NULL,
				"Linux 6.1 with BTF and CONFIG_KALLSYMS_ALL is needed, and root; "
				"PVSCHED_DEBUG=1 shows the kernel's own words",
				"%s", strerror(-err));
	err = map_both(p, bpf_object__find_map_fd_by_name(p->obj, "pages"),
		       bpf_object__find_map_fd_by_name(p->obj, PUBLISH_STATE),
		       PROT_READ | PROT_WRITE);
	if (err)
		return cli_fail(e, CLI_FAILED, "map the pages", NULL, NULL, "%s", strerror(-err));
	for (unsigned int i = 0; i < PVSCHED_VCPUS_MAX; i++)
		p->state->cpu[i].on = 0;
	bell = (struct bell){ ring, ctx };
	p->bells = ring_buffer__new(bpf_object__find_map_fd_by_name(p->obj, "bells"), on_bell,
				    &bell, NULL);
	err = p->bells ? attach_all(p) : -errno;
	if (err)
		return cli_fail(e, CLI_FAILED, "attach the BPF programs", NULL, NULL, "%s",
				strerror(-err));
	return 0;
}

int publisher_fd(const struct publisher *p)
{
	return ring_buffer__epoll_fd(p->bells);
}

void publisher_poll(struct publisher *p)
{
	ring_buffer__consume(p->bells);
}

void publisher_close(struct publisher *p)
{
	if (p->pages)
		munmap(p->pages, (size_t)p->cpus * PVSCHED_PAGE_SIZE);
	if (p->state)
		munmap(p->state, state_size());
	ring_buffer__free(p->bells);
	bpf_object__close(p->obj);
	*p = (struct publisher){ 0 };
}

/*
 * The kernel waits for a grace period before it answers an update of a map of maps (maybe_wait_bpf_programs()),
 * for just this; membarrier() does so, too, but not on a kernel with nohz_full.
 */
int publisher_settle(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts);
	int inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, "settle_inner", 4, 4, 1, NULL);
	int outer = -1, err = -errno;
	uint32_t zero = 0;

	opts.inner_map_fd = inner;
	if (inner >= 0) {
		outer = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "settle", 4, 4, 1, &opts);
		err = outer < 0 || bpf_map_update_elem(outer, &zero, &inner, BPF_ANY) ? -errno : 0;
	}
	if (outer >= 0)
		close(outer);
	if (inner >= 0)
		close(inner);
	return err;
}

uint64_t publisher_gfn(const struct publisher *p, unsigned int cpu)
{
	const volatile struct pvsched_page *page = &p->pages[cpu];
	uint64_t entry = 0, address = (uintptr_t)page;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return 0;
	(void)page->magic; /* maps it, if it is not */
	got = pread(fd, &entry, sizeof(entry),
		    (off_t)(address / PVSCHED_PAGE_SIZE * sizeof(entry)));
	close(fd);
	errno = EPERM; /* without CAP_SYS_ADMIN frames read 0 */
	/* bit 63: present; 0..54: frame (Documentation/admin-guide/mm/pagemap.rst) */
	return got == sizeof(entry) && entry >> 63 ? entry & ((1ull << 55) - 1) : 0;
}

int publisher_look(struct publisher *p, struct cli_error *e)
{
	int pages = bpf_obj_get(PUBLISH_PINS "/pages"), state = bpf_obj_get(PUBLISH_PINS "/state");
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);
	int err = 0;

	*p = (struct publisher){ 0 };
	if (pages < 0 || state < 0 || bpf_obj_get_info_by_fd(pages, &info, &size))
		err = -errno;
	p->cpus = info.max_entries;
	if (!err)
		err = map_both(p, pages, state, PROT_READ);
	if (pages >= 0)
		close(pages);
	if (state >= 0)
		close(state);
	if (err) {
		publisher_close(p);
		return cli_fail(e, CLI_FAILED, "look at the pages", PUBLISH_PINS,
				err == -ENOENT ? "start 'pvsched-guest run'" : "run as root", "%s",
				strerror(-err));
	}
	return 0;
}

int publisher_tell_declared(unsigned int n, struct cli_error *e)
{
	struct publish_state *state;
	int fd = bpf_obj_get(PUBLISH_PINS "/state");

	if (fd < 0)
		return 0; /* no daemon: it counts when it starts */
	state = map_memory(fd, state_size(), PROT_READ | PROT_WRITE);
	close(fd);
	if (!state)
		return cli_fail(e, CLI_FAILED, "tell the programs", PUBLISH_PINS, NULL, "%s",
				strerror(errno));
	*(volatile uint32_t *)&state->declared = n;
	munmap(state, state_size());
	return 0;
}
