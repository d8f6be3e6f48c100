// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cost of pvsched on a context switch, by the kernel's BPF run-time statistics: nothing is
 * timed by hand. Two threads only switch to each other: first with no registered vCPU anywhere
 * and an empty program beside pvsched's; then with one of them registered, its page enabled and
 * asking for nothing (the cost of looking). Last a real vCPU that sleeps and wakes thousands of
 * times a second beside a hog: each period a timer is armed, a boost decided, an agent woken (the
 * cost of acting, most of it the machine's price of a timer and an interprocessor interrupt).
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
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
	_Atomic pid_t tid;
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

	p->tid = gettid();
	while (!p->end && read(p->in, &v, sizeof(v)) == sizeof(v)) {
		v = 1;
		if (write(p->out, &v, sizeof(v)) != sizeof(v))
			break;
	}
	return NULL;
}

static void put(struct pvsched_vm *vm, uint64_t reg, uint32_t value)
{
	pvsched_vm__bar_write(vm, reg, &value, sizeof(value));
}

/*
 * Makes a thread of this process a vCPU with an enabled page that asks for nothing: the handshake
 * of spec/protocol.md, driven from here. mem: one page, which must outlive the VM.
 */
static struct pvsched_vm *register_thread(pid_t tid, struct pvsched_page *mem)
{
	struct pvsched_vm_opts opts = { .sz = sizeof(opts), .name = "bench-cost", .vcpus = 1 };
	uint32_t status = 0, result = PVSCHED_R_HOST;
	struct pvsched_vm *vm = pvsched_vm__open(&opts);

	if (!vm)
		return NULL;
	if (pvsched_vm__add_memory(vm, 0, PVSCHED_PAGE_SIZE, mem, -1, 0, 0) ||
	    pvsched_vm__add_vcpu(vm, 0, tid, 0, STDERR_FILENO))
		goto out;
	*mem = (struct pvsched_page){ .magic = PVSCHED_MAGIC,
				      .abi_version = PVSCHED_ABI_VERSION,
				      .protocol = PVSCHED_PROTO_BASE,
				      .protocol_version = PVSCHED_PROTO_BASE_VERSION };
	pvsched_vm__set_bus_master(vm, true);
	put(vm, PVSCHED_REG_STATUS, status |= PVSCHED_S_ACKNOWLEDGE);
	put(vm, PVSCHED_REG_STATUS, status |= PVSCHED_S_DRIVER);
	put(vm, PVSCHED_REG_CHOICE_ID, PVSCHED_PROTO_BASE);
	put(vm, PVSCHED_REG_CHOICE_VERSION, PVSCHED_PROTO_BASE_VERSION);
	put(vm, PVSCHED_REG_STATUS, status |= PVSCHED_S_FEATURES_OK);
	put(vm, PVSCHED_REG_VCPU_COMMAND, PVSCHED_CMD_REGISTER);
	put(vm, PVSCHED_REG_VCPU_NONCE, (uint32_t)mem->nonce);
	put(vm, PVSCHED_REG_VCPU_NONCE + 4, mem->nonce >> 32);
	put(vm, PVSCHED_REG_VCPU_COMMAND, PVSCHED_CMD_ENABLE);
	pvsched_vm__bar_read(vm, PVSCHED_REG_VCPU_RESULT, &result, sizeof(result));
	if (result == PVSCHED_R_OK)
		return vm;
	errno = EPROTO;
out:
	pvsched_vm__close(vm);
	return NULL;
}

/* Two threads of this process on the measured CPU hand one word to and fro; one of them may be a
 * registered vCPU, and then each switch is one of its own. */
static int ping_pong(struct bench_context *x, struct pvsched_broker *b, bool registered,
		     struct hook_time *ret_from, struct hook_time *ret_to)
{
	struct pong p = { .in = eventfd(0, EFD_CLOEXEC), .out = eventfd(0, EFD_CLOEXEC) };
	struct pvsched_page *mem = MAP_FAILED;
	struct pvsched_vm *vm = NULL;
	uint64_t until, one = 1, v, exits;
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
	if (registered) {
		mem = mmap(NULL, PVSCHED_PAGE_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		while (!p.tid)
			sched_yield();
		vm = mem == MAP_FAILED ? NULL : register_thread(p.tid, mem);
		err = vm ? 0 : -errno;
	}
	read_switch(b, ret_from, &exits);
	until = now_ns() + PING_NS;
	while (!err && now_ns() < until)
		if (write(p.in, &one, sizeof(one)) != sizeof(one) ||
		    read(p.out, &v, sizeof(v)) != sizeof(v))
			err = -errno;
	read_switch(b, ret_to, &exits);
	p.end = true;
	if (write(p.in, &one, sizeof(one)) != sizeof(one))
		err = -errno;
	pthread_join(p.thread, NULL);
out:
	pvsched_vm__close(vm);
	if (mem != MAP_FAILED)
		munmap(mem, PVSCHED_PAGE_SIZE);
	sched_setaffinity(0, sizeof(x->elsewhere), &x->elsewhere);
	if (p.in >= 0)
		close(p.in);
	if (p.out >= 0)
		close(p.out);
	return err;
}

/* A registered vCPU's switches that lead to nothing. */
static int measure_looking(struct bench_context *x, struct pvsched_broker *broker)
{
	struct hook_time from, to;
	int err = ping_pong(x, broker, true, &from, &to);

	if (!err)
		x->report->cost.vcpu_ns = per_run(&from, &to);
	return err;
}

static int measure_others(struct bench_context *x, struct pvsched_broker *broker)
{
	struct pvsched_vm_opts opts = { .sz = sizeof(opts), .name = "bench-cost", .vcpus = 1 };
	struct bench_cost *cost = &x->report->cost;
	struct hook_time own[2], empty[2];
	struct pvsched_vm *vm = NULL;
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
	/* the programs are attached while there is a VM: one without vCPUs */
	vm = pvsched_vm__open(&opts);
	err = vm ? read_empty(fd, &empty[0]) : -errno;
	if (!err)
		err = ping_pong(x, broker, false, &own[0], &own[1]);
	if (!err)
		err = read_empty(fd, &empty[1]);
	if (err)
		goto out;
	cost->empty_ns = per_run(&empty[0], &empty[1]);
	cost->other_ns = per_run(&own[0], &own[1]);
out:
	pvsched_vm__close(vm);
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

static int measure_acting(struct bench_context *x, struct pvsched_broker *broker)
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
	cost->acting_ns =
		((double)(b.ns - a.ns) - (double)(runs - own) * cost->other_ns) / (double)own;
out:
	bench_hogs_run(&x->hogs, 0);
	vmm_destroy(vm);
	return err;
}

int bench_cost_measure(struct bench_context *x)
{
	struct bench_cost *cost = &x->report->cost;
	struct pvsched_broker *broker = NULL;
	int err;

	err = bench_broker_start(x, true, &broker);
	if (err)
		return err;
	err = measure_others(x, broker);
	if (!err)
		err = measure_looking(x, broker);
	if (!err)
		err = measure_acting(x, broker);
	if (!err)
		err = bench_broker_programs(x, broker);
	cost->measured = !err;
	if (err)
		said_say(&x->said,
			 "measure the cost of a context switch: %s: leave it out with --no-cost",
			 strerror(-err));
	pvsched_broker__stop(broker);
	return err;
}
