// SPDX-License-Identifier: GPL-2.0-only
/* libpvsched after a lost broker: its pages meanwhile, and the next broker. */
#include <helpers/lib_bed.h>

#include <errno.h>
#include <poll.h>
#include <sys/mman.h>

static void lose_broker(struct bed *bed)
{
	struct pollfd pfd = { .fd = pvsched_vm__poll_fd(bed->vm), .events = POLLIN };

	peer_hang_up(bed->peer);
	assert_int_equal(poll(&pfd, 1, 2000), 1);
	assert_int_equal(pvsched_vm__dispatch(bed->vm), -EPIPE);
}

/* Does the broker see what the guest stores, and the guest what the broker does? */
static void assert_shared(struct bed *bed, unsigned int vcpu, unsigned int page, uint64_t value)
{
	struct pvsched_page *guest = bed_page(bed, page), *broker = bed->peer->page[vcpu];

	__atomic_store_n(&guest->context, value, __ATOMIC_SEQ_CST);
	assert_int_equal(__atomic_load_n(&broker->context, __ATOMIC_SEQ_CST), value);
	__atomic_store_n(&broker->grant, value + 1, __ATOMIC_SEQ_CST);
	assert_int_equal(__atomic_load_n(&guest->grant, __ATOMIC_SEQ_CST), value + 1);
}

static int setup(void **state)
{
	struct bed *bed;

	if (bed_setup(state))
		return -1;
	bed = *state;
	/* as bed_setup did, but for a VMM that rejoins */
	pvsched_vm__close(bed->vm);
	bed->rejoin = true;
	bed->peer->fresh_maps = true;
	bed->vm = bed_open(bed);
	if (!bed->vm || pvsched_vm__add_memory(bed->vm, BED_GPA, BED_SIZE, bed->ram, -1, 0, 0))
		return -1;
	for (unsigned int i = 0; i < BED_VCPUS; i++)
		if (pvsched_vm__add_vcpu(bed->vm, i, gettid(), i, bed->vcpu_fd))
			return -1;
	return 0;
}

static void rejoin_takes_enabled_pages_along(void **state)
{
	struct bed *bed = *state;
	struct peer *peer = bed->peer;
	struct pvsched_page *page = bed_page(bed, 5);
	int fd = pvsched_vm__poll_fd(bed->vm);
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	unsigned int fds;

	bed_enable(bed, 1, 5);
	fds = bed_open_fds();
	page->grant = 0x80ull << PVSCHED_TASK_FLAGS_SHIFT;
	assert_int_equal(pvsched_vm__rejoin(bed->vm), 0); /* joined as it is: nothing to do */
	assert_int_equal(peer->count[PVSCHED_MSG_HELLO], 2);
	lose_broker(bed);
	assert_int_equal(page->status, PVSCHED_PAGE_PAUSED);
	assert_int_equal(page->grant, 0); /* nobody is boosted, and none need ring */
	assert_int_equal(bed->warnings, 1);
	page->context = 77;
	page->extension[3] = 78;

	assert_int_equal(pvsched_vm__rejoin(bed->vm), 0);
	assert_int_equal(peer->count[PVSCHED_MSG_HELLO], 3);
	assert_int_equal(peer->count[PVSCHED_MSG_ADD_VCPU], 3 * BED_VCPUS);
	assert_int_equal(peer->last[PVSCHED_MSG_ADD_VCPU].add.apic_id, BED_VCPUS - 1);
	assert_int_equal(peer->count[PVSCHED_MSG_ENABLE], 2);
	assert_int_equal(peer->last[PVSCHED_MSG_ENABLE].enable.features, PEER_FEATURES);
	assert_string_equal(peer->last[PVSCHED_MSG_HELLO].hello.name, "bed");
	assert_int_equal(page->status, PVSCHED_PAGE_ENABLED);
	assert_int_equal(page->context, 77);
	assert_int_equal(page->extension[3], 78);
	assert_int_equal(page->magic, PVSCHED_MAGIC);
	assert_shared(bed, 1, 5, 99);
	assert_false(guest_read(bed->vm, PVSCHED_REG_STATUS) & PVSCHED_S_NEEDS_RESET);
	assert_int_equal(pvsched_vm__poll_fd(bed->vm), fd);
	assert_int_equal(poll(&pfd, 1, 0), 0);
	assert_int_equal(pvsched_vm__dispatch(bed->vm), 0);
	assert_int_equal(bed_open_fds(), fds);
	/* and it ends as any page does */
	assert_int_equal(guest_command(bed->vm, 1, PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
	assert_int_equal(peer->count[PVSCHED_MSG_DISABLE], 1);
	assert_int_equal(page->status, PVSCHED_PAGE_OFF);
	assert_int_equal(page->context, 99);
}

static void rejoin_takes_a_page_between_register_and_enable_along(void **state)
{
	struct bed *bed = *state;

	assert_true(guest_negotiate(bed->vm) & PVSCHED_S_FEATURES_OK);
	guest_prepare(bed->vm, bed_page(bed, 5), 1);
	assert_int_equal(guest_register(bed->vm, 1, BED_GFN + 5), PVSCHED_R_OK);
	lose_broker(bed);
	assert_int_equal(pvsched_vm__rejoin(bed->vm), 0);
	assert_int_equal(bed_page(bed, 5)->status, PVSCHED_PAGE_ATTACHED);
	assert_int_equal(bed->peer->count[PVSCHED_MSG_ENABLE], 0);
	assert_int_equal(guest_enable(bed->vm, 1, bed_page(bed, 5)), PVSCHED_R_OK);
	assert_shared(bed, 1, 5, 5);
}

struct writer {
	struct pvsched_page *page;
	uint32_t go, end;
	uint64_t round;
};

/* Each word once a round, so that one lost store is one wrong word. */
static void *write_words(void *arg)
{
	struct writer *w = arg;
	uint32_t seen = 0, go;

	for (;;) {
		while ((go = __atomic_load_n(&w->go, __ATOMIC_ACQUIRE)) == seen)
			if (__atomic_load_n(&w->end, __ATOMIC_ACQUIRE))
				return NULL;
		seen = go;
		for (unsigned int i = 0; i < 472; i++) {
			__atomic_store_n(&w->page->extension[i], (uint64_t)go << 32 | i,
					 __ATOMIC_RELAXED);
			for (int spin = 0; spin < 300; spin++)
				__asm__ volatile("");
		}
		__atomic_store_n(&w->round, go, __ATOMIC_RELEASE);
	}
}

static void rejoin_loses_nothing_that_the_guest_stores_meanwhile(void **state)
{
	struct bed *bed = *state;
	struct writer w = { .page = bed_page(bed, 5) };
	pthread_t thread;

	bed_enable(bed, 1, 5);
	assert_int_equal(pthread_create(&thread, NULL, write_words, &w), 0);
	for (uint32_t round = 1; round <= 300; round++) {
		lose_broker(bed);
		__atomic_store_n(&w.go, round, __ATOMIC_RELEASE);
		assert_int_equal(pvsched_vm__rejoin(bed->vm), 0);
		while (__atomic_load_n(&w.round, __ATOMIC_ACQUIRE) != round)
			usleep(10);
		for (unsigned int i = 0; i < 472; i++)
			assert_int_equal(w.page->extension[i], (uint64_t)round << 32 | i);
	}
	__atomic_store_n(&w.end, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
}

static void rejoin_without_a_broker_fails_and_may_be_repeated(void **state)
{
	struct bed *bed = *state;
	struct peer *peer = bed->peer;
	char away[80];
	unsigned int fds;

	bed_enable(bed, 1, 5);
	fds = bed_open_fds();
	lose_broker(bed);
	snprintf(away, sizeof(away), "%s.away", peer->path);
	assert_int_equal(rename(peer->path, away), 0);
	assert_int_equal(pvsched_vm__rejoin(bed->vm), -ENOENT);
	assert_int_equal(rename(away, peer->path), 0);
	peer->hang_up[PVSCHED_MSG_HELLO] = true;
	assert_int_equal(pvsched_vm__rejoin(bed->vm), -EPIPE);
	peer->hang_up[PVSCHED_MSG_HELLO] = false;
	/* one that has no room for all of the VM gets none of it */
	peer->error[PVSCHED_MSG_ADD_VCPU] = -ENOSPC;
	assert_int_equal(pvsched_vm__rejoin(bed->vm), -ENOSPC);
	peer->error[PVSCHED_MSG_ADD_VCPU] = 0;
	assert_int_equal(pvsched_vm__dispatch(bed->vm), -EPIPE);
	/* and one that cannot enable a page that it took over */
	peer->error[PVSCHED_MSG_ENABLE] = -ENOMEM;
	assert_int_equal(pvsched_vm__rejoin(bed->vm), -ENOMEM);
	peer->error[PVSCHED_MSG_ENABLE] = 0;
	assert_int_equal(bed_page(bed, 5)->status, PVSCHED_PAGE_PAUSED);
	assert_int_equal(bed->warnings, 1); /* told once */

	assert_int_equal(pvsched_vm__rejoin(bed->vm), 0);
	assert_int_equal(bed_page(bed, 5)->status, PVSCHED_PAGE_ENABLED);
	assert_shared(bed, 1, 5, 5);
	assert_true(bed_open_fds() <=
		    fds + 1); /* the peer may still hold its end of the last try */
}

static void rejoin_finds_what_the_guest_gave_up_meanwhile(void **state)
{
	struct bed *bed = *state;

	bed_enable(bed, 1, 5);
	lose_broker(bed);
	assert_int_equal(guest_command(bed->vm, 1, PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
	assert_int_equal(bed_page(bed, 5)->status, PVSCHED_PAGE_OFF);
	guest_prepare(bed->vm, bed_page(bed, 5), 1);
	assert_int_equal(guest_register(bed->vm, 1, BED_GFN + 5), PVSCHED_R_HOST);
	assert_int_equal(pvsched_vm__remove_vcpu(bed->vm, 3), 0);
	assert_int_equal(pvsched_vm__rejoin(bed->vm), 0);
	assert_int_equal(bed->peer->count[PVSCHED_MSG_ADD_VCPU], 3 * BED_VCPUS - 1);
	assert_int_equal(bed->peer->count[PVSCHED_MSG_ENABLE], 1);
	guest_prepare(bed->vm, bed_page(bed, 5), 1);
	assert_int_equal(guest_register(bed->vm, 1, BED_GFN + 5), PVSCHED_R_OK);
	assert_int_equal(guest_enable(bed->vm, 1, bed_page(bed, 5)), PVSCHED_R_OK);
	assert_shared(bed, 1, 5, 5);
}

static int mremaps_that_fail;

void *__real_mremap(void *old, size_t size, size_t new_size, int flags, void *to);
void *__wrap_mremap(void *old, size_t size, size_t new_size, int flags, void *to);
void *__wrap_mremap(void *old, size_t size, size_t new_size, int flags, void *to)
{
	if (!mremaps_that_fail)
		return __real_mremap(old, size, new_size, flags, to);
	mremaps_that_fail--;
	errno = ENOMEM;
	return MAP_FAILED;
}

static void assert_filled(const void *page, unsigned char value)
{
	for (size_t i = 0; i < PVSCHED_PAGE_SIZE; i++)
		assert_int_equal(((const unsigned char *)page)[i], value);
}

/* At the limit of mappings, and without the reserve: the guest has its page all the same. */
static void rejoin_writes_nothing_into_a_page_that_could_not_be_given_back(void **state)
{
	struct bed *bed = *state;

	bed_enable(bed, 1, 5);
	mremaps_that_fail = 2;
	assert_int_equal(guest_command(bed->vm, 1, PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
	assert_int_equal(mremaps_that_fail, 0);
	memset(bed_page(bed, 5), 0x5a, PVSCHED_PAGE_SIZE);
	lose_broker(bed);
	assert_filled(bed_page(bed, 5), 0x5a);
	assert_int_equal(pvsched_vm__rejoin(bed->vm), 0);
	assert_filled(bed_page(bed, 5), 0x5a);
	assert_int_equal(bed->peer->count[PVSCHED_MSG_REMOVE_VCPU], BED_VCPUS + 1);
	/* it goes without; the others do not */
	guest_prepare(bed->vm, bed_page(bed, 6), 1);
	assert_int_equal(guest_register(bed->vm, 1, BED_GFN + 6), PVSCHED_R_HOST);
	guest_prepare(bed->vm, bed_page(bed, 7), 2);
	assert_int_equal(guest_register(bed->vm, 2, BED_GFN + 7), PVSCHED_R_OK);
	assert_int_equal(guest_enable(bed->vm, 2, bed_page(bed, 7)), PVSCHED_R_OK);
	assert_shared(bed, 2, 7, 5);
}

static void rejoin_of_a_broker_that_offers_less_needs_a_reset(void **state)
{
	struct bed *bed = *state;

	bed_enable(bed, 1, 5);
	lose_broker(bed);
	bed->peer->features = PVSCHED_F_TICKET;
	assert_int_equal(pvsched_vm__rejoin(bed->vm), 0);
	assert_int_equal(bed_page(bed, 5)->status, PVSCHED_PAGE_OFF);
	assert_true(guest_read(bed->vm, PVSCHED_REG_STATUS) & PVSCHED_S_NEEDS_RESET);
	assert_int_equal(guest_read(bed->vm, PVSCHED_REG_HOST_FEATURES), PVSCHED_F_TICKET);
	guest_write(bed->vm, PVSCHED_REG_STATUS, 0);
	bed_enable(bed, 1, 5);
	assert_shared(bed, 1, 5, 5);
}

static void rejoin_of_a_vmm_that_did_not_say_so_lets_the_guest_start_over(void **state)
{
	struct bed *bed = *state;

	bed_enable(bed, 1, 5);
	lose_broker(bed);
	assert_int_equal(bed_page(bed, 5)->status, PVSCHED_PAGE_OFF);
	assert_true(guest_read(bed->vm, PVSCHED_REG_STATUS) & PVSCHED_S_NEEDS_RESET);
	assert_int_equal(pvsched_vm__rejoin(bed->vm), 0);
	assert_true(guest_read(bed->vm, PVSCHED_REG_STATUS) & PVSCHED_S_NEEDS_RESET);
	assert_int_equal(bed->peer->count[PVSCHED_MSG_ENABLE], 1);
	guest_write(bed->vm, PVSCHED_REG_STATUS, 0);
	bed_enable(bed, 1, 5);
	assert_shared(bed, 1, 5, 5);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		CASE(rejoin_takes_enabled_pages_along),
		CASE(rejoin_takes_a_page_between_register_and_enable_along),
		CASE(rejoin_loses_nothing_that_the_guest_stores_meanwhile),
		CASE(rejoin_without_a_broker_fails_and_may_be_repeated),
		CASE(rejoin_finds_what_the_guest_gave_up_meanwhile),
		CASE(rejoin_writes_nothing_into_a_page_that_could_not_be_given_back),
		CASE(rejoin_of_a_broker_that_offers_less_needs_a_reset),
		cmocka_unit_test_setup_teardown(
			rejoin_of_a_vmm_that_did_not_say_so_lets_the_guest_start_over, bed_setup,
			bed_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
