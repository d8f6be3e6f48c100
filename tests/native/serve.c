// SPDX-License-Identifier: GPL-2.0-only
/* What an operator asks and sets: lists and numbers over the control socket, the configuration and its
 * change while VMs run. Threads stand for vCPUs. */
/* timeout: 150 */
#include <helpers/control.h>
#include <helpers/host_bed.h>
#include <json/parse.h>

#include <dirent.h>
#include <poll.h>

#include <broker/conf.h>
#include <broker/instance.h>
#include <broker/wire.h>

static struct pvsched_broker *broker;
static struct pvsched_conf conf;
static struct threads_bed bed;
static bool bed_is_open;

static struct json_value *ask(const char *command)
{
	const char *text = control_ask(command);

	return *text ? json_parse(text, strlen(text), 16) : NULL;
}

static void set_conf(const char *text)
{
	char why[256] = "";

	if (pvsched_conf_parse(text, "test", &conf, why, sizeof(why)))
		fail_msg("%s", why);
}

static struct pvsched_broker_opts options(const char *text)
{
	struct pvsched_broker_opts o = { .print = bed_say, .conf = &conf };

	set_conf(text);
	return o;
}

static int start(const char *text)
{
	struct pvsched_broker_opts o = options(text);

	return bed_broker(&o, &broker);
}

static void open_bed(void)
{
	assert_int_equal(bed_open(&bed, NULL), 0);
	bed_is_open = true;
}

static void close_bed(void)
{
	bed_is_open = false;
	bed_close(&bed);
}

/* A case that failed left its bed, whose hog holds the guardian's pipe. */
static int teardown(void **state)
{
	(void)state;
	if (bed_is_open)
		close_bed();
	pvsched_broker__stop(broker);
	broker = NULL;
	return 0;
}

static int vms_listed(void)
{
	struct json_value *v = ask("list");
	int n = json_len(json_get(v, "vms"));

	json_free(v);
	return n;
}

static void control_lists_vcpus_with_their_threads(void **state)
{
	const struct json_value *vm, *vcpu;
	struct json_value *v;

	(void)state;
	assert_int_equal(start(""), 0);
	open_bed();
	v = ask("list");
	vm = json_at(json_get(v, "vms"), 0);
	assert_int_equal(json_len(json_get(v, "vms")), 1);
	assert_string_equal(json_text(json_get(vm, "name")), "bed");
	assert_string_equal(json_text(json_get(vm, "protocol")), "BASE 1");
	assert_string_equal(json_text(json_get(vm, "policy")), "latency");
	assert_false(json_true(json_get(vm, "found")));
	assert_int_equal(json_number(json_get(vm, "pid")), getpid());
	assert_int_equal(json_len(json_get(vm, "vcpu")), BED_VCPUS);
	for (int i = 0; i < BED_VCPUS; i++) {
		vcpu = json_at(json_get(vm, "vcpu"), i);
		assert_int_equal(json_number(json_get(vcpu, "tid")), bed.vcpu[i].tid);
		assert_true(json_true(json_get(vcpu, "page")));
	}
	json_free(v);
	close_bed();
	/* the broker hears of it when it comes to run */
	HOST_AWAIT(vms_listed() == 0);
}

/* How often this process's thread of that name has gone to sleep. */
static long sleeps_of(const char *name)
{
	char path[64], line[128], own[32] = "";
	struct dirent *e;
	long sleeps = -1;
	DIR *d = opendir("/proc/self/task");
	FILE *f;

	while (d && sleeps < 0 && (e = readdir(d))) {
		snprintf(path, sizeof(path), "/proc/self/task/%.16s/status", e->d_name);
		f = fopen(path, "re");
		while (f && fgets(line, sizeof(line), f))
			if (sscanf(line, "Name: %31s", own) != 1 && !strcmp(own, name))
				sscanf(line, "voluntary_ctxt_switches: %ld", &sleeps);
		if (f)
			fclose(f);
	}
	if (d)
		closedir(d);
	return sleeps;
}

static void control_that_has_answered_sleeps(void **state)
{
	long sleeps;

	(void)state;
	assert_int_equal(start(""), 0);
	assert_int_equal(vms_listed(), 0);
	bed_sleep_ms(600);
	sleeps = sleeps_of("pvsched-control");
	assert_true(sleeps > 0);
	bed_sleep_ms(1000);
	assert_int_equal(sleeps_of("pvsched-control"), sleeps);
}

static int64_t number(const struct json_value *vcpu, const char *a, const char *b)
{
	return json_number(b ? json_get(json_get(vcpu, a), b) : json_get(vcpu, a));
}

/* One vCPU in sections beside a hog, one that sleeps a ms at a time. */
static void stat_counts_what_boosts_gave_and_took(void **state)
{
	const struct json_value *vcpu = NULL;
	struct json_value *v = NULL;
	bool enough = false;
	uint64_t end;

	(void)state;
	assert_int_equal(start(""), 0);
	open_bed();
	bed.hog = bed_start_hog(bed.cpu);
	bed_mode(&bed.vcpu[0], BED_SECTIONS);
	for (end = bed_now() + HOST_PATIENCE_NS; !enough && bed_now() < end; bed_sleep_ms(100)) {
		json_free(v);
		v = ask("stat");
		vcpu = json_at(json_get(json_at(json_get(v, "vms"), 0), "vcpu"), 0);
		enough = number(vcpu, "granted", "critical") > 10 &&
			 number(json_at(json_get(json_at(json_get(v, "vms"), 0), "vcpu"), 1),
				"wake", "count") > 100;
	}
	assert_true(enough);
	assert_int_equal(number(vcpu, "boosts", NULL), number(vcpu, "granted", "critical"));
	assert_true(number(vcpu, "boosted_ns", NULL) > 0);
	/* a hog waited through all of it, and whoever else the machine has */
	assert_true(number(vcpu, "harm_ns", NULL) >= number(vcpu, "boosted_ns", NULL) / 2);
	assert_true(number(vcpu, "delay_ns", NULL) > 0);
	json_free(v);
	close_bed();
}

static void stat_denials_have_their_reason(void **state)
{
	const struct json_value *vcpu = NULL;
	struct json_value *v = NULL;
	int64_t denied = 0;
	uint64_t end;

	(void)state;
	assert_int_equal(start(""), 0);
	open_bed();
	bed.hog = bed_start_hog(bed.cpu);
	bed_mode(&bed.vcpu[0], BED_CRITICAL);
	for (end = bed_now() + HOST_PATIENCE_NS; !denied && bed_now() < end; bed_sleep_ms(100)) {
		json_free(v);
		v = ask("stat");
		vcpu = json_at(json_get(json_at(json_get(v, "vms"), 0), "vcpu"), 0);
		denied = number(vcpu, "throttled", "critical") + number(vcpu, "gaps", "critical");
	}
	assert_true(denied > 0);
	json_free(v);
	close_bed();
}

static void control_shows_others_only_their_own(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(start(""), 0);
	open_bed();
	pid = fork();
	if (!pid) {
		struct json_value *v;

		if (setresuid(65534, 65534, 65534))
			_exit(2);
		v = ask("list");
		_exit(!v || json_get(v, "error") || json_len(json_get(v, "vms")));
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	close_bed();
}

static void conf_vm_that_is_not_served_is_refused(void **state)
{
	(void)state;
	assert_int_equal(start("[vm b?d]\nserve = no\n"), 0);
	assert_int_equal(bed_open(&bed, NULL), -EACCES);
	munmap(bed.mem, 1 << 20);
}

static void conf_vcpu_that_is_left_out_is_left_alone(void **state)
{
	(void)state;
	assert_int_equal(start("[vm bed]\nvcpus = 0\n"), 0);
	open_bed();
	bed.hog = bed_start_hog(bed.cpu);
	for (int i = 0; i < BED_VCPUS; i++)
		bed_mode(&bed.vcpu[i], BED_SECTIONS);
	HOST_AWAIT(bed_stats(&bed.vcpu[0]).boosts > 20);
	assert_int_equal(bed_stats(&bed.vcpu[1]).boosts, 0);
	close_bed();
}

/* Its policy by its user's section, and another by its own, while it runs. */
static void conf_changes_while_vms_run(void **state)
{
	struct pvsched_broker_opts o;
	struct json_value *v;
	uint64_t boosts;

	(void)state;
	assert_int_equal(start("[user root]\npolicy = off\n"), 0);
	open_bed();
	bed.hog = bed_start_hog(bed.cpu);
	bed_mode(&bed.vcpu[0], BED_SECTIONS);
	v = ask("list");
	assert_string_equal(json_text(json_get(json_at(json_get(v, "vms"), 0), "policy")), "off");
	json_free(v);
	assert_int_equal(bed_stats(&bed.vcpu[0]).boosts, 0);

	o = options("[user root]\npolicy = off\n[vm bed]\nuser = root\npolicy = latency\n");
	assert_int_equal(pvsched_broker__configure(broker, &o), 0);
	HOST_AWAIT(bed_stats(&bed.vcpu[0]).boosts > 5);

	/* what cannot be loaded changes nothing */
	o.policy = "nonsense";
	assert_true(pvsched_broker__configure(broker, &o) < 0);
	boosts = bed_stats(&bed.vcpu[0]).boosts;
	HOST_AWAIT(bed_stats(&bed.vcpu[0]).boosts > boosts + 5);
	close_bed();
}

static void conf_vm_no_longer_served_is_let_go(void **state)
{
	struct pvsched_broker_opts o;
	struct json_value *v;

	(void)state;
	assert_int_equal(start(""), 0);
	open_bed();
	bed.hog = bed_start_hog(bed.cpu);
	bed_mode(&bed.vcpu[0], BED_CRITICAL);
	assert_true(bed_await_boosted(&bed.vcpu[0], true, 20000));
	o = options("[vm bed]\nserve = no\n");
	assert_int_equal(pvsched_broker__configure(broker, &o), 0);
	v = ask("list");
	assert_int_equal(json_len(json_get(v, "vms")), 0);
	json_free(v);
	for (int i = 0; i < 100; i++) {
		assert_false(bed_is_boosted(&bed.vcpu[0]));
		bed_sleep_ms(1);
	}
	close_bed();
}

struct reload {
	struct pvsched_broker_opts o;
	_Atomic bool done;
	int err;
};

static void *reload(void *arg)
{
	struct reload *r = arg;

	r->err = pvsched_broker__configure(broker, &r->o);
	r->done = true;
	return NULL;
}

/* A policy's verification takes from a tenth of a second on; an answer some 50 us. */
static void conf_policy_is_loaded_while_vms_are_served(void **state)
{
	struct reload r = { 0 };
	pthread_t thread;
	int answers = 0;

	(void)state;
	assert_int_equal(start(""), 0);
	open_bed();
	r.o = options("[vm bed]\npolicy = mirror\n");
	assert_int_equal(pthread_create(&thread, NULL, reload, &r), 0);
	while (!r.done) {
		bed_stats(&bed.vcpu[0]);
		answers += !r.done;
	}
	pthread_join(thread, NULL);
	assert_int_equal(r.err, 0);
	assert_true(answers > 3); /* one may come before it begins, one more after it has ended */
	close_bed();
}

/* Else `pvsched serve` would wait for ever, and systemd with it. */
static void conf_change_of_a_broker_that_has_ended_is_refused(void **state)
{
	struct pollfd ended;
	struct reload r = { 0 };
	pthread_t thread;
	int other = eventfd(0, EFD_CLOEXEC);

	(void)state;
	assert_int_equal(start(""), 0);
	ended = (struct pollfd){ .fd = pvsched_broker__poll_fd(broker), .events = POLLIN };
	assert_int_equal(poll(&ended, 1, 0), 0);
	assert_int_equal(dup2(other, broker->ep), broker->ep); /* nothing to wait at any more */
	pvsched_broker__configure(broker, NULL); /* it wakes, and finds that */
	assert_int_equal(poll(&ended, 1, HOST_PATIENCE_NS / 1000000), 1);
	r.o = options("");
	assert_int_equal(pthread_create(&thread, NULL, reload, &r), 0);
	HOST_AWAIT(r.done);
	pthread_join(thread, NULL);
	assert_int_equal(r.err, -EPIPE);
	close(other);
}

/* Of the bed's VM, or with PVSCHED_ALL_VMS the host, as `pvsched budget` asks. */
static struct pvsched_msg budget(uint32_t vm)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = PVSCHED_SOCKET };
	struct pvsched_msg m = { .type = PVSCHED_MSG_BUDGET, .index = vm };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	m.budget.vcpu = PVSCHED_ALL_VCPUS;
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(send(fd, &m, sizeof(m), MSG_NOSIGNAL), sizeof(m));
	assert_int_equal(recv(fd, &m, sizeof(m), 0), sizeof(m));
	assert_int_equal(m.error, 0);
	close(fd);
	return m;
}

static void conf_budgets_hold_for_their_vm(void **state)
{
	struct pvsched_broker_opts o;
	struct pvsched_msg m;

	(void)state;
	assert_int_equal(start("[vm bed]\nboost = 10\nceiling = fifo:3\n"), 0);
	open_bed();
	m = budget(0);
	assert_int_equal(m.budget.own, 1u << PVSCHED_BUDGET_BOOST | 1u << PVSCHED_BUDGET_CEILING);
	assert_int_equal(m.budget.value[PVSCHED_BUDGET_BOOST], 10);
	assert_int_equal(m.budget.value[PVSCHED_BUDGET_CEILING], 3);

	/* another configuration: what it does not say is the host's, and the host's the default */
	o = options("[vm bed]\nrate = 100\n");
	o.cap_ns = 500000;
	assert_int_equal(pvsched_broker__configure(broker, &o), 0);
	m = budget(0);
	assert_int_equal(m.budget.own, 1u << PVSCHED_BUDGET_RATE);
	assert_int_equal(m.budget.value[PVSCHED_BUDGET_RATE], 100);
	assert_int_equal(m.budget.value[PVSCHED_BUDGET_BOOST], 40);
	assert_int_equal(m.budget.value[PVSCHED_BUDGET_CAP], 500000);
	o.cap_ns = 0;
	assert_int_equal(pvsched_broker__configure(broker, &o), 0);
	assert_int_equal(budget(PVSCHED_ALL_VMS).budget.value[PVSCHED_BUDGET_CAP], 1000000);
	close_bed();
}

int main(void)
{
#define CASE(f) cmocka_unit_test_teardown(f, teardown)
	const struct CMUnitTest tests[] = {
		CASE(control_lists_vcpus_with_their_threads),
		CASE(control_that_has_answered_sleeps),
		CASE(stat_counts_what_boosts_gave_and_took),
		CASE(stat_denials_have_their_reason),
		CASE(control_shows_others_only_their_own),
		CASE(conf_vm_that_is_not_served_is_refused),
		CASE(conf_vcpu_that_is_left_out_is_left_alone),
		CASE(conf_changes_while_vms_run),
		CASE(conf_vm_no_longer_served_is_let_go),
		CASE(conf_policy_is_loaded_while_vms_are_served),
		CASE(conf_budgets_hold_for_their_vm),
		CASE(conf_change_of_a_broker_that_has_ended_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
