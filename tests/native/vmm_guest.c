// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bare-metal guest under KVM against libpvsched and the register device: its handshake, what
 * it publishes, when it rings and answers.
 */
/* timeout: 120, needs: /dev/kvm */
#include <helpers/vmm_peer.h>

#define BOOSTED ((uint64_t)PVSCHED_GRANT_BOOSTED << PVSCHED_TASK_FLAGS_SHIFT)
#define SECOND	1000000000ull

static void guest_handshake_reaches_driver_ok(void **state)
{
	struct pvsched_device_stats stats;
	struct vmm_guest_info info;

	(void)state;
	vmm_peer_init(8, GUEST_IDLE, 0);
	vmm_bed_boot(&bed);
	assert_int_equal(vmm_guest_info(bed.vm, &info), 0);
	assert_int_equal(info.device, GUEST_DEVICE_ON);
	assert_int_equal(info.result, PVSCHED_R_OK);
	assert_int_equal(info.features, PEER_FEATURES);
	stats = device_stats();
	assert_int_equal(stats.status, PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER |
					       PVSCHED_S_FEATURES_OK | PVSCHED_S_DRIVER_OK);
	assert_int_equal(stats.features, PEER_FEATURES);
	assert_int_equal(stats.protocol, PVSCHED_PROTO_BASE);
	for (unsigned int i = 1; i < PVSCHED_R_MAX; i++)
		assert_int_equal(stats.errors[i], 0);
	assert_int_equal(peer->count[PVSCHED_MSG_ENABLE], 8);
	for (unsigned int i = 0; i < 8; i++) {
		assert_int_equal(peer->page[i]->status, PVSCHED_PAGE_ENABLED);
		assert_int_equal(peer->page[i]->vcpu_id, i);
		assert_true(vmm_bed_info(&bed, i).page_gpa != 0);
	}
	/* END-7: what the guest stores later still reaches the host */
	assert_int_equal(vmm_go(bed.vm), 0);
	for (unsigned int i = 0; i < 8; i++)
		WAIT_UNTIL(seen(&peer->page[i]->context) & PVSCHED_CTX_IDLE);
}

static void guest_publishes_timers_and_idleness(void)
{
	struct pvsched_page *page;
	uint64_t first;

	vmm_peer_init(2, GUEST_SLEEPING, 0);
	bed.opts.vcpu[1].workload = GUEST_BUSY;
	vmm_bed_run(&bed);
	page = peer->page[0];
	WAIT_UNTIL(seen(&page->context) & PVSCHED_CTX_IDLE);
	WAIT_UNTIL(seen(&page->next_event));
	first = seen(&page->next_event);
	WAIT_UNTIL(seen(&page->next_event) > first);
	assert_int_equal(seen(&page->current_task) & 0xffffffff, PVSCHED_POLICY_NORMAL);
	page = peer->page[1];
	WAIT_UNTIL(seen(&page->next_event));
	first = seen(&page->next_event);
	WAIT_UNTIL(seen(&page->next_event) > first);
	assert_int_equal(seen(&page->context) & 0xff, 0);
	vmm_destroy(bed.vm);
	bed.vm = NULL;
}

static void guest_publishes_what_it_runs(void **state)
{
	struct pvsched_page *page;
	uint64_t word;
	uint32_t generation;

	(void)state;
	guest_publishes_timers_and_idleness();
	vmm_peer_init(2, GUEST_CRITICAL, 0);
	bed.opts.vcpu[1].workload = GUEST_TASK;
	vmm_bed_run(&bed);
	page = peer->page[0];
	WAIT_UNTIL(seen(&page->context) & PVSCHED_CTX_CRITICAL);
	WAIT_UNTIL(!(seen(&page->context) & PVSCHED_CTX_CRITICAL));
	generation = seen(&page->context) >> PVSCHED_CTX_GEN_SHIFT;
	WAIT_UNTIL(seen(&page->context) >> PVSCHED_CTX_GEN_SHIFT > generation);
	page = peer->page[1];
	for (int i = 0; i < 3; i++) { /* it comes and goes */
		WAIT_UNTIL(((word = seen(&page->current_task)) & 0xff) == PVSCHED_POLICY_FIFO);
		assert_int_equal(word >> PVSCHED_TASK_PRIO_SHIFT & 0xff, 50);
		assert_int_equal(word >> PVSCHED_TASK_FLAGS_SHIFT & 0xff, PVSCHED_TASK_LATENCY);
		generation = word >> PVSCHED_TASK_GEN_SHIFT;
		WAIT_UNTIL(((word = seen(&page->current_task)) & 0xff) == PVSCHED_POLICY_NORMAL);
		assert_true(word >> PVSCHED_TASK_GEN_SHIFT > generation);
	}
}

/* Sections far apart, so that the host can take the boost back before the next one ends. */
static void guest_boosted_rings_once(void **state)
{
	struct pvsched_page *page;

	(void)state;
	vmm_peer_init(1, GUEST_CRITICAL, 0);
	bed.opts.vcpu[0].gap_ns = SECOND;
	vmm_bed_run(&bed);
	page = peer->page[0];
	WAIT_UNTIL(vmm_bed_info(&bed, 0).sections >= 1);
	assert_int_equal(rings(0), 0);
	host_writes(&page->grant, BOOSTED | SCHED_FIFO);
	assert_int_equal(rings(BED_TIMEOUT_MS), 1);
	host_writes(&page->grant, 0);
	WAIT_UNTIL(vmm_bed_info(&bed, 0).doorbells == 1);
	WAIT_UNTIL(vmm_bed_info(&bed, 0).sections >= 3);
	assert_int_equal(vmm_bed_info(&bed, 0).doorbells, 1);
	assert_int_equal(rings(0), 0);
}

static void guest_not_boosted_never_rings(void **state)
{
	(void)state;
	vmm_peer_init(1, GUEST_CRITICAL, 0);
	vmm_bed_boot(&bed);
	/* a grant that says anything but BOOSTED */
	host_writes(&peer->page[0]->grant,
		    (uint64_t)PVSCHED_REASON_THROTTLED << PVSCHED_TASK_FLAGS_SHIFT | SCHED_FIFO);
	assert_int_equal(vmm_go(bed.vm), 0);
	WAIT_UNTIL(vmm_bed_info(&bed, 0).sections > 1000);
	assert_int_equal(vmm_bed_info(&bed, 0).doorbells, 0);
	assert_int_equal(rings(0), 0);
}

static void ticket_is_acknowledged(enum guest_workload workload)
{
	struct pvsched_page *page;

	vmm_peer_init(1, workload, 0);
	vmm_bed_run(&bed);
	page = peer->page[0];
	for (uint64_t ticket = 7; ticket < 10; ticket++) {
		host_writes(&page->grant, BOOSTED | SCHED_FIFO);
		host_writes(&page->ticket, ticket);
		WAIT_UNTIL(seen(&page->ack) == ticket);
		assert_true(rings(BED_TIMEOUT_MS) >= 1);
		host_writes(&page->grant, 0);
	}
	assert_int_equal(vmm_bed_info(&bed, 0).acks, 3);
	vmm_destroy(bed.vm);
	bed.vm = NULL;
}

static void guest_ticket_is_acknowledged(void **state)
{
	(void)state;
	ticket_is_acknowledged(GUEST_SLEEPING);
	ticket_is_acknowledged(GUEST_BUSY);
	ticket_is_acknowledged(GUEST_BUSY_RANDOM);
}

static void guest_told_not_to_ring_or_answer_does_not(void **state)
{
	struct pvsched_page *page;
	uint64_t irqs;

	(void)state;
	vmm_peer_init(1, GUEST_BUSY, 0);
	bed.opts.guest_flags |= GUEST_F_NO_DOORBELL | GUEST_F_NO_ACK;
	vmm_bed_run(&bed);
	page = peer->page[0];
	host_writes(&page->grant, BOOSTED | SCHED_FIFO);
	host_writes(&page->ticket, 5);
	irqs = vmm_bed_info(&bed, 0).interrupts;
	WAIT_UNTIL(vmm_bed_info(&bed, 0).interrupts > irqs + 10);
	assert_int_equal(seen(&page->ack), 0);
	assert_int_equal(rings(0), 0);
}

static void guest_told_not_to_publish_leaves_its_page_alone(void **state)
{
	(void)state;
	vmm_peer_init(1, GUEST_CRITICAL, 0);
	bed.opts.guest_flags |= GUEST_F_NO_PAGE;
	vmm_bed_run(&bed);
	WAIT_UNTIL(vmm_bed_info(&bed, 0).sections > 100);
	assert_int_equal(seen(&peer->page[0]->status), PVSCHED_PAGE_ENABLED);
	assert_int_equal(seen(&peer->page[0]->context), 0);
}

static void guest_hostile_writes_every_word(void **state)
{
	const __u64 *word;
	unsigned int i;

	(void)state;
	vmm_peer_init(1, GUEST_HOSTILE, 0);
	bed.opts.seed = 42;
	vmm_bed_run(&bed);
	word = (const __u64 *)peer->page[0];
	for (i = 0; i < 40; i++) {
		uint64_t was = seen(&word[i]);

		WAIT_UNTIL(seen(&word[i]) != was);
	}
	WAIT_UNTIL(rings(0) > 0);
	assert_int_equal(bed.errors, 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, vmm_peer_setup, vmm_peer_teardown)

int main(void)
{
	const struct CMUnitTest cases[] = {
		CASE(guest_handshake_reaches_driver_ok),
		CASE(guest_publishes_what_it_runs),
		CASE(guest_boosted_rings_once),
		CASE(guest_not_boosted_never_rings),
		CASE(guest_ticket_is_acknowledged),
		CASE(guest_told_not_to_ring_or_answer_does_not),
		CASE(guest_told_not_to_publish_leaves_its_page_alone),
		CASE(guest_hostile_writes_every_word),
	};

	return cmocka_run_group_tests(cases, NULL, NULL);
}
