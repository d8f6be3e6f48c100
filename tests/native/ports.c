// SPDX-License-Identifier: GPL-2.0-only
/*
 * The stream's port, from a VMM that was found and whose guest this test speaks for: the handshake,
 * pages in its memory, the lease, and who is refused. The broker is a process of its own.
 */
/* timeout: 150, needs: /dev/kvm */
#include <helpers/host_bed.h>
#include <helpers/huge.h>

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
#define HUGE	 (2 << 20)
#define IN_HUGE	 0x405 /* frame in a slot of one huge page */
#define VCPU	 3 /* its APIC id, which is how the guest names it */
#define WAIT_MS	 20000
#define VMM	 "--vmm" /* this program as somebody else's VMM */

static pid_t broker;
static pthread_t thread, lease;
static int vm_fd, vcpu_fd, port = -1;
static char *memory;
static struct pvsched_page *page;
static _Atomic bool ending, renewing;
static pid_t child; /* a hog, or another VMM */

static void *run_vcpu(void *arg)
{
	(void)arg;
	bed_pin(bed_last_cpu());
	while (!ending)
		ioctl(vcpu_fd, KVM_RUN, 0);
	return NULL;
}

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

/* One vCPU that computes. */
static int start_vm(void)
{
	struct sigaction act = { .sa_handler = ignore };
	struct kvm_regs regs = { .rflags = 2 };
	struct kvm_sregs sregs;
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	sigaction(SIGUSR1, &act, NULL);
	ending = false;
	vm_fd = ioctl(kvm, KVM_CREATE_VM, 0);
	close(kvm);
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
	       pthread_create(&thread, NULL, run_vcpu, NULL);
}

static int dial(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = PORT };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		fail_msg("%s: %s", PORT, strerror(errno));
	return fd;
}

static int setup(void **state)
{
	const struct pvsched_broker_opts o = { .print = bed_say,
					       .found_policy = "irq",
					       .confine = true };

	(void)state;
	fflush(stdout);
	broker = bed_start_broker(&o);
	if (broker < 0 || start_vm()) {
		printf("# no broker, or no VM: %s\n", strerror(errno));
		return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bed_stop_child(&broker);
	ending = true;
	pthread_join(lease, NULL);
	while (pthread_tryjoin_np(thread, NULL)) {
		pthread_kill(thread, SIGUSR1);
		usleep(1000);
	}
	return 0;
}

static int open_port(void **state)
{
	(void)state;
	renewing = true;
	port = dial();
	return 0;
}

static int close_port(void **state)
{
	(void)state;
	bed_stop_child(&child); /* which has the port, too */
	close(port);
	return 0;
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

/* The host's words come along: the vCPU waits for its CPU now and then. */
static void await_steal(void)
{
	uint64_t steal, end = bed_now() + HOST_PATIENCE_NS;

	child = bed_start_hog(bed_last_cpu());
	for (steal = 0; !steal || steal == host_word(&page->steal_ns); usleep(20000)) {
		if (!steal)
			steal = host_word(&page->steal_ns);
		if (bed_now() > end)
			fail_msg("steal_ns stays at %llu", (unsigned long long)steal);
	}
	bed_stop_child(&child);
}

static void stream_page_of_a_found_vm_is_shared(void **state)
{
	(void)state;
	share();
	await_steal();
	assert_int_equal(command(PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
	assert_int_equal(reg(PVSCHED_REG_VCPU_STATE), PVSCHED_PAGE_OFF);
	for (int i = 0; i < 16; i++)
		assert_int_equal((&page->status)[i], 0);
}

/* What an overlay cannot be laid over, this transport reads where it is. */
static void stream_page_in_huge_pages_of_hugetlb_is_shared(void **state)
{
	struct pvsched_page *small = page;
	long before = huge_pages(-1);
	char *huge = MAP_FAILED;

	(void)state;
	if (before >= 0 && huge_pages(before + 1) > before)
		huge = mmap(NULL, HUGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (huge == MAP_FAILED) {
		printf("# this machine has no 2 MiB huge page to spare\n");
		huge_pages(before);
		skip();
	}
	assert_int_equal(add_slot(2, IN_HUGE * 4096 & ~(HUGE - 1), 0, HUGE, huge), 0);
	page = (void *)(huge + IN_HUGE * 4096 % HUGE);
	memset(huge, 0, HUGE);
	share_frame(IN_HUGE);
	await_steal();
	assert_int_equal(command(PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
	assert_int_equal(page->status, PVSCHED_PAGE_OFF);
	page = small;
	assert_int_equal(add_slot(2, 0, 0, 0, NULL), 0);
	munmap(huge, HUGE);
	huge_pages(before);
}

/* At the longest as long as it lasts; what memory of the guest's the page is then, nobody touches. */
static void stream_lease_over_ends_host_writes(void **state)
{
	uint64_t begin = bed_now();
	unsigned char filled[128];

	(void)state;
	share();
	while (bed_now() < begin + 3 * PVSCHED_LEASE_MS * 1000000ull)
		usleep(20000);
	assert_int_equal(reg(PVSCHED_REG_VCPU_STATE), PVSCHED_PAGE_ENABLED);
	renewing = false;
	HOST_AWAIT(reg(PVSCHED_REG_VCPU_STATE) == PVSCHED_PAGE_OFF);
	memset(filled, 0x5a, sizeof(filled));
	memcpy(&page->status, filled, sizeof(filled));
	usleep(200000); /* of which nothing is awaited: the host would write each 10 ms */
	assert_memory_equal(&page->status, filled, sizeof(filled));
	share();
}

/* Other contents than a lease are no lease: the guest has given the memory to somebody else. */
static void stream_lease_that_jumps_ends_it(void **state)
{
	(void)state;
	share();
	renewing = false;
	/* said again: the thread may have been about to add 1 to the old one */
	HOST_AWAIT((host_say_word(&page->lease, 0x123456789abcdef0),
		    reg(PVSCHED_REG_VCPU_STATE) == PVSCHED_PAGE_OFF));
}

static void expect_refused(int fd)
{
	struct pvsched_frame f;

	say(fd, PVSCHED_FRAME_SYNC, 9, ~9u);
	if (hear(fd, &f))
		fail_msg("it was answered: %#x %#x %#x", f.op, f.offset, f.value);
	close(fd);
}

static void stream_peer_that_is_no_vm_is_refused(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	synchronise();
	fflush(stdout);
	pid = fork();
	if (!pid) {
		expect_refused(dial());
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(reg(PVSCHED_REG_MAGIC), PVSCHED_MAGIC); /* the VM's own goes on */
}

static void stream_second_port_of_a_vm_is_refused(void **state)
{
	(void)state;
	synchronise();
	expect_refused(dial());
	assert_int_equal(reg(PVSCHED_REG_MAGIC), PVSCHED_MAGIC);
}

static void stream_frame_without_writable_memory_is_refused(void **state)
{
	(void)state;
	negotiate();
	assert_int_equal(enroll(MEMORY / 4096), PVSCHED_R_BAD_GFN);
	memcpy(memory + MEMORY, page, sizeof(*page));
	assert_int_equal(enroll(READONLY), PVSCHED_R_READ_ONLY);
	assert_int_equal(enroll(FRAME), PVSCHED_R_OK);
}

static void stream_that_ends_gives_the_page_back(void **state)
{
	(void)state;
	share();
	close(port);
	HOST_AWAIT(!host_word(&page->status));
	port = dial();
	share();
}

/* Frames at full speed: the port waits, the VM's other words are heard. */
static void stream_flood_is_held_back(void **state)
{
	static struct pvsched_frame f[4096];
	uint64_t begin, sent = 0;
	ssize_t n;

	(void)state;
	share();
	for (size_t i = 0; i < sizeof(f) / sizeof(*f); i++)
		f[i] = (struct pvsched_frame){ PVSCHED_FRAME_WRITE, PVSCHED_REG_DOORBELL + 4 * VCPU,
					       1 };
	for (begin = bed_now(); bed_now() < begin + 1000000000ull; sent += n > 0 ? n : 0) {
		n = send(port, f, sizeof(f), MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0 && n % sizeof(*f)) /* the rest of a frame */
			send(port, (char *)f + n % sizeof(*f), sizeof(*f) - n % sizeof(*f),
			     MSG_NOSIGNAL);
	}
	printf("# %llu KiB in a second\n", (unsigned long long)sent >> 10);
	/* 128 KiB a second and as much at once, and what sockets hold */
	assert_true(sent < 2 << 20);
	assert_int_equal(reg(PVSCHED_REG_MAGIC), PVSCHED_MAGIC);
}

/* A process of its own: its VM's page is shared, then it is another program, with the port still open.
 * Ends well when the other end is closed. A check that fails ends it. */
static int become_another_program(void)
{
	if (start_vm())
		return 1;
	renewing = true;
	port = dial();
	share();
	dup2(port, STDIN_FILENO);
	execlp("cat", "cat", NULL);
	return 1;
}

static void stream_of_a_process_that_executes_another_is_closed(void **state)
{
	int status;

	(void)state;
	fflush(stdout);
	child = fork(); /* ended by close_port() whatever happens */
	assert_true(child >= 0);
	if (!child) {
		execl("/proc/self/exe", "ports", VMM, NULL);
		_exit(1);
	}
	HOST_AWAIT(waitpid(child, &status, WNOHANG) == child);
	child = 0;
	assert_int_equal(status, 0);
}

int main(int argc, char **argv)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, open_port, close_port)
	const struct CMUnitTest tests[] = {
		CASE(stream_page_of_a_found_vm_is_shared),
		CASE(stream_page_in_huge_pages_of_hugetlb_is_shared),
		CASE(stream_lease_over_ends_host_writes),
		CASE(stream_lease_that_jumps_ends_it),
		CASE(stream_peer_that_is_no_vm_is_refused),
		CASE(stream_second_port_of_a_vm_is_refused),
		CASE(stream_frame_without_writable_memory_is_refused),
		CASE(stream_that_ends_gives_the_page_back),
		CASE(stream_flood_is_held_back),
		CASE(stream_of_a_process_that_executes_another_is_closed),
	};

	if (argc > 1 && !strcmp(argv[1], VMM))
		return become_another_program();
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, setup, teardown);
}
