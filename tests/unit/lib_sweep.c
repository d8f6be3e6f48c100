// SPDX-License-Identifier: GPL-2.0-only
/*
 * libpvsched when the system fails it: every allocation and every system call of a VM's whole life
 * fails once, one life each. Whatever fails, each function returns an error that it may return, and
 * in the end the guest has its memory, and no descriptor, mapping or block of memory is left.
 */
/* timeout: 120 */
#include <helpers/lib_bed.h>

#include <helpers/fail.h>

#include <malloc.h>
#include <poll.h>

#define PATIENCE 5000 /* ms: the broker's end notices later than we do */

static struct bed bed;
static int ram_fd;

static void ok_or_error(int err)
{
	assert_true(err <= 0 && err > -4096);
}

/* What is the test's own does not count. */
static struct pvsched_page *prepare(unsigned int vcpu, unsigned int page)
{
	fail_mine = false;
	guest_prepare(bed.vm, bed_page(&bed, page), vcpu);
	fail_mine = true;
	return bed_page(&bed, page);
}

static void share(unsigned int vcpu, unsigned int page)
{
	prepare(vcpu, page);
	if (guest_register(bed.vm, vcpu, BED_GFN + page) == PVSCHED_R_OK)
		guest_enable(bed.vm, vcpu, bed_page(&bed, page));
}

static void lose_broker(void)
{
	struct pollfd pfd = { .fd = pvsched_vm__poll_fd(bed.vm), .events = POLLIN };

	fail_mine = false;
	peer_hang_up(bed.peer);
	assert_int_equal(poll(&pfd, 1, PATIENCE), 1);
	fail_mine = true;
	assert_int_equal(pvsched_vm__dispatch(bed.vm), -EPIPE);
	ok_or_error(pvsched_vm__rejoin(bed.vm));
}

static void live(void)
{
	struct pvsched_vcpu_stats stats = { .sz = sizeof(stats) };
	struct pvsched_device_stats device = { .sz = sizeof(device) };
	uint32_t command = 6; /* decoding, bus master */
	uint64_t bar;

	bed.vm = bed_open(&bed);
	if (!bed.vm) {
		ok_or_error(-errno);
		return;
	}
	ok_or_error(pvsched_vm__add_memory(bed.vm, BED_GPA, BED_SIZE, bed.ram, ram_fd, 0, 0));
	for (unsigned int i = 0; i < 2; i++)
		ok_or_error(pvsched_vm__add_vcpu(bed.vm, i, gettid(), i, bed.vcpu_fd));
	pvsched_vm__config_write(bed.vm, 4, &command, 2, &bar);
	guest_negotiate(bed.vm);
	for (unsigned int i = 0; i < 2; i++)
		share(i, 5 + i);
	guest_write(bed.vm, PVSCHED_REG_DOORBELL, 0);
	guest_write(bed.vm, PVSCHED_REG_DOORBELL + 4 * 2,
		    0); /* none of a page, and no vCPU's yet */
	ok_or_error(pvsched_vm__vcpu_stats(bed.vm, 0, &stats));
	assert_int_equal(pvsched_vm__device_stats(bed.vm, &device), 0);
	guest_command(bed.vm, 0, PVSCHED_CMD_UNREGISTER);
	share(0, 7);
	lose_broker();
	share(0, 7);
	pvsched_vm__doorbell_fd(bed.vm, 3);
	ok_or_error(pvsched_vm__remove_vcpu(bed.vm, 1));
	pvsched_vm__set_bus_master(bed.vm, false);
	pvsched_vm__reset(bed.vm);
	ok_or_error(pvsched_vm__del_memory(bed.vm, BED_GPA));
	pvsched_vm__close(bed.vm);
}

struct held {
	unsigned int fds, mappings;
	long allocated;
};

static struct held held(void)
{
	return (struct held){ bed_open_fds(), bed_mappings(),
			      __atomic_load_n(&fail.allocated, __ATOMIC_RELAXED) };
}

static void assert_nothing_is_left(const struct held *before)
{
	struct held now;

	for (int ms = 0; ms < PATIENCE; ms++) {
		now = held();
		if (!memcmp(&now, before, sizeof(now)))
			break;
		usleep(1000);
	}
	assert_int_equal(now.fds, before->fds);
	assert_int_equal(now.mappings, before->mappings);
	assert_int_equal(now.allocated, before->allocated);
	for (unsigned int page = 0; page < BED_PAGES; page++) {
		struct pvsched_page *guest = bed_page(&bed, page);

		guest->extension[0] = 0x600d0000 + page;
		for (unsigned int i = 0; i < 2; i++)
			assert_int_not_equal(bed.peer->page[i]->extension[0], 0x600d0000 + page);
	}
}

/* A page that the guest had prepared is there as it was, without a trace of the host. */
static void assert_memory_is_the_guests(void)
{
	for (unsigned int page = 5; page < 8; page++) {
		struct pvsched_page *guest = bed_page(&bed, page);

		if (guest->magic != PVSCHED_MAGIC)
			continue;
		assert_int_equal(guest->current_task, 0x1111);
		assert_int_equal(guest->extension[471], 0x3333);
		assert_int_equal(guest->status, PVSCHED_PAGE_OFF);
		assert_int_equal(guest->nonce, 0);
	}
}

static void sweep(bool rejoin)
{
	struct held before;
	int n;

	bed.rejoin = rejoin;
	live(); /* once for what is made once: stdio, the broker's maps */
	live();
	while (__atomic_load_n(&bed.peer->connected, __ATOMIC_ACQUIRE))
		sched_yield(); /* the other end of what was closed is closed soon */
	before = held();
	for (n = 1; n < 10000; n++) {
		memset(bed.ram, 0, BED_SIZE);
		fail_arm(n);
		fail_mine = true;
		live();
		fail_mine = false;
		if (!fail_disarm())
			break;
		print_message("# %d: %s\n", n, fail_what());
		assert_memory_is_the_guests();
		assert_nothing_is_left(&before);
	}
	print_message("# %d calls\n", n - 1);
	assert_in_range(n, 60, 9999);
}

static void lib_each_call_that_fails_leaves_nothing_behind(void **state)
{
	(void)state;
	sweep(false);
}

static void lib_each_call_that_fails_before_a_rejoin_leaves_nothing_behind(void **state)
{
	(void)state;
	sweep(true);
}

static int setup(void **state)
{
	(void)state;
	mallopt(M_ARENA_MAX, 1); /* another thread's first malloc() maps an arena else */
	bed.peer = peer_start();
	bed.vcpu_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	ram_fd = memfd_create("ram", MFD_CLOEXEC);
	if (!bed.peer || bed.vcpu_fd < 0 || ram_fd < 0 || ftruncate(ram_fd, BED_SIZE))
		return -1;
	bed.peer->fresh_maps = true;
	bed.ram = mmap(NULL, BED_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ram_fd, 0);
	return bed.ram == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	peer_stop(bed.peer);
	munmap(bed.ram, BED_SIZE);
	close(ram_fd);
	close(bed.vcpu_fd);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lib_each_call_that_fails_leaves_nothing_behind),
		cmocka_unit_test(lib_each_call_that_fails_before_a_rejoin_leaves_nothing_behind),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
