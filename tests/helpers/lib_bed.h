/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VM of libpvsched over a test's own peer, with some anonymous memory and this thread as each
 * of its vCPUs. One bed per case.
 */
#ifndef PVSCHED_TESTS_LIB_BED_H
#define PVSCHED_TESTS_LIB_BED_H

#include <helpers/unit.h>

#include <fcntl.h>

#include <helpers/lib_guest.h>
#include <helpers/lib_peer.h>

#define BED_VCPUS 4
#define BED_GPA	  0x100000ull
#define BED_GFN	  (BED_GPA / PVSCHED_PAGE_SIZE)
#define BED_PAGES 64
#define BED_SIZE  ((uint64_t)BED_PAGES * PVSCHED_PAGE_SIZE)

struct bed {
	struct peer *peer;
	struct pvsched_vm *vm;
	uint8_t *ram;
	int vcpu_fd; /* stands for KVM's: the library only borrows the number */
	unsigned int warnings;
	bool rejoin; /* as opts.rejoin */
};

static inline struct pvsched_page *bed_page(struct bed *bed, unsigned int page)
{
	return (struct pvsched_page *)(bed->ram + page * PVSCHED_PAGE_SIZE);
}

static inline void bed_print(enum pvsched_log_level level, const char *line, void *ctx)
{
	struct bed *bed = ctx;

	(void)line;
	if (level <= PVSCHED_LOG_WARN)
		bed->warnings++;
}

static inline struct pvsched_vm *bed_open(struct bed *bed)
{
	struct pvsched_vm_opts opts = {
		.sz = sizeof(opts),
		.name = "bed",
		.socket = bed->peer->path,
		.vcpus = BED_VCPUS,
		.print = bed_print,
		.print_ctx = bed,
		.rejoin = bed->rejoin,
	};

	return pvsched_vm__open(&opts);
}

/* A peer, nothing else. */
static inline int bed_setup_peer(void **state)
{
	struct bed *bed = calloc(1, sizeof(*bed));

	if (!bed)
		return -1;
	bed->vcpu_fd = -1;
	bed->peer = peer_start();
	*state = bed;
	return bed->peer ? 0 : -1;
}

/* A VM with memory and all its vCPUs. */
static inline int bed_setup(void **state)
{
	struct bed *bed;

	if (bed_setup_peer(state))
		return -1;
	bed = *state;
	bed->vm = bed_open(bed);
	bed->ram = mmap(NULL, BED_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bed->vcpu_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (!bed->vm || bed->ram == MAP_FAILED || bed->vcpu_fd < 0 ||
	    pvsched_vm__add_memory(bed->vm, BED_GPA, BED_SIZE, bed->ram, -1, 0, 0))
		return -1;
	memset(bed->ram, 0x5a, BED_SIZE);
	for (unsigned int i = 0; i < BED_VCPUS; i++) {
		if (pvsched_vm__add_vcpu(bed->vm, i, gettid(), i, bed->vcpu_fd))
			return -1;
	}
	return 0;
}

static inline int bed_teardown(void **state)
{
	struct bed *bed = *state;

	pvsched_vm__close(bed->vm);
	peer_stop(bed->peer);
	if (bed->ram)
		munmap(bed->ram, BED_SIZE);
	if (bed->vcpu_fd >= 0)
		close(bed->vcpu_fd);
	free(bed);
	return 0;
}

/* Negotiates, prepares `page` as vCPU's, registers and enables it. */
static inline void bed_enable(struct bed *bed, unsigned int vcpu, unsigned int page)
{
	assert_true(guest_negotiate(bed->vm) & PVSCHED_S_FEATURES_OK);
	guest_prepare(bed->vm, bed_page(bed, page), vcpu);
	assert_int_equal(guest_register(bed->vm, vcpu, BED_GFN + page), PVSCHED_R_OK);
	assert_int_equal(guest_enable(bed->vm, vcpu, bed_page(bed, page)), PVSCHED_R_OK);
}

/* Mappings of this process. */
static inline unsigned int bed_mappings(void)
{
	FILE *file = fopen("/proc/self/maps", "re");
	unsigned int n = 0;
	int c;

	assert_non_null(file);
	while ((c = getc(file)) != EOF)
		n += c == '\n';
	fclose(file);
	return n;
}

static inline unsigned int bed_open_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

#endif
