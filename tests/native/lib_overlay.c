// SPDX-License-Identifier: GPL-2.0-only
/*
 * The overlay with what it is made for: a VM of this machine's KVM whose vCPU loads and stores in
 * its page, and BPF maps that the kernel reads and writes. The broker is the test's own peer; the
 * vCPU executes a few real-mode instructions at the test's request. Needs root.
 */
/* needs: /dev/kvm */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include <helpers/lib_guest.h>
#include <helpers/huge.h>
#include <helpers/lib_peer.h>

#define RAM_SIZE  (4ull << 20) /* two huge pages, so that one is whole */
#define CODE_GPA  0x1000ull
#define PAGE_GPA  0x200000ull /* first page of the second huge page */
#define PAGE_GFN  (PAGE_GPA / PVSCHED_PAGE_SIZE)
#define OTHER_GPA (16ull << 20)
#define VCPUS	  16 /* one runs; the rate limit of REGISTER grows with their number */

static bool failed; /* the present case */

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			printf("# %s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
			failed = true;                                                             \
		}                                                                                  \
	} while (0)

struct bed {
	struct peer *peer;
	struct pvsched_vm *vm;
	int kvm, vm_fd, vcpu_fd;
	struct kvm_run *run;
	size_t run_size;
	uint8_t *ram;
	uint8_t *ram_base; /* what was mapped to get aligned ram */
	int ram_fd;
};

enum backing { BACKING_PAGES, BACKING_THP, BACKING_FILE, BACKING_HUGETLB };

/* mov ax, es:[bx]; mov es:[si], cx; hlt; jmp to the first */
static const uint8_t code_access[] = { 0x26, 0x8b, 0x07, 0x26, 0x89, 0x0c, 0xf4, 0xeb, 0xf7 };
/* inc word es:[si]; jmp to it */
static const uint8_t code_spin[] = { 0x26, 0xff, 0x04, 0xeb, 0xfb };

static int make_bpf_map(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);

	return bpf_map_create(BPF_MAP_TYPE_ARRAY, "page", 4, PVSCHED_PAGE_SIZE, 1, &opts);
}

static bool map_ram(struct bed *bed, enum backing backing)
{
	const uint64_t huge = 2ull << 20;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;

	bed->ram_fd = -1;
	if (backing == BACKING_FILE) {
		bed->ram_fd = memfd_create("ram", MFD_CLOEXEC);
		if (bed->ram_fd < 0 || ftruncate(bed->ram_fd, RAM_SIZE))
			return false;
	}
	/* room to align to a huge page */
	bed->ram_base = mmap(NULL, RAM_SIZE + huge, PROT_NONE, flags, -1, 0);
	if (bed->ram_base == MAP_FAILED)
		return false;
	bed->ram = (uint8_t *)(((uintptr_t)bed->ram_base + huge - 1) & ~(huge - 1));
	if (backing == BACKING_FILE)
		flags = MAP_SHARED;
	if (backing == BACKING_HUGETLB)
		flags |= MAP_HUGETLB;
	if (mmap(bed->ram, RAM_SIZE, PROT_READ | PROT_WRITE, flags | MAP_FIXED, bed->ram_fd, 0) ==
	    MAP_FAILED)
		return false;
	if (backing == BACKING_THP && madvise(bed->ram, RAM_SIZE, MADV_HUGEPAGE))
		return false;
	return true;
}

static int set_slot(struct bed *bed, unsigned int slot, uint64_t gpa, uint64_t size, void *hva,
		    unsigned int flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)hva,
	};

	return ioctl(bed->vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
}

static bool bed_start(struct bed *bed, enum backing backing)
{
	struct pvsched_vm_opts opts = { .sz = sizeof(opts), .name = "overlay", .vcpus = VCPUS };

	*bed = (struct bed){ 0 };
	bed->peer = peer_start();
	if (!bed->peer || !map_ram(bed, backing))
		return false;
	bed->peer->make_map = make_bpf_map;
	opts.socket = bed->peer->path;
	bed->vm = pvsched_vm__open(&opts);
	bed->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	bed->vm_fd = ioctl(bed->kvm, KVM_CREATE_VM, 0);
	bed->vcpu_fd = ioctl(bed->vm_fd, KVM_CREATE_VCPU, 0);
	bed->run_size = ioctl(bed->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	bed->run = mmap(NULL, bed->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, bed->vcpu_fd, 0);
	return bed->vm && bed->run != MAP_FAILED && !set_slot(bed, 0, 0, RAM_SIZE, bed->ram, 0) &&
	       !pvsched_vm__add_memory(bed->vm, 0, RAM_SIZE, bed->ram, bed->ram_fd, 0, 0) &&
	       !pvsched_vm__add_vcpu(bed->vm, 0, gettid(), 0, bed->vcpu_fd);
}

static void bed_stop(struct bed *bed)
{
	pvsched_vm__close(bed->vm);
	if (bed->peer)
		peer_stop(bed->peer);
	if (bed->run && bed->run != MAP_FAILED)
		munmap(bed->run, bed->run_size);
	close(bed->vcpu_fd);
	close(bed->vm_fd);
	close(bed->kvm);
	if (bed->ram_base)
		munmap(bed->ram_base, RAM_SIZE + (2ull << 20));
	if (bed->ram_fd >= 0)
		close(bed->ram_fd);
}

/* Points the vCPU at a program, with es:bx and es:si inside the page at gpa. */
static bool aim(struct bed *bed, const void *code, size_t size, uint64_t gpa, uint16_t load,
		uint16_t store, uint16_t value)
{
	struct kvm_regs regs = {
		.rip = CODE_GPA, .rflags = 2, .rbx = load, .rsi = store, .rcx = value
	};
	struct kvm_sregs sregs;

	memcpy(bed->ram + CODE_GPA, code, size);
	if (ioctl(bed->vcpu_fd, KVM_GET_SREGS, &sregs))
		return false;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	sregs.es.base = gpa;
	return !ioctl(bed->vcpu_fd, KVM_SET_SREGS, &sregs) &&
	       !ioctl(bed->vcpu_fd, KVM_SET_REGS, &regs);
}

/* The guest loads the 16 bits at `load`, then stores value at `store`, both offsets into the page
 * at gpa. Returns what it loaded, -1 if it could not. */
static int guest_access(struct bed *bed, uint64_t gpa, uint16_t load, uint16_t store,
			uint16_t value)
{
	struct kvm_regs regs;

	if (!aim(bed, code_access, sizeof(code_access), gpa, load, store, value))
		return -1;
	if (ioctl(bed->vcpu_fd, KVM_RUN, 0) || bed->run->exit_reason != KVM_EXIT_HLT) {
		printf("# KVM_RUN: exit reason %u, errno %d\n", bed->run->exit_reason, errno);
		return -1;
	}
	if (ioctl(bed->vcpu_fd, KVM_GET_REGS, &regs))
		return -1;
	return regs.rax & 0xffff;
}

#define AT(field) ((uint16_t)offsetof(struct pvsched_page, field))

/* The page as the kernel has it, not as this process maps it. */
static struct pvsched_page map_page(struct bed *bed)
{
	struct pvsched_page page;
	uint32_t zero = 0;

	CHECK(!bpf_map_lookup_elem(bed->peer->map[0], &zero, &page));
	return page;
}

static void map_grant(struct bed *bed, uint64_t grant)
{
	struct pvsched_page page = map_page(bed);
	uint32_t zero = 0;

	page.grant = grant;
	CHECK(!bpf_map_update_elem(bed->peer->map[0], &zero, &page, BPF_ANY));
}

static uint64_t frame_of(const void *address)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	CHECK(pread(fd, &entry, 8, (uintptr_t)address / PVSCHED_PAGE_SIZE * 8) == 8);
	close(fd);
	return entry & ((1ull << 55) - 1);
}

static void share_and_give_back(struct bed *bed, bool touched)
{
	struct pvsched_page *page = (struct pvsched_page *)(bed->ram + PAGE_GPA);
	uint64_t frame;

	CHECK(guest_negotiate(bed->vm) & PVSCHED_S_FEATURES_OK);
	guest_prepare(bed->vm, page, 0);
	if (touched)
		CHECK(guest_access(bed, PAGE_GPA, AT(current_task), AT(ack), 0x0a0a) == 0x1111);
	frame = frame_of(page);
	CHECK(guest_register(bed->vm, 0, PAGE_GFN) == PVSCHED_R_OK);
	CHECK(guest_enable(bed->vm, 0, page) == PVSCHED_R_OK);

	/* guest to kernel, kernel to guest */
	CHECK(guest_access(bed, PAGE_GPA, AT(pending), AT(context), 0x0b0b) == 0x2222);
	CHECK(map_page(bed).context == 0x0b0b);
	map_grant(bed, 0x0c0c);
	CHECK(guest_access(bed, PAGE_GPA, AT(grant), AT(context), 0x0d0d) == 0x0c0c);
	CHECK(map_page(bed).context == 0x0d0d);
	CHECK(map_page(bed).ack == (touched ? 0x0a0a : 0));
	CHECK(page->context == 0x0d0d);

	CHECK(guest_command(bed->vm, 0, PVSCHED_CMD_UNREGISTER) == PVSCHED_R_OK);
	CHECK(guest_access(bed, PAGE_GPA, AT(status), AT(capacity), 0x0e0e) == PVSCHED_PAGE_OFF);
	CHECK(guest_access(bed, PAGE_GPA, AT(context), AT(capacity), 0x0f0f) == 0x0d0d);
	CHECK(page->capacity == 0x0f0f);
	CHECK(page->extension[471] == 0x3333);
	CHECK(map_page(bed).capacity == 0);
	map_grant(bed, 0x1010); /* a program that comes too late */
	CHECK(guest_access(bed, PAGE_GPA, AT(grant), AT(capacity), 0) == 0);
	CHECK(frame && frame_of(page) == frame);
}

static void overlay_before_the_guest_touched_the_page_is_shared(struct bed *bed)
{
	share_and_give_back(bed, false);
}

static void overlay_after_the_guest_touched_the_page_is_shared(struct bed *bed)
{
	share_and_give_back(bed, true);
}

static void overlay_repeated_leaves_no_trace(struct bed *bed)
{
	share_and_give_back(bed, true);
	guest_write(bed->vm, PVSCHED_REG_STATUS, 0);
	share_and_give_back(bed, false);
	guest_write(bed->vm, PVSCHED_REG_STATUS, 0);
	share_and_give_back(bed, true);
}

static void overlay_over_huge_pages_of_hugetlb_is_refused(struct bed *bed)
{
	struct pvsched_page *page = (struct pvsched_page *)(bed->ram + PAGE_GPA);

	CHECK(guest_negotiate(bed->vm) & PVSCHED_S_FEATURES_OK);
	guest_prepare(bed->vm, page, 0);
	CHECK(guest_register(bed->vm, 0, PAGE_GFN) == PVSCHED_R_HUGETLB);
	CHECK(guest_read(bed->vm, PVSCHED_REG_VCPU_STATE) == PVSCHED_PAGE_OFF);
	CHECK(guest_access(bed, PAGE_GPA, AT(current_task), AT(ack), 0x0a0a) == 0x1111);
	CHECK(page->ack == 0x0a0a && page->status == PVSCHED_PAGE_OFF && page->nonce == 0);
}

static void overlay_in_a_read_only_slot_is_refused(struct bed *bed)
{
	struct pvsched_page *page;

	page = mmap(NULL, PVSCHED_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	CHECK(page != MAP_FAILED);
	CHECK(!set_slot(bed, 1, OTHER_GPA, PVSCHED_PAGE_SIZE, page, KVM_MEM_READONLY));
	CHECK(!pvsched_vm__add_memory(bed->vm, OTHER_GPA, PVSCHED_PAGE_SIZE, page, -1, 0,
				      PVSCHED_MEM_READONLY));
	CHECK(guest_negotiate(bed->vm) & PVSCHED_S_FEATURES_OK);
	guest_prepare(bed->vm, page, 0);
	CHECK(guest_register(bed->vm, 0, OTHER_GPA / PVSCHED_PAGE_SIZE) == PVSCHED_R_READ_ONLY);
	CHECK(guest_register(bed->vm, 0, 0xfee00) == PVSCHED_R_BAD_GFN); /* the local APIC's */
	CHECK(page->current_task == 0x1111 && page->status == PVSCHED_PAGE_OFF);
	CHECK(!pvsched_vm__del_memory(bed->vm, OTHER_GPA));
	CHECK(!set_slot(bed, 1, OTHER_GPA, 0, page, 0));
	munmap(page, PVSCHED_PAGE_SIZE);
}

static void nothing(int signal)
{
	(void)signal;
}

static void *run_until_told(void *arg)
{
	struct bed *bed = arg;
	int err;

	do
		err = ioctl(bed->vcpu_fd, KVM_RUN, 0) ? errno : 0;
	while (!err && bed->run->exit_reason == KVM_EXIT_INTR);
	return (void *)(intptr_t)(err == EINTR ? 0 : err ? err : -1);
}

/* A guest that breaks the rules and stores all the time may lose stores, never the VM. */
static void overlay_under_a_storing_vcpu_never_faults(struct bed *bed)
{
	const struct sigaction action = { .sa_handler = nothing };
	struct pvsched_page *page = (struct pvsched_page *)(bed->ram + PAGE_GPA);
	uint64_t moving = 0;
	pthread_t thread;
	void *result;

	sigaction(SIGUSR1, &action, NULL);
	CHECK(guest_negotiate(bed->vm) & PVSCHED_S_FEATURES_OK);
	guest_prepare(bed->vm, page, 0);
	CHECK(aim(bed, code_spin, sizeof(code_spin), PAGE_GPA, 0, AT(ack), 0));
	if (pthread_create(&thread, NULL, run_until_told, bed)) {
		CHECK(!"pthread_create");
		return;
	}
	for (int i = 0; i < 2 * VCPUS; i++) {
		uint64_t ack = __atomic_load_n(&page->ack, __ATOMIC_RELAXED);

		CHECK(guest_register(bed->vm, 0, PAGE_GFN) == PVSCHED_R_OK);
		CHECK(guest_enable(bed->vm, 0, page) == PVSCHED_R_OK);
		/* some 2 us an instruction: it moves on in the shared page within a few ms */
		for (int n = 0; n < 1000 && map_page(bed).ack == ack; n++)
			usleep(100);
		moving += map_page(bed).ack != ack;
		CHECK(guest_command(bed->vm, 0, PVSCHED_CMD_UNREGISTER) == PVSCHED_R_OK);
		CHECK(page->current_task == 0x1111 && page->magic == PVSCHED_MAGIC);
	}
	CHECK(moving == 2 * VCPUS);
	/* until the signal meets the vCPU inside KVM_RUN, or about to enter it */
	bed->run->immediate_exit = 1;
	pthread_kill(thread, SIGUSR1);
	pthread_join(thread, &result);
	CHECK(result == NULL);
}

static void run_case(const char *name, void (*body)(struct bed *bed), enum backing backing)
{
	struct bed bed;

	failed = false;
	if (!bed_start(&bed, backing)) {
		printf("# setup: %s\n", strerror(errno));
		failed = true;
	} else {
		body(&bed);
	}
	bed_stop(&bed);
	printf(failed ? "not ok %s: see above\n" : "ok %s\n", name);
}

int main(void)
{
	bool any = false;
	long before;

#define RUN(body, suffix, backing)                                                                 \
	do {                                                                                       \
		run_case(#body suffix, body, backing);                                             \
		any = any || failed;                                                               \
	} while (0)
	setvbuf(stdout, NULL, _IOLBF, 0);
	RUN(overlay_before_the_guest_touched_the_page_is_shared, "", BACKING_PAGES);
	RUN(overlay_after_the_guest_touched_the_page_is_shared, "", BACKING_PAGES);
	RUN(overlay_after_the_guest_touched_the_page_is_shared, "_thp", BACKING_THP);
	RUN(overlay_after_the_guest_touched_the_page_is_shared, "_file", BACKING_FILE);
	RUN(overlay_repeated_leaves_no_trace, "", BACKING_PAGES);
	RUN(overlay_in_a_read_only_slot_is_refused, "", BACKING_PAGES);
	RUN(overlay_under_a_storing_vcpu_never_faults, "", BACKING_PAGES);
	RUN(overlay_under_a_storing_vcpu_never_faults, "_file", BACKING_FILE);

	before = huge_pages(-1);
	if (before < 0 || huge_pages(before + 2) < before + 2)
		printf("skip overlay_over_huge_pages_of_hugetlb_is_refused: "
		       "this machine has no 4 MiB of huge pages to spare\n");
	else
		RUN(overlay_over_huge_pages_of_hugetlb_is_refused, "", BACKING_HUGETLB);
	if (before >= 0)
		huge_pages(before);
	return any;
}
