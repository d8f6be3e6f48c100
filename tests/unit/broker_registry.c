// SPDX-License-Identifier: GPL-2.0-only
/* The registry of vCPU threads, over maps that are memory and may fail: what it gives is complete,
 * what it takes back is gone. */
#include <helpers/unit.h>

#include <helpers/bpf_edge.h>

#include <actuator/monotonic.h>
#include <broker/registry.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

static struct bed {
	struct pvsched_registry reg;
	struct pvsched_programs *programs;
	pthread_t thread;
	pid_t tid;
} bed;

static void *sleep_for_ever(void *arg)
{
	__atomic_store_n((pid_t *)arg, gettid(), __ATOMIC_RELEASE);
	for (;;)
		pause();
	return NULL;
}

static int setup(void **state)
{
	struct pvsched_load_opts o = { .policy = "off", .policy_fd = -1, .id = 1 };

	(void)state;
	edge_open();
	if (pvsched_programs_load(&o, NULL, NULL, &bed.programs) ||
	    pvsched_registry_open(&bed.reg, bed.programs) ||
	    pthread_create(&bed.thread, NULL, sleep_for_ever, &bed.tid))
		return -1;
	while (!__atomic_load_n(&bed.tid, __ATOMIC_ACQUIRE))
		sched_yield();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pthread_cancel(bed.thread);
	pthread_join(bed.thread, NULL);
	pvsched_registry_close(&bed.reg);
	pvsched_programs_free(bed.programs);
	edge_close();
	return 0;
}

static int add(pid_t tid, uint32_t index, uint32_t apic_id)
{
	struct pvsched_thread_id t = {
		.tid = tid,
		.tgid = getpid(),
		.pidfd = syscall(SYS_pidfd_open, getpid(), 0),
		.doorbell_fd = eventfd(0, EFD_CLOEXEC),
		.index = index,
		.apic_id = apic_id,
		.programs = bed.programs,
		.policy = 1,
	};

	return pvsched_registry_add(&bed.reg, &t);
}

static uint32_t routed(uint32_t apic_id)
{
	struct pvsched_apic_key key = { .tgid = getpid(), .apic_id = apic_id };
	unsigned int at = edge_apic_at(&key);

	return at < EDGE_APICS ? edge.apic[at].value : ~0u;
}

static void registry_apic_id_of_two_is_nobodys_until_one_leaves(void **state)
{
	int first = add(gettid(), 0, 7), second;

	(void)state;
	assert_true(first >= 0);
	assert_int_equal(routed(7), first + 1);
	second = add(bed.tid, 1, 7);
	assert_true(second >= 0);
	assert_int_equal(routed(7), 0);
	pvsched_registry_remove(&bed.reg, first);
	assert_int_equal(routed(7), second + 1);
	/* and when the last one leaves nothing is left to fill the table with */
	pvsched_registry_remove(&bed.reg, second);
	assert_int_equal(routed(7), ~0u);
}

static const struct pvsched_bucket_conf *vm_bucket(int slot)
{
	return &pvsched_limits_now(&bed.reg.act, slot)->vm;
}

static void registry_vm_has_a_share_for_each_vcpu_that_a_cpu_can_run(void **state)
{
	int first = add(gettid(), 0, 1), second;
	uint64_t burst = vm_bucket(first)->burst_ns;
	unsigned int cpus = bed.reg.cpus;

	(void)state;
	second = add(bed.tid, 1, 2);
	assert_true(first >= 0 && second >= 0);
	assert_int_equal(vm_bucket(first)->burst_ns, 2 * burst);
	assert_int_equal(vm_bucket(second)->burst_ns, 2 * burst);
	pvsched_registry_remove(&bed.reg, first);
	assert_int_equal(vm_bucket(second)->burst_ns, burst);
	/* two vCPUs of a host with one CPU */
	bed.reg.cpus = 1;
	first = add(gettid(), 0, 1);
	assert_int_equal(vm_bucket(first)->burst_ns, burst);
	assert_int_equal(vm_bucket(second)->burst_ns, burst);
	bed.reg.cpus = cpus;
	pvsched_registry_remove(&bed.reg, first);
	pvsched_registry_remove(&bed.reg, second);
	assert_int_equal(bed.reg.vm_vcpus[0], 0);
}

static void registry_enable_that_fails_changes_nothing(void **state)
{
	int slot = add(gettid(), 0, 0);

	(void)state;
	assert_true(slot >= 0);
	edge.fail = true;
	assert_int_equal(pvsched_registry_enable(&bed.reg, slot, 0), -ENOMEM);
	assert_null(bed.reg.act.slots[slot].page);
	assert_int_equal(edge.vcpu[slot].flags, PVSCHED_V_USED);
	assert_int_equal(pvsched_registry_enable(&bed.reg, slot, 0), 0);
	assert_non_null(bed.reg.act.slots[slot].page);
	pvsched_registry_remove(&bed.reg, slot);
}

/* Each step of it may fail: a page that BPF would go on reading must not be given back. */
static void registry_what_is_taken_back_is_gone_whatever_fails(void **state)
{
	int slot;

	(void)state;
	for (int step = 0; step < 2; step++) {
		slot = add(gettid(), 0, 0);
		assert_true(slot >= 0);
		assert_int_equal(pvsched_registry_enable(&bed.reg, slot, 0), 0);
		edge.fail = true;
		if (!step) {
			pvsched_registry_disable(&bed.reg, slot);
			assert_false(edge.vcpu[slot].flags & PVSCHED_V_ENABLED);
			edge.fail = true;
		}
		pvsched_registry_remove(&bed.reg, slot);
		assert_false(edge.fail);
		assert_int_equal(edge.vcpu[slot].flags, 0);
		assert_int_equal(bed.reg.page_fd[slot], -1);
		assert_int_equal(edge.slot_of_tid[gettid() & (PVSCHED_TIDS - 1)], 0);
		assert_int_equal(routed(0), ~0u);
	}
}

/* However many vCPUs it has: all others wait as long. */
static void registry_vm_that_leaves_waits_once(void **state)
{
	int16_t slot[] = { add(gettid(), 0, 0), -1, add(bed.tid, 1, 1) };

	(void)state;
	assert_true(slot[0] >= 0 && slot[2] >= 0);
	assert_int_equal(pvsched_registry_enable(&bed.reg, slot[0], 0), 0);
	assert_int_equal(pvsched_registry_enable(&bed.reg, slot[2], 0), 0);
	edge.waits = 0;
	pvsched_registry_remove_all(&bed.reg, slot, 3);
	assert_int_equal(edge.waits, 1);
	for (int i = 0; i < 3; i += 2) {
		assert_int_equal(edge.vcpu[slot[i]].flags, 0);
		assert_int_equal(bed.reg.page_fd[slot[i]], -1);
		assert_null(bed.reg.act.slots[slot[i]].page);
		assert_false(bed.reg.act.slots[slot[i]].used);
	}
}

static pthread_barrier_t late;

static void *hold_its_lock(void *arg)
{
	struct pvsched_slot *s = arg;

	assert_true(pvsched_slot_lock(s));
	pthread_barrier_wait(&late);
	pthread_barrier_wait(&late);
	pvsched_slot_unlock(s);
	return NULL;
}

/* Who was late when the last thread left finds the slot as it was then, and takes back what he goes on to do. */
static void registry_slot_whose_lock_is_held_is_given_to_nobody(void **state)
{
	int first = add(gettid(), 0, 1), second;
	struct pvsched_slot before;
	pthread_t holder;

	(void)state;
	assert_true(first >= 0);
	pthread_barrier_init(&late, NULL, 2);
	assert_int_equal(pthread_create(&holder, NULL, hold_its_lock, &bed.reg.act.slots[first]),
			 0);
	pthread_barrier_wait(&late);
	pvsched_registry_remove(&bed.reg, first);
	bed.reg.act.debts[first].paid_at = 12345;
	before = bed.reg.act.slots[first];
	second = add(gettid(), 0, 1);
	assert_true(second >= 0 && second != first);
	assert_memory_equal(&before.used, &bed.reg.act.slots[first].used,
			    sizeof(before) - offsetof(struct pvsched_slot, used));
	/* what the thread owes comes along */
	assert_int_equal(bed.reg.act.debts[second].paid_at, 12345);
	pvsched_registry_remove(&bed.reg, second);
	pthread_barrier_wait(&late);
	pthread_join(holder, NULL);
	pthread_barrier_destroy(&late);
	/* and it is anybody's again, when who went on without the lock must be done, too */
	bed.reg.act.slots[first].unlocked_ns = now_ns();
	for (int i = 0; i < PVSCHED_SLOTS; i++)
		bed.reg.act.slots[i].used = i != first;
	assert_int_equal(add(gettid(), 0, 1), first);
	for (int i = 0; i < PVSCHED_SLOTS; i++)
		bed.reg.act.slots[i].used = i == first;
	pvsched_registry_remove(&bed.reg, first);
}

/* Nor one that somebody went on with, who did not wait for the lock: he may not be done. */
static void registry_slot_that_somebody_is_at_without_the_lock_is_given_to_nobody(void **state)
{
	int first = add(gettid(), 0, 1), second;
	struct pvsched_slot *s;

	(void)state;
	assert_true(first >= 0);
	s = &bed.reg.act.slots[first];
	pvsched_registry_remove(&bed.reg, first);
	s->unlocked_ns = now_ns() + 1000000000;
	second = add(gettid(), 0, 1);
	assert_true(second >= 0 && second != first);
	assert_true(s->unlocked_ns);
	pvsched_registry_remove(&bed.reg, second);
	s->unlocked_ns = now_ns();
	bed.reg.act.debts[first] = bed.reg.act.debts[second];
	memset(&bed.reg.act.debts[second], 0, sizeof(bed.reg.act.debts[second]));
	assert_int_equal(add(gettid(), 0, 1), first);
	pvsched_registry_remove(&bed.reg, first);
}

/* A program swaps its decision in for the word that it read, whenever that was. */
static bool decide_late(int slot, uint64_t read)
{
	uint64_t boost = pvsched_word(PVSCHED_WORD_SEQ(read) + 1, PVSCHED_LEVEL_RT, 1,
				      PVSCHED_REASON_CRITICAL, ~0u);

	return __atomic_compare_exchange_n(&bed.reg.act.shared[slot].desired, &read, boost, false,
					   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static void registry_decision_from_before_a_page_went_is_dropped(void **state)
{
	int slot = add(gettid(), 0, 0), again;
	uint64_t read;

	(void)state;
	assert_true(slot >= 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pvsched_registry_enable(&bed.reg, slot, 0), 0);
		read = bed.reg.act.shared[slot].desired;
		pvsched_registry_disable(&bed.reg, slot);
		assert_false(decide_late(slot, read));
	}
	read = bed.reg.act.shared[slot].desired;
	pvsched_registry_remove(&bed.reg, slot);
	assert_false(decide_late(slot, read));
	again = add(gettid(), 0, 0);
	assert_int_equal(again, slot);
	assert_false(decide_late(slot, read));
	assert_false(decide_late(slot, 0));
	pvsched_registry_remove(&bed.reg, slot);
}

static void end_thread(enum pvsched_slot_op op)
{
	if (op != PVSCHED_SLOT_INIT)
		return;
	pthread_cancel(bed.thread);
	pthread_join(bed.thread, NULL);
	edge.on_slot = NULL;
}

/* Before anybody listens for its end. */
static void registry_thread_that_ends_meanwhile_is_not_registered(void **state)
{
	pid_t tid = bed.tid;
	int slot;

	(void)state;
	edge.on_slot = end_thread;
	assert_int_equal(add(tid, 0, 9), -ESRCH);
	assert_int_equal(pvsched_registry_find(&bed.reg, tid), -ENOENT);
	assert_int_equal(edge.slot_of_tid[tid & (PVSCHED_TIDS - 1)], 0);
	assert_int_equal(routed(9), ~0u);
	for (int i = 0; i < PVSCHED_SLOTS; i++)
		assert_false(bed.reg.act.slots[i].used || bed.reg.page_fd[i] >= 0 ||
			     edge.vcpu[i].flags);
	bed.tid = 0;
	assert_int_equal(pthread_create(&bed.thread, NULL, sleep_for_ever, &bed.tid), 0);
	while (!__atomic_load_n(&bed.tid, __ATOMIC_ACQUIRE))
		sched_yield();
	slot = add(bed.tid, 0, 9);
	assert_true(slot >= 0);
	pvsched_registry_remove(&bed.reg, slot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registry_apic_id_of_two_is_nobodys_until_one_leaves),
		cmocka_unit_test(registry_vm_has_a_share_for_each_vcpu_that_a_cpu_can_run),
		cmocka_unit_test(registry_enable_that_fails_changes_nothing),
		cmocka_unit_test(registry_what_is_taken_back_is_gone_whatever_fails),
		cmocka_unit_test(registry_vm_that_leaves_waits_once),
		cmocka_unit_test(registry_slot_whose_lock_is_held_is_given_to_nobody),
		cmocka_unit_test(
			registry_slot_that_somebody_is_at_without_the_lock_is_given_to_nobody),
		cmocka_unit_test(registry_decision_from_before_a_page_went_is_dropped),
		cmocka_unit_test(registry_thread_that_ends_meanwhile_is_not_registered),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
