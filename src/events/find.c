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
	struct bpf_program *find, *run, *frame;
	struct bpf_link *vcpu_link, *run_link, *exit_link;
	struct ring_buffer *ring;
	int known_fd, awaited_fd;
	unsigned int n_awaited;
	bool has_run; /* kvm_fpu can be had */
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
	f->run = bpf_object__find_program_by_name(f->obj, "pvsched_find_run");
	vcpu = bpf_object__find_program_by_name(f->obj, "pvsched_find_vcpu");
	exit = bpf_object__find_program_by_name(f->obj, "pvsched_find_exit");
	f->frame = bpf_object__find_program_by_name(f->obj, "pvsched_find_frame");
	if (!f->find || !f->run || !f->frame || !vcpu || !exit)
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

static int read_rows(int fd, struct pvsched_found **ret_rows)
{
	size_t room = 64 * sizeof(**ret_rows), used = 0;
	char *rows = malloc(room), *more;
	ssize_t n;

	while (rows && (n = read(fd, rows + used, room - used))) {
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			n = -errno;
			free(rows);
			return n;
		}
		used += n > 0 ? n : 0;
		if (used < room)
			continue;
		room *= 2;
		more = realloc(rows, room);
		if (!more)
			free(rows);
		rows = more;
	}
	if (!rows)
		return -ENOMEM;
	*ret_rows = (void *)rows;
	return used / sizeof(**ret_rows);
}

int pvsched_finder_scan(struct pvsched_finder *f, pid_t tgid, struct pvsched_found **ret_rows)
{
	union bpf_iter_link_info info = { .task.pid = tgid };
	LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof(info));
	struct bpf_link *link = bpf_program__attach_iter(f->find, tgid ? &opts : NULL);
	int fd, n;

	if (!link)
		return errno == ESRCH ? 0 : -errno;
	fd = bpf_iter_create(bpf_link__fd(link));
	n = fd < 0 ? -errno : read_rows(fd, ret_rows);
	if (fd >= 0)
		close(fd);
	bpf_link__destroy(link);
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
