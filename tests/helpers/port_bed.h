/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VMM that is found, of one vCPU, and whose guest the test speaks for over the stream's port.
 */
#ifndef PVSCHED_TESTS_PORT_BED_H
#define PVSCHED_TESTS_PORT_BED_H

#include <helpers/host_bed.h>

#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PORT	 "/run/pvsched/port.sock"
#define MEMORY	 (1 << 20)
#define READONLY 0x200 /* frame of a read-only slot */
#define FRAME	 16 /* of the page */
#define VCPU	 3 /* its APIC id, which is how the guest names it */
#define WAIT_MS	 20000

static pthread_t thread, lease;
static int vm_fd, vcpu_fd, port = -1;
static int device = -1; /* /dev/kvm; opened before by who then gives up the right to */
static char *memory;
static struct pvsched_page *page;
static _Atomic bool ending, renewing;

/* As the guest's daemon does, whatever else waits. */
static void *renew(void *arg)
{
	(void)arg;
	for (; !ending; usleep(20000))
		if (renewing)
			host_say_word(&page->lease, page->lease + 1);
	return NULL;
}

static void ignore(int sig)
{
	(void)sig;
}

static int add_slot(int slot, uint64_t gpa, uint32_t flags, size_t size, char *at)
{
	struct kvm_userspace_memory_region r = { .slot = slot,
						 .flags = flags,
						 .guest_phys_addr = gpa,
						 .memory_size = size,
						 .userspace_addr = (uintptr_t)at };

	return ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &r);
}

/* One vCPU that computes; run: its thread, which calls KVM_RUN, and which SIGUSR1 interrupts. */
static int start_vm(void *(*run)(void *))
{
	struct sigaction act = { .sa_handler = ignore };
	struct kvm_regs regs = { .rflags = 2 };
	struct kvm_sregs sregs;

	if (device < 0)
		device = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	sigaction(SIGUSR1, &act, NULL);
	ending = false;
	vm_fd = ioctl(device, KVM_CREATE_VM, 0);
	memory = mmap(NULL, MEMORY + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	memcpy(memory, "\xeb\xfe", 2); /* jumps to itself */
	page = (void *)(memory + FRAME * 4096);
	if (vm_fd < 0 || memory == MAP_FAILED || add_slot(0, 0, 0, MEMORY, memory) ||
	    add_slot(1, READONLY * 4096, KVM_MEM_READONLY, 4096, memory + MEMORY))
		return -1;
	vcpu_fd = ioctl(vm_fd, KVM_CREATE_VCPU, VCPU);
	if (vcpu_fd < 0 || ioctl(vcpu_fd, KVM_GET_SREGS, &sregs))
		return -1;
	sregs.cs.base = sregs.cs.selector = 0;
	if (ioctl(vcpu_fd, KVM_SET_SREGS, &sregs) || ioctl(vcpu_fd, KVM_SET_REGS, &regs))
		return -1;
	/* an application processor waits to be started */
	ioctl(vcpu_fd, KVM_SET_MP_STATE, &(struct kvm_mp_state){ KVM_MP_STATE_RUNNABLE });
	return pthread_create(&lease, NULL, renew, NULL) ||
	       pthread_create(&thread, NULL, run, NULL);
}

static inline void stop_vm(void)
{
	ending = true;
	pthread_join(lease, NULL);
	while (pthread_tryjoin_np(thread, NULL)) {
		pthread_kill(thread, SIGUSR1);
		usleep(1000);
	}
}

static int dial(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = PORT };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		fail_msg("%s: %s", PORT, strerror(errno));
	return fd;
}

static void say(int fd, uint32_t op, uint32_t offset, uint32_t value)
{
	struct pvsched_frame f = { op, offset, value };

	/* who was refused may find the socket closed */
	send(fd, &f, sizeof(f), MSG_NOSIGNAL);
}

/* False: the other end is closed, and said nothing. */
static bool hear(int fd, struct pvsched_frame *ret)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t used = 0;
	ssize_t n;

	while (used < sizeof(*ret)) {
		if (poll(&p, 1, WAIT_MS) != 1)
			fail_msg("no answer, and no end");
		n = recv(fd, (char *)ret + used, sizeof(*ret) - used, 0);
		if (n <= 0)
			return false;
		used += n;
	}
	return true;
}

static uint32_t reg(uint32_t offset)
{
	struct pvsched_frame f = { 0 };

	say(port, PVSCHED_FRAME_READ, offset, 0);
	if (!hear(port, &f))
		fail_msg("register %#x: the port is closed", offset);
	assert_int_equal(f.op, PVSCHED_FRAME_READ);
	assert_int_equal(f.offset, offset);
	return f.value;
}

static void set(uint32_t offset, uint32_t value)
{
	say(port, PVSCHED_FRAME_WRITE, offset, value);
}

static uint32_t command(uint32_t what)
{
	set(PVSCHED_REG_VCPU_COMMAND, what);
	return reg(PVSCHED_REG_VCPU_RESULT);
}

static uint32_t enroll(uint64_t gfn)
{
	set(PVSCHED_REG_VCPU_SELECT, VCPU);
	set(PVSCHED_REG_VCPU_GFN, gfn);
	set(PVSCHED_REG_VCPU_GFN + 4, gfn >> 32);
	return command(PVSCHED_CMD_REGISTER);
}

/* Refused is a VM that is not found yet, and while its last port is being closed: it dials again, as
 * QEMU does. */
static void synchronise(void)
{
	uint64_t end = bed_now() + HOST_PATIENCE_NS;
	struct pvsched_frame f;

	for (;;) {
		say(port, PVSCHED_FRAME_SYNC, 5, ~5u);
		if (hear(port, &f))
			break;
		if (bed_now() > end)
			fail_msg("the port is never opened");
		close(port);
		usleep(10000);
		port = dial();
	}
	assert_int_equal(f.op, PVSCHED_FRAME_SYNC);
}

static void negotiate(void)
{
	const uint32_t s = PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER;
	uint32_t features;

	synchronise();
	assert_int_equal(reg(PVSCHED_REG_MAGIC), PVSCHED_MAGIC);
	set(PVSCHED_REG_STATUS, 0);
	set(PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE);
	set(PVSCHED_REG_STATUS, s);
	set(PVSCHED_REG_CHOICE_ID, PVSCHED_PROTO_BASE);
	set(PVSCHED_REG_CHOICE_VERSION, PVSCHED_PROTO_BASE_VERSION);
	features = reg(PVSCHED_REG_HOST_FEATURES);
	set(PVSCHED_REG_GUEST_FEATURES, features);
	set(PVSCHED_REG_STATUS, s | PVSCHED_S_FEATURES_OK);
	assert_true(reg(PVSCHED_REG_STATUS) & PVSCHED_S_FEATURES_OK);
	memset(page, 0, sizeof(*page));
	page->magic = PVSCHED_MAGIC;
	page->abi_version = PVSCHED_ABI_VERSION;
	page->protocol = PVSCHED_PROTO_BASE;
	page->protocol_version = PVSCHED_PROTO_BASE_VERSION;
	page->features = features;
	page->vcpu_id = VCPU;
}

static void share_frame(uint64_t gfn)
{
	uint64_t nonce;

	negotiate();
	assert_int_equal(enroll(gfn), PVSCHED_R_OK);
	assert_int_equal(host_word(&page->status), PVSCHED_PAGE_ATTACHED);
	nonce = host_word(&page->nonce);
	assert_true(nonce);
	set(PVSCHED_REG_VCPU_NONCE, nonce);
	set(PVSCHED_REG_VCPU_NONCE + 4, nonce >> 32);
	assert_int_equal(command(PVSCHED_CMD_ENABLE), PVSCHED_R_OK);
	assert_int_equal(reg(PVSCHED_REG_VCPU_STATE), PVSCHED_PAGE_ENABLED);
	assert_int_equal(host_word(&page->status), PVSCHED_PAGE_ENABLED);
}

static void share(void)
{
	share_frame(FRAME);
}

#endif
