/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The numbers of 'pvsched stat': read from an answer of the broker, subtracted, summed, shown. Pure but
 * for the output; samples are the caller's.
 */
#ifndef CLI_STAT_H
#define CLI_STAT_H

#include <pvsched/abi.h>
#include <stdbool.h>

#include "core/hist.h"
#include "json/json.h"
#include "json/parse.h"

#define STAT_REASONS 7

extern const char *const stat_reasons[STAT_REASONS]; /* as the broker names them */

struct stat_numbers {
	uint64_t run_ns, delay_ns, boosted_ns, harm_ns;
	uint64_t sched_ins, boosts, expired, refused, failed, external, bad_words, missed,
		doorbells;
	uint64_t granted[STAT_REASONS], throttled[STAT_REASONS], gaps[STAT_REASONS],
		rates[STAT_REASONS];
	struct pvsched_hist wake; /* ns */
};

/* Of what the VM's guest said over its port, what came to nothing; see docs/control.md. */
struct stat_port {
	uint64_t refused[PVSCHED_R_MAX];
	uint64_t skipped, resets, held, ports;
};

struct stat_vcpu {
	int64_t vm, pid, vcpu, tid;
	char name[64];
	struct stat_numbers n;
	bool has_port; /* its VM's */
	struct stat_port port; /* each vCPU's is the same */
};

struct stat_sample {
	uint64_t now_ns;
	struct stat_vcpu *vcpu; /* of one VM they stand together */
	size_t count;
};

/* Of an answer to "stat". 0 or -ENOMEM. */
int stat_read(const struct json_value *answer, struct stat_sample *ret);
void stat_free(struct stat_sample *s);

/* What new has and old had not: threads that old does not know count from their beginning. */
void stat_subtract(struct stat_sample *newer, const struct stat_sample *old);
void stat_add(struct stat_numbers *sum, const struct stat_numbers *n);

void stat_print_head(FILE *f);
/* A line for each VM, or with vcpus one for each of its vCPUs below it. */
void stat_print(const struct stat_sample *s, bool vcpus, FILE *f);
/* seconds < 0: since each vCPU was registered. */
void stat_print_json(const struct stat_sample *s, double seconds, struct json *j);

#endif
