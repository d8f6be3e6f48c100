// SPDX-License-Identifier: GPL-2.0-only
/*
 * The stream's port, from a VMM that was found and whose guest this test speaks for: the handshake,
 * pages in its memory, the lease, and who is refused. The broker is a process of its own.
 */
/* timeout: 240, needs: /dev/kvm */
#include <helpers/child.h>
#include <helpers/huge.h>
#include <helpers/passing.h>
#include <helpers/port_bed.h>

#define HUGE	(2 << 20)
#define IN_HUGE 0x405 /* frame in a slot of one huge page */
#define SLOT	3 /* of one page */
#define IN_SLOT 0x800
#define FILLED	0x5a
#define SILENT	300
#define VMM	"--vmm" /* this program as somebody else's VMM */
#define NOBODY	"--nobody" /* and as another user's */
#define NOBODYS 65534

static pid_t broker;
static pid_t child; /* a hog, or another VMM */
static unsigned char filled[128]; /* as fill_host_lines() leaves them */

static void *run_vcpu(void *arg)
{
	(void)arg;
	bed_pin(bed_last_cpu());
	while (!ending)
		ioctl(vcpu_fd, KVM_RUN, 0);
	return NULL;
}

static int setup(void **state)
{
	const struct pvsched_broker_opts o = { .print = bed_say,
					       .found_policy = "irq",
					       .confine = true };

	(void)state;
	fflush(stdout);
	broker = bed_start_broker(&o);
	if (broker < 0 || start_vm(run_vcpu)) {
		printf("# no broker, or no VM: %s\n", strerror(errno));
		return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bed_stop_child(&broker);
	stop_vm();
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

/* What the host writes into, once nobody may any more: 16 words of its lines, from a vCPU that is
 * switched all the time. */
static void fill_host_lines(struct pvsched_page *p)
{
	memset(&p->status, FILLED, sizeof(filled));
	memset(filled, FILLED, sizeof(filled));
}

static void await_end_of_page(void)
{
	HOST_AWAIT(reg(PVSCHED_REG_VCPU_STATE) == PVSCHED_PAGE_OFF);
}

/* A guest that died between REGISTER and ENABLE left no lease to run out. */
static void stream_attached_page_has_a_lease_too(void **state)
{
	uint64_t nonce;

	(void)state;
	negotiate();
	assert_int_equal(enroll(FRAME), PVSCHED_R_OK);
	nonce = host_word(&page->nonce);
	usleep(2 * PVSCHED_LEASE_MS * 1000); /* of which nothing is awaited */
	fill_host_lines(page);
	set(PVSCHED_REG_VCPU_NONCE, nonce);
	set(PVSCHED_REG_VCPU_NONCE + 4, nonce >> 32);
	assert_int_equal(command(PVSCHED_CMD_ENABLE), PVSCHED_R_NOT_REGISTERED);
	assert_int_equal(reg(PVSCHED_REG_VCPU_STATE), PVSCHED_PAGE_OFF);
	assert_memory_equal(&page->status, filled, sizeof(filled));

	negotiate();
	assert_int_equal(enroll(FRAME), PVSCHED_R_OK);
	usleep(2 * PVSCHED_LEASE_MS * 1000);
	fill_host_lines(page);
	assert_int_equal(command(PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
	assert_memory_equal(&page->status, filled, sizeof(filled));
	share();
}

/* A page in a slot of its own, shared, whose vCPU is switched all the time. Returns its memory, which has
 * room for another. */
static char *share_in_slot(void)
{
	char *own =
		mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(own, MAP_FAILED);
	memset(own, 0, 2 * 4096);
	assert_int_equal(add_slot(SLOT, IN_SLOT * 4096, 0, 4096, own), 0);
	page = (void *)own;
	share_frame(IN_SLOT);
	child = bed_start_hog(bed_last_cpu());
	return own;
}

static void remove_slot(void)
{
	assert_int_equal(add_slot(SLOT, 0, 0, 0, NULL), 0);
	usleep(100000); /* a write that is under way */
}

static void end_slot(char *own)
{
	bed_stop_child(&child);
	renewing = false;
	usleep(100000); /* so that the other thread sees it */
	page = (void *)(memory + FRAME * 4096);
	munmap(own, 2 * 4096);
}

/* What the VMM does with memory that the VM has no more is its own affair. */
static void stream_page_whose_slot_is_gone_is_not_written(void **state)
{
	char *own = share_in_slot();

	(void)state;
	remove_slot();
	fill_host_lines(page);
	await_end_of_page();
	assert_memory_equal(&page->status, filled, sizeof(filled));
	end_slot(own);
}

/* The lease seems to go on where the page was. */
static void stream_page_whose_slot_moved_is_given_up(void **state)
{
	struct pvsched_page *moved;
	char *own = share_in_slot();

	(void)state;
	assert_int_equal(add_slot(SLOT, 0, 0, 0, NULL), 0);
	moved = (void *)(own + 4096);
	assert_int_equal(add_slot(SLOT, IN_SLOT * 4096, 0, 4096, (char *)moved), 0);
	usleep(100000);
	fill_host_lines(page);
	fill_host_lines(moved);
	await_end_of_page();
	assert_memory_equal(&page->status, filled, sizeof(filled));
	assert_memory_equal(&moved->status, filled, sizeof(filled));
	remove_slot();
	end_slot(own);
}

/* As a VMM does that changes it: the page goes on. */
static void stream_page_whose_slot_comes_back_goes_on(void **state)
{
	char *own = share_in_slot();
	uint64_t steal;

	(void)state;
	assert_int_equal(add_slot(SLOT, 0, 0, 0, NULL), 0);
	assert_int_equal(add_slot(SLOT, IN_SLOT * 4096, 0, 4096, own), 0);
	usleep(100000);
	steal = host_word(&page->steal_ns);
	HOST_AWAIT(host_word(&page->steal_ns) != steal);
	assert_int_equal(reg(PVSCHED_REG_VCPU_STATE), PVSCHED_PAGE_ENABLED);
	assert_int_equal(command(PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
	assert_int_equal(page->status, PVSCHED_PAGE_OFF);
	remove_slot();
	end_slot(own);
}

static _Atomic bool writing;

static void *count_halves(void *arg)
{
	uint64_t *halves = arg, word;

	while (writing) {
		word = host_word(&page->steal_ns);
		*halves += word && word != ~0ull;
	}
	return NULL;
}

/* As the broker writes them, of a reader beside it. */
static void stream_words_are_written_whole(void **state)
{
	uint64_t end = bed_now() + 1000000000, halves = 0, word = 0;
	int mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	pthread_t reader;

	(void)state;
	assert_true(mem >= 0);
	writing = true;
	assert_int_equal(pthread_create(&reader, NULL, count_halves, &halves), 0);
	while (bed_now() < end) {
		word = ~word;
		assert_int_equal(pwrite(mem, &word, sizeof(word), (uintptr_t)&page->steal_ns),
				 sizeof(word));
	}
	writing = false;
	pthread_join(reader, NULL);
	close(mem);
	assert_int_equal(halves, 0);
}

/* Connections that say nothing: more than there are places. */
static void hold_ports(void *arg)
{
	(void)arg;
	for (int i = 0; i < SILENT; i++)
		dial();
}

static void stream_silent_peers_keep_no_vm_out(void **state)
{
	struct pvsched_frame f;

	(void)state;
	synchronise(); /* the VM has been found */
	close(port);
	child = child_start(hold_ports, NULL);
	port = dial();
	share();
	close(port);
	/* nor do they take the place of a VM whose guest says nothing yet */
	port = dial();
	bed_stop_child(&child);
	child = child_start(hold_ports, NULL);
	say(port, PVSCHED_FRAME_SYNC, 5, ~5u);
	assert_true(hear(port, &f));
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

/* A close of what came with it takes a minute: the VM's own port goes on meanwhile. */
static void stream_descriptor_that_blocks_keeps_nobody(void **state)
{
	int peer[2], fd, status;
	uint64_t from;
	pid_t pid[2];

	(void)state;
	assert_true(passing_let(broker, PORT));
	synchronise();
	from = bed_now();
	for (int i = 0; i < 2; i++) {
		fd = dial();
		pid[i] = passing_leave(fd, &peer[i]);
		if (pid[i] < 0)
			skip();
		close(fd);
	}
	for (int i = 0; i < 100; i++)
		assert_int_equal(reg(PVSCHED_REG_MAGIC), PVSCHED_MAGIC);
	assert_true(bed_now() - from < 20000000000ull);
	for (int i = 0; i < 2; i++)
		close(peer[i]);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_int_equal(status, 0); /* it was passed */
	}
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
	if (start_vm(run_vcpu))
		return 1;
	renewing = true;
	port = dial();
	share();
	dup2(port, STDIN_FILENO);
	execlp("cat", "cat", NULL);
	return 1;
}

/* As libvirt's QEMU, which changes its user and then executes itself: its memory is that user's. */
static int become_another_user(void)
{
	device = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (setresgid(NOBODYS, NOBODYS, NOBODYS) || setresuid(NOBODYS, NOBODYS, NOBODYS) ||
	    prctl(PR_SET_DUMPABLE, 1) || start_vm(run_vcpu))
		return 1;
	renewing = true;
	port = dial();
	share();
	return 0;
}

/* This program in that role ends well. */
static void run_as(const char *role)
{
	int status;

	fflush(stdout);
	child = fork(); /* ended by close_port() whatever happens */
	assert_true(child >= 0);
	if (!child) {
		execl("/proc/self/exe", "ports", role, NULL);
		_exit(1);
	}
	HOST_AWAIT(waitpid(child, &status, WNOHANG) == child);
	child = 0;
	assert_int_equal(status, 0);
}

static void stream_of_a_process_that_executes_another_is_closed(void **state)
{
	(void)state;
	run_as(VMM);
}

static void stream_page_of_another_users_vm_is_shared(void **state)
{
	(void)state;
	run_as(NOBODY);
}

/* On SIGHUP VMs may cease to be looked for, and be looked for again. */
static void stream_ends_with_the_finding_of_vms(void **state)
{
	struct pvsched_broker_opts o = { .print = bed_say, .found_policy = "irq" };
	struct pvsched_broker *own = NULL;
	struct pvsched_frame f;

	(void)state;
	bed_stop_child(&broker);
	assert_int_equal(bed_broker(&o, &own), 0);
	close(port);
	port = dial();
	share();
	o.found_policy = NULL;
	assert_int_equal(pvsched_broker__configure(own, &o), 0);
	assert_false(hear(port, &f));
	assert_int_equal(host_word(&page->status), PVSCHED_PAGE_OFF);
	o.found_policy = "irq";
	assert_int_equal(pvsched_broker__configure(own, &o), 0);
	share();
	pvsched_broker__stop(own);
	assert_int_equal(host_word(&page->status), PVSCHED_PAGE_OFF);
	port = -1;
}

int main(int argc, char **argv)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, open_port, close_port)
	const struct CMUnitTest tests[] = {
		CASE(stream_page_of_a_found_vm_is_shared),
		CASE(stream_page_in_huge_pages_of_hugetlb_is_shared),
		CASE(stream_words_are_written_whole),
		CASE(stream_lease_over_ends_host_writes),
		CASE(stream_lease_that_jumps_ends_it),
		CASE(stream_attached_page_has_a_lease_too),
		CASE(stream_page_whose_slot_is_gone_is_not_written),
		CASE(stream_page_whose_slot_moved_is_given_up),
		CASE(stream_page_whose_slot_comes_back_goes_on),
		CASE(stream_peer_that_is_no_vm_is_refused),
		CASE(stream_second_port_of_a_vm_is_refused),
		CASE(stream_descriptor_that_blocks_keeps_nobody),
		CASE(stream_silent_peers_keep_no_vm_out),
		CASE(stream_frame_without_writable_memory_is_refused),
		CASE(stream_that_ends_gives_the_page_back),
		CASE(stream_flood_is_held_back),
		CASE(stream_of_a_process_that_executes_another_is_closed),
		CASE(stream_page_of_another_users_vm_is_shared),
		CASE(stream_ends_with_the_finding_of_vms), /* with a broker of its own */
	};

	if (argc > 1 && !strcmp(argv[1], VMM))
		return become_another_program();
	if (argc > 1 && !strcmp(argv[1], NOBODY))
		return become_another_user();
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, setup, teardown);
}
