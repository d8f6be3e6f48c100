// SPDX-License-Identifier: GPL-2.0-only
/* libpvsched without a guest: opening, memory slots, vCPU threads, statistics, names. */
#include <helpers/lib_bed.h>

#include <sys/wait.h>

/* Options as a program of another version has them: more or fewer bytes. */
struct newer_opts {
	struct pvsched_vm_opts opts;
	uint64_t unknown;
};

static int open_errno(const void *opts)
{
	struct pvsched_vm *vm;

	errno = 0;
	vm = pvsched_vm__open(opts);
	if (vm)
		pvsched_vm__close(vm);
	return vm ? 0 : errno;
}

static struct pvsched_vm_opts opts_of(struct bed *bed)
{
	return (struct pvsched_vm_opts){
		.sz = sizeof(struct pvsched_vm_opts),
		.socket = bed->peer->path,
		.vcpus = 1,
	};
}

static void open_bad_options_are_refused(void **state)
{
	struct bed *bed = *state;
	struct pvsched_vm_opts opts = opts_of(bed);

	assert_int_equal(open_errno(NULL), EINVAL);
	opts.vcpus = 0;
	assert_int_equal(open_errno(&opts), EINVAL);
	opts.vcpus = PVSCHED_VCPUS_MAX + 1;
	assert_int_equal(open_errno(&opts), EINVAL);
	opts.vcpus = PVSCHED_VCPUS_MAX;
	assert_int_equal(open_errno(&opts), 0);
	opts.sz = sizeof(size_t) - 1;
	assert_int_equal(open_errno(&opts), EINVAL);
	opts.sz = sizeof(size_t); /* ends before vcpus */
	assert_int_equal(open_errno(&opts), EINVAL);
}

static void open_options_of_other_versions_are_understood(void **state)
{
	struct bed *bed = *state;
	struct newer_opts newer = { .opts = opts_of(bed) };

	newer.opts.sz = offsetof(struct pvsched_vm_opts, print);
	newer.opts.print_ctx = bed; /* beyond sz: not looked at */
	assert_int_equal(open_errno(&newer), 0);
	newer.opts.sz = sizeof(newer);
	assert_int_equal(open_errno(&newer), 0);
	newer.unknown = 1;
	assert_int_equal(open_errno(&newer), EINVAL);
}

static void open_without_broker_says_why(void **state)
{
	struct bed *bed = *state;
	struct pvsched_vm_opts opts = opts_of(bed);
	char path[200], dead[64];
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	opts.socket = "/nonexistent/broker.sock";
	assert_int_equal(open_errno(&opts), ENOENT);
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = 0;
	opts.socket = path;
	assert_int_equal(open_errno(&opts), ENAMETOOLONG);
	snprintf(dead, sizeof(dead), "%s/dead", bed->peer->dir);
	strcpy(addr.sun_path, dead);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	opts.socket = dead;
	assert_int_equal(open_errno(&opts), ECONNREFUSED);
	unlink(dead);
	close(fd);
}

static void open_socket_comes_from_the_environment(void **state)
{
	struct bed *bed = *state;
	struct pvsched_vm_opts opts = opts_of(bed);

	opts.socket = NULL;
	setenv("PVSCHED_SOCKET", "/nonexistent/broker.sock", 1);
	assert_int_equal(open_errno(&opts), ENOENT);
	setenv("PVSCHED_SOCKET", bed->peer->path, 1);
	assert_int_equal(open_errno(&opts), 0);
	unsetenv("PVSCHED_SOCKET");
}

static void open_broker_of_another_version_is_refused(void **state)
{
	struct bed *bed = *state;
	struct pvsched_vm_opts opts = opts_of(bed);

	bed->peer->version = PVSCHED_WIRE_VERSION + 1;
	assert_int_equal(open_errno(&opts), EPROTO);
}

static void open_refusal_of_the_broker_is_passed_on(void **state)
{
	struct bed *bed = *state;
	struct pvsched_vm_opts opts = opts_of(bed);

	bed->peer->error[PVSCHED_MSG_HELLO] = -EACCES;
	opts.print = bed_print;
	opts.print_ctx = bed;
	assert_int_equal(open_errno(&opts), EACCES);
	assert_int_equal(bed->warnings, 1);
	assert_int_equal(bed->peer->last[PVSCHED_MSG_HELLO].hello.vcpus, 1);
	assert_int_equal(bed->peer->last[PVSCHED_MSG_HELLO].hello.version, PVSCHED_WIRE_VERSION);
}

static void open_silent_broker_times_out(void **state)
{
	struct bed *bed = *state;
	struct pvsched_vm_opts opts = opts_of(bed);

	bed->peer->silent[PVSCHED_MSG_HELLO] = true;
	assert_int_equal(open_errno(&opts), ETIMEDOUT);
}

static void open_long_name_ends_at_a_character(void **state)
{
	struct bed *bed = *state;
	struct pvsched_vm_opts opts = opts_of(bed);
	char name[80];

	/* the 63 bytes that fit end inside the two bytes of an umlaut */
	memset(name, 'n', 62);
	strcpy(name + 62, "\xc3\xa4\xc3\xa4");
	opts.name = name;
	assert_int_equal(open_errno(&opts), 0);
	assert_int_equal(strlen(bed->peer->last[PVSCHED_MSG_HELLO].hello.name), 62);
	opts.name = NULL;
	assert_int_equal(open_errno(&opts), 0);
	assert_string_equal(bed->peer->last[PVSCHED_MSG_HELLO].hello.name,
			    program_invocation_short_name);
}

static void close_of_nothing_is_allowed(void **state)
{
	(void)state;
	pvsched_vm__close(NULL);
}

static void close_leaves_no_descriptor_and_no_mapping(void **state)
{
	struct bed *bed = *state;
	unsigned int fds, mappings;

	pvsched_vm__close(bed->vm);
	fds = bed_open_fds();
	mappings = bed_mappings();
	bed->vm = bed_open(bed);
	assert_non_null(bed->vm);
	for (unsigned int i = 0; i < BED_VCPUS; i++) {
		assert_int_equal(pvsched_vm__add_vcpu(bed->vm, i, gettid(), i, bed->vcpu_fd), 0);
		assert_true(pvsched_vm__doorbell_fd(bed->vm, i) >= 0);
	}
	pvsched_vm__close(bed->vm);
	bed->vm = NULL;
	assert_int_equal(bed->peer->count[PVSCHED_MSG_REMOVE_VCPU], 2 * BED_VCPUS);
	assert_true(bed_mappings() <= mappings);
	/* the peer closes its end of the connection when it is back in accept() */
	assert_true(bed_open_fds() <= fds + 1);
}

static void memory_not_aligned_is_refused(void **state)
{
	struct bed *bed = *state;
	uint8_t *hva = bed->ram;
	uint64_t free_gpa = BED_GPA + BED_SIZE;

	assert_int_equal(pvsched_vm__add_memory(bed->vm, free_gpa + 1, 4096, hva, -1, 0, 0),
			 -EINVAL);
	assert_int_equal(pvsched_vm__add_memory(bed->vm, free_gpa, 4095, hva, -1, 0, 0), -EINVAL);
	assert_int_equal(pvsched_vm__add_memory(bed->vm, free_gpa, 0, hva, -1, 0, 0), -EINVAL);
	assert_int_equal(pvsched_vm__add_memory(bed->vm, free_gpa, 4096, hva + 8, -1, 0, 0),
			 -EINVAL);
	assert_int_equal(pvsched_vm__add_memory(bed->vm, free_gpa, 4096, NULL, -1, 0, 0), -EINVAL);
	assert_int_equal(pvsched_vm__add_memory(bed->vm, free_gpa, 4096, hva, -2, 0, 0), -EINVAL);
	assert_int_equal(pvsched_vm__add_memory(bed->vm, free_gpa, 4096, hva, 0, 5, 0), -EINVAL);
	assert_int_equal(pvsched_vm__add_memory(bed->vm, free_gpa, 4096, hva, 9999, 0, 0), -EBADF);
	assert_int_equal(pvsched_vm__add_memory(bed->vm, free_gpa, 4096, hva, -1, 0, 1u << 9),
			 -EINVAL);
	assert_int_equal(pvsched_vm__add_memory(bed->vm, UINT64_MAX - 4095, 8192, hva, -1, 0, 0),
			 -EINVAL);
	assert_int_equal(
		pvsched_vm__add_memory(bed->vm, free_gpa, UINT64_MAX - 4095, hva, -1, 0, 0),
		-EINVAL);
}

static void memory_overlapping_is_refused(void **state)
{
	struct bed *bed = *state;

	assert_int_equal(pvsched_vm__add_memory(bed->vm, BED_GPA, 4096, bed->ram, -1, 0, 0),
			 -EEXIST);
	assert_int_equal(pvsched_vm__add_memory(bed->vm, BED_GPA - 4096, 8192, bed->ram, -1, 0, 0),
			 -EEXIST);
	assert_int_equal(pvsched_vm__add_memory(bed->vm, BED_GPA + BED_SIZE - 4096, 8192, bed->ram,
						-1, 0, 0),
			 -EEXIST);
	assert_int_equal(pvsched_vm__add_memory(bed->vm, BED_GPA - 4096, 4096, bed->ram, -1, 0, 0),
			 0);
	/* the last page there is, to 2^64 exactly */
	assert_int_equal(
		pvsched_vm__add_memory(bed->vm, UINT64_MAX - 4095, 4096, bed->ram, -1, 0, 0), 0);
	assert_int_equal(
		pvsched_vm__add_memory(bed->vm, UINT64_MAX - 4095, 4096, bed->ram, -1, 0, 0),
		-EEXIST);
}

static void memory_beyond_64_slots_is_refused(void **state)
{
	struct bed *bed = *state;
	uint64_t gpa = BED_GPA + BED_SIZE;

	for (int i = 1; i < 64; i++, gpa += 4096)
		assert_int_equal(pvsched_vm__add_memory(bed->vm, gpa, 4096, bed->ram, -1, 0, 0), 0);
	assert_int_equal(pvsched_vm__add_memory(bed->vm, gpa, 4096, bed->ram, -1, 0, 0), -ENOSPC);
	assert_int_equal(pvsched_vm__del_memory(bed->vm, gpa), -ENOENT);
	assert_int_equal(pvsched_vm__del_memory(bed->vm, BED_GPA + 4096), -ENOENT);
	assert_int_equal(pvsched_vm__del_memory(bed->vm, BED_GPA), 0);
	assert_int_equal(pvsched_vm__del_memory(bed->vm, BED_GPA), -ENOENT);
	assert_int_equal(pvsched_vm__add_memory(bed->vm, gpa, 4096, bed->ram, -1, 0, 0), 0);
}

static void vcpu_added_is_told_with_its_descriptors(void **state)
{
	struct bed *bed = *state;
	struct peer *peer = bed->peer;

	assert_int_equal(peer->count[PVSCHED_MSG_ADD_VCPU], BED_VCPUS);
	assert_int_equal(peer->last[PVSCHED_MSG_ADD_VCPU].index, BED_VCPUS - 1);
	assert_int_equal(peer->last[PVSCHED_MSG_ADD_VCPU].add.tid, gettid());
	assert_int_equal(peer->last[PVSCHED_MSG_ADD_VCPU].add.apic_id, BED_VCPUS - 1);
	assert_non_null(strstr(peer->fd_kind[0], "pidfd"));
	assert_string_equal(peer->fd_kind[1], "anon_inode:[eventfd]");
}

static void vcpu_of_another_process_is_refused(void **state)
{
	struct bed *bed = *state;
	pid_t child = fork();

	if (!child) {
		pause();
		_exit(0);
	}
	assert_true(child > 0);
	assert_int_equal(pvsched_vm__remove_vcpu(bed->vm, 0), 0);
	assert_int_equal(pvsched_vm__add_vcpu(bed->vm, 0, child, 0, bed->vcpu_fd), -EPERM);
	assert_int_equal(pvsched_vm__add_vcpu(bed->vm, 0, 1, 0, bed->vcpu_fd), -EPERM);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_int_equal(bed->peer->count[PVSCHED_MSG_ADD_VCPU], BED_VCPUS);
}

static void vcpu_bad_arguments_are_refused(void **state)
{
	struct bed *bed = *state;

	assert_int_equal(pvsched_vm__add_vcpu(bed->vm, 0, gettid(), 0, bed->vcpu_fd), -EEXIST);
	assert_int_equal(pvsched_vm__add_vcpu(bed->vm, BED_VCPUS, gettid(), 0, bed->vcpu_fd),
			 -EINVAL);
	assert_int_equal(pvsched_vm__remove_vcpu(bed->vm, BED_VCPUS), -EINVAL);
	assert_int_equal(pvsched_vm__doorbell_fd(bed->vm, BED_VCPUS), -EINVAL);
	assert_int_equal(pvsched_vm__remove_vcpu(bed->vm, 1), 0);
	assert_int_equal(pvsched_vm__remove_vcpu(bed->vm, 1), -ENOENT);
	assert_int_equal(pvsched_vm__add_vcpu(bed->vm, 1, 0, 0, bed->vcpu_fd), -EINVAL);
	assert_int_equal(pvsched_vm__add_vcpu(bed->vm, 1, gettid(), 0, 9999), -EINVAL);
	assert_int_equal(pvsched_vm__add_vcpu(bed->vm, 1, gettid(), 0, bed->vcpu_fd), 0);
}

static void vcpu_refused_by_the_broker_can_be_added_later(void **state)
{
	struct bed *bed = *state;
	unsigned int fds;

	assert_int_equal(pvsched_vm__remove_vcpu(bed->vm, 2), 0);
	fds = bed_open_fds();
	bed->peer->error[PVSCHED_MSG_ADD_VCPU] = -ENOSPC;
	assert_int_equal(pvsched_vm__add_vcpu(bed->vm, 2, gettid(), 2, bed->vcpu_fd), -ENOSPC);
	assert_int_equal(bed_open_fds(), fds);
	bed->peer->error[PVSCHED_MSG_ADD_VCPU] = 0;
	assert_int_equal(pvsched_vm__add_vcpu(bed->vm, 2, gettid(), 2, bed->vcpu_fd), 0);
}

static void vcpu_answered_without_page_is_removed_again(void **state)
{
	struct bed *bed = *state;
	unsigned int removed;

	assert_int_equal(pvsched_vm__remove_vcpu(bed->vm, 2), 0);
	removed = bed->peer->count[PVSCHED_MSG_REMOVE_VCPU];
	bed->peer->no_fd = true;
	assert_int_equal(pvsched_vm__add_vcpu(bed->vm, 2, gettid(), 2, bed->vcpu_fd), -EPROTO);
	assert_int_equal(bed->peer->count[PVSCHED_MSG_REMOVE_VCPU], removed + 1);
	assert_int_equal(pvsched_vm__remove_vcpu(bed->vm, 2), -ENOENT);
}

static void vcpu_stats_are_the_brokers(void **state)
{
	struct bed *bed = *state;
	struct pvsched_vcpu_stats stats = { .sz = sizeof(stats) };

	assert_int_equal(pvsched_vm__vcpu_stats(bed->vm, 3, &stats), 0);
	assert_int_equal(stats.sz, sizeof(stats));
	assert_int_equal(stats.boosts, 11);
	assert_int_equal(stats.boosted_ns, 12);
	assert_int_equal(stats.run_ns, 13);
	assert_int_equal(stats.steal_ns, 14);
	assert_int_equal(stats.denied_throttle, 15);
	assert_int_equal(stats.denied_gap, 16);
	assert_int_equal(stats.expired, 17);
	assert_int_equal(stats.bad_words, 18);
	assert_int_equal(stats.doorbells, 19);
	assert_int_equal(stats.grant, 20);
	assert_int_equal(stats.page, PVSCHED_PAGE_OFF);
	assert_int_equal(bed->peer->last[PVSCHED_MSG_STATS].index, 3);
}

static void stats_of_other_sizes_are_filled_as_far(void **state)
{
	struct bed *bed = *state;
	struct {
		struct pvsched_vcpu_stats stats;
		uint64_t unknown;
	} newer = { .stats.sz = sizeof(newer), .unknown = 77 };
	struct pvsched_vcpu_stats stats = { .sz = offsetof(struct pvsched_vcpu_stats, run_ns),
					    .run_ns = 99 };
	struct pvsched_device_stats device = { .sz = sizeof(size_t) - 1 };

	assert_int_equal(pvsched_vm__vcpu_stats(bed->vm, 0, &newer.stats), 0);
	assert_int_equal(newer.stats.sz, sizeof(stats));
	assert_int_equal(newer.unknown, 77);
	assert_int_equal(pvsched_vm__vcpu_stats(bed->vm, 0, &stats), 0);
	assert_int_equal(stats.boosted_ns, 12);
	assert_int_equal(stats.run_ns, 99);
	assert_int_equal(pvsched_vm__device_stats(bed->vm, &device), -EINVAL);
	assert_int_equal(pvsched_vm__device_stats(bed->vm, NULL), -EINVAL);
	stats.sz = 0;
	assert_int_equal(pvsched_vm__vcpu_stats(bed->vm, 0, &stats), -EINVAL);
	assert_int_equal(pvsched_vm__vcpu_stats(bed->vm, 0, NULL), -EINVAL);
	assert_int_equal(pvsched_vm__vcpu_stats(bed->vm, BED_VCPUS, &newer.stats), -EINVAL);
	assert_int_equal(pvsched_vm__remove_vcpu(bed->vm, 0), 0);
	assert_int_equal(pvsched_vm__vcpu_stats(bed->vm, 0, &newer.stats), -ENOENT);
}

static void strings_of_every_code_are_distinct(void **state)
{
	(void)state;
	for (unsigned int i = 0; i <= PVSCHED_R_MAX; i++) {
		assert_true(strlen(pvsched_result_str(i)) > 0);
		for (unsigned int j = 0; j < i; j++)
			assert_string_not_equal(pvsched_result_str(i), pvsched_result_str(j));
	}
	for (unsigned int i = 0; i <= PVSCHED_REASON_HOST_RT + 1; i++) {
		assert_true(strlen(pvsched_reason_str(i)) > 0);
		for (unsigned int j = 0; j < i; j++)
			assert_string_not_equal(pvsched_reason_str(i), pvsched_reason_str(j));
	}
	assert_string_equal(pvsched_result_str(PVSCHED_R_BAD_GFN), "BAD_GFN");
	assert_string_equal(pvsched_result_str(UINT32_MAX), "UNKNOWN");
	assert_string_equal(pvsched_reason_str(PVSCHED_REASON_CRITICAL), "critical");
}

#define WITH_PEER(test) cmocka_unit_test_setup_teardown(test, bed_setup_peer, bed_teardown)
#define WITH_VM(test)	cmocka_unit_test_setup_teardown(test, bed_setup, bed_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PEER(open_bad_options_are_refused),
		WITH_PEER(open_options_of_other_versions_are_understood),
		WITH_PEER(open_without_broker_says_why),
		WITH_PEER(open_socket_comes_from_the_environment),
		WITH_PEER(open_broker_of_another_version_is_refused),
		WITH_PEER(open_refusal_of_the_broker_is_passed_on),
		WITH_PEER(open_silent_broker_times_out),
		WITH_PEER(open_long_name_ends_at_a_character),
		cmocka_unit_test(close_of_nothing_is_allowed),
		WITH_VM(close_leaves_no_descriptor_and_no_mapping),
		WITH_VM(memory_not_aligned_is_refused),
		WITH_VM(memory_overlapping_is_refused),
		WITH_VM(memory_beyond_64_slots_is_refused),
		WITH_VM(vcpu_added_is_told_with_its_descriptors),
		WITH_VM(vcpu_of_another_process_is_refused),
		WITH_VM(vcpu_bad_arguments_are_refused),
		WITH_VM(vcpu_refused_by_the_broker_can_be_added_later),
		WITH_VM(vcpu_answered_without_page_is_removed_again),
		WITH_VM(vcpu_stats_are_the_brokers),
		WITH_VM(stats_of_other_sizes_are_filled_as_far),
		cmocka_unit_test(strings_of_every_code_are_distinct),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
