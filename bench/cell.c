// SPDX-License-Identifier: GPL-2.0-only
/*
 * One run of one cell. The context is shared by consecutive runs; only `said` is written from
 * several threads (VMM, broker), under its own lock.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cell.h"
#include "machine.h"

#define READY_MS   20000
#define VISITOR_NS 60000000000ull
#define POLL_MS	   200
#define PERIOD_NS  1000000ull
#define SECTION_NS 50000ull

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + ts.tv_nsec;
}

int bench_broker_start(struct bench_context *x, bool stats, struct pvsched_broker **ret_broker)
{
	struct pvsched_broker_opts opts = {
		.cap_ns = x->report->cap_ns,
		.actuator = x->plan->actuator,
		.print = said_print,
		.print_ctx = &x->said,
		.stats = stats,
	};
	const struct timespec pause = { .tv_nsec = 200000000 };
	uint64_t give_up = now_ns() + VISITOR_NS;
	int err;

	/* agents go where the thread that starts them may */
	sched_setaffinity(0, sizeof(x->allowed), &x->allowed);
	for (;;) {
		err = pvsched_broker__start(&opts, ret_broker);
		/* one that came in between two of ours may be a short visitor: wait for it rather
		 * than throw away what was measured */
		if (err != -EEXIST || !x->had_broker || now_ns() > give_up ||
		    (x->plan->stop && *x->plan->stop))
			break;
		said_forget(&x->said);
		nanosleep(&pause, NULL);
	}
	sched_setaffinity(0, sizeof(x->elsewhere), &x->elsewhere);
	x->had_broker |= !err;
	if (err)
		said_say(&x->said, "start a broker: %s: see 'pvsched check'", strerror(-err));
	return err;
}

int bench_broker_programs(struct bench_context *x, struct pvsched_broker *b)
{
	struct bench_report *r = x->report;
	struct pvsched_program_row row[64];
	struct bench_program *p;
	unsigned int k;
	int i, n;

	n = pvsched_broker__programs(b, row, sizeof(row) / sizeof(*row));
	for (i = 0; i < n && i < (int)(sizeof(row) / sizeof(*row)); i++) {
		for (k = 0; k < r->program_count; k++)
			if (!strcmp(r->programs[k].name, row[i].name) &&
			    !strcmp(r->programs[k].attached_to, row[i].attached_to))
				break;
		if (k == r->program_count) {
			p = realloc(r->programs, (k + 1) * sizeof(*p));
			if (!p)
				return -ENOMEM;
			memset(&p[k], 0, sizeof(*p));
			snprintf(p[k].name, sizeof(p[k].name), "%.31s", row[i].name);
			snprintf(p[k].attached_to, sizeof(p[k].attached_to), "%.47s",
				 row[i].attached_to);
			r->programs = p;
			r->program_count++;
		}
		r->programs[k].runs += row[i].runs;
		r->programs[k].run_ns += row[i].run_ns;
	}
	return 0;
}

static void fill_opts(struct bench_context *x, const struct bench_progress *p,
		      struct vmm_opts *opts)
{
	static const enum guest_workload workloads[] = {
		[BENCH_BUSY] = GUEST_BUSY,
		[BENCH_BUSY_RANDOM] = GUEST_BUSY_RANDOM,
		[BENCH_CRITICAL] = GUEST_CRITICAL,
		[BENCH_SLEEPING] = GUEST_SLEEPING,
	};
	static const enum vmm_sched scheds[] = {
		[BENCH_OTHER] = VMM_SCHED_OTHER,
		[BENCH_NICE] = VMM_SCHED_NICE,
		[BENCH_FIFO] = VMM_SCHED_FIFO,
		[BENCH_PVSCHED] = VMM_SCHED_OTHER,
	};

	memset(opts, 0, sizeof(*opts));
	opts->name = "bench";
	opts->pvsched = p->variant == BENCH_PVSCHED;
	opts->vcpus = 1;
	opts->vcpu[0].workload = workloads[p->workload];
	opts->vcpu[0].period_ns = PERIOD_NS;
	opts->vcpu[0].section_ns = SECTION_NS;
	opts->vcpu[0].gap_ns = SECTION_NS;
	opts->vcpu[0].samples = p->asked;
	opts->vcpu[0].pinned = true;
	opts->vcpu[0].cpu = x->cpu;
	opts->sched = scheds[p->variant];
	opts->guest_flags = GUEST_F_WAIT_GO;
	/* all variants of one round see the same random intervals */
	opts->seed = x->plan->seed + p->round;
	opts->print = said_print;
	opts->print_ctx = &x->said;
}

/* What the guest counted and the host did, up to now. */
struct marks {
	uint64_t ns, hogs_ns, vcpu_ns, agent_ns;
	struct vmm_vcpu_info info;
	struct pvsched_vcpu_report report;
};

/* The scheduler's own sum of the thread's time on a CPU, ns. */
static int read_cpu_ns(pid_t tid, uint64_t *ret_ns)
{
	char path[64], line[128];
	int err;

	snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", tid);
	err = bench_read_line(path, line, sizeof(line));
	if (!err)
		*ret_ns = strtoull(line, NULL, 10);
	return err;
}

/* Time of the threads of this process that are pinned to the measured CPU, without the vCPU:
 * the agent, which is a cost of pvsched and no foreign work. */
static int read_agent_ns(const struct bench_context *x, pid_t vcpu, uint64_t *ret_ns)
{
	DIR *dir = opendir("/proc/self/task");
	uint64_t sum = 0, ns;
	struct dirent *entry;
	cpu_set_t set;
	pid_t tid;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		tid = atoi(entry->d_name);
		if (tid <= 0 || tid == vcpu || sched_getaffinity(tid, sizeof(set), &set) < 0)
			continue;
		/* a thread that ends meanwhile is none of the agents */
		if (CPU_COUNT(&set) == 1 && CPU_ISSET(x->cpu, &set) && !read_cpu_ns(tid, &ns))
			sum += ns;
	}
	closedir(dir);
	*ret_ns = sum;
	return 0;
}

static int take_marks(struct bench_context *x, struct vmm *vm, struct pvsched_broker *broker,
		      struct marks *m)
{
	int err;

	/* clock and hogs first: the rest takes longer */
	m->ns = now_ns();
	err = bench_hogs_cpu_ns(&x->hogs, &m->hogs_ns);
	if (err) {
		said_say(&x->said, "read the hogs' CPU time: %s", strerror(-err));
		return err;
	}
	err = vmm_vcpu_info(vm, 0, &m->info);
	if (!err)
		err = read_cpu_ns(m->info.tid, &m->vcpu_ns);
	if (!err)
		err = read_agent_ns(x, m->info.tid, &m->agent_ns);
	if (!err && broker)
		err = pvsched_broker__vcpu_report(broker, m->info.tid, &m->report);
	if (err)
		said_say(&x->said, "read the vCPU's statistics: %s", strerror(-err));
	return err;
}

/* One writer counts upwards: what a bucket gained is what was put in between. */
static void hist_between(struct pvsched_hist *to, const struct pvsched_hist *a,
			 const struct pvsched_hist *b)
{
	unsigned int i;

	for (i = 0; i < PVSCHED_HIST_N; i++) {
		to->n[i] = b->n[i] - a->n[i];
		to->count += to->n[i];
		if (to->n[i])
			to->max = pvsched_hist_value(i) < b->max ? pvsched_hist_value(i) : b->max;
	}
}

static void fill_run(struct bench_run *run, const struct marks *a, const struct marks *b,
		     bool has_host)
{
	run->wall_ns = b->ns - a->ns;
	run->hogs_ns = b->hogs_ns - a->hogs_ns;
	run->vcpu_ns = b->vcpu_ns - a->vcpu_ns;
	run->agent_ns = b->agent_ns > a->agent_ns ? b->agent_ns - a->agent_ns : 0;
	run->sections = b->info.sections - a->info.sections;
	run->interrupts = b->info.interrupts - a->info.interrupts;
	run->missed = b->info.missed - a->info.missed;
	run->doorbells = b->info.doorbells - a->info.doorbells;
	run->acks = b->info.acks - a->info.acks;
	run->has_host = has_host;
	if (!has_host)
		return;
	run->host.boosts = b->report.boosts - a->report.boosts;
	run->host.boosted_ns = b->report.boosted_ns - a->report.boosted_ns;
	run->host.expired = b->report.expired - a->report.expired;
	run->host.denied_throttle = b->report.denied_throttle - a->report.denied_throttle;
	run->host.denied_gap = b->report.denied_gap - a->report.denied_gap;
	run->host.reached = b->report.reached - a->report.reached;
	run->host.reach_added = b->report.reach_added - a->report.reach_added;
	hist_between(&run->host.reach, &a->report.reach, &b->report.reach);
	hist_between(&run->host.boost, &a->report.boost, &b->report.boost);
	hist_between(&run->host.apply, &a->report.apply, &b->report.apply);
}

/*
 * Longest a cell may take: each sample needs a period, or for sections a section and a gap of
 * work on the share of the CPU that is left beside the hogs; twice that, and room to stumble.
 */
static uint64_t limit_ns(const struct bench_progress *p)
{
	uint64_t each = p->workload == BENCH_CRITICAL ? 2 * SECTION_NS * (p->hogs + 2)
						      : 2 * PERIOD_NS;

	return 2 * each * p->asked + 10000000000ull;
}

/* Waits for the samples; progress meanwhile. 0 also when the limit came first. */
static int measure(struct bench_context *x, const struct bench_progress *start, struct vmm *vm)
{
	uint64_t deadline = now_ns() + limit_ns(start);
	struct bench_progress p = *start;
	struct vmm_vcpu_info info;
	int err;

	p.starts = false;
	do {
		err = vmm_wait(vm, POLL_MS);
		if (err && err != -ETIMEDOUT) {
			said_say(&x->said, "run the guest: %s", strerror(-err));
			return err;
		}
		if (x->plan->stop && *x->plan->stop)
			return -ECANCELED;
		if (x->plan->progress && !vmm_vcpu_info(vm, 0, &info)) {
			p.samples = info.samples;
			x->plan->progress(&p, x->plan->progress_ctx);
		}
	} while (err == -ETIMEDOUT && now_ns() < deadline);
	return 0;
}

static int take_samples(struct bench_context *x, struct vmm *vm, uint64_t asked,
			struct bench_run *run)
{
	uint64_t *buf = malloc(asked * sizeof(*buf));
	int err = -ENOMEM;
	size_t n;

	if (!buf) {
		said_say(&x->said, "take the samples: out of memory");
		goto out;
	}
	n = vmm_samples(vm, 0, buf, asked);
	err = n ? bench_samples_append(&run->samples, buf, n) : -ENODATA;
	if (err == -ENODATA)
		said_say(&x->said, "take the samples: the guest made none in time");
out:
	free(buf);
	return err;
}

/* A task that begins has hardly run yet: the kernel's averages, of 32 ms, call it a hog some ms later, and by
 * them a policy tells who is worth fighting (docs/limits.md, under Scheduling). A cell is of what lasts, in
 * every variant. */
static const struct timespec warm_up = { .tv_nsec = 100000000 };

int bench_cell_run(struct bench_context *x, const struct bench_progress *p, struct bench_run *run)
{
	struct marks *marks = calloc(2, sizeof(*marks));
	struct pvsched_broker *broker = NULL;
	struct vmm *vm = NULL;
	struct vmm_opts opts;
	struct vmm_guest_info guest;
	int err;

	if (!marks)
		return -ENOMEM;
	run->asked = p->asked;
	fill_opts(x, p, &opts);
	if (opts.pvsched) {
		err = bench_broker_start(x, false, &broker);
		if (err)
			goto out;
	}
	err = vmm_create(&opts, &vm);
	if (!err)
		err = vmm_start(vm);
	if (!err)
		err = vmm_wait_ready(vm, READY_MS);
	if (!err)
		err = vmm_guest_info(vm, &guest);
	if (err) {
		said_say(&x->said, "boot the guest: %s", strerror(-err));
		goto out;
	}
	if (opts.pvsched && guest.device != GUEST_DEVICE_ON) {
		said_say(&x->said, "handshake with the guest: %s",
			 pvsched_result_str(guest.result));
		err = -EPROTO;
		goto out;
	}
	err = bench_hogs_run(&x->hogs, p->hogs);
	if (err) {
		said_say(&x->said, "let the hogs run: %s", strerror(-err));
		goto out;
	}
	if (p->hogs)
		nanosleep(&warm_up, NULL);
	err = take_marks(x, vm, broker, &marks[0]);
	if (!err)
		err = vmm_go(vm);
	if (!err)
		err = measure(x, p, vm);
	if (!err)
		err = take_marks(x, vm, broker, &marks[1]);
	if (err)
		goto out;
	bench_hogs_run(&x->hogs, 0);
	fill_run(run, &marks[0], &marks[1], opts.pvsched);
	err = take_samples(x, vm, p->asked, run);
out:
	bench_hogs_run(&x->hogs, 0);
	vmm_destroy(vm);
	pvsched_broker__stop(broker);
	free(marks);
	return err;
}
