// SPDX-License-Identifier: GPL-2.0-only
/* Loads and drives find.bpf.c, see find.h. */
#include "find.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "probe.h"

extern const unsigned char pvsched_find_bpf[];
extern const size_t pvsched_find_bpf_size;

struct pvsched_finder {
	struct bpf_object *obj;
	struct bpf_program *find, *process, *run, *frame;
	struct bpf_link *vcpu_link, *run_link, *exit_link;
	struct ring_buffer *ring;
	int known_fd, awaited_fd;
	unsigned int n_awaited;
	bool has_run; /* kvm_fpu can be had */
	int walk_fd; /* the iterator over processes; -1 = none is on its way */
	__s32 next[256]; /* what it told last: from next_i on, to be taken */
	unsigned int next_i, next_n;
	pvsched_news_fn fn;
	void *fn_ctx;
};

static int quiet(enum libbpf_print_level level, const char *fmt, va_list args)
{
	(void)level;
	(void)fmt;
	(void)args;
	return 0;
}

static int on_news(void *ctx, void *data, size_t size)
{
	struct pvsched_finder *f = ctx;

	if (size >= sizeof(struct pvsched_news) && f->fn)
		f->fn(f->fn_ctx, data);
	return 0;
}

static int load(struct pvsched_finder *f)
{
	struct bpf_program *vcpu, *exit;
	struct bpf_map *map;
	bool has_vcpu;
	int err;

	f->obj = bpf_object__open_mem(pvsched_find_bpf, pvsched_find_bpf_size, NULL);
	if (!f->obj)
		return -errno;
	f->find = bpf_object__find_program_by_name(f->obj, "pvsched_find");
	f->process = bpf_object__find_program_by_name(f->obj, "pvsched_find_process");
	f->run = bpf_object__find_program_by_name(f->obj, "pvsched_find_run");
	vcpu = bpf_object__find_program_by_name(f->obj, "pvsched_find_vcpu");
	exit = bpf_object__find_program_by_name(f->obj, "pvsched_find_exit");
	f->frame = bpf_object__find_program_by_name(f->obj, "pvsched_find_frame");
	if (!f->find || !f->process || !f->run || !f->frame || !vcpu || !exit)
		return -EINVAL;
	has_vcpu = pvsched_probe_one("probe_kvm_write_tsc_offset");
	f->has_run = pvsched_probe_one("probe_kvm_fpu");
	bpf_program__set_autoload(vcpu, has_vcpu);
	bpf_program__set_autoload(f->run, f->has_run);
	err = bpf_object__load(f->obj);
	if (err)
		return err;
	map = bpf_object__find_map_by_name(f->obj, "news");
	f->known_fd = bpf_object__find_map_fd_by_name(f->obj, "known");
	f->awaited_fd = bpf_object__find_map_fd_by_name(f->obj, "awaited");
	if (!map || f->known_fd < 0 || f->awaited_fd < 0)
		return -EINVAL;
	f->ring = ring_buffer__new(bpf_map__fd(map), on_news, f, NULL);
	f->exit_link = f->ring ? bpf_program__attach(exit) : NULL;
	if (f->exit_link && has_vcpu)
		f->vcpu_link = bpf_program__attach(vcpu);
	return f->exit_link && (!has_vcpu || f->vcpu_link) ? 0 : -errno;
}

int pvsched_finder_open(pvsched_finder_say_fn say, void *ctx, struct pvsched_finder **ret)
{
	libbpf_print_fn_t old = libbpf_set_print(quiet);
	struct pvsched_finder *f = calloc(1, sizeof(*f));
	int err = f ? 0 : -ENOMEM;
	char line[160];

	if (f)
		f->walk_fd = -1;
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	if (!err && access("/sys/module/kvm", F_OK)) {
		say(ctx, "no VM can be found: KVM is not loaded: load kvm_amd or kvm_intel, then "
			 "start this again");
		err = -ENOTSUP;
	} else if (!err) {
		err = load(f);
		if (err) {
			snprintf(line, sizeof(line), "no VM can be found: %s: %s", strerror(-err),
				 err == -EPERM ? "run as root (CAP_BPF, CAP_PERFMON)"
					       : "this needs Linux 6.1 with BTF of kvm");
			say(ctx, line);
		}
	}
	libbpf_set_print(old);
	if (err)
		pvsched_finder_free(f);
	else
		*ret = f;
	return err;
}

void pvsched_finder_free(struct pvsched_finder *f)
{
	if (!f)
		return;
	if (f->walk_fd >= 0)
		close(f->walk_fd);
	bpf_link__destroy(f->vcpu_link);
	bpf_link__destroy(f->run_link);
	bpf_link__destroy(f->exit_link);
	ring_buffer__free(f->ring);
	bpf_object__close(f->obj);
	free(f);
}

bool pvsched_finder_has_news(const struct pvsched_finder *f)
{
	return f->vcpu_link;
}

int pvsched_finder_poll_fd(const struct pvsched_finder *f)
{
	return ring_buffer__epoll_fd(f->ring);
}

int pvsched_finder_news(struct pvsched_finder *f, pvsched_news_fn fn, void *ctx)
{
	int n;

	f->fn = fn;
	f->fn_ctx = ctx;
	n = ring_buffer__consume(f->ring);
	f->fn = NULL;
	return n < 0 ? n : 0;
}

/* The iterator, which needs no link once it is there. tid 0 = over all tasks. */
static int iterate(struct bpf_program *prog, pid_t tid)
{
	union bpf_iter_link_info info = { .task.tid = tid };
	LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof(info));
	struct bpf_link *link = bpf_program__attach_iter(prog, tid ? &opts : NULL);
	int fd;

	if (!link)
		return -errno;
	fd = bpf_iter_create(bpf_link__fd(link));
	if (fd < 0)
		fd = -errno;
	bpf_link__destroy(link);
	return fd;
}

int pvsched_finder_rewind(struct pvsched_finder *f)
{
	int fd = iterate(f->process, 0);

	if (fd < 0)
		return fd;
	if (f->walk_fd >= 0)
		close(f->walk_fd);
	f->walk_fd = fd;
	f->next_i = f->next_n = 0;
	return 0;
}

pid_t pvsched_finder_next(struct pvsched_finder *f)
{
	ssize_t n;

	if (f->next_i < f->next_n)
		return f->next[f->next_i++];
	if (f->walk_fd < 0)
		return 0;
	do
		n = read(f->walk_fd, f->next, sizeof(f->next));
	while (n < 0 && (errno == EAGAIN || errno == EINTR)); /* a million tasks without any */
	f->next_i = 0;
	f->next_n = n > 0 ? n / sizeof(f->next[0]) : 0;
	if (f->next_n)
		return f->next[f->next_i++];
	n = n < 0 ? -errno : 0;
	close(f->walk_fd);
	f->walk_fd = -1;
	return n;
}

/* As many as there is room for: it is not read on. */
static int read_rows(int fd, struct pvsched_found *rows, bool *ret_cut)
{
	const size_t room = PVSCHED_FOUND_ROWS * sizeof(*rows);
	size_t used = 0;
	ssize_t n = 1;

	while (used < room && (n = read(fd, (char *)rows + used, room - used))) {
		if (n < 0 && errno == EAGAIN) /* the program has reached its bound */
			break;
		if (n < 0 && errno != EINTR)
			return -errno;
		used += n > 0 ? n : 0;
	}
	*ret_cut = n;
	return used / sizeof(*rows);
}

/*
 * Of one thread: an iterator over a process's leaves out those whose files are the leader's, but not those that
 * share others, and so can be had to read the same ones thousands of times, or look for any in tables without.
 */
int pvsched_finder_scan(struct pvsched_finder *f, pid_t tgid, struct pvsched_found **ret_rows,
			bool *ret_cut)
{
	struct pvsched_found *rows = NULL;
	int fd = iterate(f->find, tgid), n;
	bool cut = false;

	if (fd < 0)
		return fd == -ESRCH ? 0 : fd;
	rows = malloc(PVSCHED_FOUND_ROWS * sizeof(*rows));
	n = rows ? read_rows(fd, rows, &cut) : -ENOMEM;
	close(fd);
	if (n < 0) {
		free(rows);
		return n;
	}
	*ret_rows = rows;
	*ret_cut = cut;
	return n;
}

int pvsched_finder_frame(struct pvsched_finder *f, __u64 kvm, __u64 gfn,
			 struct pvsched_frame_at *ret)
{
	struct pvsched_frame_at arg = { .kvm = kvm, .gfn = gfn };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &arg, .ctx_size_in = sizeof(arg));
	int err = bpf_prog_test_run_opts(bpf_program__fd(f->frame), &opts);

	if (!err)
		err = (int)opts.retval;
	if (!err)
		*ret = arg;
	return err;
}

int pvsched_finder_know(struct pvsched_finder *f, pid_t tid, bool known)
{
	int err = known ? bpf_map_update_elem(f->known_fd, &tid, &(uint32_t){ 1 }, BPF_ANY)
			: bpf_map_delete_elem(f->known_fd, &tid);

	return err ? -errno : 0;
}

int pvsched_finder_await(struct pvsched_finder *f, pid_t tgid, bool awaited)
{
	int err;

	if (!f->has_run)
		return awaited ? -ENOTSUP : 0;
	err = awaited ? bpf_map_update_elem(f->awaited_fd, &tgid, &(uint32_t){ 1 }, BPF_NOEXIST)
		      : bpf_map_delete_elem(f->awaited_fd, &tgid);
	if (err)
		return errno == EEXIST || errno == ENOENT ? 0 : -errno;
	f->n_awaited += awaited ? 1 : -1;
	if (!f->n_awaited) {
		bpf_link__destroy(f->run_link);
		f->run_link = NULL;
	} else if (!f->run_link) {
		f->run_link = bpf_program__attach(f->run);
	}
	if (f->n_awaited && !f->run_link) {
		err = -errno;
		/* nobody would hear it run: it is not awaited, and may be tried again */
		bpf_map_delete_elem(f->awaited_fd, &tgid);
		f->n_awaited--;
		return err;
	}
	return awaited;
}
