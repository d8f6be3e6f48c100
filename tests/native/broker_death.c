// SPDX-License-Identifier: GPL-2.0-only
/* Whoever dies or stops, no thread stays boosted: the broker in a process of its own. */
/* timeout: 120 */
#include <helpers/threads.h>
#include <helpers/unit.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <bpf/bpf.h>
#include <broker/wire.h>

/* What is waited for takes a few ms (the expiry, the second line's slack); a busy machine may
 * take its time, a missing mechanism never ends. */
#define PATIENCE_MS 5000

struct scene {
	pid_t broker;
	struct threads_bed bed;
};

static int scene_setup(void **state)
{
	struct pvsched_broker_opts o = { .print = bed_say };
	static struct scene s;

	*state = &s;
	s.broker = bed_start_broker(&o);
	return s.broker > 0 ? bed_open(&s.bed, NULL) : -1;
}

static int scene_teardown(void **state)
{
	struct scene *s = *state;

	bed_close(&s->bed);
	bed_stop_child(&s->broker);
	return 0;
}

static bool gone(pid_t pid)
{
	for (int i = 0; i < PATIENCE_MS / 10; i++) {
		if (kill(pid, 0) && errno == ESRCH)
			return true;
		bed_sleep_ms(10);
	}
	return false;
}

static unsigned int programs_loaded(void)
{
	unsigned int n = 0;
	uint32_t id = 0;

	while (!bpf_prog_get_next_id(id, &id))
		n++;
	return n;
}

static void boost(struct scene *s)
{
	s->bed.hog = bed_start_hog(s->bed.cpu);
	bed_mode(&s->bed.vcpu[0], BED_CRITICAL);
	assert_true(bed_await_boosted(&s->bed.vcpu[0], true, PATIENCE_MS));
}

/* What a broker leaves pinned: what its VMs owe, for the next one. */
static void only_debts_are_pinned(void)
{
	DIR *dir = opendir("/sys/fs/bpf/pvsched");
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (e->d_name[0] != '.')
			assert_memory_equal(e->d_name, "debts", strlen("debts"));
	if (dir)
		closedir(dir);
}

static void broker_killed_in_mid_boost_leaves_nothing_boosted(void **state)
{
	struct scene *s = *state;
	struct bed_vcpu *v = &s->bed.vcpu[0];
	pid_t guardian = bed_guardian_of(s->broker);
	unsigned int before = programs_loaded();

	assert_true(guardian > 0 || !bed_has_bpf());
	boost(s);
	bed_stop_child(&s->broker);
	assert_true(bed_await_boosted(v, false, PATIENCE_MS));
	assert_true(!guardian || gone(guardian));
	/* still critical for ever, and preempted all the time: nobody acts any more */
	bed_sleep_ms(200);
	assert_false(bed_is_boosted(v));
	assert_true(programs_loaded() < before || !bed_has_bpf());
	only_debts_are_pinned();
	/* the VMM hears of it and goes on */
	assert_int_equal(pvsched_vm__dispatch(s->bed.vm), -EPIPE);
	assert_int_equal(v->page->status, PVSCHED_PAGE_OFF);
}

/* Where the kernel acts, a broker that is stopped is not missed. */
static void broker_stopped_in_mid_boost_leaves_nothing_boosted(void **state)
{
	struct scene *s = *state;
	struct bed_vcpu *v = &s->bed.vcpu[0];

	boost(s);
	/* every agent is stopped: bpf_timer finds the boost past its expiry, the guardian ends it */
	kill(s->broker, SIGSTOP);
	assert_true(bed_await_boosted(v, false, PATIENCE_MS));
	if (bed_actuator()->kind == PVSCHED_ACTUATOR_AGENT) {
		bed_sleep_ms(100);
		assert_false(bed_is_boosted(v));
	}
	kill(s->broker, SIGCONT);
	assert_true(bed_await_boosted(v, true, PATIENCE_MS)); /* and it is served again */
}

static void guardian_killed_is_replaced(void **state)
{
	struct scene *s = *state;
	pid_t first = bed_guardian_of(s->broker), next = 0;

	if (!bed_has_bpf()) {
		print_message("needs a guardian; here the module restores\n");
		assert_int_equal(first, 0);
		skip();
	}
	assert_true(first > 0);
	kill(first, SIGKILL);
	for (int i = 0; i < PATIENCE_MS / 10 && (!next || next == first); i++) {
		bed_sleep_ms(10);
		next = bed_guardian_of(s->broker);
	}
	assert_true(next > 0 && next != first);
	boost(s);
	bed_stop_child(&s->broker);
	assert_true(bed_await_boosted(&s->bed.vcpu[0], false, PATIENCE_MS));
}

static void client_that_closes_in_mid_boost_has_its_threads_restored(void **state)
{
	struct scene *s = *state;

	boost(s);
	pvsched_vm__close(s->bed.vm);
	s->bed.vm = NULL;
	assert_false(bed_is_boosted(&s->bed.vcpu[0]));
}

#define HEAVY                                                                                      \
	(256 << 20) /* bytes that a thread alone has open: to let go of them takes tens of ms */

static int leaving; /* atomic */

/* Exits in mid-boost. */
static void exit_slowly(struct bed_vcpu *v)
{
	int fd = -1;

	if (!unshare(CLONE_FILES))
		fd = memfd_create("heavy", MFD_CLOEXEC);
	if (fd < 0 || fallocate(fd, 0, 0, HEAVY))
		abort();
	bed_publish(v, PVSCHED_CTX_CRITICAL);
	while (!bed_is_boosted(v))
		;
	__atomic_store_n(&leaving, 1, __ATOMIC_RELEASE);
	pthread_exit(NULL);
}

/* It has its own scheduling back while it is still there, however long it takes to leave. */
static void thread_that_exits_in_mid_boost_is_restored(void **state)
{
	struct scene *s = *state;
	struct bed_vcpu *v = &s->bed.vcpu[0];
	bool restored = false;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d", v->tid);
	s->bed.hog = bed_start_hog(s->bed.cpu);
	v->harm = exit_slowly;
	bed_mode(v, BED_HARM);
	while (!__atomic_load_n(&leaving, __ATOMIC_ACQUIRE))
		bed_sleep_ms(1);
	while (!restored && !access(path, F_OK))
		restored = !bed_is_boosted(v) && !access(path, F_OK);
	assert_true(restored);
}

/* As the kernel moves it when its CPU is taken off. */
static void agent_that_was_moved_goes_home(void **state)
{
	struct scene *s = *state;
	pid_t agent = bed_agent_of(s->broker, s->bed.cpu);
	cpu_set_t set;

	if (bed_actuator()->kind != PVSCHED_ACTUATOR_AGENT || sysconf(_SC_NPROCESSORS_ONLN) < 2) {
		print_message("needs agents, and two CPUs\n");
		skip();
	}
	assert_true(agent > 0);
	sched_getaffinity(0, sizeof(set), &set);
	CPU_CLR(s->bed.cpu, &set);
	assert_int_equal(sched_setaffinity(agent, sizeof(set), &set), 0);
	boost(s);
	for (int i = 0; i < PATIENCE_MS && bed_agent_of(s->broker, s->bed.cpu) != agent; i++)
		bed_sleep_ms(1);
	assert_int_equal(bed_agent_of(s->broker, s->bed.cpu), agent);
}

static void client_killed_in_mid_boost_leaves_room_for_the_next(void **state)
{
	struct scene *s = *state;
	struct threads_bed other;
	int ready[2], err;
	char c = 0;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		err = bed_open(&other, NULL);
		if (!err) {
			other.hog = bed_start_hog(other.cpu);
			bed_mode(&other.vcpu[0], BED_CRITICAL);
			err = !bed_await_boosted(&other.vcpu[0], true, PATIENCE_MS);
		}
		if (write(ready[1], err ? "n" : "y", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(c, 'y');
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(ready[0]);
	close(ready[1]);
	/* the broker goes on: the VM that was there is served as before */
	boost(s);
	assert_int_equal(bed_open(&other, NULL), 0);
	bed_close(&other);
}

static void second_vm_attaches_no_program(void **state)
{
	unsigned int before = programs_loaded();
	struct threads_bed other;

	(void)state;
	assert_true(before > 0 || !bed_has_bpf());
	assert_int_equal(bed_open(&other, NULL), 0);
	assert_int_equal(programs_loaded(), before);
	bed_close(&other);
}

static void second_broker_is_refused(void **state)
{
	struct pvsched_broker_opts o = { .print = bed_say };
	struct pvsched_broker *other = NULL;

	(void)state;
	assert_int_equal(pvsched_broker__start(&o, &other), -EEXIST);
	assert_null(other);
}

static int raw_client(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = PVSCHED_SOCKET };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static int call(int fd, struct pvsched_msg *m, const int *fds, int nfds)
{
	char control[CMSG_SPACE(2 * sizeof(int))] = { 0 };
	struct iovec iov = { m, sizeof(*m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (nfds) {
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	if (sendmsg(fd, &msg, MSG_NOSIGNAL) != sizeof(*m))
		return -EPIPE;
	return recv(fd, m, sizeof(*m), 0) == sizeof(*m) ? m->error : -EPIPE;
}

static int hello(int fd)
{
	struct pvsched_msg m = { .type = PVSCHED_MSG_HELLO,
				 .hello = { .version = PVSCHED_WIRE_VERSION, .vcpus = 1 } };

	return call(fd, &m, NULL, 0);
}

static void client_that_passes_a_foreign_thread_is_refused(void **state)
{
	struct scene *s = *state;
	struct pvsched_msg m = { .type = PVSCHED_MSG_ADD_VCPU };
	pid_t victim = bed_start_hog(s->bed.cpu);
	int fd = raw_client(), fds[2];

	assert_int_equal(hello(fd), 0);
	fds[0] = syscall(SYS_pidfd_open, victim, 0);
	fds[1] = eventfd(0, EFD_CLOEXEC);
	m.add.tid = victim;
	assert_int_equal(call(fd, &m, fds, 2), -EPERM);
	/* a pidfd of its own, but another's number */
	close(fds[0]);
	fds[0] = syscall(SYS_pidfd_open, getpid(), 0);
	m = (struct pvsched_msg){ .type = PVSCHED_MSG_ADD_VCPU, .add.tid = victim };
	assert_int_equal(call(fd, &m, fds, 2), -EPERM);
	/* no pidfd at all */
	m = (struct pvsched_msg){ .type = PVSCHED_MSG_ADD_VCPU, .add.tid = gettid() };
	fds[0] = fds[1];
	assert_int_equal(call(fd, &m, fds, 2), -EBADF);
	close(fds[1]);
	close(fd);
	bed_stop_child(&victim);
}

static void client_out_of_protocol_is_answered_or_dropped(void **state)
{
	struct pvsched_msg m = { .type = PVSCHED_MSG_STATS };
	int fd = raw_client();

	(void)state;
	assert_int_equal(call(fd, &m, NULL, 0), -EPROTO); /* before HELLO */
	assert_int_equal(hello(fd), 0);
	assert_int_equal(hello(fd), -EALREADY);
	m = (struct pvsched_msg){ .type = 99 };
	assert_int_equal(call(fd, &m, NULL, 0), -ENOENT);
	m = (struct pvsched_msg){ .type = PVSCHED_MSG_STATS, .index = 77 };
	assert_int_equal(call(fd, &m, NULL, 0), -EINVAL);
	assert_int_equal(send(fd, "short", 5, MSG_NOSIGNAL), 5);
	assert_int_equal(recv(fd, &m, sizeof(m), 0), 0); /* dropped */
	close(fd);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, scene_setup, scene_teardown)
	const struct CMUnitTest tests[] = {
		CASE(broker_killed_in_mid_boost_leaves_nothing_boosted),
		CASE(broker_stopped_in_mid_boost_leaves_nothing_boosted),
		CASE(guardian_killed_is_replaced),
		CASE(client_that_closes_in_mid_boost_has_its_threads_restored),
		CASE(thread_that_exits_in_mid_boost_is_restored),
		CASE(agent_that_was_moved_goes_home),
		CASE(client_killed_in_mid_boost_leaves_room_for_the_next),
		CASE(second_vm_attaches_no_program),
		CASE(second_broker_is_refused),
		CASE(client_that_passes_a_foreign_thread_is_refused),
		CASE(client_out_of_protocol_is_answered_or_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
