/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the two kinds of `pvsched run` share: the options, and what runs.
 */
#ifndef CLI_RUN_SESSION_H
#define CLI_RUN_SESSION_H

#include <time.h>

#include "error.h"
#include "hogs.h"
#include "said.h"
#include <broker/broker.h>
#include <vmm/vmm.h>

struct run_values {
	uint64_t cpus, hogs, seconds, memory;
	const char *workload, *policy, *actuator, *socket, *image;
	const char *kernel, *initrd, *append;
	bool json, no_device, placement;
};

struct run_session {
	const struct run_values *v;
	enum guest_workload workload;
	struct said said;
	struct bench_hogs hogs;
	struct pvsched_broker *broker; /* NULL = another process's */
	struct vmm *vm;
	struct vmm_guest_info guest;
	int signal_fd;
	int cpu; /* of the hogs */
	bool tty;
	struct timespec from;
};

/* Seconds since s->from. */
double run_elapsed(const struct run_session *s);

/* What the VM says, from its own threads; ctx: struct run_session. The first error is kept for who ends with
 * it; what happens meanwhile, as that the broker is gone and is back, is for stderr at once. */
void run_print(enum pvsched_log_level level, const char *line, void *ctx);

/* Boots s->v->kernel and stays until it ends; signals and broker are there. Exit status. */
int run_linux(struct run_session *s, struct cli_error *e);

#endif
