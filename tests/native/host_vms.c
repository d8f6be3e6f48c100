// SPDX-License-Identifier: GPL-2.0-only
/* Interrupts, tickets and whom they are for: real guests under KVM, the broker in a process of its
 * own, hogs on the vCPUs' CPU. */
/* timeout: 150, needs: /dev/kvm */
#include <helpers/threads.h>
#include <helpers/child.h>
#include <helpers/vmm_bed.h>

static pid_t broker, hog;

static int setup(void **state)
{
	struct pvsched_broker_opts o = { .print = bed_say };

	(void)state;
	broker = bed_start_broker(&o);
	hog = bed_start_hog(bed_last_cpu());
	return broker > 0 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	bed_stop_child(&hog);
	bed_stop_child(&broker);
	return 0;
}

static void boot(struct vmm_bed *bed, enum guest_workload workload, uint32_t flags)
{
	vmm_bed_init(bed, 1, workload, 0);
	bed->opts.pvsched = true;
	bed->opts.guest_flags |= flags;
	bed->opts.vcpu[0].pinned = true;
	bed->opts.vcpu[0].cpu = bed_last_cpu();
	vmm_bed_run(bed);
}

static uint32_t grant_reason(struct vmm_bed *bed)
{
	uint64_t flags = vmm_bed_info(bed, 0).page.grant >> PVSCHED_TASK_FLAGS_SHIFT;

	return flags & PVSCHED_GRANT_BOOSTED ? flags & PVSCHED_GRANT_REASON : 0;
}

static void host_interrupt_boost_carries_a_fresh_ticket(void **state)
{
	struct vmm_bed bed;
	uint64_t first;

	(void)state;
	boot(&bed, GUEST_BUSY_RANDOM, 0);
	first = vmm_bed_info(&bed, 0).page.ticket;
	WAIT_UNTIL(grant_reason(&bed) == PVSCHED_REASON_INTR);
	WAIT_UNTIL(vmm_bed_info(&bed, 0).page.ticket > first + 20);
	WAIT_UNTIL(vmm_bed_info(&bed, 0).acks > 20);
	vmm_destroy(bed.vm);
}

/* A guest that never answers: its interrupt boosts end by their expiry, not by its doorbells. */
static void host_wrong_ack_answers_nothing(void **state)
{
	struct pvsched_vcpu_stats stats = { .sz = sizeof(stats) };
	struct vmm_bed bed;

	(void)state;
	boot(&bed, GUEST_BUSY_RANDOM, GUEST_F_NO_ACK);
	WAIT_UNTIL(vmm_bed_info(&bed, 0).page.ticket > 5);
	WAIT_UNTIL((pvsched_vm__vcpu_stats(vmm_pvsched(bed.vm), 0, &stats), stats.expired > 3));
	assert_int_equal(vmm_bed_info(&bed, 0).acks, 0);
	vmm_destroy(bed.vm);
}

/* A VM that takes interrupts without end. */
static void take_interrupts(void *arg)
{
	static struct vmm_bed bed;

	(void)arg;
	boot(&bed, GUEST_BUSY_RANDOM, 0);
	WAIT_UNTIL(vmm_bed_info(&bed, 0).page.ticket > 20);
}

static void host_interrupt_of_one_vm_never_boosts_another(void **state)
{
	struct vmm_bed quiet;
	uint64_t ticket, sections;
	pid_t other;

	(void)state;
	boot(&quiet, GUEST_CRITICAL, 0);
	WAIT_UNTIL(vmm_bed_info(&quiet, 0).sections > 10);
	ticket = vmm_bed_info(&quiet, 0).page.ticket; /* that of its start, if any */
	other = child_start(take_interrupts, NULL);
	sections = vmm_bed_info(&quiet, 0).sections;
	/* beside the other one for a while, on the same CPU, with the same APIC id */
	WAIT_UNTIL(vmm_bed_info(&quiet, 0).sections > sections + 2000);
	assert_int_equal(vmm_bed_info(&quiet, 0).page.ticket, ticket);
	bed_stop_child(&other);
	vmm_destroy(quiet.vm);
}

static void broker_killed_in_mid_boost_of_a_guest_leaves_it_running(void **state)
{
	struct vmm_bed bed;
	uint64_t samples;
	pid_t tid;

	(void)state;
	boot(&bed, GUEST_BUSY, 0);
	tid = vmm_bed_info(&bed, 0).tid;
	WAIT_UNTIL(sched_getscheduler(tid) == SCHED_FIFO);
	bed_stop_child(&broker);
	WAIT_UNTIL(sched_getscheduler(tid) == SCHED_OTHER);
	samples = vmm_bed_info(&bed, 0).samples;
	WAIT_UNTIL(vmm_bed_info(&bed, 0).samples > samples + 100);
	assert_int_equal(sched_getscheduler(tid), SCHED_OTHER);
	vmm_destroy(bed.vm);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(host_interrupt_boost_carries_a_fresh_ticket),
		CASE(host_wrong_ack_answers_nothing),
		CASE(host_interrupt_of_one_vm_never_boosts_another),
		CASE(broker_killed_in_mid_boost_of_a_guest_leaves_it_running),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
