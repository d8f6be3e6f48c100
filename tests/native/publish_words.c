// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the guest's programs say of tasks that this kernel really runs. No device: the pages are shared with
 * nobody. Threads spin on one CPU at SCHED_FIFO, so that what they are is seen at a tick and not at a switch.
 */
/* timeout: 120 */
#include <helpers/names.h>
#include <helpers/threads.h>
#include <helpers/unit.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <guest/linux/clock.h>
#include <guest/linux/declared.h>
#include <guest/linux/publisher.h>
#include <linux/sched.h>
#include <sys/syscall.h>

#define PATIENCE_MS 2000
#define TICKS_MS    30 /* some */
#define LOOKS	    40

static struct publisher publisher;
static int cpu;
static pthread_mutex_t mutex;
static _Atomic bool ends, waits;
static _Atomic pid_t spinner_tid;

static void ring(void *ctx, unsigned int from)
{
	(void)ctx, (void)from;
}

static int start(void **state)
{
	struct cli_error e = { 0 };

	(void)state;
	cpu = bed_last_cpu();
	if (!variables_have_names())
		return 0;
	if (publisher_left_over())
		fail_msg("%s: pvsched-guest runs here, or did: stop it first", PUBLISH_PINS);
	if (publisher_open(&publisher, libbpf_num_possible_cpus(), ring, NULL, &e))
		fail_msg("%s: %s: %s", e.what, e.on, e.why);
	clock_start(&publisher.state->clock);
	publisher.state->cpu[cpu].on = 1;
	return 0;
}

static int stop(void **state)
{
	(void)state;
	if (!publisher.pages)
		return 0;
	publisher_unpin();
	publisher_close(&publisher);
	return 0;
}

static volatile struct pvsched_page *page(void)
{
	return &publisher.pages[cpu];
}

static uint8_t policy_of(uint64_t word)
{
	return word >> PVSCHED_TASK_POLICY_SHIFT;
}

static uint8_t flags_of(uint64_t word)
{
	return word >> PVSCHED_TASK_FLAGS_SHIFT;
}

/* Whether the page comes to say that a task of this policy runs. */
static bool await_policy(uint8_t policy)
{
	for (int ms = 0; ms < PATIENCE_MS; ms++) {
		if (policy_of(page()->current_task) == policy)
			return true;
		bed_sleep_ms(1);
	}
	return false;
}

static void become(int policy, int priority)
{
	struct sched_param param = { .sched_priority = priority };

	assert_int_equal(sched_setscheduler(0, policy, &param), 0);
}

struct spin {
	pthread_t thread;
	int policy, priority;
	bool lock;
};

static void *spin(void *arg)
{
	struct spin *s = arg;

	bed_pin(cpu);
	become(s->policy, s->priority);
	if (s->lock)
		pthread_mutex_lock(&mutex);
	spinner_tid = gettid();
	while (!ends)
		;
	if (s->lock)
		pthread_mutex_unlock(&mutex);
	return NULL;
}

static void start_spin(struct spin *s)
{
	ends = false;
	spinner_tid = 0;
	assert_int_equal(pthread_create(&s->thread, NULL, spin, s), 0);
	while (!spinner_tid)
		bed_sleep_ms(1);
}

static void end_spin(struct spin *s)
{
	ends = true;
	pthread_join(s->thread, NULL);
}

static void *wait_by_deadline(void *arg)
{
	struct pvsched_attr a = { .size = sizeof(a),
				  .policy = SCHED_DEADLINE,
				  .runtime = 20000000,
				  .deadline = 100000000,
				  .period = 100000000 };

	if (syscall(SYS_sched_setattr, 0, &a, 0))
		return arg;
	waits = true;
	pthread_mutex_lock(&mutex);
	pthread_mutex_unlock(&mutex);
	return NULL;
}

static void publish_holder_of_a_lock_that_a_deadline_waits_for_says_so(void **state)
{
	struct spin s = { .policy = SCHED_FIFO, .priority = 1, .lock = true };
	pthread_mutexattr_t attr;
	int inherited = 0;
	pthread_t waiter;
	bool said;
	void *failed;

	(void)state;
	need_names();
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&mutex, &attr);
	pthread_mutexattr_destroy(&attr);
	start_spin(&s);
	said = await_policy(PVSCHED_POLICY_FIFO);
	assert_int_equal(pthread_create(&waiter, NULL, wait_by_deadline, &failed), 0);
	/* it may have begun behind the one that spins; and is not what is asked for */
	for (int ms = 0; ms < PATIENCE_MS && !waits; ms++)
		bed_sleep_ms(1);
	bed_sleep_ms(300);
	for (int i = 0; i < LOOKS; i++) {
		inherited += policy_of(page()->current_task) == PVSCHED_POLICY_DEADLINE;
		bed_sleep_ms(1);
	}
	end_spin(&s);
	pthread_join(waiter, &failed);
	pthread_mutex_destroy(&mutex);
	assert_null(failed); /* this host lets root use SCHED_DEADLINE */
	assert_true(said);
	assert_in_range(inherited, LOOKS / 2, LOOKS);
}

/* How often the spinning thread lost its CPU. */
static unsigned long switches(void)
{
	char path[64], line[128];
	unsigned long n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", spinner_tid);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "nonvoluntary_ctxt_switches: %lu", &n);
	fclose(f);
	return n;
}

/* Woken by another CPU before it had gone to sleep: nothing switches, and it was offered. */
static void publish_task_that_runs_does_not_wait(void **state)
{
	struct spin s = { .policy = SCHED_FIFO, .priority = 1 };
	unsigned long before, after;
	uint64_t pending;
	int tries = 0;

	(void)state;
	need_names();
	start_spin(&s);
	assert_true(await_policy(PVSCHED_POLICY_FIFO));
	do {
		before = switches();
		page()->pending = pvsched_task_word(PVSCHED_POLICY_FIFO, 0, 1, PVSCHED_TASK_VALID,
						    spinner_tid & PUBLISH_PID_MASK);
		bed_sleep_ms(TICKS_MS);
		pending = page()->pending;
		after = switches();
	} while (before != after && ++tries < 100); /* a switch would have withdrawn it, too */
	end_spin(&s);
	assert_int_equal(before, after);
	assert_int_equal(pending, 0);
}

/* The flags of what runs, while a thread of that policy of a declared process spins. */
static uint8_t flags_while_spins(int policy, uint8_t as)
{
	/* the kernel's own threads have 1, or 50 and more */
	struct spin s = { .policy = policy, .priority = policy == SCHED_FIFO ? 7 : 0 };
	uint64_t word = 0;
	bool said = false;

	start_spin(&s);
	for (int ms = 0; ms < PATIENCE_MS && !said; ms++) {
		word = page()->current_task;
		said = policy_of(word) == as &&
		       (uint8_t)(word >> PVSCHED_TASK_PRIO_SHIFT) == s.priority &&
		       !(page()->context & PVSCHED_CTX_KNOWN);
		bed_sleep_ms(1);
	}
	end_spin(&s);
	assert_true(said);
	return flags_of(word);
}

static void publish_declared_work_of_the_background_is_not_urgent(void **state)
{
	uint32_t pid = getpid();
	uint64_t since = declared_start_of(pid);
	struct cli_error e = { 0 };
	int fd;

	(void)state;
	need_names();
	fd = declared_open(DECLARED_TASKS, &e);
	assert_true(fd >= 0);
	assert_int_equal(bpf_map_update_elem(fd, &pid, &since, BPF_ANY), 0);
	assert_int_equal(declared_recount(&e), 0);
	assert_true(flags_while_spins(SCHED_FIFO, PVSCHED_POLICY_FIFO) & PVSCHED_TASK_LATENCY);
	assert_false(flags_while_spins(SCHED_BATCH, PVSCHED_POLICY_BATCH) & PVSCHED_TASK_LATENCY);
	assert_false(flags_while_spins(SCHED_IDLE, PVSCHED_POLICY_IDLE) & PVSCHED_TASK_LATENCY);
	assert_int_equal(bpf_map_delete_elem(fd, &pid), 0);
	assert_int_equal(declared_recount(&e), 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(publish_holder_of_a_lock_that_a_deadline_waits_for_says_so),
		cmocka_unit_test(publish_task_that_runs_does_not_wait),
		cmocka_unit_test(publish_declared_work_of_the_background_is_not_urgent),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
