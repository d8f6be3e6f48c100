// SPDX-License-Identifier: GPL-2.0-only
/*
 * The order of a bench: rounds, in each all cells once, the variants of a workload next to each
 * other and shuffled, so that what the machine does over minutes meets all of them alike.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cell.h"
#include "cost.h"
#include "machine.h"

#define CAP_NS 1000000ull /* the broker's default, told to it so that the targets know it */

#define LOCK_DIR  "/run/pvsched"
#define LOCK_FILE LOCK_DIR "/bench.lock"

/*
 * Two benches at once would measure each other's hogs: the later one waits. Who may not write
 * there (no privilege, so no pvsched either) goes without. -1 = no lock.
 */
static int take_lock(const struct bench_plan *plan)
{
	int fd;

	mkdir(LOCK_DIR, 0755);
	fd = open(LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600); /* who may read it may lock it */
	if (fd < 0 || !flock(fd, LOCK_EX | LOCK_NB))
		return fd;
	if (plan->waits)
		plan->waits(plan->progress_ctx);
	while (flock(fd, LOCK_EX) < 0 && errno == EINTR && !(plan->stop && *plan->stop))
		;
	return fd;
}

/* The last allowed CPU is measured: boot CPUs carry most of a machine's own work. */
static int choose_cpus(struct bench_context *x)
{
	int cpu;

	if (sched_getaffinity(0, sizeof(x->allowed), &x->allowed) < 0)
		return -errno;
	if (CPU_COUNT(&x->allowed) < 2) {
		said_say(&x->said,
			 "choose CPUs: one for the vCPU and another for the tool are needed, "
			 "this process may use %d: see taskset(1) and the cpuset",
			 CPU_COUNT(&x->allowed));
		return -ENOTSUP;
	}
	for (cpu = CPU_SETSIZE - 1; !CPU_ISSET(cpu, &x->allowed); cpu--)
		;
	x->cpu = cpu;
	x->elsewhere = x->allowed;
	CPU_CLR(cpu, &x->elsewhere);
	return 0;
}

static int make_cells(struct bench_context *x)
{
	const struct bench_plan *plan = x->plan;
	struct bench_report *r = x->report;
	unsigned int h, w, v;

	r->cells =
		calloc((size_t)plan->hogs_n * BENCH_WORKLOADS * BENCH_VARIANTS, sizeof(*r->cells));
	if (!r->cells)
		return -ENOMEM;
	for (h = 0; h < plan->hogs_n; h++)
		for (w = 0; w < BENCH_WORKLOADS; w++)
			for (v = 0; v < BENCH_VARIANTS; v++) {
				if (!(plan->workloads >> w & 1) || !(plan->variants >> v & 1))
					continue;
				r->cells[r->cell_count].workload = w;
				r->cells[r->cell_count].variant = v;
				r->cells[r->cell_count].hogs = plan->hogs[h];
				r->cell_count++;
			}
	return 0;
}

static int write_raw(struct bench_context *x, const struct bench_progress *p,
		     const struct bench_run *run)
{
	char path[4096];
	int err = 0;
	size_t i;
	FILE *f;

	if (!x->plan->raw_dir)
		return 0;
	snprintf(path, sizeof(path), "%s/%s-%s-%u-%u.txt", x->plan->raw_dir,
		 bench_workload_names[p->workload], bench_variant_names[p->variant], p->hogs,
		 p->round);
	f = fopen(path, "we");
	if (!f) {
		err = -errno;
		goto out;
	}
	for (i = 0; i < run->samples.n; i++)
		fprintf(f, "%" PRIu64 "\n", run->samples.v[i]);
	if (ferror(f))
		err = -EIO;
	if (fclose(f) && !err)
		err = -errno;
out:
	if (err)
		said_say(&x->said, "write samples: %s: %s", path, strerror(-err));
	return err;
}

static int run_cell(struct bench_context *x, struct bench_cell *c, struct bench_progress *p)
{
	struct bench_run *run = calloc(1, sizeof(*run));
	int err;

	if (!run)
		return -ENOMEM;
	p->run++;
	p->workload = c->workload;
	p->variant = c->variant;
	p->hogs = c->hogs;
	p->samples = 0;
	p->starts = true;
	if (x->plan->progress)
		x->plan->progress(p, x->plan->progress_ctx);
	err = bench_cell_run(x, p, run);
	if (!err)
		err = write_raw(x, p, run);
	if (!err)
		err = bench_cell_add(c, run);
	bench_run_free(run);
	free(run);
	return err;
}

/* Cells stand in groups of one workload and number of hogs: groups are shuffled, and in each
 * the variants. */
static int run_round(struct bench_context *x, uint64_t *seed, struct bench_progress *p)
{
	unsigned int variants = __builtin_popcountll(x->plan->variants), i, k;
	unsigned int groups = x->report->cell_count / variants;
	unsigned int group[BENCH_HOG_COUNTS_MAX * BENCH_WORKLOADS], variant[BENCH_VARIANTS];
	int err;

	for (i = 0; i < groups; i++)
		group[i] = i;
	bench_shuffle(group, groups, seed);
	for (i = 0; i < groups; i++) {
		for (k = 0; k < variants; k++)
			variant[k] = k;
		bench_shuffle(variant, variants, seed);
		for (k = 0; k < variants; k++) {
			if (x->plan->stop && *x->plan->stop)
				return -ECANCELED;
			err = run_cell(x, &x->report->cells[group[i] * variants + variant[k]], p);
			if (err)
				return err;
		}
	}
	return 0;
}

static unsigned int most_hogs(const struct bench_plan *plan)
{
	unsigned int i, most = 0;

	for (i = 0; i < plan->hogs_n; i++)
		if (plan->hogs[i] > most)
			most = plan->hogs[i];
	/* the cost of a context switch is measured beside one */
	return plan->cost && !most ? 1 : most;
}

static void list_cpus(const cpu_set_t *set, char *buf, size_t size)
{
	size_t used = 0;
	int cpu, end;

	buf[0] = '\0';
	for (cpu = 0; cpu < CPU_SETSIZE && used < size; cpu = end + 1) {
		end = cpu;
		if (!CPU_ISSET(cpu, set))
			continue;
		while (end + 1 < CPU_SETSIZE && CPU_ISSET(end + 1, set))
			end++;
		used += snprintf(buf + used, size - used, end > cpu ? "%s%d-%d" : "%s%d",
				 used ? "," : "", cpu, end);
	}
}

static int run_rounds(struct bench_context *x)
{
	const struct bench_plan *plan = x->plan;
	struct bench_progress p = { .asked = plan->samples };
	uint64_t seed = plan->seed;
	int err;

	p.runs = x->report->cell_count * plan->rounds;
	for (p.round = 1; p.round <= plan->rounds; p.round++) {
		err = run_round(x, &seed, &p);
		if (err)
			return err;
	}
	return plan->cost ? bench_cost_measure(x) : 0;
}

int bench_run(const struct bench_plan *plan, struct bench_report *r, char *error, size_t error_size)
{
	struct bench_context x = {
		.plan = plan,
		.report = r,
		.said = SAID_INIT,
	};
	struct bench_ticks before, after;
	struct timespec from, to;
	unsigned int i;
	int err, lock = -1;

	bench_machine_read(&r->machine);
	r->seed = plan->seed;
	r->rounds = plan->rounds;
	r->samples = plan->samples;
	if (plan->variants >> BENCH_PVSCHED & 1)
		r->cap_ns = CAP_NS;
	err = choose_cpus(&x);
	if (!err)
		err = make_cells(&x);
	if (err)
		goto out;
	r->machine.cpu_measured = x.cpu;
	list_cpus(&x.elsewhere, r->machine.cpus_tool, sizeof(r->machine.cpus_tool));
	lock = take_lock(plan);
	/* before there are threads, guest memory or an affinity for them to inherit */
	err = bench_hogs_start(&x.hogs, most_hogs(plan), x.cpu);
	if (err) {
		said_say(&x.said, "start the hogs: CPU %d: %s", x.cpu, strerror(-err));
		goto out;
	}
	sched_setaffinity(0, sizeof(x.elsewhere), &x.elsewhere);
	bench_ticks_read(&before);
	clock_gettime(CLOCK_MONOTONIC, &from);
	err = run_rounds(&x);
	clock_gettime(CLOCK_MONOTONIC, &to);
	bench_ticks_read(&after);
	r->seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
	r->machine.steal = bench_steal(&before, &after);
	sched_setaffinity(0, sizeof(x.allowed), &x.allowed);
	for (i = 0; i < r->cell_count; i++)
		bench_cell_finish(&r->cells[i]);
	if (!err)
		err = bench_targets(r);
out:
	bench_hogs_stop(&x.hogs);
	if (lock >= 0)
		close(lock);
	if (err)
		snprintf(error, error_size, "%s", x.said.line[0] ? x.said.line : strerror(-err));
	return err;
}
