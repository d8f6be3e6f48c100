// SPDX-License-Identifier: GPL-2.0-only
/*
 * pvsched run --kernel: a Linux guest whose serial console is this process's stdin and stdout.
 * A terminal is raw meanwhile, and is restored however the guest ends. What this command itself
 * has to say goes to stderr.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "run_session.h"

#define DEFAULT_MEMORY (512ull << 20)
#define LOOK_MS	       100 /* at signals and the broker, while waiting for the guest */

/* All keys to the guest. Output is still processed: lines on stderr stay lines. */
static bool make_raw(struct termios *ret_before)
{
	struct termios raw;

	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, ret_before))
		return false;
	raw = *ret_before;
	cfmakeraw(&raw);
	raw.c_oflag = ret_before->c_oflag;
	return !tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

static int create(struct run_session *s, struct cli_error *e)
{
	const struct run_values *v = s->v;
	struct vmm_opts opts = {
		.name = "pvsched-run",
		.pvsched = !v->no_device,
		.socket = v->socket,
		.vcpus = v->cpus,
		.kernel = {
			.file = v->kernel,
			.initrd = v->initrd,
			.append = v->append,
			.memory = v->memory ? v->memory : DEFAULT_MEMORY,
			.in = STDIN_FILENO,
			.out = STDOUT_FILENO,
			.escape = isatty(STDIN_FILENO),
		},
		.print = run_print,
		.print_ctx = s,
	};
	int err;

	if (v->hogs) {
		opts.vcpu[0].pinned = true;
		opts.vcpu[0].cpu = s->cpu;
	}
	err = vmm_create(&opts, &s->vm);
	if (!err) {
		fprintf(stderr, "guest: %s, %u vCPU%s%s\n", v->kernel, (unsigned int)v->cpus,
			v->cpus == 1 ? "" : "s", isatty(STDIN_FILENO) ? "; Ctrl-A x ends it" : "");
		err = vmm_start(s->vm);
	}
	if (!err)
		err = bench_hogs_run(&s->hogs, v->hogs);
	return err ? cli_fail(e, CLI_FAILED, "boot the guest", NULL, NULL, "%s",
			      s->said.line[0] ? s->said.line : strerror(-err))
		   : 0;
}

/* Until the guest switches itself off, the time is over, a signal comes or the broker ends. */
static int stay(struct run_session *s, struct cli_error *e)
{
	struct pollfd fds[] = {
		{ .fd = s->signal_fd, .events = POLLIN },
		{ .fd = s->broker ? pvsched_broker__poll_fd(s->broker) : -1, .events = POLLIN },
	};
	int err;

	for (;;) {
		err = vmm_wait(s->vm, LOOK_MS);
		if (!err)
			return 0;
		if (err != -ETIMEDOUT)
			return cli_fail(e, CLI_FAILED, "run the guest", s->v->kernel, NULL, "%s",
					s->said.line[0] ? s->said.line : strerror(-err));
		if (s->v->seconds && run_elapsed(s) >= (double)s->v->seconds)
			return 0;
		if (poll(fds, 2, 0) <= 0)
			continue;
		if (fds[0].revents)
			return 0;
		return cli_fail(e, CLI_FAILED, "run", "broker", "start this again",
				"it ended by itself");
	}
}

/* By whatever the guest did to its device: counted meanwhile, said once. */
static void tell_refusals(struct run_session *s)
{
	struct pvsched_device_stats d = { .sz = sizeof(d) };
	const char *before = "guest: its device refused";

	if (!vmm_pvsched(s->vm) || pvsched_vm__device_stats(vmm_pvsched(s->vm), &d))
		return;
	for (unsigned int i = 1; i < PVSCHED_R_MAX; i++) {
		if (!d.errors[i])
			continue;
		fprintf(stderr, "%s %s %llu", before, pvsched_result_str(i),
			(unsigned long long)d.errors[i]);
		before = ",";
	}
	if (*before == ',')
		fprintf(stderr, "\n");
}

int run_linux(struct run_session *s, struct cli_error *e)
{
	struct termios before;
	bool raw;
	int status;

	clock_gettime(CLOCK_MONOTONIC, &s->from);
	raw = make_raw(&before);
	status = create(s, e);
	if (!status)
		status = stay(s, e);
	if (s->vm) {
		vmm_stop(s->vm);
		fprintf(stderr, "guest: ended after %.1f s and %llu reboots\n", run_elapsed(s),
			(unsigned long long)vmm_resets(s->vm));
		tell_refusals(s);
	}
	if (raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
	return status;
}
