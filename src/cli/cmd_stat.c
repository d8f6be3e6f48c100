// SPDX-License-Identifier: GPL-2.0-only
/* pvsched stat: what each VM's vCPUs waited, got and cost others, in total or by interval. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd.h"
#include "control.h"
#include "stat.h"

#define HEAD_EVERY 20 /* lines */

struct values {
	const char *socket;
	bool vcpus, json;
};

static const struct option options[] = {
	{ "vcpus", OPTION_FLAG, offsetof(struct values, vcpus), NULL, NULL,
	  "a line for each vCPU, too", 0, 0, NULL },
	{ "socket", OPTION_STRING, offsetof(struct values, socket), "PATH", NULL,
	  "the broker's; default $PVSCHED_SOCKET, else /run/pvsched/broker.sock", 0, 0, NULL },
	{ "json", OPTION_FLAG, offsetof(struct values, json), NULL, NULL,
	  "a JSON object on a line for each sample, vCPUs included", 0, 0, NULL },
	OPTIONS_END
};

static const char details[] =
	"Without INTERVAL: since each vCPU was registered. With it: what happened in each\n"
	"interval of so many seconds (0.1 to 3600), COUNT times or until interrupted.\n"
	"\n"
	"wake: from the vCPU thread's wake-up to its running. delay: runnable and waiting,\n"
	"wake-ups included. boosted: ran at better than its own priority. harm: what others\n"
	"on these CPUs waited, summed, while it ran boosted. thrott.: boosts denied since a\n"
	"budget or rate was used up; gaps: denied in the unboosted time after a boost that\n"
	"used its cap.\n";

/* A number with a fraction from an operand. */
static bool read_seconds(const char *text, double *ret)
{
	char *end;
	double v = strtod(text, &end);

	if (!*text || *end || !(v >= 0.1 && v <= 3600))
		return false;
	*ret = v;
	return true;
}

static bool read_count(const char *text, unsigned long *ret)
{
	char *end;

	errno = 0;
	*ret = strtoul(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && !errno && *ret;
}

static int sample(int fd, struct stat_sample *ret, struct cli_error *e)
{
	struct json_value *answer = control_ask(fd, "stat", "stat", e);
	int err;

	if (!answer)
		return e->exit;
	err = stat_read(answer, ret);
	json_free(answer);
	return err ? cli_fail(e, CLI_FAILED, "stat", NULL, NULL, "%s", strerror(-err)) : 0;
}

static void print(const struct stat_sample *s, const struct values *v, double seconds,
		  unsigned long n)
{
	struct json j;

	if (v->json) {
		json_init(&j, stdout);
		stat_print_json(s, seconds, &j);
	} else {
		if (n % HEAD_EVERY == 0)
			stat_print_head(stdout);
		stat_print(s, v->vcpus, stdout);
	}
	fflush(stdout);
}

/* Sleeps to absolute times, so that intervals do not drift. */
static int watch(int fd, const struct values *v, double seconds, unsigned long count,
		 struct cli_error *e)
{
	struct stat_sample old, new, copy;
	struct timespec at;
	int status = sample(fd, &old, e);
	uint64_t ns;

	if (status)
		return status;
	clock_gettime(CLOCK_MONOTONIC, &at);
	for (unsigned long n = 0; !count || n < count; n++) {
		ns = at.tv_nsec + (uint64_t)(seconds * 1e9);
		at.tv_sec += ns / 1000000000;
		at.tv_nsec = ns % 1000000000;
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
			;
		status = sample(fd, &new, e);
		if (status)
			break;
		copy = new;
		copy.vcpu = malloc((new.count + 1) * sizeof(*new.vcpu));
		if (!copy.vcpu) {
			stat_free(&new);
			status = cli_fail(e, CLI_FAILED, "stat", NULL, NULL, "out of memory");
			break;
		}
		memcpy(copy.vcpu, new.vcpu, new.count * sizeof(*new.vcpu));
		stat_subtract(&copy, &old);
		print(&copy, v, (new.now_ns - old.now_ns) / 1e9, n);
		stat_free(&copy);
		stat_free(&old);
		old = new;
	}
	stat_free(&old);
	return status;
}

static int run(const void *values, const char **operands, unsigned int count, struct cli_error *e)
{
	const struct values *v = values;
	unsigned long times = 0;
	struct stat_sample s;
	double seconds = 0;
	int fd, status;

	if (count && !read_seconds(operands[0], &seconds))
		return cli_fail(e, CLI_USAGE, "stat", operands[0], "see 'pvsched stat --help'",
				"INTERVAL is 0.1 to 3600 seconds");
	if (count > 1 && !read_count(operands[1], &times))
		return cli_fail(e, CLI_USAGE, "stat", operands[1], "see 'pvsched stat --help'",
				"COUNT is a number from 1 on");
	fd = control_connect(v->socket, "stat", e);
	if (fd < 0)
		return e->exit;
	if (count) {
		status = watch(fd, v, seconds, times, e);
	} else {
		status = sample(fd, &s, e);
		if (!status) {
			print(&s, v, -1, 0);
			stat_free(&s);
		}
	}
	close(fd);
	return status;
}

const struct cmd cmd_stat = {
	.name = "stat",
	.summary = "what the VMs' vCPUs waited, got, and cost others",
	.operands = "[INTERVAL [COUNT]]",
	.details = details,
	.options = options,
	.size = sizeof(struct values),
	.max_operands = 2,
	.run = run,
};
