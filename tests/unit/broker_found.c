// SPDX-License-Identifier: GPL-2.0-only
/* What is made of what the finder sees, by a finder that says what the test wants, over maps and programs
 * that are memory. The VMM is this process, or another user's that sleeps. */
#include <helpers/child.h>
#include <helpers/unit.h>

#include <helpers/bpf_edge.h>

#include <actuator/monotonic.h>
#include <broker/found.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define KVM 0x1000

struct pvsched_finder {
	int unused;
};

static struct bed {
	struct pvsched_server server;
	struct pvsched_registry reg;
	struct pvsched_policies policies;
	pthread_mutex_t mutex;
	struct pvsched_found_vms found;
	/* what the finder sees, or fails with */
	struct pvsched_found row[3];
	int rows, err;
	struct pvsched_finder finder;
	pid_t vmm, known;
	int slow, next; /* processes before the VMM's, each of which takes a slice; told so far */
	bool cut;
	int looks; /* at slow ones */
	int names; /* that were read of the memory of processes */
	bool awaited;
	char said[256];
} bed;

int __real_open64(const char *path, int flags, ...);

int __wrap_open64(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	bed.names += strstr(path, "/cmdline") != NULL;
	return __real_open64(path, flags, mode);
}

/* --- the finder */

int pvsched_finder_open(pvsched_finder_say_fn say, void *ctx, struct pvsched_finder **ret)
{
	assert_non_null(say);
	assert_ptr_equal(ctx, &bed);
	*ret = &bed.finder;
	return 0;
}

void pvsched_finder_free(struct pvsched_finder *f)
{
	assert_true(!f || f == &bed.finder);
}

bool pvsched_finder_has_news(const struct pvsched_finder *f)
{
	return f;
}

int pvsched_finder_news(struct pvsched_finder *f, pvsched_news_fn fn, void *ctx)
{
	assert_non_null(f);
	assert_non_null(fn);
	assert_ptr_equal(ctx, &bed.found);
	return 0;
}

int pvsched_finder_rewind(struct pvsched_finder *f)
{
	assert_non_null(f);
	bed.next = 0;
	return 0;
}

#define SLOW_PID   0x40000000 /* above the highest that there is */
#define SLICE_MORE 21000 /* us */

pid_t pvsched_finder_next(struct pvsched_finder *f)
{
	assert_non_null(f);
	if (bed.next > bed.slow)
		return 0;
	return bed.next++ < bed.slow ? SLOW_PID + bed.next : bed.vmm;
}

int pvsched_finder_scan(struct pvsched_finder *f, pid_t tgid, struct pvsched_found **ret_rows,
			bool *ret_cut)
{
	assert_non_null(f);
	if (tgid > SLOW_PID) {
		usleep(SLICE_MORE);
		bed.looks++;
		return 0;
	}
	assert_int_equal(tgid, bed.vmm);
	if (bed.err)
		return bed.err;
	*ret_cut = bed.cut;
	*ret_rows = malloc(sizeof(bed.row));
	memcpy(*ret_rows, bed.row, sizeof(bed.row));
	return bed.rows;
}

int pvsched_finder_know(struct pvsched_finder *f, pid_t tid, bool known)
{
	assert_non_null(f);
	if (known || bed.known == tid)
		bed.known = known ? tid : 0;
	return 0;
}

int pvsched_finder_await(struct pvsched_finder *f, pid_t tgid, bool awaited)
{
	assert_non_null(f);
	assert_int_equal(tgid, bed.vmm);
	bed.awaited = awaited;
	return 0;
}

/* --- */

static void say(void *ctx, const char *line)
{
	assert_ptr_equal(ctx, &bed);
	snprintf(bed.said, sizeof(bed.said), "%s", line);
}

/* A VM with a vCPU; the VM's file alone comes first. */
static void set_rows(pid_t vmm, pid_t tid)
{
	bed.vmm = vmm;
	bed.row[0] = (struct pvsched_found){ .kvm = KVM, .tgid = vmm };
	bed.row[1] = (struct pvsched_found){
		.kvm = KVM, .vcpu = KVM + 1, .tgid = vmm, .tid = tid, .vcpu_id = 1
	};
}

/* Nothing runs yet. */
static int setup(void **state)
{
	struct pvsched_server *s = &bed.server;

	(void)state;
	memset(&bed, 0, sizeof(bed));
	edge_open();
	if (pvsched_policies_open(&bed.policies, "latency", -1) ||
	    pvsched_registry_open(&bed.reg, pvsched_policies_base(&bed.policies)))
		return -1;
	pthread_mutex_init(&bed.mutex, NULL);
	*s = (struct pvsched_server){ .reg = &bed.reg,
				      .policies = &bed.policies,
				      .mutex = &bed.mutex,
				      .listen_fd = -1,
				      .spare_fd = -1 };
	for (int i = 0; i < PVSCHED_VMS; i++)
		s->client[i].fd = -1;
	/* so that a failure that is wanted strikes no attaching */
	pvsched_policies_use(&bed.policies, 0);
	bed.found = (struct pvsched_found_vms){
		.server = s, .ep = epoll_create1(EPOLL_CLOEXEC), .say = say, .ctx = &bed
	};
	set_rows(getpid(), gettid());
	return pvsched_found_open(&bed.found, "latency");
}

static int teardown(void **state)
{
	(void)state;
	pvsched_found_close(&bed.found);
	close(bed.found.ep);
	pvsched_registry_close(&bed.reg);
	pvsched_policies_close(&bed.policies);
	edge_close();
	return 0;
}

/* Something is due; now. */
static void take_due(void)
{
	struct pvsched_found_vms *f = &bed.found;

	assert_true(pvsched_found_timeout(f) >= 0);
	f->rest_ns = 0;
	if (f->all_ns)
		f->all_ns = 1;
	for (unsigned int i = 0; i < f->n; i++)
		f->look[i].at_ns = 1;
	pvsched_found_run(f);
}

static bool is_served_at(int place)
{
	const struct pvsched_client *c = &bed.server.client[place];

	return c->kvm == KVM && c->slot[0] >= 0 && bed.reg.tid[c->slot[0]] == bed.row[1].tid;
}

static bool is_served(void)
{
	return is_served_at(0);
}

static void see(int rows)
{
	bed.rows = rows;
	pvsched_found_changed(&bed.found, bed.vmm);
	take_due();
}

static void found_vm_is_served_and_forgotten(void **state)
{
	(void)state;
	see(2);
	assert_true(is_served());
	assert_int_equal(bed.known, gettid());
	assert_int_equal(pvsched_found_timeout(&bed.found), -1);
	see(0);
	assert_int_equal(bed.server.client[0].kvm, 0);
	assert_int_equal(bed.known, 0);
}

/* Of which there is no other news: its thread was found, and it runs. */
static void found_thread_that_could_not_be_added_is_tried_again(void **state)
{
	(void)state;
	bed.row[1].tid = 0; /* its thread has not run yet */
	see(2);
	assert_false(is_served());
	bed.row[1].tid = gettid();
	edge.fail = true;
	see(2);
	assert_false(edge.fail);
	assert_false(is_served());
	assert_int_equal(bed.known, 0);
	take_due();
	assert_true(is_served());
	assert_int_equal(pvsched_found_timeout(&bed.found), -1);
}

/* Dups are many, and cheap to make; what comes of a vCPU is not. */
static void found_vcpu_whose_file_is_open_twice_is_taken_once(void **state)
{
	(void)state;
	bed.row[1].tid = 0;
	see(2);
	bed.row[1].tid = gettid();
	bed.row[2] = bed.row[1];
	edge.fail = true;
	see(3);
	assert_false(edge.fail);
	assert_false(is_served());
	take_due();
	assert_true(is_served());
}

static void found_scan_that_fails_is_tried_again(void **state)
{
	(void)state;
	bed.err = -ENOMEM;
	see(2);
	bed.err = 0;
	take_due();
	assert_true(is_served());
	assert_int_equal(pvsched_found_timeout(&bed.found), -1);
}

/* Neither the broker's clients, nor who has news of a VM. */
static void found_slow_processes_keep_nobody_waiting(void **state)
{
	const uint64_t begin = now_ns();

	(void)state;
	bed.slow = 8;
	bed.rows = 2;
	pvsched_found_again(&bed.found);
	take_due();
	assert_int_equal(bed.looks, 1); /* the main thread has its turn */
	assert_false(is_served());
	assert_true(bed.found.rest_ns - begin > 4 * SLICE_MORE * 1000); /* and more of them */
	bed.found.rest_ns = begin + 3600000000000ull;
	assert_true(pvsched_found_timeout(&bed.found) > 0);
	pvsched_found_run(&bed.found);
	assert_int_equal(bed.looks, 1);
	pvsched_found_changed(&bed.found, bed.vmm); /* does not wait for the others */
	take_due();
	assert_int_equal(bed.looks, 2);
	assert_true(is_served());
	pvsched_found_drop(&bed.found, 0);
	while (bed.found.walking)
		take_due();
	assert_int_equal(bed.looks, bed.slow);
	assert_true(is_served()); /* behind them all */
	bed.slow = 0;
}

/* The broker does not come up only when all have been looked at. */
static void found_slow_processes_do_not_delay_a_start(void **state)
{
	(void)state;
	pvsched_found_close(&bed.found);
	bed.slow = 1000;
	assert_int_equal(pvsched_found_open(&bed.found, "latency"), 0);
	assert_in_range(bed.looks, 2, 100);
	assert_true(bed.found.walking);
	assert_true(pvsched_found_timeout(&bed.found) >= 0);
	bed.slow = 0;
}

static void found_process_with_too_many_files_is_said_once(void **state)
{
	char line[192];

	(void)state;
	bed.cut = true;
	see(2);
	assert_true(is_served()); /* what was seen of it */
	snprintf(line, sizeof(line), "found: process %d of user %u has more than 16384 open files",
		 getpid(), getuid());
	assert_non_null(strstr(bed.said, line));
	bed.said[0] = 0;
	see(2);
	assert_string_equal(bed.said, "");
}

/* Nobody wakes for ever. */
static void found_what_always_fails_is_given_up(void **state)
{
	int tries = 0, wait = 0, last;

	(void)state;
	bed.err = -ENOMEM;
	see(2);
	for (; pvsched_found_timeout(&bed.found) >= 0 && tries < 100; tries++) {
		last = wait;
		wait = pvsched_found_timeout(&bed.found);
		assert_true(wait > last);
		take_due();
	}
	assert_in_range(tries, 4, 20);
	bed.err = 0; /* until there is news */
	see(2);
	assert_true(is_served());
}

static void found_without_room_is_looked_for_when_there_is(void **state)
{
	(void)state;
	for (int i = 0; i < PVSCHED_VMS; i++) /* others' */
		bed.server.client[i].fd = 1000 + i;
	see(2);
	assert_non_null(strstr(bed.said, "no room for a VM more"));
	assert_int_equal(pvsched_found_timeout(&bed.found), -1);
	for (int i = 0; i < PVSCHED_VMS; i++)
		bed.server.client[i].fd = -1;
	pvsched_found_changed(&bed.found, getpid() + 1); /* a client that left */
	bed.found.n = 0;
	take_due();
	assert_true(is_served());
}

/* A process may make any number of them. */
static void found_vm_without_a_vcpu_takes_no_place(void **state)
{
	(void)state;
	see(1);
	assert_int_equal(bed.server.client[0].kvm, 0);
	assert_int_equal(pvsched_found_timeout(&bed.found), -1);
	see(2);
	assert_true(is_served());
	see(1); /* it has had one, and may have another */
	assert_int_equal(bed.server.client[0].kvm, KVM);
}

#define USER 65534

static void be_user(void *arg)
{
	(void)arg;
	if (setresuid(USER, USER, USER))
		_exit(1);
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* These places are the user's, as clients' or as those of VMs that were found, of which a look at all
 * processes would see nothing. */
static void take_places(int n, bool found)
{
	for (int i = 0; i < PVSCHED_VMS; i++) {
		bed.server.client[i].uid = USER;
		bed.server.client[i].fd = i < n && !found ? 1000 + i : -1;
		bed.server.client[i].kvm = i < n && found ? 2 * KVM + i : 0;
	}
}

static void found_user_has_but_a_share_of_the_places(void **state)
{
	const int share = PVSCHED_VMS / 4 * 3;
	pid_t pid;

	(void)state;
	if (geteuid())
		skip(); /* for another user's process */
	pid = child_start(be_user, NULL);
	set_rows(pid, pid);
	for (int found = 0; found < 2; found++) {
		take_places(share, found);
		bed.found.wanting = bed.found.full_user = false;
		see(2);
		for (int i = share; i < PVSCHED_VMS; i++)
			assert_int_equal(bed.server.client[i].kvm, 0);
		assert_string_equal(
			bed.said,
			"found: no room for a VM more of user 65534: it is left as it is");
	}
	/* another's is served */
	take_places(share, false);
	set_rows(getpid(), gettid());
	see(2);
	assert_true(is_served_at(share));
	pvsched_found_drop(&bed.found, share);
	/* and his own when one of his has left */
	take_places(share - 1, false);
	set_rows(pid, pid);
	see(2);
	assert_true(is_served_at(share - 1));
	pvsched_found_drop(&bed.found, share - 1);
	take_places(0, false);
	end(pid);
}

static void found_user_has_but_a_share_of_the_threads(void **state)
{
	const int share = PVSCHED_SLOTS / 4 * 3;
	struct pvsched_client *other = &bed.server.client[PVSCHED_VMS - 1];
	pid_t pid;

	(void)state;
	if (geteuid())
		skip(); /* for another user's process */
	pid = child_start(be_user, NULL);
	*other = (struct pvsched_client){ .fd = 1000, .uid = USER, .hello = true, .vm = 200 };
	bed.reg.vm_vcpus[other->vm] = share;
	set_rows(pid, pid);
	see(2);
	assert_int_equal(bed.server.client[0].kvm, KVM);
	assert_false(is_served());
	assert_string_equal(bed.said,
			    "found: no room for a vCPU more of user 65534: it is left as it is");
	bed.reg.vm_vcpus[other->vm]--;
	see(2);
	assert_true(is_served());
	pvsched_found_drop(&bed.found, 0);
	bed.reg.vm_vcpus[other->vm] = share;
	set_rows(getpid(), gettid());
	see(2);
	assert_true(is_served());
	bed.reg.vm_vcpus[other->vm] = 0;
	*other = (struct pvsched_client){ .fd = -1 };
	end(pid);
}

/* Once for each look at a VM that has no place: what it takes to read it is up to its owner. */
static void found_name_is_read_only_where_it_may_tell(void **state)
{
	static const struct {
		const char *conf; /* %u is the user's */
		bool is_read;
	} cases[] = {
		{ "[user %u]\nserve = no\n", false },
		{ "[user %u]\nserve = no\n[vm *]\nserve = yes\n", false },
		{ "[user %u]\nserve = no\n[vm a]\nuser = 4000000000\nserve = yes\n", false },
		{ "[vm a]\nuser = %u\nserve = yes\n[user %u]\nserve = no\n", true },
		{ "[user 4000000000]\nserve = no\n[vm *]\nserve = no\n", true },
	};
	char text[256], error[256];

	(void)state;
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text), cases[i].conf, getuid(), getuid());
		assert_int_equal(
			pvsched_conf_parse(text, "test", &bed.server.conf, error, sizeof(error)),
			0);
		bed.names = 0;
		see(2);
		assert_int_equal(bed.server.client[0].kvm, 0);
		assert_int_equal(bed.names, cases[i].is_read);
		assert_int_equal(pvsched_found_timeout(&bed.found), -1);
	}
	bed.server.conf = (struct pvsched_conf){ 0 };
	see(2);
	assert_true(is_served());
}

/* VMs cease to be looked for while an event is on its way. */
static void found_news_after_its_end_is_dropped(void **state)
{
	struct pvsched_finder *own = bed.found.finder;

	(void)state;
	bed.found.finder = NULL;
	pvsched_found_news(&bed.found);
	pvsched_found_run(&bed.found);
	pvsched_found_drop(&bed.found, 0);
	pvsched_found_ended(&bed.found, 0);
	assert_int_equal(pvsched_found_timeout(&bed.found), -1);
	bed.found.finder = own;
}

/* The server's part is not done here. */
static void found_vm_that_a_client_takes_is_forgotten(void **state)
{
	uint64_t changes;

	(void)state;
	see(2);
	changes = bed.found.changes;
	bed.awaited = true;
	pvsched_found_forget(&bed.found, 0);
	assert_true(bed.found.changes > changes); /* so its port is closed */
	assert_int_equal(bed.known, 0);
	assert_false(bed.awaited);
	assert_true(is_served());
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(found_vm_is_served_and_forgotten),
		CASE(found_thread_that_could_not_be_added_is_tried_again),
		CASE(found_vcpu_whose_file_is_open_twice_is_taken_once),
		CASE(found_scan_that_fails_is_tried_again),
		CASE(found_slow_processes_keep_nobody_waiting),
		CASE(found_slow_processes_do_not_delay_a_start),
		CASE(found_process_with_too_many_files_is_said_once),
		CASE(found_what_always_fails_is_given_up),
		CASE(found_without_room_is_looked_for_when_there_is),
		CASE(found_vm_without_a_vcpu_takes_no_place),
		CASE(found_user_has_but_a_share_of_the_places),
		CASE(found_user_has_but_a_share_of_the_threads),
		CASE(found_name_is_read_only_where_it_may_tell),
		CASE(found_news_after_its_end_is_dropped),
		CASE(found_vm_that_a_client_takes_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
