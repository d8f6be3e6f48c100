/* SPDX-License-Identifier: GPL-2.0-only */
/* What vCPUs, VMs and CPUs owe: in the pinned map, as the next broker finds it. */
#ifndef PVSCHED_TESTS_DEBTS_H
#define PVSCHED_TESTS_DEBTS_H

#include <helpers/unit.h>

#include <bpf/bpf.h>
#include <broker/debts.h>
#include <sys/mman.h>
#include <unistd.h>

static inline struct pvsched_debt *debts_open(void)
{
	int fd = bpf_obj_get(PVSCHED_DEBTS_PIN);
	struct pvsched_debt *debts;

	assert_true(fd >= 0);
	debts = mmap(NULL, PVSCHED_DEBTS * sizeof(*debts), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		     0);
	assert_true(debts != MAP_FAILED);
	close(fd);
	return debts;
}

/* NULL is allowed. */
static inline void debts_close(struct pvsched_debt *debts)
{
	if (debts)
		munmap(debts, PVSCHED_DEBTS * sizeof(*debts));
}

static inline struct pvsched_debt *debts_among(struct pvsched_debt *debts, uint32_t id,
					       unsigned int from, unsigned int n)
{
	for (unsigned int i = from; i < from + n; i++)
		if (debts[i].id == id)
			return &debts[i];
	fail_msg("no debt of %u", id);
	return NULL;
}

static inline struct pvsched_debt debts_of_vcpu(struct pvsched_debt *debts, pid_t tid)
{
	return *debts_among(debts, tid, 0, PVSCHED_SLOTS);
}

static inline struct pvsched_debt debts_of_vm(struct pvsched_debt *debts, pid_t pid)
{
	return *debts_among(debts, pid, PVSCHED_SLOTS, PVSCHED_VMS);
}

/* As if a vCPU and its VM owed until then. */
static inline void debts_owe_until(struct pvsched_debt *debts, pid_t tid, pid_t pid, uint64_t ns)
{
	for (unsigned int i = 0; i < PVSCHED_SLOTS + PVSCHED_VMS; i++)
		if (debts[i].id == (i < PVSCHED_SLOTS ? (uint32_t)tid : (uint32_t)pid))
			debts[i].paid_at = ns;
}

/* A debt is the time at which it is repaid: one that was kept is not repaid earlier, and what was repaid
 * since needs no reckoning. */
static inline void debts_expect_kept(const struct pvsched_debt *before,
				     const struct pvsched_debt *after)
{
	assert_true(before->paid_at && after->paid_at >= before->paid_at);
	assert_true(after->cs_paid_at >= before->cs_paid_at);
	assert_true(after->rate_paid_at >= before->rate_paid_at);
	assert_true(after->wall_paid_at >= before->wall_paid_at);
	assert_true(after->stretch.hold_ns >= before->stretch.hold_ns);
	assert_int_equal(after->start, before->start);
}

#endif
