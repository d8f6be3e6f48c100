// SPDX-License-Identifier: GPL-2.0-only
/*
 * The broker when the system fails it: each system call and allocation of its start, of a client's life,
 * of a VM's that is found and of an operator's question fails once, thread by thread, and of its guardian's
 * process. Then it says so in one line, every thread has its own scheduling back, and no descriptor, thread,
 * process, program, block of memory, lock or socket is left; and the next start, or client, fares as if
 * nothing had been.
 *
 * Programs are loaded once and kept: loading takes longer than all the rest, and has a case of its
 * own, for the calls of ours. PVSCHED_SOAK=1 takes every call; else of each kind the first, where it is not said otherwise.
 */
#include <helpers/control.h>
#include <helpers/port_bed.h>
#include <helpers/threads.h>
#include <helpers/unit.h>

#include <helpers/fail.h>

#include <broker/wire.h>
#include <dirent.h>
#include <events/programs.h>
#include <malloc.h>
#include <sys/file.h>
#include <sys/un.h>

#define VMM	    "--vmm" /* this program as a VMM that is found */
#define SOCKET	    "/run/pvsched/sweep.sock"
#define PATIENCE_MS 10000 /* for what the kernel or a thread does in its own time */
#define BOOST_MS    200 /* of a life that may not have a boost */
#define VMM_S	    4 /* of a VMM that is not served */
#define CALLS_MAX   20000
#define ENDLESS	    200 /* calls of a thread that has no last one */
#define TOO_FAR	    20 /* lives in a row that do not get to the call that is to fail */

static bool full;

/* The turn-th call that is to fail, of all or of the sample. Returns false when there is none. */
static bool arm(int turn, int most)
{
	if (turn >= (full ? most : fail_sample.n))
		return false;
	if (full)
		fail_arm(turn + 1);
	else
		fail_arm_kind(fail_sample.turn[turn].kind, fail_sample.turn[turn].nth);
	return true;
}

static bool failed_was(const char *kind)
{
	return fail_what() && !strcmp(fail_what(), kind);
}

/* --- programs, loaded once for each policy */

struct kept {
	char policy[16];
	uint32_t id;
	struct pvsched_programs *programs;
};

static struct kept kept[8];
static bool keep = true;

int __real_pvsched_programs_load(const struct pvsched_load_opts *o, pvsched_say_fn say, void *ctx,
				 struct pvsched_programs **ret);
int __wrap_pvsched_programs_load(const struct pvsched_load_opts *o, pvsched_say_fn say, void *ctx,
				 struct pvsched_programs **ret);
void __real_pvsched_programs_free(struct pvsched_programs *p);
void __wrap_pvsched_programs_free(struct pvsched_programs *p);

/* Kept programs outlive the broker that had them loaded: what they say is for the present one. */
static struct {
	pvsched_say_fn say;
	void *ctx;
} listener;

static void pass_on(void *ctx, const char *line)
{
	(void)ctx;
	listener.say(listener.ctx, line);
}

int __wrap_pvsched_programs_load(const struct pvsched_load_opts *o, pvsched_say_fn say, void *ctx,
				 struct pvsched_programs **ret)
{
	bool spared = fail_spared;
	unsigned int i;
	int err;

	if (!keep)
		return __real_pvsched_programs_load(o, say, ctx, ret);
	listener.say = say;
	listener.ctx = ctx;
	for (i = 0; i < 8 && kept[i].programs; i++)
		/* the id is a constant of the programs; those of `off` do nothing for any */
		if (!strcmp(kept[i].policy, o->policy) &&
		    (kept[i].id == o->id || !strcmp(o->policy, "off"))) {
			*ret = kept[i].programs;
			return 0;
		}
	assert_in_range(i, 0, 7);
	fail_spared = true;
	err = __real_pvsched_programs_load(o, pass_on, NULL, ret);
	fail_spared = spared;
	if (err)
		return err;
	snprintf(kept[i].policy, sizeof(kept[i].policy), "%s", o->policy);
	kept[i].id = o->id;
	kept[i].programs = *ret;
	return 0;
}

void __wrap_pvsched_programs_free(struct pvsched_programs *p)
{
	for (unsigned int i = 0; i < 8; i++)
		if (p && kept[i].programs == p) {
			pvsched_programs_detach(p);
			return;
		}
	__real_pvsched_programs_free(p);
}

/* --- what a process holds */

struct held {
	unsigned int fds, threads; /* programs, maps and links are descriptors, too */
	long allocated;
};

static unsigned int entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static struct held held(void)
{
	struct held h = { 0 };

	h.fds = entries("/proc/self/fd");
	h.threads = entries("/proc/self/task");
	h.allocated = __atomic_load_n(&fail.allocated, __ATOMIC_RELAXED);
	return h;
}

/* A joined thread leaves /proc a little later. */
static void assert_held(const struct held *before)
{
	struct held now;

	for (int ms = 0; ms < PATIENCE_MS; ms += 1) {
		now = held();
		if (!memcmp(&now, before, sizeof(now)))
			return;
		bed_sleep_ms(1);
	}
	assert_int_equal(now.fds, before->fds);
	assert_int_equal(now.threads, before->threads);
	assert_int_equal(now.allocated, before->allocated);
}

/* --- start and stop */

static unsigned int lines;

static void count_lines(enum pvsched_log_level level, const char *line, void *ctx)
{
	(void)ctx;
	if (level == PVSCHED_LOG_ERROR) {
		assert_true(*line && !strchr(line, '\n'));
		lines++;
	}
}

static const struct pvsched_broker_opts opts = { .socket = SOCKET, .print = count_lines };
static struct pvsched_broker *broker;

static int start(void)
{
	int err;

	lines = 0;
	err = pvsched_broker__start(&opts, &broker);
	if (err)
		assert_null(broker);
	return err;
}

static void stop(void)
{
	pvsched_broker__stop(broker);
	broker = NULL;
}

/* After a case, failed or not. */
static int reset(void **state)
{
	(void)state;
	fail_disarm();
	fail.everyone = fail.ours = fail_mine = fail_spared = false;
	fail.thread = NULL;
	stop();
	return 0;
}

/* Another test's broker may have its turn meanwhile; then it is its own number that the file has. */
static bool lock_is_others(void)
{
	int fd = open("/run/pvsched/broker.lock", O_RDWR | O_CLOEXEC);
	bool held = flock(fd, LOCK_EX | LOCK_NB);
	char text[16] = "";

	assert_true(fd >= 0);
	if (held)
		assert_true(pread(fd, text, sizeof(text) - 1, 0) >= 0 && atoi(text) != getpid());
	close(fd);
	return held;
}

static void broker_start_each_call_that_fails_leaves_nothing_behind(void **state)
{
	int turn, err, refused = 0, failed = 0, equal = 0, step = 1;
	const char *last = "";
	struct held before;

	(void)state;
	for (int i = 0; i < 2; i++) { /* for what is made once */
		assert_int_equal(bed_broker(&opts, &broker), 0);
		stop();
	}
	before = held();
	fail.everyone = true;
	fail_watch();
	err = bed_broker(&opts, &broker);
	stop();
	fail.everyone = false;
	fail_take_sample(1);
	assert_int_equal(err, 0);
	for (turn = 0; arm(turn, CALLS_MAX); turn += step) {
		fail.everyone = true;
		err = start();
		stop();
		fail.everyone = false;
		if (err == -EEXIST) { /* another's turn: none of our errors */
			while (lock_is_others())
				bed_sleep_ms(10);
			turn -= step;
			continue;
		}
		if (!fail_disarm() && full) {
			if (step == 1)
				break;
			turn -= step; /* too far: what was left out has its turn */
			step = 1;
			continue;
		}
		/* how often its threads call something is not the same each time */
		failed += fail_what() != NULL;
		printf("# %d: %s: %s\n", turn, fail_what() ? fail_what() : "not this time",
		       strerror(-err));
		fflush(stdout);
		assert_in_range(-err, 0, 4095);
		assert_int_equal(lines, err != 0);
		refused += err != 0;
		assert_held(&before);
		assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child, dead or alive */
		if (failed_was(
			    "unlink")) { /* what could not be removed is the next one's to remove */
			assert_int_equal(bed_broker(&opts, &broker), 0);
			stop();
		}
		assert_int_equal(access(SOCKET, F_OK), -1);
		lock_is_others();
		/* of a row of equal calls, as the rings of 512 CPUs are, every 16th */
		equal = !full || strcmp(last, fail_what()) ? 0 : equal + 1;
		last = full ? fail_what() : last;
		if (!equal && step > 1)
			turn -= step;
		step = equal < 16 ? 1 : 16;
	}
	printf("# %d calls, %d starts refused\n", failed, refused);
	assert_in_range(failed, 30, CALLS_MAX - 1);
	assert_in_range(refused, 10, CALLS_MAX - 1);
	assert_int_equal(bed_broker(&opts, &broker), 0);
}

/* --- a client's life */

static struct pvsched_msg operate(uint32_t type, uint32_t index, const char *policy)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = SOCKET };
	struct pvsched_msg m = { .type = type, .seq = 1, .index = index };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct pvsched_msg end;

	if (policy)
		strcpy(m.policy.name, policy);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    send(fd, &m, sizeof(m), MSG_NOSIGNAL) != sizeof(m) ||
	    recv(fd, &m, sizeof(m), 0) != sizeof(m))
		m.error = -EPIPE;
	/* until the broker has closed its end, too */
	shutdown(fd, SHUT_WR);
	while (recv(fd, &end, sizeof(end), 0) > 0)
		;
	close(fd);
	return m;
}

/* --- the life of a VM that is found, and whose guest speaks over the port */

static void *run_vcpu(void *arg)
{
	(void)arg;
	for (;;)
		ioctl(vcpu_fd, KVM_RUN, 0);
	return NULL;
}

/* Status 0: its page was shared, and is its own again. */
static int be_vmm(void)
{
	alarm(VMM_S); /* who is not answered */
	if (start_vm(run_vcpu))
		return 2;
	renewing = true;
	port = dial();
	share();
	assert_int_equal(command(PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
	return 0;
}

static bool live_found(unsigned int ms)
{
	int status = -1;
	pid_t pid = fork();

	(void)ms;
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close_range(3, ~0u, 0); /* the broker's, which is in this process */
		execl("/proc/self/exe", "soak_broker_sweep", VMM, NULL);
		_exit(3);
	}
	waitpid(pid, &status, 0);
	return !status;
}

/* Returns whether a thread was boosted within ms. */
static bool live(unsigned int ms)
{
	struct threads_bed bed;
	bool boosted = false;
	int err = bed_open(&bed, SOCKET);

	if (err)
		printf("# a life: %s\n", strerror(-err));
	if (!err) {
		bed.hog = bed_start_hog(bed.cpu);
		bed_mode(&bed.vcpu[0], BED_CRITICAL);
		boosted = bed_await_boosted(&bed.vcpu[0], true, ms);
		operate(PVSCHED_MSG_POLICY, PVSCHED_ALL_VMS, "off");
		operate(PVSCHED_MSG_POLICY, PVSCHED_ALL_VMS, "latency");
	}
	pvsched_vm__close(bed.vm);
	bed.vm = NULL;
	/* the VMM was told, or hung up: both restore what was boosted */
	for (unsigned int i = 0; i < BED_VCPUS; i++)
		if (bed.vcpu[i].tid)
			assert_true(bed_await_boosted(&bed.vcpu[i], false, PATIENCE_MS));
	bed_close(&bed);
	return boosted;
}

/* Until the broker has seen that all have left. */
static void assert_no_client(void)
{
	struct pvsched_msg m;
	unsigned int index = 0;

	for (int ms = 0; ms < PATIENCE_MS; ms++) {
		m = operate(PVSCHED_MSG_LIST, index, NULL);
		if (m.error == -ERANGE)
			return;
		assert_true(!m.error || m.error == -ENOENT);
		index += m.error == -ENOENT;
		if (!m.error)
			bed_sleep_ms(1);
	}
	fail_msg("the VM '%s' is still listed", m.list.name);
}

/* --- the life of an operator, whose questions are answered */

static bool live_control(unsigned int ms)
{
	struct threads_bed bed;
	bool answered;

	(void)ms;
	if (bed_open(&bed, SOCKET))
		answered = false;
	else
		answered = strstr(control_ask("list"), "\"bed\"") &&
			   strstr(control_ask("stat"), "\"bed\"");
	bed_close(&bed);
	return answered;
}

/* One in which nothing fails: on a busy machine a client's patience may end all the same. */
static void live_well(bool (*live)(unsigned int ms))
{
	for (int i = 0; i < 5; i++) {
		if (live(PATIENCE_MS))
			return;
		printf("# a life that came to nothing\n");
	}
	fail_msg("no life of five is as it was");
}

/* What fails of a thread's calls in one life each: all up to `most`, or as far as a life gets; or the sample. */
static void sweep_life(const struct pvsched_broker_opts *o, bool (*live)(unsigned int ms),
		       const char *thread, int most)
{
	bool endless = most < CALLS_MAX;
	int turn, lives = 0, misses = 0;
	struct held before;

	fail_spared = true; /* the client's calls are unit/lib_sweep's */
	assert_int_equal(bed_broker(o, &broker), 0);
	for (int i = 0; i < 3; i++)
		live_well(live);
	assert_no_client();
	before = held();
	fail.everyone = true;
	fail.thread = thread;
	fail_watch();
	live_well(live);
	assert_no_client();
	fail_take_sample(1);
	assert_true(fail_sample.n);
	for (turn = 0; arm(turn, most); turn++) {
		live(endless ? PATIENCE_MS : BOOST_MS);
		misses = fail_disarm() ? 0 : misses + 1;
		if (full && misses == TOO_FAR)
			break;
		printf("# %s %d: %s\n", thread, turn, fail_what() ? fail_what() : "not so far");
		fflush(stdout);
		lives += fail_what() != NULL;
		/* also after a change of policy that failed half-way */
		assert_int_equal(operate(PVSCHED_MSG_POLICY, PVSCHED_ALL_VMS, "latency").error, 0);
		assert_no_client();
		assert_held(&before);
	}
	fail.everyone = false;
	fail.thread = NULL;
	printf("# %s: %d lives\n", thread, lives);
	assert_in_range(lives, (fail_sample.n + 1) / 2, CALLS_MAX); /* it is still the same life */
	live_well(live); /* boosted as ever */
}

static void broker_serving_each_call_that_fails_is_one_clients_loss(void **state)
{
	(void)state;
	sweep_life(&opts, live, "pvsched-broker", CALLS_MAX);
}

/* While it boosts, an agent's calls have no end: the first ones. */
static void broker_boosting_each_call_that_fails_leaves_nothing_boosted(void **state)
{
	(void)state;
	sweep_life(&opts, live, "pvsched-agent", ENDLESS);
}

static void broker_fetching_each_call_that_fails_is_one_clients_loss(void **state)
{
	(void)state;
	sweep_life(&opts, live, "pvsched-porter", CALLS_MAX);
}

static void broker_answering_each_call_that_fails_is_one_operators_loss(void **state)
{
	(void)state;
	sweep_life(&opts, live_control, "pvsched-control", CALLS_MAX);
}

static const struct pvsched_broker_opts finding = { .socket = SOCKET,
						    .print = count_lines,
						    .found_policy = "irq" };

static void need_kvm(void)
{
	if (!access("/dev/kvm", R_OK | W_OK))
		return;
	print_message("needs /dev/kvm, to have a VM that is found\n");
	skip();
}

static void broker_finding_each_call_that_fails_is_one_vms_loss(void **state)
{
	(void)state;
	need_kvm();
	sweep_life(&finding, live_found, "pvsched-broker", CALLS_MAX);
}

/* The thread that writes to guests has no last call. */
static void broker_telling_each_call_that_fails_is_one_vms_loss(void **state)
{
	(void)state;
	need_kvm();
	sweep_life(&finding, live_found, "pvsched-area", ENDLESS);
}

/* --- the guardian's process */

/* What fails: of all its calls from its start on, or of those from its broker's end on. */
enum from { ITS_START, THE_END };

/* The guardian ends, too: the next broker can start. */
static void await_no_lock(void)
{
	while (lock_is_others())
		bed_sleep_ms(1);
}

/*
 * Its broker is stopped while a thread is boosted, and in the end killed while one is. In this process nothing
 * counts: the guardian has fail's settings as they were when it was made.
 */
static void live_guarded(enum from from, int turn, bool watch)
{
	bool stopped = false, ok;
	struct threads_bed bed;
	pid_t pid;

	fail.everyone = true;
	fail.thread = "pvsched-guard";
	if (from == ITS_START && watch)
		fail_watch();
	else if (from == ITS_START)
		arm(turn, ENDLESS);
	keep = false; /* what the dead one had loaded is nobody's */
	pid = bed_start_broker(&opts);
	keep = true;
	fail.everyone = false;
	fail.thread = NULL;
	if (pid <= 0) { /* it could not give its rights away */
		assert_true(from == ITS_START && fail_what());
		await_no_lock();
		return;
	}
	assert_int_equal(bed_open(&bed, SOCKET), 0);
	bed.hog = bed_start_hog(bed.cpu);
	bed_mode(&bed.vcpu[0], BED_CRITICAL);
	ok = bed_await_boosted(&bed.vcpu[0], true, PATIENCE_MS);
	for (int i = 0; from == ITS_START && ok && !stopped && i < 100; i++) {
		ok = bed_await_boosted(&bed.vcpu[0], true, PATIENCE_MS);
		kill(pid, SIGSTOP);
		stopped = bed_is_boosted(&bed.vcpu[0]); /* as good as: it may just have ended */
		for (unsigned int v = 0; v < BED_VCPUS; v++)
			ok &= bed_await_boosted(&bed.vcpu[v], false, PATIENCE_MS);
		kill(pid, SIGCONT);
	}
	ok &= bed_await_boosted(&bed.vcpu[0], true, PATIENCE_MS);
	if (from == THE_END && watch)
		fail_watch();
	else if (from == THE_END && arm(turn, ENDLESS))
		__atomic_store_n(&fail.line->more, 1, __ATOMIC_SEQ_CST); /* it asks twice anyway */
	ok &= bed_await_boosted(&bed.vcpu[0], true, PATIENCE_MS);
	kill(pid, SIGKILL);
	for (unsigned int v = 0; v < BED_VCPUS; v++)
		ok &= bed_await_boosted(&bed.vcpu[v], false, PATIENCE_MS);
	bed_stop_child(&pid);
	bed_close(&bed);
	assert_true(ok);
	await_no_lock();
}

/* A thread that was not boosted as its broker was killed is luck, and none is restored then. */
static void sweep_guardian(enum from from, const char *needs)
{
	int lives = 0, misses = 0, tries = 0;
	bool found = false;

	fail_spared = true;
	for (; !found && tries < 20; tries++) {
		live_guarded(from, 0, true);
		fail_take_sample(1);
		for (int i = 0; i < fail_sample.n; i++)
			found |= !strcmp(fail_sample.turn[i].kind, needs);
	}
	assert_true(found);
	for (int turn = 0; turn < (full ? ENDLESS : fail_sample.n); turn++) {
		live_guarded(from, turn, false);
		fail_disarm();
		printf("# guardian %d: %s\n", turn, fail_what() ? fail_what() : "not so far");
		fflush(stdout);
		lives += fail_what() != NULL;
		misses += !fail_what();
		if (full && misses > 20)
			break;
	}
	printf("# guardian: %d lives\n", lives);
	assert_in_range(lives, fail_sample.n / 2, CALLS_MAX);
}

static void broker_guarded_each_call_of_its_guardian_that_fails_leaves_nothing_boosted(void **state)
{
	(void)state;
	sweep_guardian(ITS_START, "read");
}

static void broker_killed_each_call_of_its_guardian_that_fails_leaves_nothing_boosted(void **state)
{
	(void)state;
	sweep_guardian(THE_END, "read");
}

/* --- loading */

static void say_nothing(void *ctx, const char *line)
{
	(void)ctx;
	assert_true(*line && !strchr(line, '\n'));
	lines++;
}

static void broker_loading_each_call_that_fails_is_said(void **state)
{
	struct pvsched_load_opts o = {
		.policy = "latency", .policy_fd = -1, .debts_fd = -1, .id = 99
	};
	struct pvsched_programs *p;
	struct held before;
	int turn, err;

	(void)state;
	keep = false;
	assert_int_equal(pvsched_programs_load(&o, say_nothing, NULL, &p), 0);
	pvsched_programs_free(p);
	before = held();
	fail.ours = fail_mine = true;
	fail_watch();
	assert_int_equal(pvsched_programs_load(&o, say_nothing, NULL, &p), 0);
	fail_mine = false;
	fail_take_sample(1);
	pvsched_programs_free(p);
	for (turn = 0; arm(turn, CALLS_MAX); turn++) {
		p = NULL;
		lines = 0;
		fail.ours = true;
		fail_mine = true;
		err = pvsched_programs_load(&o, say_nothing, NULL, &p);
		if (err)
			assert_null(p);
		pvsched_programs_free(p);
		fail_mine = fail.ours = false;
		if (!fail_disarm())
			break;
		printf("# %d: %s: %s\n", turn, fail_what(), strerror(-err));
		fflush(stdout);
		assert_in_range(-err, 0, 4095);
		assert_true(err ? lines == 1 : !lines);
		assert_held(&before);
	}
	keep = true;
	assert_in_range(turn, full ? 8 : 4, CALLS_MAX - 1);
}

static int setup(void **state)
{
	(void)state;
	full = getenv("PVSCHED_SOAK") && !strcmp(getenv("PVSCHED_SOAK"), "1");
	mallopt(M_ARENA_MAX, 1);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(broker_start_each_call_that_fails_leaves_nothing_behind,
					  reset),
		cmocka_unit_test_teardown(broker_serving_each_call_that_fails_is_one_clients_loss,
					  reset),
		cmocka_unit_test_teardown(
			broker_boosting_each_call_that_fails_leaves_nothing_boosted, reset),
		cmocka_unit_test_teardown(broker_finding_each_call_that_fails_is_one_vms_loss,
					  reset),
		cmocka_unit_test_teardown(broker_fetching_each_call_that_fails_is_one_clients_loss,
					  reset),
		cmocka_unit_test_teardown(
			broker_answering_each_call_that_fails_is_one_operators_loss, reset),
		cmocka_unit_test_teardown(broker_telling_each_call_that_fails_is_one_vms_loss,
					  reset),
		cmocka_unit_test_teardown(
			broker_guarded_each_call_of_its_guardian_that_fails_leaves_nothing_boosted,
			reset),
		cmocka_unit_test_teardown(
			broker_killed_each_call_of_its_guardian_that_fails_leaves_nothing_boosted,
			reset),
		cmocka_unit_test_teardown(broker_loading_each_call_that_fails_is_said, reset),
	};

	if (argc > 1 && !strcmp(argv[1], VMM))
		return be_vmm();
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, setup, NULL);
}
