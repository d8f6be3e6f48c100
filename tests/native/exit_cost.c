// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VM-exit path: what a guest that exits as fast as it can pays for `latency` (nothing is
 * attached there) and for `vmexit` (a program at each exit, entry aside), and that `vmexit` does what the
 * talk's sample does. Figures are printed, and judged only where the clock counts instructions
 * (lab/tests/exits.sh).
 */
/* needs: /dev/kvm */
#include <bpf/bpf.h>
#include <broker/broker.h>
#include <helpers/median.h>
#include <helpers/vmm_bed.h>

#define EXITS  20000
#define ROUNDS 5

struct scene {
	struct pvsched_broker *broker;
	char said[400];
};

static void say(enum pvsched_log_level level, const char *line, void *ctx)
{
	struct scene *s = ctx;

	if (level == PVSCHED_LOG_ERROR)
		snprintf(s->said, sizeof(s->said), "%s", line);
}

/* Only one broker runs on a host: one that is there is waited for. */
static int start(struct scene *s, const char *policy)
{
	struct pvsched_broker_opts opts = { .policy = policy, .print = say, .print_ctx = s };
	uint64_t end = vmm_bed_now_ms() + 60000;
	int err;

	*s = (struct scene){ 0 };
	while ((err = pvsched_broker__start(&opts, &s->broker)) == -EEXIST &&
	       vmm_bed_now_ms() < end)
		usleep(200000);
	return err;
}

static void bed_of(struct vmm_bed *bed, enum guest_workload workload, uint64_t samples,
		   bool pvsched)
{
	vmm_bed_init(bed, 1, workload, samples);
	bed->opts.pvsched = pvsched;
	bed->opts.seed = 1;
	bed->opts.vcpu[0].pinned = true;
	bed->opts.vcpu[0].cpu = vmm_bed_last_cpu();
}

/* ns of one exit and the way back to the next, over EXITS of them. */
static double exit_ns(bool pvsched)
{
	struct vmm_vcpu_info info;
	struct vmm_bed bed;
	double ns;

	bed_of(&bed, GUEST_EXITS, EXITS, pvsched);
	vmm_bed_run(&bed);
	assert_int_equal(vmm_wait(bed.vm, 60000), 0);
	info = vmm_bed_info(&bed, 0);
	ns = (double)vmm_ticks_to_ns(bed.vm, info.end_tsc - info.start_tsc) / EXITS;
	vmm_destroy(bed.vm);
	return ns;
}

/* Interleaves runs without a pvsched device and with one; prints medians and the spread. */
static void compare(const char *policy)
{
	double ns[2][ROUNDS];

	for (unsigned int i = 0; i < ROUNDS; i++)
		for (unsigned int with = 0; with < 2; with++)
			ns[with][i] = exit_ns(with);
	for (unsigned int with = 0; with < 2; with++) {
		const char *name = with ? policy : "none";

		qsort(ns[with], ROUNDS, sizeof(**ns), by_size);
		printf("# figure beside_%s_exit_%s_ns %.1f\n", policy, name, ns[with][ROUNDS / 2]);
		printf("# figure beside_%s_exits_%s_per_s %.0f\n", policy, name,
		       1e9 / ns[with][ROUNDS / 2]);
		printf("# figure beside_%s_spread_%s_ns %.1f\n", policy, name,
		       (ns[with][ROUNDS - 1] - ns[with][0]) / 2);
	}
}

/* Prints ns per run of each program on one of KVM's tracepoints; returns how many ran. */
static unsigned int exit_programs(struct pvsched_broker *b)
{
	struct pvsched_program_row row[64];
	unsigned int ran = 0;
	int n = pvsched_broker__programs(b, row, 64);

	for (int i = 0; i < n && i < 64; i++) {
		if (strncmp(row[i].attached_to, "kvm_", 4) || !row[i].runs)
			continue;
		printf("# figure %s_ns %.1f\n", row[i].attached_to,
		       (double)row[i].run_ns / (double)row[i].runs);
		ran++;
	}
	return ran;
}

static void exits_of_a_latency_vcpu_carry_no_program(void **state)
{
	struct pvsched_broker_counters counters;
	struct pvsched_program_row row[64];
	struct vmm_bed bed;
	struct scene s;
	int n;

	(void)state;
	assert_int_equal(start(&s, "latency"), 0);
	compare("latency");
	bed_of(&bed, GUEST_EXITS, 0, true);
	vmm_bed_run(&bed);
	WAIT_UNTIL(vmm_bed_info(&bed, 0).samples > EXITS);
	n = pvsched_broker__programs(s.broker, row, 64);
	assert_in_range(n, 1, 64);
	for (int i = 0; i < n; i++)
		assert_null(strstr(row[i].attached_to, "kvm_e")); /* exit, entry, eoi */
	assert_int_equal(pvsched_broker__counters(s.broker, &counters), 0);
	for (unsigned int i = 8; i < 12; i++) /* VMEXIT, VMENTRY, HALT, INTR_INJECT */
		assert_int_equal(counters.events[i], 0);
	vmm_destroy(bed.vm);
	pvsched_broker__stop(s.broker);
}

/* `pvsched check` says why: a KVM without these tracepoints, or BPF may not have them */
static void skip_where_kvm_lacks_them(const struct scene *s, int err)
{
	if (!err)
		return;
	print_message("%s\n", s->said);
	assert_int_equal(err, -ENOTSUP);
	skip();
}

static void start_vmexit(struct scene *s)
{
	skip_where_kvm_lacks_them(s, start(s, "vmexit"));
}

static void vmexit_sees_the_request_at_an_exit_and_answers_in_the_page(void **state)
{
	struct pvsched_broker_counters counters;
	struct pvsched_vcpu_report report;
	struct vmm_vcpu_info info;
	struct vmm_bed bed;
	struct scene s;

	(void)state;
	start_vmexit(&s);
	/* nobody competes: latency would do nothing */
	bed_of(&bed, GUEST_CRITICAL, 0, true);
	vmm_bed_run(&bed);
	WAIT_UNTIL((info = vmm_bed_info(&bed, 0), info.page.boosts > 10));
	assert_int_equal(pvsched_broker__vcpu_report(s.broker, info.tid, &report), 0);
	assert_true(report.boosts > 10);
	assert_int_equal(pvsched_broker__counters(s.broker, &counters), 0);
	assert_true(counters.events[8] > 10);
	vmm_destroy(bed.vm);
	pvsched_broker__stop(s.broker);
}

static void vmexit_injection_of_an_interrupt_boosts(void **state)
{
	struct pvsched_broker_counters counters;
	struct vmm_bed bed;
	struct scene s;

	(void)state;
	start_vmexit(&s);
	bed_of(&bed, GUEST_BUSY, 0, true);
	vmm_bed_run(&bed);
	WAIT_UNTIL(vmm_bed_info(&bed, 0).page.boosts > 10);
	assert_int_equal(pvsched_broker__counters(s.broker, &counters), 0);
	assert_true(counters.events[11] > 10);
	vmm_destroy(bed.vm);
	pvsched_broker__stop(s.broker);
}

/* A policy from outside that asks for VMENTRY and HALT, and for no other exit. */
static void exits_by_halt_and_entries_after_them_reach_a_policy_that_asks(void **state)
{
	const char *build = getenv("PVSCHED_BUILD");
	struct pvsched_broker_counters counters;
	struct vmm_bed bed;
	struct scene s;
	char policy[400];
	int err;

	(void)state;
	snprintf(policy, sizeof(policy), "%s/tests/native/policies/halts.bpf.o",
		 build ? build : "build");
	err = start(&s, policy);
	skip_where_kvm_lacks_them(&s, err);
	bed_of(&bed, GUEST_SLEEPING, 0, true);
	vmm_bed_run(&bed);
	WAIT_UNTIL((vmm_bed_info(&bed, 0).page.grant >> PVSCHED_TASK_FLAGS_SHIFT &
		    PVSCHED_GRANT_REASON) == PVSCHED_REASON_TASK);
	WAIT_UNTIL(vmm_bed_info(&bed, 0).samples > 100);
	assert_int_equal(pvsched_broker__counters(s.broker, &counters), 0);
	assert_true(counters.events[8] > counters.events[10]); /* it was passed by others */
	assert_true(counters.events[9] > 10); /* VMENTRY */
	assert_true(counters.events[10] > 10); /* HALT */
	vmm_destroy(bed.vm);
	pvsched_broker__stop(s.broker);
}

static void vmexit_costs_a_program_at_each_exit(void **state)
{
	struct vmm_bed bed;
	struct scene s;
	int stats;

	(void)state;
	start_vmexit(&s);
	compare("vmexit");
	stats = bpf_enable_stats(BPF_STATS_RUN_TIME); /* after compare(): it adds to each run */
	assert_true(stats >= 0);
	bed_of(&bed, GUEST_EXITS, 0, true);
	vmm_bed_run(&bed);
	WAIT_UNTIL(vmm_bed_info(&bed, 0).samples > EXITS);
	assert_true(exit_programs(s.broker) > 0);
	close(stats);
	vmm_destroy(bed.vm);
	pvsched_broker__stop(s.broker);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exits_of_a_latency_vcpu_carry_no_program),
		cmocka_unit_test(vmexit_sees_the_request_at_an_exit_and_answers_in_the_page),
		cmocka_unit_test(vmexit_injection_of_an_interrupt_boosts),
		cmocka_unit_test(exits_by_halt_and_entries_after_them_reach_a_policy_that_asks),
		cmocka_unit_test(vmexit_costs_a_program_at_each_exit),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
