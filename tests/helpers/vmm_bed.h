/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One guest in the reference VMM, for tests: remembers what was said, finds the CPU to use, and
 * waits for conditions with a deadline. One bed per case.
 */
#ifndef PVSCHED_TESTS_VMM_BED_H
#define PVSCHED_TESTS_VMM_BED_H

#include <helpers/unit.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <vmm/vmm.h>

#define BED_TIMEOUT_MS 20000 /* for what takes milliseconds on an idle machine */

struct vmm_bed {
	struct vmm_opts opts;
	struct vmm *vm;
	unsigned int errors; /* lines at level ERROR */
	char last[400];
};

static inline void vmm_bed_print(enum pvsched_log_level level, const char *line, void *ctx)
{
	struct vmm_bed *bed = ctx;

	if (level != PVSCHED_LOG_ERROR)
		return;
	bed->errors++;
	snprintf(bed->last, sizeof(bed->last), "%s", line);
}

static inline void vmm_bed_init(struct vmm_bed *bed, unsigned int vcpus,
				enum guest_workload workload, uint64_t samples)
{
	memset(bed, 0, sizeof(*bed));
	bed->opts.vcpus = vcpus;
	bed->opts.print = vmm_bed_print;
	bed->opts.print_ctx = bed;
	bed->opts.guest_flags = GUEST_F_WAIT_GO;
	for (unsigned int i = 0; i < vcpus && i < VMM_VCPUS_MAX; i++) {
		bed->opts.vcpu[i].workload = workload;
		bed->opts.vcpu[i].samples = samples;
	}
}

/* Booted and waiting for vmm_go. */
static inline void vmm_bed_boot(struct vmm_bed *bed)
{
	assert_int_equal(vmm_create(&bed->opts, &bed->vm), 0);
	assert_int_equal(vmm_start(bed->vm), 0);
	assert_int_equal(vmm_wait_ready(bed->vm, BED_TIMEOUT_MS), 0);
}

static inline void vmm_bed_run(struct vmm_bed *bed)
{
	vmm_bed_boot(bed);
	assert_int_equal(vmm_go(bed->vm), 0);
}

static inline struct vmm_vcpu_info vmm_bed_info(struct vmm_bed *bed, unsigned int index)
{
	struct vmm_vcpu_info info;

	assert_int_equal(vmm_vcpu_info(bed->vm, index, &info), 0);
	return info;
}

static inline uint64_t vmm_bed_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ull + t.tv_nsec / 1000000;
}

/* Polls until condition holds; fails the case after BED_TIMEOUT_MS. */
#define WAIT_UNTIL(condition)                                                                      \
	do {                                                                                       \
		uint64_t wait_end = vmm_bed_now_ms() + BED_TIMEOUT_MS;                             \
		while (!(condition)) {                                                             \
			if (vmm_bed_now_ms() > wait_end)                                           \
				fail_msg("never: %s", #condition);                                 \
			usleep(200);                                                               \
		}                                                                                  \
	} while (0)

static inline int vmm_bed_last_cpu(void)
{
	cpu_set_t set;
	int cpu, last = 0;

	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set))
			last = cpu;
	return last;
}

#endif
