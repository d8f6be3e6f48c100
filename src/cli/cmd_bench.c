// SPDX-License-Identifier: GPL-2.0-only
/*
 * pvsched bench: options, presets, progress, and where the reports go. The measuring is bench/.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cmd.h"
#include "hogs.h"
#include "run.h"

struct values {
	uint64_t rounds, samples, seed, workloads, variants;
	struct option_numbers hogs;
	const char *json, *html, *raw, *actuator;
	bool demo, quick, no_cost;
};

/* What stands where the user gave nothing. A full bench pools 20,000 samples a cell. */
struct preset {
	uint64_t rounds, samples;
	struct option_numbers hogs;
};

static const struct preset full = { 5, 4000, { 2, { 4, 0 } } };
static const struct preset demo = { 2, 1500, { 1, { 4 } } };
static const struct preset quick = { 1, 300, { 1, { 4 } } };

static const struct option options[] = {
	{ "rounds", OPTION_NUMBER, offsetof(struct values, rounds), "N", NULL,
	  "how often each cell is run: 5, --demo 2, --quick 1", 1, 1000, NULL },
	{ "samples", OPTION_NUMBER, offsetof(struct values, samples), "N", NULL,
	  "samples of a cell in a round: 4000, --demo 1500, --quick 300", 1, 1000000, NULL },
	{ "hogs", OPTION_NUMBERS, offsetof(struct values, hogs), "N[,N]", NULL,
	  "processes that burn the vCPU's CPU: 4,0; --demo and --quick 4", 0, BENCH_HOGS_MAX,
	  NULL },
	{ "variant", OPTION_SET, offsetof(struct values, variants), "V[,V]", "all",
	  "how the vCPU is scheduled", 0, 0, bench_variant_names },
	{ "workload", OPTION_SET, offsetof(struct values, workloads), "W[,W]", "all",
	  "what the guest does", 0, 0, bench_workload_names },
	{ "actuator", OPTION_STRING, offsetof(struct values, actuator), "NAME", "auto",
	  "of the variant pvsched: " ACTUATOR_NAMES, 0, 0, NULL },
	{ "seed", OPTION_NUMBER, offsetof(struct values, seed), "N", "1",
	  "of the order of cells and of the random interrupts", 0, UINT64_MAX, NULL },
	{ "json", OPTION_STRING, offsetof(struct values, json), "FILE", NULL,
	  "write all that was measured as JSON; - is standard output, in place of the table", 0, 0,
	  NULL },
	{ "html", OPTION_STRING, offsetof(struct values, html), "FILE", NULL,
	  "write one self-contained page with curves", 0, 0, NULL },
	{ "raw", OPTION_STRING, offsetof(struct values, raw), "DIR", NULL,
	  "write each run's samples to DIR/WORKLOAD-VARIANT-HOGS-ROUND.txt, ns, one a line", 0, 0,
	  NULL },
	{ "no-cost", OPTION_FLAG, offsetof(struct values, no_cost), NULL, NULL,
	  "do not measure what a context switch pays (three seconds)", 0, 0, NULL },
	{ "demo", OPTION_FLAG, offsetof(struct values, demo), NULL, NULL,
	  "preset that takes under three minutes", 0, 0, NULL },
	{ "quick", OPTION_FLAG, offsetof(struct values, quick), NULL, NULL,
	  "preset of one short round: does it work at all?", 0, 0, NULL },
	OPTIONS_END
};

static const char details[] =
	"Workloads: busy (timer interrupts into a vCPU that computes), busy-random (device\n"
	"interrupts at random times into one), critical (50 us critical sections in one),\n"
	"sleeping (timer interrupts into a vCPU that halts). Variants: other (SCHED_OTHER),\n"
	"nice (-20), fifo (static SCHED_FIFO), pvsched.\n\n"
	"vCPU and hogs share the last CPU that pvsched may use, everything else stays off\n"
	"it. Needs /dev/kvm, two CPUs, and for the variant pvsched what 'pvsched check'\n"
	"lists. See pvsched-bench(1).\n";

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
	(void)number;
	stopped = 1;
}

struct shown {
	bool tty;
	struct timespec from;
};

static void show(const struct bench_progress *p, void *ctx)
{
	struct shown *shown = ctx;
	struct timespec now;
	long s;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (p->starts && p->run == 1)
		shown->from = now;
	s = now.tv_sec - shown->from.tv_sec;
	if (shown->tty)
		fprintf(stderr, "\r\033[K[%u/%u] round %u: %s, %s, %u hogs: %llu of %llu (%ld s)",
			p->run, p->runs, p->round, bench_workload_names[p->workload],
			bench_variant_names[p->variant], p->hogs,
			(unsigned long long)(p->samples < p->asked ? p->samples : p->asked),
			(unsigned long long)p->asked, s);
	else if (p->starts && (p->run == 1 || p->run % 8 == 0 || p->run == p->runs))
		fprintf(stderr, "pvsched bench: run %u of %u, %ld s\n", p->run, p->runs, s);
}

static void say_waits(void *ctx)
{
	(void)ctx;
	fprintf(stderr, "pvsched bench: another bench runs on this host: waiting for its end\n");
}

/* A report file: written beside its name and moved there when whole, so that nobody ever reads
 * half of one and a failed bench leaves an older one alone. What is no file, a pipe or a device, stays
 * what it is and is written to. */
struct output {
	const char *path;
	char *target, *temporary; /* target: path without links */
	FILE *f;
};

static int output_open(struct output *o, const char *path, struct cli_error *e)
{
	struct stat st;
	bool in_place;

	o->path = path;
	if (!path)
		return 0;
	/* nor is a link to what is not there yet */
	in_place = stat(path, &st) ? !lstat(path, &st) && S_ISLNK(st.st_mode)
				   : !S_ISREG(st.st_mode);
	o->target = realpath(path, NULL);
	if (!o->target)
		o->target = strdup(path); /* there is none yet */
	if (!o->target ||
	    (!in_place && asprintf(&o->temporary, "%s.%d.tmp", o->target, getpid()) < 0)) {
		o->temporary = NULL;
		return cli_fail(e, CLI_FAILED, "bench", path, NULL, "out of memory");
	}
	o->f = fopen(in_place ? path : o->temporary, "we");
	if (!o->f) {
		cli_fail(e, CLI_FAILED, "write the report", path,
			 "name a file in a directory that can be written", "%s", strerror(errno));
		free(o->temporary);
		o->temporary = NULL;
		return CLI_FAILED;
	}
	return 0;
}

static int output_finish(struct output *o, struct cli_error *e)
{
	int err = 0;

	if (!o->f)
		return 0;
	if (fflush(o->f) || ferror(o->f))
		err = errno ? errno : EIO;
	fclose(o->f);
	o->f = NULL;
	if (!err && o->temporary && rename(o->temporary, o->target) < 0)
		err = errno;
	if (err)
		return cli_fail(e, CLI_FAILED, "write the report", o->path, "free space", "%s",
				strerror(err));
	free(o->temporary);
	o->temporary = NULL;
	return 0;
}

static void output_drop(struct output *o)
{
	if (o->f)
		fclose(o->f);
	if (o->temporary)
		unlink(o->temporary);
	free(o->temporary);
	free(o->target);
}

static int check_dir(const char *dir, struct cli_error *e)
{
	struct stat st;

	if (!dir)
		return 0;
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return cli_fail(e, CLI_FAILED, "make the directory for samples", dir, NULL, "%s",
				strerror(errno));
	if (stat(dir, &st) < 0 || !S_ISDIR(st.st_mode))
		return cli_fail(e, CLI_FAILED, "make the directory for samples", dir,
				"name a directory", "it is no directory");
	return 0;
}

static void fill_plan(const struct values *v, struct bench_plan *plan)
{
	const struct preset *preset = v->demo ? &demo : v->quick ? &quick : &full;
	const struct option_numbers *hogs = v->hogs.n ? &v->hogs : &preset->hogs;
	unsigned int i;

	plan->rounds = v->rounds ? v->rounds : preset->rounds;
	plan->actuator = v->actuator;
	plan->samples = v->samples ? v->samples : preset->samples;
	plan->workloads = v->workloads;
	plan->variants = v->variants;
	plan->hogs_n = hogs->n;
	for (i = 0; i < hogs->n; i++)
		plan->hogs[i] = hogs->v[i];
	plan->seed = v->seed;
	plan->cost = !v->no_cost && !v->quick && plan->variants >> BENCH_PVSCHED & 1;
	plan->raw_dir = v->raw;
}

static void catch_signals(void)
{
	/* without SA_RESTART: a wait ends at once. A second signal kills. */
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESETHAND };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN); /* a report's reader may leave: that is an error of its own */
}

static int run(const void *values, const char **operands, unsigned int count, struct cli_error *e)
{
	const struct values *v = values;
	bool json_out = v->json && !strcmp(v->json, "-");
	struct output json = { 0 }, html = { 0 };
	struct bench_report report = { 0 };
	struct bench_plan plan = { 0 };
	struct shown shown = { .tty = isatty(STDERR_FILENO) };
	char error[600];
	int status, err;

	(void)operands;
	(void)count;
	if (v->demo && v->quick)
		return cli_fail(e, CLI_USAGE, "wrong usage", "bench", "give one of them",
				"--demo and --quick exclude each other");
	status = check_dir(v->raw, e);
	if (!status && !json_out)
		status = output_open(&json, v->json, e);
	if (!status)
		status = output_open(&html, v->html, e);
	if (status)
		goto out;
	fill_plan(v, &plan);
	plan.stop = &stopped;
	plan.progress = show;
	plan.waits = say_waits;
	plan.progress_ctx = &shown;
	catch_signals();
	err = bench_run(&plan, &report, error, sizeof(error));
	if (shown.tty)
		fputs("\r\033[K", stderr);
	if (err) {
		status = err == -ECANCELED && stopped
				 ? cli_fail(e, CLI_FAILED, "bench", NULL, NULL,
					    "interrupted: nothing was written")
				 : cli_fail(e, CLI_FAILED, "bench", NULL, NULL, "%s", error);
		goto out;
	}
	snprintf(report.command, sizeof(report.command), "%s", cli_command_line);
	if (json_out)
		bench_print_json(&report, stdout);
	else
		bench_print_table(&report, stdout);
	if (json.f)
		bench_print_json(&report, json.f);
	if (html.f)
		bench_print_html(&report, html.f);
	output_finish(&json, e); /* of one that failed the other is still whole */
	output_finish(&html, e);
	status = e->exit;
	if (!status && !json_out && (json.path || html.path))
		printf("\nwrote %s%s%s\n", html.path ? html.path : "",
		       html.path && json.path ? " and " : "", json.path ? json.path : "");
out:
	output_drop(&json);
	output_drop(&html);
	bench_report_free(&report);
	return status;
}

const struct cmd cmd_bench = {
	.name = "bench",
	.summary = "measure a vCPU's latency beside CPU hogs, with and without pvsched",
	.details = details,
	.options = options,
	.size = sizeof(struct values),
	.run = run,
};
