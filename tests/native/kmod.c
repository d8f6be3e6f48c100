// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module pvsched.ko alone, without a broker: whom it takes, what it refuses whatever a program
 * asks for, and that everything is put back. Skips where the module is not loaded.
 */
#include <helpers/unit.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <actuator/attr.h>
#include <actuator/kmod/uapi.h>
#include <actuator/monotonic.h>
#include <events/word.h>

#define DEVICE	 "/dev/pvsched-kmod"
#define PRIORITY 3 /* of its threads */
#define SLOT	 5
#define MS	 1000000ull
#define PATIENCE 5000 /* ms, of a busy machine; what never comes never does */

static struct bpf_object *object;
static int call_fd, told_fd, device;

struct call {
	uint64_t word;
	uint32_t slot, cpu;
};

static void pause_ms(unsigned int ms)
{
	const struct timespec ts = { ms / 1000, ms % 1000 * 1000000l };

	nanosleep(&ts, NULL);
}

/* What the kfunc returned. */
static int want(uint32_t slot, uint64_t word)
{
	struct call c = { word, slot, 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &c, .ctx_size_in = sizeof(c));

	assert_int_equal(bpf_prog_test_run_opts(call_fd, &opts), 0);
	return (int)opts.retval;
}

static uint64_t word_of(uint8_t level, int8_t value, uint64_t ms)
{
	return pvsched_word(1, level, value, PVSCHED_REASON_CRITICAL, now_ns() + ms * MS);
}

static int ask(unsigned long cmd, uint32_t slot)
{
	return ioctl(device, cmd, &slot) ? -errno : 0;
}

static int add(uint32_t slot, pid_t tid)
{
	struct pvsched_kmod_thread t = { slot, tid };

	return ioctl(device, PVSCHED_KMOD_ADD, &t) ? -errno : 0;
}

static int begin(int fd, uint32_t version)
{
	struct pvsched_kmod_begin b = { version, PRIORITY };

	return ioctl(fd, PVSCHED_KMOD_BEGIN, &b) ? -errno : 0;
}

static void read_told(uint64_t ret[3])
{
	uint32_t zero = 0;

	assert_int_equal(bpf_map_lookup_elem(told_fd, &zero, ret), 0);
}

static void forget_told(void)
{
	const uint64_t none[3] = { 0 };
	uint32_t zero = 0;

	assert_int_equal(bpf_map_update_elem(told_fd, &zero, none, BPF_ANY), 0);
}

/* The module has answered, and by refusing it: the thread is as it was, now. */
static bool is_refused(uint32_t slot, uint64_t word, pid_t tid)
{
	struct pvsched_attr before = { 0 }, after = { 0 };
	uint64_t told[3] = { 0 };

	forget_told();
	assert_int_equal(pvsched_attr_get(tid, &before), 0);
	assert_int_equal(want(slot, word), 0);
	for (int i = 0; i < PATIENCE && !told[0]; i++) {
		pause_ms(1);
		read_told(told);
	}
	assert_int_equal(pvsched_attr_get(tid, &after), 0);
	assert_memory_equal(&before, &after, sizeof(before));
	return told[2] & PVSCHED_KMOD_REFUSED && PVSCHED_WORD_LEVEL(told[1]) == PVSCHED_LEVEL_BASE;
}

/* What is told follows the change: until it is of that level. */
static bool is_told(uint8_t level)
{
	uint64_t told[3];

	for (int i = 0; i < PATIENCE; i++) {
		read_told(told);
		if (PVSCHED_WORD_LEVEL(told[1]) == level)
			return true;
		pause_ms(1);
	}
	return false;
}

/* A thread, as a process: it sleeps, at nice 4, with a timer slack of its own. */
static pid_t start_thread(void)
{
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(device); /* it is released when the test closes it */
		for (;;)
			pause();
	}
	assert_true(pid > 0);
	assert_int_equal(setpriority(PRIO_PROCESS, pid, 4), 0);
	assert_int_equal(pvsched_slack_set(pid, 23456), 0);
	return pid;
}

static void end_thread(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static bool becomes(pid_t tid, uint32_t policy, int value)
{
	struct pvsched_attr a = { 0 };

	for (int i = 0; i < PATIENCE; i++) {
		assert_int_equal(pvsched_attr_get(tid, &a), 0);
		if (a.policy == policy &&
		    (policy == SCHED_FIFO ? (int)a.priority == value : a.nice == value))
			return true;
		pause_ms(1);
	}
	return false;
}

/* The slack of a boost is the kernel's own. */
static void kmod_slack_is_kept_from_a_boost_to_a_worse_nice(void **state)
{
	pid_t tid = start_thread();
	uint64_t slack = 0;

	(void)state;
	assert_int_equal(add(SLOT, tid), 0);
	assert_int_equal(want(SLOT, word_of(PVSCHED_LEVEL_RT, 2, 150)), 0);
	assert_true(becomes(tid, SCHED_FIFO, 2));
	assert_int_equal(want(SLOT, word_of(PVSCHED_LEVEL_NICE, 9, 150)), 0);
	assert_true(becomes(tid, SCHED_OTHER, 9));
	assert_int_equal(ask(PVSCHED_KMOD_REST, SLOT), 0);
	assert_int_equal(pvsched_slack_get(tid, &slack), 0);
	assert_int_equal(slack, 23456);
	end_thread(tid);
}

#define SPIN_MS 100 /* far from RT throttling */

static void bind(pid_t pid, int first, int last)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (int cpu = first; cpu <= last; cpu++)
		CPU_SET(cpu, &set);
	assert_int_equal(sched_setaffinity(pid, sizeof(set), &set), 0);
}

/* Real-time work of the host, above the module's threads, on CPU 0: until `ended`, or tid is no longer
 * real-time, or its time is up; then its status is 1. It has the CPU when this returns. */
static pid_t start_spinner(volatile int *ended, pid_t tid)
{
	const struct sched_param above = { .sched_priority = 50 };
	struct pvsched_attr a = { .policy = SCHED_FIFO };
	uint64_t until;
	int ready[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		close(device);
		if (sched_setscheduler(0, SCHED_FIFO, &above))
			_exit(2);
		bind(0, 0, 0);
		until = now_ns() + SPIN_MS * MS;
		if (write(ready[1], "r", 1) != 1)
			_exit(2);
		while (!*ended && now_ns() < until && a.policy == SCHED_FIFO)
			if (tid && pvsched_attr_get(tid, &a))
				_exit(2);
		_exit(!*ended && a.policy == SCHED_FIFO);
	}
	assert_true(pid > 0);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static int status_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void kmod_boost_ends_where_its_thread_was_pushed_to(void **state)
{
	volatile int ended = 0; /* never */
	pid_t tid, spinner;

	(void)state;
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		skip();
	bind(0, 1, 1);
	tid = fork();
	if (!tid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(device);
		for (;;)
			;
	}
	bind(tid, 0, 0);
	assert_int_equal(add(SLOT, tid), 0);
	assert_int_equal(want(SLOT, word_of(PVSCHED_LEVEL_RT, 2, 50)), 0);
	assert_true(becomes(tid, SCHED_FIFO, 2));
	bind(tid, 0, 1);
	spinner = start_spinner(&ended, tid);
	assert_int_equal(status_of(spinner), 0);
	assert_true(becomes(tid, SCHED_OTHER, 0));
	bind(0, 0, 1);
	end_thread(tid);
}

static void kmod_thread_is_dropped_while_real_time_work_has_the_cpu(void **state)
{
	volatile int *ended = mmap(NULL, sizeof(*ended), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t tid, spinner;

	(void)state;
	assert_ptr_not_equal(ended, MAP_FAILED);
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		skip();
	bind(0, 1, 1);
	tid = start_thread();
	assert_int_equal(add(SLOT, tid), 0);
	spinner = start_spinner(ended, 0);
	assert_int_equal(want(SLOT, word_of(PVSCHED_LEVEL_RT, 2, 150)), 0);
	assert_int_equal(ask(PVSCHED_KMOD_DROP, SLOT), 0);
	*ended = 1;
	assert_int_equal(status_of(spinner), 0);
	assert_true(becomes(tid, SCHED_OTHER, 4));
	bind(0, 0, 1);
	end_thread(tid);
	munmap((void *)ended, sizeof(*ended));
}

static int setup(void **state)
{
	(void)state;
	device = open(DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	return device < 0 ? -errno : begin(device, PVSCHED_KMOD_VERSION);
}

static int teardown(void **state)
{
	(void)state;
	if (device >= 0)
		close(device);
	device = -1;
	return 0;
}

static void kmod_takes_threads_of_processes_and_no_others(void **state)
{
	struct pvsched_attr deadline = {
		.policy = 6, .runtime = MS, .deadline = 100 * MS, .period = 100 * MS
	};
	pid_t tid = start_thread(), other = start_thread();

	(void)state;
	assert_int_equal(add(SLOT, 2), -EINVAL); /* kthreadd */
	assert_int_equal(add(SLOT, 0x3fffffff), -ESRCH);
	assert_int_equal(add(PVSCHED_KMOD_SLOTS, tid), -EINVAL);
	assert_int_equal(pvsched_attr_set(other, &deadline), 0);
	assert_int_equal(add(SLOT, other), -EINVAL);
	assert_int_equal(add(SLOT, tid), 0);
	assert_int_equal(add(SLOT, tid), -EEXIST);
	assert_int_equal(add(SLOT + 1, tid), -EEXIST);
	assert_int_equal(ask(PVSCHED_KMOD_REST, SLOT), 0);
	assert_int_equal(ask(PVSCHED_KMOD_DROP, SLOT), 0);
	assert_int_equal(ask(PVSCHED_KMOD_DROP, SLOT), -ESRCH);
	end_thread(tid);
	end_thread(other);
}

static void kmod_has_one_broker_of_its_own_release(void **state)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

	(void)state;
	assert_true(fd < 0 && errno == EBUSY);
	close(device);
	device = open(DEVICE, O_RDWR | O_CLOEXEC);
	assert_true(device >= 0);
	assert_int_equal(begin(device, PVSCHED_KMOD_VERSION + 1), -EPROTO);
	assert_int_equal(add(SLOT, getpid()), -EINVAL); /* nobody has begun */
}

static void kmod_unregistered_slot_is_refused(void **state)
{
	pid_t tid = start_thread();
	uint64_t before[3], after[3];

	(void)state;
	read_told(before);
	assert_int_equal(want(SLOT, word_of(PVSCHED_LEVEL_RT, 1, 50)), -ESRCH);
	assert_int_equal(want(PVSCHED_KMOD_SLOTS, word_of(PVSCHED_LEVEL_RT, 1, 50)), -EINVAL);
	assert_int_equal(add(SLOT, tid), 0);
	assert_int_equal(ask(PVSCHED_KMOD_DROP, SLOT), 0);
	assert_int_equal(want(SLOT, word_of(PVSCHED_LEVEL_RT, 1, 50)), -ESRCH);
	pause_ms(20);
	assert_true(becomes(tid, SCHED_OTHER, 4));
	read_told(after);
	assert_int_equal(before[0], after[0]);
	end_thread(tid);
}

static void kmod_boost_ends_at_its_expiry_and_all_is_as_it_was(void **state)
{
	struct pvsched_attr before = { 0 }, after = { 0 };
	pid_t tid = start_thread();
	uint64_t slack = 0, start;

	(void)state;
	assert_int_equal(pvsched_attr_get(tid, &before), 0);
	before.runtime = 3 * MS; /* a custom slice, where the kernel has that */
	assert_int_equal(pvsched_attr_set(tid, &before), 0);
	assert_int_equal(pvsched_attr_get(tid, &before), 0);
	assert_int_equal(add(SLOT, tid), 0);
	start = now_ns();
	assert_int_equal(want(SLOT, word_of(PVSCHED_LEVEL_RT, 2, 100)), 0);
	assert_true(becomes(tid, SCHED_FIFO, 2));
	assert_true(is_told(PVSCHED_LEVEL_RT));
	assert_true(becomes(tid, SCHED_OTHER, 4));
	assert_true(now_ns() - start >= 100 * MS - 2048); /* not before, either */
	assert_true(is_told(PVSCHED_LEVEL_BASE));
	assert_int_equal(pvsched_attr_get(tid, &after), 0);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(pvsched_slack_get(tid, &slack), 0);
	assert_int_equal(slack, 23456);
	/* a worse nice, and the way back from it */
	assert_int_equal(want(SLOT, word_of(PVSCHED_LEVEL_NICE, 9, 100)), 0);
	assert_true(becomes(tid, SCHED_OTHER, 9));
	assert_int_equal(ask(PVSCHED_KMOD_REST, SLOT), 0);
	assert_int_equal(pvsched_attr_get(tid, &after), 0);
	assert_memory_equal(&before, &after, sizeof(before));
	end_thread(tid);
}

static void kmod_refuses_what_is_above_its_threads_or_lasts(void **state)
{
	pid_t tid = start_thread();

	(void)state;
	assert_int_equal(add(SLOT, tid), 0);
	assert_true(is_refused(SLOT, word_of(PVSCHED_LEVEL_RT, PRIORITY, 150), tid));
	assert_true(is_refused(SLOT, word_of(PVSCHED_LEVEL_RT, 1, 1000), tid));
	end_thread(tid);
}

/* It has what a boost would give it: any nice would take that away. */
static void kmod_real_time_thread_is_boosted_by_priority_only(void **state)
{
	struct pvsched_attr rr = { .policy = SCHED_RR, .priority = 1 };
	pid_t tid = start_thread();

	(void)state;
	assert_int_equal(pvsched_attr_set(tid, &rr), 0);
	assert_int_equal(add(SLOT, tid), 0);
	assert_true(is_refused(SLOT, word_of(PVSCHED_LEVEL_NICE, -20, 150), tid));
	assert_true(is_refused(SLOT, word_of(PVSCHED_LEVEL_IDLE, 0, 150), tid));
	assert_true(is_refused(SLOT, word_of(PVSCHED_LEVEL_RT, 1, 150), tid));
	assert_int_equal(want(SLOT, word_of(PVSCHED_LEVEL_RT, 2, 100)), 0);
	assert_true(becomes(tid, SCHED_FIFO, 2));
	assert_int_equal(ask(PVSCHED_KMOD_REST, SLOT), 0);
	assert_int_equal(pvsched_attr_get(tid, &rr), 0);
	assert_int_equal(rr.policy, SCHED_RR);
	assert_int_equal(rr.priority, 1);
	end_thread(tid);
}

/* SCHED_EXT, which without a scheduler of that class is SCHED_OTHER by another name. */
static void kmod_thread_of_sched_ext_keeps_its_nice(void **state)
{
	struct pvsched_attr ext = { .policy = 7, .nice = 4 }, after = { 0 };
	pid_t tid = start_thread();

	(void)state;
	if (pvsched_attr_set(tid, &ext)) {
		end_thread(tid);
		skip(); /* this kernel has no such class */
	}
	assert_int_equal(add(SLOT, tid), 0);
	assert_int_equal(want(SLOT, word_of(PVSCHED_LEVEL_RT, 1, 100)), 0);
	assert_true(becomes(tid, SCHED_FIFO, 1));
	assert_int_equal(ask(PVSCHED_KMOD_REST, SLOT), 0);
	assert_int_equal(pvsched_attr_get(tid, &after), 0);
	assert_int_equal(after.policy, 7);
	assert_int_equal(after.nice, 4);
	end_thread(tid);
}

/* What computes at a priority that the module's threads no longer are above, they could not end. */
static void kmod_threads_that_go_down_leave_nothing_above_them(void **state)
{
	pid_t tid = start_thread();
	struct pvsched_attr a = { 0 };
	uint32_t least = 2;

	(void)state;
	assert_int_equal(add(SLOT, tid), 0);
	assert_int_equal(want(SLOT, word_of(PVSCHED_LEVEL_RT, PRIORITY - 1, 150)), 0);
	assert_true(becomes(tid, SCHED_FIFO, PRIORITY - 1));
	assert_int_equal(ask(PVSCHED_KMOD_FIFO, least), 0);
	assert_int_equal(pvsched_attr_get(tid, &a), 0);
	assert_int_equal(a.policy, SCHED_OTHER);
	assert_int_equal(a.nice, 4);
	end_thread(tid);
}

static void kmod_leaves_what_somebody_else_set(void **state)
{
	struct pvsched_attr rr = { .policy = SCHED_RR, .priority = 7 }, now = { 0 };
	pid_t tid = start_thread(), other = start_thread();
	struct pvsched_kmod_base base = { .slot = SLOT };
	uint64_t n;

	(void)state;
	assert_int_equal(add(SLOT, tid), 0);
	assert_int_equal(add(SLOT + 1, other), 0);
	assert_true(read(device, &n, sizeof(n)) < 0 && errno == EAGAIN);
	assert_int_equal(want(SLOT, word_of(PVSCHED_LEVEL_RT, 1, 100)), 0);
	assert_int_equal(want(SLOT + 1, word_of(PVSCHED_LEVEL_RT, 1, 100)), 0);
	assert_true(becomes(tid, SCHED_FIFO, 1));
	assert_true(becomes(other, SCHED_FIFO, 1));
	assert_int_equal(setpriority(PRIO_PROCESS, tid, -3), 0);
	assert_int_equal(pvsched_attr_set(other, &rr), 0);
	assert_true(becomes(tid, SCHED_OTHER, -3));
	pause_ms(150);
	assert_int_equal(pvsched_attr_get(other, &now), 0);
	assert_int_equal(now.policy, SCHED_RR);
	assert_int_equal(now.priority, 7);
	assert_int_equal(read(device, &n, sizeof(n)), sizeof(n));
	assert_int_equal(ioctl(device, PVSCHED_KMOD_BASE, &base), 0);
	assert_int_equal(base.nice, -3);
	assert_int_equal(want(SLOT + 1, word_of(PVSCHED_LEVEL_RT, 2, 50)), 0);
	pause_ms(20);
	assert_int_equal(pvsched_attr_get(other, &now), 0);
	assert_int_equal(now.policy, SCHED_RR);
	end_thread(tid);
	end_thread(other);
}

static void kmod_idle_hides_the_nice_of_its_thread(void **state)
{
	pid_t tid = start_thread();
	uint64_t told[3] = { 0 };

	(void)state;
	assert_int_equal(add(SLOT, tid), 0);
	forget_told();
	assert_int_equal(want(SLOT, word_of(PVSCHED_LEVEL_IDLE, 0, 150)), 0);
	assert_true(becomes(tid, SCHED_IDLE, 4));
	assert_int_equal(ask(PVSCHED_KMOD_REST, SLOT), 0);
	assert_true(is_told(PVSCHED_LEVEL_BASE));
	read_told(told);
	assert_int_equal(told[2] & (PVSCHED_KMOD_FOREIGN_NICE | PVSCHED_KMOD_FOREIGN_POLICY), 0);
	assert_true(becomes(tid, SCHED_OTHER, 4));
	end_thread(tid);
}

/* An owner needs no right to go down. */
static void kmod_owner_that_lowers_a_boost_keeps_nothing_of_it(void **state)
{
	const struct pvsched_attr fifo = { .policy = SCHED_FIFO,
					   .priority = 1,
					   .flags = SCHED_FLAG_RESET_ON_FORK };
	pid_t tid = start_thread();

	(void)state;
	assert_int_equal(add(SLOT, tid), 0);
	assert_int_equal(want(SLOT, word_of(PVSCHED_LEVEL_RT, 2, 150)), 0);
	assert_true(becomes(tid, SCHED_FIFO, 2));
	assert_int_equal(pvsched_attr_set(tid, &fifo), 0);
	assert_true(becomes(tid, SCHED_OTHER, 4));
	assert_int_equal(want(SLOT, word_of(PVSCHED_LEVEL_NICE, -20, 150)), 0);
	assert_true(becomes(tid, SCHED_OTHER, -20));
	assert_int_equal(setpriority(PRIO_PROCESS, tid, -19), 0);
	assert_true(becomes(tid, SCHED_OTHER, 4));
	end_thread(tid);
}

static void kmod_bell_is_heard_in_a_boost_and_a_flood_is_not(void **state)
{
	struct pvsched_kmod_bell bell = { SLOT, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	uint64_t before[3], told[3] = { 0 };
	pid_t tid = start_thread();

	(void)state;
	assert_int_equal(ioctl(device, PVSCHED_KMOD_BELL, &bell), -1);
	assert_int_equal(errno, ESRCH);
	assert_int_equal(add(SLOT, tid), 0);
	assert_int_equal(ioctl(device, PVSCHED_KMOD_BELL, &bell), 0);
	read_told(before);
	assert_int_equal(eventfd_write(bell.fd, 1), 0);
	pause_ms(20);
	read_told(told);
	assert_int_equal(before[0], told[0]);
	assert_int_equal(want(SLOT, word_of(PVSCHED_LEVEL_RT, 1, 150)), 0);
	assert_true(becomes(tid, SCHED_FIFO, 1));
	for (int i = 0; i < PATIENCE && !(told[2] & PVSCHED_KMOD_RANG); i++) {
		assert_int_equal(eventfd_write(bell.fd, 1), 0);
		pause_ms(1);
		read_told(told);
	}
	assert_true(told[2] & PVSCHED_KMOD_RANG);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(eventfd_write(bell.fd, 1), 0);
	assert_true(becomes(tid, SCHED_OTHER, 4));
	read_told(told);
	assert_in_range(told[0] - before[0], 3,
			2 + 8); /* there and back, and what it hears at most */
	end_thread(tid);
	close(bell.fd);
}

#define MOST_MS 190 /* of a boost; the module allows 200 */

/* Returns the time from the boost to the thread as it was, ns; MOST_MS or more: its expiry may have done
 * that. */
static uint64_t kill_a_broker_in_mid_boost(void)
{
	struct pvsched_attr a = { 0 };
	pid_t tid, broker;
	uint64_t start, took;
	int ready[2];
	char c;

	tid = start_thread();
	assert_int_equal(pipe(ready), 0);
	broker = fork();
	if (!broker) {
		device = open(DEVICE, O_RDWR | O_CLOEXEC);
		if (device < 0 || begin(device, PVSCHED_KMOD_VERSION) || add(SLOT, tid) ||
		    write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	start = now_ns();
	assert_int_equal(want(SLOT, word_of(PVSCHED_LEVEL_RT, 1, MOST_MS)), 0);
	assert_true(becomes(tid, SCHED_FIFO, 1));
	kill(broker, SIGKILL);
	waitpid(broker, NULL, 0); /* its files are closed by then */
	assert_int_equal(pvsched_attr_get(tid, &a), 0);
	took = now_ns() - start;
	assert_int_equal(a.policy, SCHED_OTHER);
	assert_int_equal(a.nice, 4);
	assert_int_equal(want(SLOT, word_of(PVSCHED_LEVEL_RT, 1, 50)), -ESRCH);
	close(ready[0]);
	end_thread(tid);
	return took;
}

static void kmod_killed_broker_leaves_nothing_boosted(void **state)
{
	uint64_t took = ~0ull;

	(void)state;
	close(device);
	device = -1;
	for (int i = 0; i < 10 && took >= MOST_MS * MS; i++) /* a busy machine */
		took = kill_a_broker_in_mid_boost();
	printf("# restored after %.1f ms, of %d\n", took / 1e6, MOST_MS);
	assert_true(took < MOST_MS * MS);
}

static int open_object(void **state)
{
	const char *build = getenv("PVSCHED_BUILD");
	char path[256];

	(void)state;
	snprintf(path, sizeof(path), "%s/tests/native/kmod_call/call.bpf.o",
		 build ? build : "build");
	object = bpf_object__open_file(path, NULL);
	if (!object || bpf_object__load(object))
		return -1;
	call_fd = bpf_program__fd(bpf_object__find_program_by_name(object, "call_want"));
	told_fd = bpf_object__find_map_fd_by_name(object, "told");
	return bpf_program__attach(bpf_object__find_program_by_name(object, "on_done")) ? 0 : -1;
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(kmod_takes_threads_of_processes_and_no_others),
		CASE(kmod_has_one_broker_of_its_own_release),
		CASE(kmod_unregistered_slot_is_refused),
		CASE(kmod_boost_ends_at_its_expiry_and_all_is_as_it_was),
		CASE(kmod_refuses_what_is_above_its_threads_or_lasts),
		CASE(kmod_real_time_thread_is_boosted_by_priority_only),
		CASE(kmod_thread_of_sched_ext_keeps_its_nice),
		CASE(kmod_threads_that_go_down_leave_nothing_above_them),
		CASE(kmod_slack_is_kept_from_a_boost_to_a_worse_nice),
		CASE(kmod_boost_ends_where_its_thread_was_pushed_to),
		CASE(kmod_thread_is_dropped_while_real_time_work_has_the_cpu),
		CASE(kmod_leaves_what_somebody_else_set),
		CASE(kmod_idle_hides_the_nice_of_its_thread),
		CASE(kmod_owner_that_lowers_a_boost_keeps_nothing_of_it),
		CASE(kmod_bell_is_heard_in_a_boost_and_a_flood_is_not),
		CASE(kmod_killed_broker_leaves_nothing_boosted),
	};

	if (access(DEVICE, F_OK)) {
		printf("skip kmod: no " DEVICE ": the module pvsched is not loaded\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, open_object, NULL);
}
