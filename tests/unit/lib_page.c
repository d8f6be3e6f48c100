// SPDX-License-Identifier: GPL-2.0-only
/*
 * libpvsched with a guest: the shared page's life, what refuses one, what takes it away, and a
 * broker that fails in the middle of it. Memory here is this process's own; native tests do the
 * same with a VM and BPF maps.
 */
#include <helpers/lib_bed.h>

#include <poll.h>
#include <sys/wait.h>
#include <time.h>

/* What guest_prepare() wrote, and nothing of the host. */
static void assert_page_is_the_guests(const struct pvsched_page *page)
{
	assert_int_equal(page->magic, PVSCHED_MAGIC);
	assert_int_equal(page->current_task, 0x1111);
	assert_int_equal(page->pending, 0x2222);
	assert_int_equal(page->extension[471], 0x3333);
	assert_int_equal(page->status, PVSCHED_PAGE_OFF);
	assert_int_equal(page->nonce, 0);
	assert_int_equal(page->grant, 0);
}

static void page_registered_is_shared_with_the_broker(void **state)
{
	struct bed *bed = *state;
	struct pvsched_page *guest = bed_page(bed, 5), *host = bed->peer->page[1];

	assert_true(guest_negotiate(bed->vm) & PVSCHED_S_FEATURES_OK);
	guest_prepare(bed->vm, guest, 1);
	guest->grant = 0x4444; /* the guest has no say in the host's lines */
	assert_int_equal(guest_register(bed->vm, 1, BED_GFN + 5), PVSCHED_R_OK);
	assert_int_equal(guest_read(bed->vm, PVSCHED_REG_VCPU_STATE), PVSCHED_PAGE_ATTACHED);
	assert_int_equal(guest->status, PVSCHED_PAGE_ATTACHED);
	assert_true(guest->nonce != 0);
	assert_int_equal(guest->grant, 0);
	assert_int_equal(guest->current_task, 0x1111);
	assert_int_equal(guest->extension[471], 0x3333);
	assert_int_equal(bed->peer->count[PVSCHED_MSG_ENABLE], 0);

	assert_int_equal(guest_enable(bed->vm, 1, guest), PVSCHED_R_OK);
	assert_int_equal(guest->status, PVSCHED_PAGE_ENABLED);
	assert_int_equal(bed->peer->last[PVSCHED_MSG_ENABLE].index, 1);
	assert_int_equal(bed->peer->last[PVSCHED_MSG_ENABLE].enable.features, PEER_FEATURES);
	guest->context = PVSCHED_CTX_CRITICAL;
	assert_int_equal(host->context, PVSCHED_CTX_CRITICAL);
	host->grant = 0x5555;
	assert_int_equal(guest->grant, 0x5555);
	/* the neighbours are the guest's own as before */
	assert_int_equal(bed->ram[5 * PVSCHED_PAGE_SIZE - 1], 0x5a);
	assert_int_equal(bed->ram[6 * PVSCHED_PAGE_SIZE], 0x5a);
}

static void page_unregistered_is_the_guests_again(void **state)
{
	struct bed *bed = *state;
	struct pvsched_page *guest = bed_page(bed, 5), *host = bed->peer->page[1];

	bed_enable(bed, 1, 5);
	guest->ack = 0x6666;
	host->grant = 0x5555;
	assert_int_equal(guest_command(bed->vm, 1, PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
	assert_int_equal(bed->peer->count[PVSCHED_MSG_DISABLE], 1);
	assert_int_equal(bed->peer->last[PVSCHED_MSG_DISABLE].index, 1);
	assert_page_is_the_guests(guest);
	assert_int_equal(guest->ack, 0x6666);
	host->ack = 0x7777; /* a program of the broker that came too late */
	assert_int_equal(guest->ack, 0x6666);
	guest->current_task = 0x8888;
	assert_int_not_equal(host->current_task, 0x8888);
}

static void status_at(struct peer *peer, const struct pvsched_msg *msg)
{
	/* as BPF would find the page while the request is under way */
	peer->error[msg->type] = -(int)peer->page[msg->index]->status;
}

static void page_is_dead_before_the_broker_lets_go(void **state)
{
	struct bed *bed = *state;

	bed_enable(bed, 1, 5);
	bed->peer->on_request = status_at;
	assert_int_equal(guest_command(bed->vm, 1, PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
	assert_int_equal(bed->peer->error[PVSCHED_MSG_DISABLE], -PVSCHED_PAGE_DEAD);
	assert_page_is_the_guests(bed_page(bed, 5));
}

static void page_moved_often_costs_no_mapping(void **state)
{
	struct bed *bed = *state;
	const struct timespec one_token = { .tv_nsec = 21000000 };
	unsigned int before = bed_mappings();

	assert_true(guest_negotiate(bed->vm) & PVSCHED_S_FEATURES_OK);
	for (unsigned int i = 0; i < 30; i++) {
		uint32_t result;

		guest_prepare(bed->vm, bed_page(bed, 2 * i), 0);
		while ((result = guest_register(bed->vm, 0, BED_GFN + 2 * i)) == PVSCHED_R_RATE)
			nanosleep(&one_token, NULL); /* the limit is a rate: only time helps */
		assert_int_equal(result, PVSCHED_R_OK);
		assert_int_equal(guest_command(bed->vm, 0, PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
		assert_page_is_the_guests(bed_page(bed, 2 * i));
	}
	assert_in_range(bed_mappings(), 0, before + 2);
	assert_int_equal(bed->peer->count[PVSCHED_MSG_DISABLE], 0); /* never enabled */
}

/* Takes every mapping this process may have; munmap of what it returns gives them back. */
static void *fill_mappings(size_t *ret_size)
{
	FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
	size_t max = 0;
	char *all;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%zu", &max), 1);
	fclose(file);
	*ret_size = 2 * (max + 1) * PVSCHED_PAGE_SIZE;
	all = mmap(NULL, *ret_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(all, MAP_FAILED);
	for (size_t at = PVSCHED_PAGE_SIZE; at < *ret_size; at += 2 * PVSCHED_PAGE_SIZE) {
		if (mprotect(all + at, PVSCHED_PAGE_SIZE, PROT_READ))
			return all;
	}
	fail_msg("no limit found");
	return NULL;
}

static void page_at_the_limit_of_mappings_is_given_back(void **state)
{
	struct bed *bed = *state;
	size_t size;
	void *all;

	bed_enable(bed, 1, 5);
	all = fill_mappings(&size);
	assert_int_equal(guest_command(bed->vm, 1, PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
	bed->peer->page[1]->ack = 0x7777;
	munmap(all, size);
	assert_page_is_the_guests(bed_page(bed, 5));
	assert_int_equal(bed_page(bed, 5)->ack, 0);
	assert_int_equal(pvsched_vm__remove_vcpu(bed->vm, 1), 0);
}

static void page_at_the_limit_of_mappings_is_not_attached(void **state)
{
	struct bed *bed = *state;
	size_t size;
	void *all;

	assert_true(guest_negotiate(bed->vm) & PVSCHED_S_FEATURES_OK);
	guest_prepare(bed->vm, bed_page(bed, 5), 1);
	all = fill_mappings(&size);
	assert_int_equal(guest_register(bed->vm, 1, BED_GFN + 5), PVSCHED_R_HOST);
	munmap(all, size);
	assert_page_is_the_guests(bed_page(bed, 5));
	assert_int_equal(guest_register(bed->vm, 1, BED_GFN + 5), PVSCHED_R_OK);
}

static void page_of_a_file_goes_back_to_the_file(void **state)
{
	struct bed *bed = *state;
	uint64_t gpa = BED_GPA + BED_SIZE, word;
	int fd = memfd_create("ram", MFD_CLOEXEC);
	struct pvsched_page *ram;

	assert_int_equal(ftruncate(fd, 4 * PVSCHED_PAGE_SIZE), 0);
	ram = mmap(NULL, 3 * PVSCHED_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   PVSCHED_PAGE_SIZE);
	assert_ptr_not_equal(ram, MAP_FAILED);
	assert_int_equal(pvsched_vm__add_memory(bed->vm, gpa, 3 * PVSCHED_PAGE_SIZE, ram, fd,
						PVSCHED_PAGE_SIZE, 0),
			 0);
	assert_true(guest_negotiate(bed->vm) & PVSCHED_S_FEATURES_OK);
	guest_prepare(bed->vm, ram + 1, 2);
	assert_int_equal(guest_register(bed->vm, 2, gpa / PVSCHED_PAGE_SIZE + 1), PVSCHED_R_OK);
	ram[1].ack = 0x9999;
	assert_int_equal(bed->peer->page[2]->ack, 0x9999);
	assert_int_equal(guest_command(bed->vm, 2, PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
	assert_page_is_the_guests(ram + 1);
	assert_int_equal(
		pread(fd, &word, 8, 2 * PVSCHED_PAGE_SIZE + offsetof(struct pvsched_page, ack)), 8);
	assert_int_equal(word, 0x9999);
	ram[1].ack = 0xaaaa;
	assert_int_equal(
		pread(fd, &word, 8, 2 * PVSCHED_PAGE_SIZE + offsetof(struct pvsched_page, ack)), 8);
	assert_int_equal(word, 0xaaaa);
	assert_int_equal(pvsched_vm__del_memory(bed->vm, gpa), 0);
	munmap(ram, 3 * PVSCHED_PAGE_SIZE);
	close(fd);
}

static void page_is_not_inherited_by_a_child(void **state)
{
	struct bed *bed = *state;
	int status;
	pid_t child;

	bed_enable(bed, 0, 7);
	child = fork();
	if (!child)
		_exit(msync(bed_page(bed, 7), PVSCHED_PAGE_SIZE, MS_ASYNC) && errno == ENOMEM ? 0
											      : 1);
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void register_outside_memory_is_refused(void **state)
{
	struct bed *bed = *state;

	assert_true(guest_negotiate(bed->vm) & PVSCHED_S_FEATURES_OK);
	assert_int_equal(guest_register(bed->vm, 0, BED_GFN - 1), PVSCHED_R_BAD_GFN);
	assert_int_equal(guest_register(bed->vm, 0, BED_GFN + BED_PAGES), PVSCHED_R_BAD_GFN);
	assert_int_equal(guest_register(bed->vm, 0, UINT64_MAX), PVSCHED_R_BAD_GFN);
	/* shifted left by 12 it would be a good one */
	assert_int_equal(guest_register(bed->vm, 0, (1ull << 52) + BED_GFN), PVSCHED_R_BAD_GFN);
}

static uint32_t register_in_slot(struct bed *bed, void *hva, int fd, unsigned int flags)
{
	uint64_t gpa = BED_GPA + BED_SIZE;
	uint32_t result;

	assert_int_equal(pvsched_vm__add_memory(bed->vm, gpa, PVSCHED_PAGE_SIZE, hva, fd, 0, flags),
			 0);
	assert_true(guest_negotiate(bed->vm) & PVSCHED_S_FEATURES_OK);
	result = guest_register(bed->vm, 0, gpa / PVSCHED_PAGE_SIZE);
	assert_int_equal(pvsched_vm__del_memory(bed->vm, gpa), 0);
	return result;
}

static void register_in_read_only_slot_is_refused(void **state)
{
	struct bed *bed = *state;

	assert_int_equal(register_in_slot(bed, bed->ram, -1, PVSCHED_MEM_READONLY),
			 PVSCHED_R_READ_ONLY);
}

static void register_in_private_slot_is_refused_untouched(void **state)
{
	struct bed *bed = *state;
	void *none = mmap(NULL, PVSCHED_PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(none, MAP_FAILED);
	assert_int_equal(register_in_slot(bed, none, -1, PVSCHED_MEM_PRIVATE), PVSCHED_R_PRIVATE);
	munmap(none, PVSCHED_PAGE_SIZE);
}

static void register_in_hugetlb_file_is_refused_untouched(void **state)
{
	struct bed *bed = *state;
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	void *none = mmap(NULL, PVSCHED_PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (fd < 0)
		skip(); /* a kernel without hugetlbfs has no such backing */
	assert_int_equal(register_in_slot(bed, none, fd, 0), PVSCHED_R_HUGETLB);
	munmap(none, PVSCHED_PAGE_SIZE);
	close(fd);
}

static void register_of_vcpu_not_added_is_refused(void **state)
{
	struct bed *bed = *state;

	assert_int_equal(pvsched_vm__remove_vcpu(bed->vm, 3), 0);
	assert_true(guest_negotiate(bed->vm) & PVSCHED_S_FEATURES_OK);
	guest_prepare(bed->vm, bed_page(bed, 4), 3);
	assert_int_equal(guest_register(bed->vm, 3, BED_GFN + 4), PVSCHED_R_BAD_VCPU);
	assert_int_equal(bed_page(bed, 4)->current_task, 0x1111);
}

static void register_of_aliased_memory_is_refused(void **state)
{
	struct bed *bed = *state;
	uint64_t alias = BED_GPA + BED_SIZE;

	assert_int_equal(pvsched_vm__add_memory(bed->vm, alias, BED_SIZE, bed->ram, -1, 0, 0), 0);
	bed_enable(bed, 0, 9);
	bed_page(bed, 9)->vcpu_id = 1;
	assert_int_equal(guest_register(bed->vm, 1, alias / PVSCHED_PAGE_SIZE + 9),
			 PVSCHED_R_IN_USE);
	assert_int_equal(guest_register(bed->vm, 1, BED_GFN + 9), PVSCHED_R_IN_USE);
}

static void register_too_often_is_refused_until_later(void **state)
{
	struct bed *bed = *state;
	const struct timespec one_token = { .tv_nsec = 21000000 };
	struct pvsched_device_stats stats = { .sz = sizeof(stats) };
	uint32_t result = PVSCHED_R_BAD_GFN;
	int n = 0;

	assert_true(guest_negotiate(bed->vm) & PVSCHED_S_FEATURES_OK);
	while (n < 1000 && result == PVSCHED_R_BAD_GFN) {
		result = guest_register(bed->vm, 0, 0);
		n++;
	}
	assert_int_equal(result, PVSCHED_R_RATE);
	assert_true(n > 2 * BED_VCPUS);
	nanosleep(&one_token, NULL);
	assert_int_equal(guest_register(bed->vm, 0, 0), PVSCHED_R_BAD_GFN);
	assert_int_equal(pvsched_vm__device_stats(bed->vm, &stats), 0);
	assert_int_equal(stats.errors[PVSCHED_R_RATE], 1);
	assert_int_equal(stats.errors[PVSCHED_R_BAD_GFN], n);
	assert_int_equal(stats.features, PEER_FEATURES);
	assert_int_equal(stats.protocol, PVSCHED_PROTO_BASE);
}

static void nonce_wrong_takes_the_page_away(void **state)
{
	struct bed *bed = *state;
	struct pvsched_page *guest = bed_page(bed, 5), echo;

	assert_true(guest_negotiate(bed->vm) & PVSCHED_S_FEATURES_OK);
	guest_prepare(bed->vm, guest, 1);
	assert_int_equal(guest_register(bed->vm, 1, BED_GFN + 5), PVSCHED_R_OK);
	echo = *guest;
	echo.nonce++;
	assert_int_equal(guest_enable(bed->vm, 1, &echo), PVSCHED_R_BAD_NONCE);
	assert_page_is_the_guests(guest);
	assert_int_equal(bed->peer->count[PVSCHED_MSG_ENABLE], 0);
}

static void enable_refused_by_the_broker_takes_the_page_away(void **state)
{
	struct bed *bed = *state;
	struct pvsched_page *guest = bed_page(bed, 5);

	bed->peer->error[PVSCHED_MSG_ENABLE] = -EBUSY;
	assert_true(guest_negotiate(bed->vm) & PVSCHED_S_FEATURES_OK);
	guest_prepare(bed->vm, guest, 1);
	assert_int_equal(guest_register(bed->vm, 1, BED_GFN + 5), PVSCHED_R_OK);
	assert_int_equal(guest_enable(bed->vm, 1, guest), PVSCHED_R_HOST);
	assert_page_is_the_guests(guest);
	assert_int_equal(bed->peer->count[PVSCHED_MSG_DISABLE], 0);
}

static void doorbell_written_to_the_bar_rings_the_eventfd(void **state)
{
	struct bed *bed = *state;
	uint32_t any = 0;
	uint64_t rung = 0;
	int fd = pvsched_vm__doorbell_fd(bed->vm, 1);

	assert_int_equal(pvsched_vm__doorbell_fd(bed->vm, 1), fd);
	pvsched_vm__bar_write(bed->vm, PVSCHED_REG_DOORBELL + 4, &any, 4);
	assert_int_equal(read(fd, &rung, 8), -1); /* no page: nothing to ring for */
	assert_int_equal(errno, EAGAIN);
	bed_enable(bed, 1, 5);
	pvsched_vm__bar_write(bed->vm, PVSCHED_REG_DOORBELL + 4, &any, 4);
	pvsched_vm__bar_write(bed->vm, PVSCHED_REG_DOORBELL + 4, &any, 4);
	assert_int_equal(read(fd, &rung, 8), 8);
	assert_int_equal(rung, 2);
}

static void taken_away_by_bus_master(struct bed *bed)
{
	pvsched_vm__set_bus_master(bed->vm, false);
}

static void taken_away_by_config_space(struct bed *bed)
{
	uint16_t command = 0x6;
	uint64_t bar = 1;

	pvsched_vm__config_write(bed->vm, 4, &command, 2, &bar);
	assert_int_equal(bar, 0); /* decoding is on, but no address is placed */
	command = 0x2;
	pvsched_vm__config_write(bed->vm, 4, &command, 2, NULL);
}

static void taken_away_by_reset(struct bed *bed)
{
	uint16_t command;

	pvsched_vm__reset(bed->vm);
	pvsched_vm__config_read(bed->vm, 4, &command, 2);
	assert_int_equal(command, 0);
	assert_int_equal(guest_read(bed->vm, PVSCHED_REG_STATUS), 0);
}

static void taken_away_by_status_zero(struct bed *bed)
{
	guest_write(bed->vm, PVSCHED_REG_STATUS, 0);
	assert_int_equal(guest_read(bed->vm, PVSCHED_REG_EPOCH), 1);
}

static void taken_away_by_del_memory(struct bed *bed)
{
	assert_int_equal(pvsched_vm__del_memory(bed->vm, BED_GPA), 0);
}

static void taken_away_by_remove_vcpu(struct bed *bed)
{
	assert_int_equal(pvsched_vm__remove_vcpu(bed->vm, 1), 0);
	assert_int_equal(bed->peer->count[PVSCHED_MSG_REMOVE_VCPU], 1);
}

static void taken_away_by_close(struct bed *bed)
{
	pvsched_vm__close(bed->vm);
	assert_int_equal(bed->peer->count[PVSCHED_MSG_REMOVE_VCPU], BED_VCPUS);
	bed->vm = NULL;
}

static void page_taken_away_is_the_guests_again(void **state)
{
	void (*const ways[])(struct bed * bed) = {
		taken_away_by_bus_master,  taken_away_by_config_space, taken_away_by_reset,
		taken_away_by_status_zero, taken_away_by_del_memory,   taken_away_by_remove_vcpu,
		taken_away_by_close,
	};
	void *inner;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct bed *bed;

		assert_int_equal(bed_setup(&inner), 0);
		bed = inner;
		bed_enable(bed, 1, 5);
		ways[i](bed);
		assert_int_equal(bed->peer->count[PVSCHED_MSG_DISABLE], 1);
		assert_page_is_the_guests(bed_page(bed, 5));
		if (bed->vm) {
			guest_write(bed->vm, PVSCHED_REG_VCPU_SELECT, 1);
			assert_int_equal(guest_read(bed->vm, PVSCHED_REG_VCPU_STATE),
					 PVSCHED_PAGE_OFF);
		}
		bed_teardown(&inner);
	}
}

static void assert_vm_goes_on_alone(struct bed *bed)
{
	struct pvsched_vcpu_stats stats = { .sz = sizeof(stats) };

	assert_page_is_the_guests(bed_page(bed, 5));
	assert_true(guest_read(bed->vm, PVSCHED_REG_STATUS) & PVSCHED_S_NEEDS_RESET);
	assert_int_equal(bed->warnings, 1);
	assert_int_equal(pvsched_vm__dispatch(bed->vm), -EPIPE);
	assert_int_equal(pvsched_vm__vcpu_stats(bed->vm, 1, &stats), -EPIPE);
	guest_write(bed->vm, PVSCHED_REG_STATUS, 0);
	assert_true(guest_negotiate(bed->vm) & PVSCHED_S_FEATURES_OK);
	guest_prepare(bed->vm, bed_page(bed, 5), 1);
	assert_int_equal(guest_register(bed->vm, 1, BED_GFN + 5), PVSCHED_R_HOST);
	assert_page_is_the_guests(bed_page(bed, 5));
	assert_int_equal(pvsched_vm__remove_vcpu(bed->vm, 1), 0);
	assert_int_equal(pvsched_vm__add_vcpu(bed->vm, 1, gettid(), 1, bed->vcpu_fd), -EPIPE);
	assert_int_equal(bed->warnings, 1);
}

static void broker_dying_is_seen_by_poll_and_dispatch(void **state)
{
	struct bed *bed = *state;
	struct pollfd pfd = { .fd = pvsched_vm__poll_fd(bed->vm), .events = POLLIN };

	bed_enable(bed, 1, 5);
	assert_int_equal(poll(&pfd, 1, 0), 0);
	assert_int_equal(pvsched_vm__dispatch(bed->vm), 0);
	peer_hang_up(bed->peer);
	assert_int_equal(poll(&pfd, 1, 2000), 1);
	assert_int_equal(pvsched_vm__dispatch(bed->vm), -EPIPE);
	assert_int_equal(pvsched_vm__poll_fd(bed->vm), pfd.fd);
	assert_vm_goes_on_alone(bed);
}

static void broker_dying_in_a_request_is_seen(void **state)
{
	struct bed *bed = *state;

	bed->peer->hang_up[PVSCHED_MSG_ENABLE] = true;
	assert_true(guest_negotiate(bed->vm) & PVSCHED_S_FEATURES_OK);
	guest_prepare(bed->vm, bed_page(bed, 5), 1);
	assert_int_equal(guest_register(bed->vm, 1, BED_GFN + 5), PVSCHED_R_OK);
	assert_int_equal(guest_enable(bed->vm, 1, bed_page(bed, 5)), PVSCHED_R_HOST);
	assert_vm_goes_on_alone(bed);
}

static void broker_silent_in_a_request_counts_as_gone(void **state)
{
	struct bed *bed = *state;
	struct timespec from, to;
	int64_t ms;

	bed_enable(bed, 1, 5);
	bed_enable(bed, 2, 6);
	bed->peer->silent[PVSCHED_MSG_DISABLE] = true;
	clock_gettime(CLOCK_MONOTONIC, &from);
	pvsched_vm__set_bus_master(bed->vm, false);
	clock_gettime(CLOCK_MONOTONIC, &to);
	ms = (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000;
	/* one limit for both pages */
	assert_in_range(ms, PVSCHED_TIMEOUT_MS - 1, 2 * PVSCHED_TIMEOUT_MS - 1);
	assert_page_is_the_guests(bed_page(bed, 6));
	assert_vm_goes_on_alone(bed);
}

/* Of what nobody asked for, and never nothing. */
static bool talks;

ssize_t __real_recvmsg(int fd, struct msghdr *hdr, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *hdr, int flags);

ssize_t __wrap_recvmsg(int fd, struct msghdr *hdr, int flags)
{
	const struct pvsched_msg other = { .type = PVSCHED_MSG_STATS, .seq = ~0u };

	if (!talks || !(flags & MSG_DONTWAIT)) /* which is the library's */
		return __real_recvmsg(fd, hdr, flags);
	memcpy(hdr->msg_iov->iov_base, &other, sizeof(other));
	hdr->msg_controllen = 0;
	hdr->msg_flags = 0;
	return sizeof(other);
}

static void broker_that_talks_on_counts_as_gone(void **state)
{
	struct bed *bed = *state;

	bed_enable(bed, 1, 5);
	talks = true;
	assert_int_equal(pvsched_vm__dispatch(bed->vm), 0); /* and is heard no further now */
	pvsched_vm__set_bus_master(bed->vm, false);
	talks = false;
	assert_page_is_the_guests(bed_page(bed, 5));
	assert_vm_goes_on_alone(bed);
}

static void broker_talking_nonsense_counts_as_gone(void **state)
{
	const size_t ways[] = { offsetof(struct peer, short_reply),
				offsetof(struct peer, wrong_type) };
	void *inner;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct bed *bed;
		bool *way;

		assert_int_equal(bed_setup(&inner), 0);
		bed = inner;
		way = (bool *)((char *)bed->peer + ways[i]);
		bed_enable(bed, 1, 5);
		way[PVSCHED_MSG_DISABLE] = true;
		assert_int_equal(guest_command(bed->vm, 1, PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
		assert_vm_goes_on_alone(bed);
		bed_teardown(&inner);
	}
}

static void broker_error_out_of_range_counts_as_gone(void **state)
{
	struct bed *bed = *state;

	bed_enable(bed, 1, 5);
	bed->peer->error[PVSCHED_MSG_DISABLE] = 5;
	assert_int_equal(guest_command(bed->vm, 1, PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
	assert_vm_goes_on_alone(bed);
}

static void broker_reply_to_nobody_is_dropped(void **state)
{
	struct bed *bed = *state;
	struct pvsched_msg stray = { .type = PVSCHED_MSG_STATS, .seq = 12345 };
	struct pollfd pfd = { .fd = pvsched_vm__poll_fd(bed->vm), .events = POLLIN };
	unsigned int fds = bed_open_fds();

	bed->peer->stale_first[PVSCHED_MSG_ENABLE] = true;
	bed_enable(bed, 1, 5);
	assert_int_equal(bed_open_fds(), fds);
	peer_send(bed->peer, &stray, sizeof(stray), &bed->peer->listener, 1);
	assert_int_equal(poll(&pfd, 1, 2000), 1);
	assert_int_equal(pvsched_vm__dispatch(bed->vm), 0);
	assert_int_equal(poll(&pfd, 1, 0), 0);
	assert_int_equal(bed_open_fds(), fds);
	assert_int_equal(guest_command(bed->vm, 1, PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
}

static void broker_second_descriptor_is_closed(void **state)
{
	struct bed *bed = *state;
	unsigned int fds;

	fds = bed_open_fds();
	assert_int_equal(pvsched_vm__remove_vcpu(bed->vm, 1), 0);
	bed->peer->two_fds = true;
	assert_int_equal(pvsched_vm__add_vcpu(bed->vm, 1, gettid(), 1, bed->vcpu_fd), 0);
	assert_int_equal(bed_open_fds(), fds);
}

/* Threads that fight over one VM: a mutex inside makes it legal; run under helgrind to see more. */
static void *ring_and_read(void *arg)
{
	struct bed *bed = arg;
	struct pvsched_vcpu_stats stats = { .sz = sizeof(stats) };

	for (int i = 0; i < 200; i++) {
		guest_write(bed->vm, PVSCHED_REG_DOORBELL + 4, 0);
		guest_read(bed->vm, PVSCHED_REG_STATUS);
		if (pvsched_vm__vcpu_stats(bed->vm, 1, &stats) || pvsched_vm__dispatch(bed->vm))
			return bed;
	}
	return NULL;
}

static void calls_from_many_threads_are_serialised(void **state)
{
	struct bed *bed = *state;
	pthread_t threads[4];
	void *failed;

	bed_enable(bed, 1, 5);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ring_and_read, bed), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	assert_int_equal(bed_page(bed, 5)->status, PVSCHED_PAGE_ENABLED);
}

#define WITH_VM(test) cmocka_unit_test_setup_teardown(test, bed_setup, bed_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_VM(page_registered_is_shared_with_the_broker),
		WITH_VM(page_unregistered_is_the_guests_again),
		WITH_VM(page_is_dead_before_the_broker_lets_go),
		WITH_VM(page_moved_often_costs_no_mapping),
		WITH_VM(page_at_the_limit_of_mappings_is_given_back),
		WITH_VM(page_at_the_limit_of_mappings_is_not_attached),
		WITH_VM(page_of_a_file_goes_back_to_the_file),
		WITH_VM(page_is_not_inherited_by_a_child),
		WITH_VM(register_outside_memory_is_refused),
		WITH_VM(register_in_read_only_slot_is_refused),
		WITH_VM(register_in_private_slot_is_refused_untouched),
		WITH_VM(register_in_hugetlb_file_is_refused_untouched),
		WITH_VM(register_of_vcpu_not_added_is_refused),
		WITH_VM(register_of_aliased_memory_is_refused),
		WITH_VM(register_too_often_is_refused_until_later),
		WITH_VM(nonce_wrong_takes_the_page_away),
		WITH_VM(enable_refused_by_the_broker_takes_the_page_away),
		WITH_VM(doorbell_written_to_the_bar_rings_the_eventfd),
		cmocka_unit_test(page_taken_away_is_the_guests_again),
		WITH_VM(broker_dying_is_seen_by_poll_and_dispatch),
		WITH_VM(broker_dying_in_a_request_is_seen),
		WITH_VM(broker_silent_in_a_request_counts_as_gone),
		WITH_VM(broker_that_talks_on_counts_as_gone),
		cmocka_unit_test(broker_talking_nonsense_counts_as_gone),
		WITH_VM(broker_error_out_of_range_counts_as_gone),
		WITH_VM(broker_reply_to_nobody_is_dropped),
		WITH_VM(broker_second_descriptor_is_closed),
		WITH_VM(calls_from_many_threads_are_serialised),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
