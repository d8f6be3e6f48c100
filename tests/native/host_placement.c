// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the host writes into its lines whenever a vCPU gets a CPU: state, steal, budget, and, from a
 * broker that was told to offer it, placement. The real broker; threads for vCPUs, beside a hog.
 */
/* timeout: 120 */
#include <helpers/host_bed.h>

#define FEATURES (PVSCHED_F_TICKET | PVSCHED_F_NEXT_EVENT | PVSCHED_F_PENDING)

static struct pvsched_broker *broker;

static int group_start(void **state)
{
	struct pvsched_broker_opts o = { .print = bed_say, .placement = true };

	(void)state;
	return bed_broker(&o, &broker);
}

static int group_stop(void **state)
{
	(void)state;
	pvsched_broker__stop(broker);
	return 0;
}

/* vCPU 0 sleeps and wakes, so that it gets a CPU a thousand times a second. */
static int setup(void **state)
{
	static struct threads_bed bed;
	int err = bed_open(&bed, NULL);

	*state = &bed;
	if (!err)
		host_stand_aside(bed.cpu);
	return err;
}

static int teardown(void **state)
{
	host_bed_close(*state);
	return 0;
}

static void attach_with(struct threads_bed *b, uint64_t features)
{
	assert_int_equal(host_renegotiate(b, features) & PVSCHED_S_FEATURES_OK,
			 PVSCHED_S_FEATURES_OK);
	assert_int_equal(host_attach(&b->vcpu[0]), PVSCHED_R_OK);
}

static uint64_t sched_ins(const struct bed_vcpu *v)
{
	return host_word(&v->page->state) >> 32;
}

static void await_sched_ins(const struct bed_vcpu *v, uint64_t more)
{
	uint64_t from = sched_ins(v);

	HOST_AWAIT(sched_ins(v) >= from + more);
}

static unsigned int id_of(uint64_t placement, unsigned int shift)
{
	return placement >> shift & 0xffff;
}

static void host_placement_is_told_to_who_asks_only(void **state)
{
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[0];

	assert_int_equal(guest_read(b->vm, PVSCHED_REG_HOST_FEATURES),
			 FEATURES | PVSCHED_F_PLACEMENT);
	attach_with(b, FEATURES);
	await_sched_ins(v, 20);
	assert_int_equal(host_word(&v->page->placement), 0);
	attach_with(b, FEATURES | PVSCHED_F_PLACEMENT);
	HOST_AWAIT(host_word(&v->page->placement));
	assert_int_not_equal(id_of(host_word(&v->page->placement), PVSCHED_PLACE_CORE_SHIFT), 0);
	assert_int_equal(host_word(&v->page->placement) >> 48, 0);
}

static long first_of(const char *format, int cpu)
{
	char path[128];
	long first = -1;
	FILE *f;

	snprintf(path, sizeof(path), format, cpu);
	f = fopen(path, "re");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld", &first), 1);
	fclose(f);
	return first;
}

#define CORE "/sys/devices/system/cpu/cpu%d/topology/core_cpus_list"

/* The word is written when the vCPU has changed its CPU, and then at its next SCHED_IN. */
static void host_placement_follows_the_cpu(void **state)
{
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[0];
	uint64_t here, there;
	int other = -1;
	cpu_set_t set;

	for (int cpu = 0; cpu < CPU_SETSIZE && other < 0; cpu++)
		if (CPU_ISSET(cpu, &host_cpus) && cpu != b->cpu)
			other = cpu;
	if (other < 0) {
		print_message("needs two CPUs\n");
		skip();
	}
	attach_with(b, FEATURES | PVSCHED_F_PLACEMENT);
	HOST_AWAIT(host_word(&v->page->placement));
	here = host_word(&v->page->placement);
	host_say_word(&v->page->placement, 1); /* the guest misleads itself, until it moves */
	await_sched_ins(v, 20);
	assert_int_equal(host_word(&v->page->placement), 1);
	CPU_ZERO(&set);
	CPU_SET(other, &set);
	assert_int_equal(sched_setaffinity(v->tid, sizeof(set), &set), 0);
	HOST_AWAIT(host_word(&v->page->placement) != 1);
	there = host_word(&v->page->placement);
	assert_int_equal(id_of(there, PVSCHED_PLACE_CORE_SHIFT) ==
				 id_of(here, PVSCHED_PLACE_CORE_SHIFT),
			 first_of(CORE, other) == first_of(CORE, b->cpu));
	bed_pin(other); /* inherited by nobody: the bed's threads exist */
	CPU_ZERO(&set);
	CPU_SET(b->cpu, &set);
	assert_int_equal(sched_setaffinity(v->tid, sizeof(set), &set), 0);
	HOST_AWAIT(host_word(&v->page->placement) == here);
}

static void host_area_is_fresh_at_sched_in(void **state)
{
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[0];
	uint64_t steal, budget;

	attach_with(b, FEATURES);
	await_sched_ins(v, 1);
	HOST_AWAIT(host_word(&v->page->budget_left_ns));
	HOST_AWAIT((host_word(&v->page->state) & 0xff) == PVSCHED_STATE_BLOCKED);
	steal = host_word(&v->page->steal_ns);
	/* a rival: it waits, and what it waited stands there when it has the CPU again */
	b->hog = bed_start_hog(b->cpu);
	bed_mode(v, BED_SPIN);
	HOST_AWAIT(host_word(&v->page->steal_ns) > steal + 20000000);
	HOST_AWAIT((host_word(&v->page->state) & 0xff) == PVSCHED_STATE_PREEMPTED);
	HOST_AWAIT((host_word(&v->page->state) & 0xff) == PVSCHED_STATE_RUNNING);
	/* urgent: granted with its reason and the generation it answers, and it costs budget */
	budget = host_word(&v->page->budget_left_ns);
	assert_in_range(budget, 1, 1000000); /* the contiguous cap is the least of the budgets */
	host_say_context(v->page, PVSCHED_CTX_CRITICAL, 77);
	HOST_AWAIT(host_grant_boosted(host_word(&v->page->grant)) &&
		   host_grant_reason(host_word(&v->page->grant)) == PVSCHED_REASON_CRITICAL &&
		   host_grant_generation(host_word(&v->page->grant)) == 77);
	HOST_AWAIT(host_word(&v->page->budget_left_ns) < budget);
	assert_true(host_word(&v->page->boosts) > 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(host_placement_is_told_to_who_asks_only),
		CASE(host_placement_follows_the_cpu),
		CASE(host_area_is_fresh_at_sched_in),
	};

	return cmocka_run_group_tests(tests, group_start, group_stop);
}
