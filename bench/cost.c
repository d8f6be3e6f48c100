// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cost of pvsched on a context switch, by the kernel's BPF run-time statistics: nothing is
 * timed by hand. First two threads that only switch to each other (no registered vCPU anywhere),
 * with an empty program beside pvsched's; then a vCPU that sleeps and wakes thousands of times a
 * second beside a hog. In the second part the vCPU's own switches are counted by the scheduler,
 * and what all other switches cost is known from the first.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "cost.h"

#define PING_NS	       1000000000ull
#define VCPU_MS	       2000
#define VCPU_PERIOD_NS 200000

extern const unsigned char bench_empty_bpf[];
extern const size_t bench_empty_bpf_size;

/* Runs and time of the programs on one hook. */
struct hook_time {
	uint64_t runs, ns;
};

static void read_switch(struct pvsched_broker *b, struct hook_time *ret, uint64_t *ret_exits)
{
	struct pvsched_program_row row[64];
	int i, n;

	n = pvsched_broker__programs(b, row, sizeof(row) / sizeof(*row));
	memset(ret, 0, sizeof(*ret));
	*ret_exits = 0;
	for (i = 0; i < n && i < (int)(sizeof(row) / sizeof(*row)); i++) {
		if (strstr(row[i].attached_to, "kvm_exit") ||
		    strstr(row[i].attached_to, "kvm_entry"))
			++*ret_exits;
		if (!strstr(row[i].attached_to, "sched_switch"))
			continue;
		/* several programs on it: each runs on every switch */
		if (row[i].runs > ret->runs)
			ret->runs = row[i].runs;
		ret->ns += row[i].run_ns;
	}
}

static int read_empty(int fd, struct hook_time *ret)
{
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
		return -errno;
	ret->runs = info.run_cnt;
	ret->ns = info.run_time_ns;
	return 0;
}

static double per_run(const struct hook_time *a, const struct hook_time *b)
{
	return b->runs > a->runs ? (double)(b->ns - a->ns) / (double)(b->runs - a->runs) : 0;
}

struct pong {
	pthread_t thread;
	int in, out;
	volatile bool end;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + ts.tv_nsec;
}

static void *pong_thread(void *arg)
{
	struct pong *p = arg;
	uint64_t v;

	while (!p->end && read(p->in, &v, sizeof(v)) == sizeof(v)) {
		v = 1;
		if (write(p->out, &v, sizeof(v)) != sizeof(v))
			break;
	}
	return NULL;
}

/* Two threads of this process on the measured CPU hand one word to and fro. */
static int ping_pong(struct bench_context *x)
{
	struct pong p = { .in = eventfd(0, EFD_CLOEXEC), .out = eventfd(0, EFD_CLOEXEC) };
	uint64_t until, one = 1, v;
	cpu_set_t set;
	int err = 0;

	if (p.in < 0 || p.out < 0) {
		err = -errno;
		goto out;
	}
	CPU_ZERO(&set);
	CPU_SET(x->cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0) {
		err = -errno;
		goto out;
	}
	err = -pthread_create(&p.thread, NULL, pong_thread, &p); /* inherits the affinity */
	if (err)
		goto out;
	until = now_ns() + PING_NS;
	while (!err && now_ns() < until)
		if (write(p.in, &one, sizeof(one)) != sizeof(one) ||
		    read(p.out, &v, sizeof(v)) != sizeof(v))
			err = -errno;
	p.end = true;
	if (write(p.in, &one, sizeof(one)) != sizeof(one))
		err = -errno;
	pthread_join(p.thread, NULL);
out:
	sched_setaffinity(0, sizeof(x->elsewhere), &x->elsewhere);
	if (p.in >= 0)
		close(p.in);
	if (p.out >= 0)
		close(p.out);
	return err;
}

static int measure_others(struct bench_context *x, struct pvsched_broker *broker)
{
	struct bench_cost *cost = &x->report->cost;
	struct hook_time own[2], empty[2];
	struct bpf_program *prog;
	struct bpf_object *obj;
	struct bpf_link *link = NULL;
	int err, fd;

	obj = bpf_object__open_mem(bench_empty_bpf, bench_empty_bpf_size, NULL);
	if (!obj)
		return -errno;
	err = bpf_object__load(obj);
	if (err)
		goto out;
	prog = bpf_object__next_program(obj, NULL);
	fd = bpf_program__fd(prog);
	link = bpf_program__attach(prog);
	if (!link) {
		err = -errno;
		goto out;
	}
	read_switch(broker, &own[0], &cost->exit_programs);
	err = read_empty(fd, &empty[0]);
	if (!err)
		err = ping_pong(x);
	if (!err)
		err = read_empty(fd, &empty[1]);
	if (err)
		goto out;
	read_switch(broker, &own[1], &cost->exit_programs);
	cost->empty_ns = per_run(&empty[0], &empty[1]);
	cost->other_ns = per_run(&own[0], &own[1]);
out:
	bpf_link__destroy(link);
	bpf_object__close(obj);
	return err;
}

static int read_switches(pid_t tid, uint64_t *ret)
{
	unsigned long long v, sum = 0;
	char path[64], line[256];
	int found = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "voluntary_ctxt_switches: %llu", &v) == 1 ||
		    sscanf(line, "nonvoluntary_ctxt_switches: %llu", &v) == 1) {
			sum += v;
			found++;
		}
	}
	fclose(f);
	if (found != 2)
		return -ENODATA;
	*ret = sum;
	return 0;
}

static int measure_vcpu(struct bench_context *x, struct pvsched_broker *broker)
{
	struct bench_cost *cost = &x->report->cost;
	struct vmm_opts opts = {
		.name = "bench-cost",
		.pvsched = true,
		.vcpus = 1,
		.vcpu[0] = { .workload = GUEST_SLEEPING,
			     .period_ns = VCPU_PERIOD_NS,
			     .pinned = true,
			     .cpu = x->cpu },
		.guest_flags = GUEST_F_WAIT_GO,
		.print = said_print,
		.print_ctx = &x->said,
	};
	uint64_t from = 0, to = 0, own, runs;
	struct hook_time a, b;
	struct vmm_vcpu_info info;
	struct vmm *vm = NULL;
	int err;

	err = vmm_create(&opts, &vm);
	if (!err)
		err = vmm_start(vm);
	if (!err)
		err = vmm_wait_ready(vm, 20000);
	if (!err)
		err = vmm_vcpu_info(vm, 0, &info);
	if (!err)
		err = bench_hogs_run(&x->hogs, 1);
	if (err)
		goto out;
	read_switch(broker, &a, &cost->exit_programs);
	err = read_switches(info.tid, &from);
	if (!err)
		err = vmm_go(vm);
	if (!err) {
		err = vmm_wait(vm, VCPU_MS);
		err = err == -ETIMEDOUT ? 0 : err ? err : -EIO;
	}
	if (!err)
		err = read_switches(info.tid, &to);
	if (err)
		goto out;
	read_switch(broker, &b, &cost->exit_programs);
	/* each of its switches away comes with one back: two runs that concern it */
	own = 2 * (to - from);
	runs = b.runs - a.runs;
	if (!own || own > runs) {
		err = -ENODATA;
		goto out;
	}
	cost->vcpu_ns =
		((double)(b.ns - a.ns) - (double)(runs - own) * cost->other_ns) / (double)own;
	cost->measured = true;
out:
	bench_hogs_run(&x->hogs, 0);
	vmm_destroy(vm);
	return err;
}

int bench_cost_measure(struct bench_context *x)
{
	struct pvsched_broker *broker = NULL;
	int err;

	err = bench_broker_start(x, &broker);
	if (err)
		return err;
	err = measure_others(x, broker);
	if (!err)
		err = measure_vcpu(x, broker);
	if (err)
		said_say(&x->said,
			 "measure the cost of a context switch: %s: leave it out with --no-cost",
			 strerror(-err));
	pvsched_broker__stop(broker);
	return err;
}
