// SPDX-License-Identifier: GPL-2.0-only
/*
 * pvsched run: boots the bare-metal guest in the reference VMM, and shows the handshake, what
 * each vCPU publishes and what it is granted; or boots Linux (run_linux.c). Starts a broker in this process when the host has
 * none. One thread shows; VMM and broker have theirs.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "cmd.h"
#include "operator.h"
#include "run_session.h"
#include "show.h"

#define MIB(n) ((uint64_t)(n) << 20)

static const struct option options[] = {
	{ "cpus", OPTION_NUMBER, offsetof(struct run_values, cpus), "N", "1", "vCPUs", 1,
	  VMM_VCPUS_MAX, NULL },
	{ "hogs", OPTION_NUMBER, offsetof(struct run_values, hogs), "N", "0",
	  "processes that burn the CPU of vCPU 0, which is then pinned to the last allowed CPU", 0,
	  BENCH_HOGS_MAX, NULL },
	{ "seconds", OPTION_NUMBER, offsetof(struct run_values, seconds), "N", "0",
	  "end after so long; 0 = on ^C", 0, 86400, NULL },
	{ "workload", OPTION_STRING, offsetof(struct run_values, workload), "W", "demo",
	  "what the guest does, see below", 0, 0, NULL },
	{ "policy", OPTION_STRING, offsetof(struct run_values, policy), "NAME|FILE", NULL,
	  "of the broker that is started: a built-in policy or an object file; default latency", 0,
	  0, NULL },
	{ "actuator", OPTION_STRING, offsetof(struct run_values, actuator), "NAME", NULL,
	  "of that broker: " ACTUATOR_NAMES "; default auto", 0, 0, NULL },
	{ "socket", OPTION_STRING, offsetof(struct run_values, socket), "PATH", NULL,
	  "the broker's; default $PVSCHED_SOCKET, else " PVSCHED_SOCKET, 0, 0, NULL },
	{ "image", OPTION_STRING, offsetof(struct run_values, image), "FILE", NULL,
	  "another bare-metal guest than the one inside this program", 0, 0, NULL },
	{ "kernel", OPTION_STRING, offsetof(struct run_values, kernel), "BZIMAGE", NULL,
	  "boot this Linux kernel instead; its serial console is this terminal", 0, 0, NULL },
	{ "initrd", OPTION_STRING, offsetof(struct run_values, initrd), "FILE", NULL,
	  "of that kernel", 0, 0, NULL },
	{ "append", OPTION_STRING, offsetof(struct run_values, append), "WORDS", NULL,
	  "its command line; default console=ttyS0", 0, 0, NULL },
	{ "memory", OPTION_SIZE, offsetof(struct run_values, memory), "SIZE", NULL,
	  "its memory, in steps of 2 MiB; default 512M", MIB(16), MIB(1u << 20), NULL },
	{ "no-device", OPTION_FLAG, offsetof(struct run_values, no_device), NULL, NULL,
	  "that kernel finds no pvsched function; no broker is needed then", 0, 0, NULL },
	{ "placement", OPTION_FLAG, offsetof(struct run_values, placement), NULL, NULL,
	  "the broker that is started offers to tell which vCPUs share a core, a cache, a node", 0,
	  0, NULL },
	{ "json", OPTION_FLAG, offsetof(struct run_values, json), NULL, NULL,
	  "print JSON: the handshake, a snapshot each second, the end", 0, 0, NULL },
	OPTIONS_END
};

static const char details[] =
	"Workloads: demo (idles, takes timer interrupts, enters critical sections and runs\n"
	"a real-time task, in turn), or one of its parts or others: sleeping, busy, task,\n"
	"critical, busy-random, idle, exits (leaves the guest as fast as it can); or one\n"
	"that means harm: hostile (random words into the page), greedy (always asks for\n"
	"everything), bells, timers, soon, past, tickets, stuck, reserved, headers,\n"
	"registers, order, resets, gfns, twice. See pvsched-run(1).\n\n"
	"When a broker runs on this host (pvsched serve, or another run), this guest joins\n"
	"it; else one is started in this process.\n\n"
	"With --kernel: Ctrl-A x ends the guest, Ctrl-A Ctrl-A sends a Ctrl-A. The guest's\n"
	"own power-off ends the command, with status 0; it may reboot.\n";

double run_elapsed(const struct run_session *s)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - s->from.tv_sec) +
	       (double)(now.tv_nsec - s->from.tv_nsec) / 1e9;
}

static int start_hogs(struct run_session *s, struct cli_error *e)
{
	cpu_set_t set;
	int err;

	if (!s->v->hogs)
		return 0;
	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return cli_fail(e, CLI_FAILED, "run", NULL, NULL, "sched_getaffinity: %s",
				strerror(errno));
	for (s->cpu = CPU_SETSIZE - 1; !CPU_ISSET(s->cpu, &set); s->cpu--)
		;
	err = bench_hogs_start(&s->hogs, s->v->hogs, s->cpu);
	if (err)
		return cli_fail(e, CLI_FAILED, "start the hogs", NULL, NULL, "%s", strerror(-err));
	return 0;
}

/* Joins the host's broker, or is it. */
static int start_broker(struct run_session *s, struct cli_error *e)
{
	struct pvsched_broker_opts opts = {
		.socket = s->v->socket,
		.policy = s->v->policy,
		.placement = s->v->placement,
		.actuator = s->v->actuator,
		.print = said_print,
		.print_ctx = &s->said,
	};
	/* one that listens is joined by whoever may: the host's lock is root's alone to ask */
	bool joined = operator_listens(s->v->socket);
	int err = joined ? -EEXIST : pvsched_broker__start(&opts, &s->broker);

	if (err == -EEXIST) {
		const char *option = s->v->policy      ? "--policy"
				     : s->v->actuator  ? "--actuator"
				     : s->v->placement ? "--placement"
						       : NULL;

		if (option)
			return cli_fail(e, CLI_FAILED, "run", option,
					"leave it out, or stop that broker first",
					"a broker runs on this host: 'pvsched serve' decides that");
		if (!joined && !operator_listens(s->v->socket))
			return cli_fail(e, CLI_FAILED, "join the broker of this host",
					operator_socket(s->v->socket),
					"give its socket with --socket",
					"it does not listen there");
		said_forget(&s->said);
		return 0;
	}
	if (err)
		return cli_fail(e, CLI_FAILED, "start a broker", NULL,
				s->said.line[0] ? NULL : "see 'pvsched check'", "%s",
				s->said.line[0] ? s->said.line : strerror(-err));
	return 0;
}

void run_print(enum pvsched_log_level level, const char *line, void *ctx)
{
	struct run_session *s = ctx;

	if (level == PVSCHED_LOG_ERROR)
		said_say(&s->said, "%s", line);
	else
		fprintf(stderr, "pvsched: run: %s\n", line);
}

static int boot(struct run_session *s, struct cli_error *e)
{
	struct vmm_opts opts = {
		.name = "pvsched-run",
		.pvsched = true,
		.socket = s->v->socket,
		.image = s->v->image,
		.vcpus = s->v->cpus,
		.guest_flags = GUEST_F_WAIT_GO,
		.seed = 1,
		.print = run_print,
		.print_ctx = s,
	};
	unsigned int i;
	int err;

	for (i = 0; i < opts.vcpus; i++)
		opts.vcpu[i].workload = s->workload;
	if (s->v->hogs) {
		opts.vcpu[0].pinned = true;
		opts.vcpu[0].cpu = s->cpu;
	}
	err = vmm_create(&opts, &s->vm);
	if (!err)
		err = vmm_start(s->vm);
	if (!err)
		err = vmm_wait_ready(s->vm, 20000);
	if (!err)
		err = vmm_guest_info(s->vm, &s->guest);
	if (err)
		return cli_fail(e, CLI_FAILED, "boot the guest", NULL, NULL, "%s",
				s->said.line[0] ? s->said.line : strerror(-err));
	if (s->guest.device != GUEST_DEVICE_ON)
		return cli_fail(e, CLI_FAILED, "handshake", NULL,
				"is the image one for this version?",
				s->guest.device == GUEST_DEVICE_NONE ? "the guest found no device"
								     : "vCPU %u was refused: %s",
				s->guest.result_vcpu, pvsched_result_str(s->guest.result));
	err = bench_hogs_run(&s->hogs, s->v->hogs);
	if (!err)
		err = vmm_go(s->vm);
	if (err)
		return cli_fail(e, CLI_FAILED, "let the guest run", NULL, NULL, "%s",
				s->said.line[0] ? s->said.line : strerror(-err));
	return 0;
}

static int look(struct run_session *s, unsigned int index, struct show_vcpu *v)
{
	int err;

	memset(v, 0, sizeof(*v));
	v->stats.sz = sizeof(v->stats);
	err = vmm_vcpu_info(s->vm, index, &v->info);
	if (!err)
		err = pvsched_vm__vcpu_stats(vmm_pvsched(s->vm), index, &v->stats);
	/* the broker is gone, or was busy for long: the VM goes on, and joins it or the next one; the
	 * end of one in this process shows in its descriptor */
	if (err == -EPIPE || err == -ETIMEDOUT)
		err = 0;
	if (!err && s->broker)
		v->has_report = !pvsched_broker__vcpu_report(s->broker, v->info.tid, &v->report);
	return err;
}

static int show(struct run_session *s, bool again, struct json *j, struct show_vcpu *v)
{
	/* the VMM keeps guest and host TSC equal where KVM lets it; only the display relies on it */
	uint64_t tsc = __rdtsc();
	double seconds = run_elapsed(s);
	unsigned int i;
	int err = 0;

	if (s->v->json) {
		json_object(j, NULL);
		json_num(j, "seconds", seconds, 3);
		json_array(j, "vcpus");
	} else if (s->tty && again) {
		printf("\033[%uA", (unsigned int)s->v->cpus * SHOW_VCPU_LINES + 1);
	}
	if (!s->v->json && s->tty)
		printf("%.1f s\033[K\n", seconds);
	for (i = 0; i < s->v->cpus; i++) {
		err = look(s, i, v);
		if (err)
			break;
		if (s->v->json)
			show_vcpu_json(j, i, v);
		else if (s->tty)
			show_vcpu(i, v, tsc, vmm_tsc_khz(s->vm), "\033[K\n", stdout);
		else
			show_vcpu_line(seconds, i, v, stdout);
	}
	if (s->v->json) {
		json_end(j, ']');
		json_end(j, '}');
	}
	fflush(stdout);
	return err;
}

/* Until the time is over, a signal comes, or the guest or the broker ends. */
static int watch(struct run_session *s, struct json *j, struct cli_error *e)
{
	struct show_vcpu *v = calloc(1, sizeof(*v));
	struct pollfd fds[] = {
		{ .fd = s->signal_fd, .events = POLLIN },
		{ .fd = s->broker ? pvsched_broker__poll_fd(s->broker) : -1, .events = POLLIN },
	};
	int pause_ms = s->tty && !s->v->json ? 200 : 1000, status = 0, err;
	bool again = false;

	if (!v)
		return cli_fail(e, CLI_FAILED, "run", NULL, NULL, "out of memory");
	for (;; again = true) {
		err = show(s, again, j, v);
		if (err) {
			status = cli_fail(e, CLI_FAILED, "read the vCPU's statistics", NULL,
					  "did the broker end? Start this again", "%s",
					  strerror(-err));
			break;
		}
		if (ferror(stdout) || (s->v->seconds && run_elapsed(s) >= (double)s->v->seconds))
			break;
		if (poll(fds, 2, pause_ms) < 0 && errno != EINTR) {
			status = cli_fail(e, CLI_FAILED, "run", NULL, NULL, "poll: %s",
					  strerror(errno));
			break;
		}
		if (fds[0].revents)
			break;
		if (fds[1].revents) {
			status = cli_fail(e, CLI_FAILED, "run", "broker", "start this again",
					  "it ended by itself");
			break;
		}
		err = vmm_wait(s->vm, 0);
		if (err && err != -ETIMEDOUT) {
			status = cli_fail(e, CLI_FAILED, "run the guest", s->v->image, NULL, "%s",
					  s->said.line[0] ? s->said.line : strerror(-err));
			break;
		}
	}
	free(v);
	return status;
}

static void print_head(const struct run_session *s, struct json *j)
{
	char hogs[64] = "no hogs";

	if (s->v->json) {
		json_object(j, NULL);
		json_str(j, "broker", s->broker ? "in this process" : "joined");
		json_u64(j, "vcpus", s->v->cpus);
		json_u64(j, "hogs", s->v->hogs);
		show_handshake_json(j, &s->guest);
		json_array(j, "snapshots");
		return;
	}
	if (s->v->hogs)
		snprintf(hogs, sizeof(hogs), "%u hogs and vCPU 0 on CPU %d",
			 (unsigned int)s->v->hogs, s->cpu);
	printf("guest: %u vCPU%s, %s; broker: %s\n", (unsigned int)s->v->cpus,
	       s->v->cpus == 1 ? "" : "s", hogs,
	       s->broker ? "in this process" : "the one that runs on this host");
	show_handshake(&s->guest, s->v->cpus, stdout);
	if (s->tty)
		putchar('\n');
	fflush(stdout);
}

/* What ends a run ends it in good order: threads are restored, the hogs die, the terminal is as it was.
 * A hang-up that nohup(1) has ignored stays so: blocked, it would come. */
static int open_signals(struct run_session *s, struct cli_error *e)
{
	static const int unless_ignored[] = { SIGHUP, SIGQUIT };
	struct sigaction action;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	for (size_t i = 0; i < sizeof(unless_ignored) / sizeof(*unless_ignored); i++)
		if (!sigaction(unless_ignored[i], NULL, &action) && action.sa_handler != SIG_IGN)
			sigaddset(&set, unless_ignored[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	return s->signal_fd < 0
		       ? cli_fail(e, CLI_FAILED, "run", NULL, NULL, "signalfd: %s", strerror(errno))
		       : 0;
}

static int parse_workload(struct run_session *s, struct cli_error *e)
{
	char names[512] = "one of:";
	unsigned int i;

	if (!vmm_workload_parse(s->v->workload, &s->workload))
		return 0;
	for (i = 0; vmm_workload_str(i); i++)
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s %s",
			 i ? "," : "", vmm_workload_str(i));
	return cli_fail(e, CLI_USAGE, "wrong option", "--workload", names,
			"'%.100s' is none of the known names", s->v->workload);
}

/* Options of the one guest are none of the other. */
static int check_values(const struct run_values *v, struct cli_error *e)
{
	const char *on = NULL;

	if (v->kernel)
		on = v->image			   ? "--image"
		     : v->json			   ? "--json"
		     : strcmp(v->workload, "demo") ? "--workload"
						   : NULL;
	else
		on = v->initrd	    ? "--initrd"
		     : v->append    ? "--append"
		     : v->memory    ? "--memory"
		     : v->no_device ? "--no-device"
				    : NULL;
	if (!on)
		return 0;
	return cli_fail(e, CLI_USAGE, "wrong usage", on, "see 'pvsched run --help'",
			v->kernel ? "it is for the bare-metal guest, not for --kernel"
				  : "it needs --kernel");
}

static int run(const void *values, const char **operands, unsigned int count, struct cli_error *e)
{
	struct run_session s = {
		.v = values,
		.said = SAID_INIT,
		.signal_fd = -1,
		.tty = isatty(STDOUT_FILENO),
	};
	struct json j;
	int status;

	(void)operands;
	(void)count;
	status = check_values(s.v, e);
	if (!status)
		status = parse_workload(&s, e);
	if (!status)
		status = start_hogs(&s, e); /* before any thread */
	if (!status)
		status = open_signals(&s, e);
	if (!status && !s.v->no_device)
		status = start_broker(&s, e);
	if (!status && s.v->kernel) {
		status = run_linux(&s, e);
		goto out;
	}
	if (!status)
		status = boot(&s, e);
	if (status)
		goto out;
	clock_gettime(CLOCK_MONOTONIC, &s.from);
	json_init(&j, stdout);
	print_head(&s, &j);
	status = watch(&s, &j, e);
	if (s.v->json) {
		json_end(&j, ']');
		/* the document has begun: the error goes into it, and main says no more */
		if (e->exit)
			cli_error_member(e, &j);
		e->exit = 0;
		json_end(&j, '}');
	}
out:
	bench_hogs_stop(&s.hogs);
	vmm_destroy(s.vm);
	pvsched_broker__stop(s.broker);
	if (s.signal_fd >= 0)
		close(s.signal_fd);
	return status;
}

const struct cmd cmd_run = {
	.name = "run",
	.summary = "boot a guest and watch what it publishes and is granted",
	.details = details,
	.options = options,
	.size = sizeof(struct run_values),
	.run = run,
};
