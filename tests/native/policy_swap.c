// SPDX-License-Identifier: GPL-2.0-only
/* Policies changed under a running VM: what the old one boosted ends, debts stay, bad ones are
 * refused in one line and change nothing. Through the operator's messages, as pvsched policy. */
/* timeout: 240 */
#include <fcntl.h>
#include <helpers/host_bed.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <broker/wire.h>

#define PATIENCE_MS 5000
#define LOADS_NS                                                                                   \
	60000000000ull /* for many loads in a row: an emulated 6.1 takes a minute for one */

static struct pvsched_broker *broker;

static int group_start(void **state)
{
	struct pvsched_broker_opts o = { .print = bed_say };

	(void)state;
	return bed_broker(&o, &broker);
}

static int group_stop(void **state)
{
	(void)state;
	pvsched_broker__stop(broker);
	return 0;
}

/* Connected, the request sent; or -1. */
static int send_request(const struct pvsched_msg *m, int fd_to_pass)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = PVSCHED_SOCKET };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (void *)m, sizeof(*m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (fd_to_pass >= 0) {
		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd_to_pass, sizeof(int));
	}
	if (!connect(fd, (struct sockaddr *)&addr, sizeof(addr)) &&
	    sendmsg(fd, &msg, MSG_NOSIGNAL) == sizeof(*m))
		return fd;
	close(fd);
	return -1;
}

/* Takes the reply, hangs up. */
static int take_reply(int fd, struct pvsched_msg *m)
{
	int err = recv(fd, m, sizeof(*m), 0) == sizeof(*m) ? m->error : -EPIPE;

	close(fd);
	return err;
}

static int ask(struct pvsched_msg *m, int fd_to_pass)
{
	return take_reply(send_request(m, fd_to_pass), m);
}

static int open_policy(const char *name)
{
	const char *build = getenv("PVSCHED_BUILD");
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", build ? build : "build", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* A built-in, or a file of the build directory. */
static int set_policy(uint32_t vm, const char *name, char *ret_line)
{
	struct pvsched_msg m = { .type = PVSCHED_MSG_POLICY, .index = vm };
	const char *base = strrchr(name, '/');
	int fd = strstr(name, ".bpf.o") ? open_policy(name) : -1, err;

	snprintf(m.policy.name, sizeof(m.policy.name), "%s", base ? base + 1 : name);
	err = ask(&m, fd);
	if (fd >= 0)
		close(fd);
	if (ret_line)
		snprintf(ret_line, sizeof(m.policy.error), "%s", m.policy.error);
	return err;
}

static void expect_policy(uint32_t vm, const char *name)
{
	struct pvsched_msg m = { .type = PVSCHED_MSG_LIST, .index = vm };

	assert_int_equal(ask(&m, -1), 0);
	assert_string_equal(m.list.policy, name);
}

static int bed_setup(void **state)
{
	static struct threads_bed bed;

	*state = &bed;
	if (set_policy(PVSCHED_ALL_VMS, "latency", NULL))
		return -1;
	return bed_open(&bed, NULL); /* VM 0 */
}

static int bed_teardown(void **state)
{
	bed_close(*state);
	return 0;
}

static struct pvsched_vcpu_report report(const struct bed_vcpu *v)
{
	struct pvsched_vcpu_report r;

	assert_int_equal(pvsched_broker__vcpu_report(broker, v->tid, &r), 0);
	return r;
}

/* Times that a boost was not had for want of budget: the programs' or, by wall time, the actuator's. */
static uint64_t denied(const struct bed_vcpu *v)
{
	struct pvsched_vcpu_report r = report(v);

	return r.denied_throttle + r.refused;
}

static struct bed_vcpu *boost(struct threads_bed *b)
{
	b->hog = bed_start_hog(b->cpu);
	bed_mode(&b->vcpu[0], BED_CRITICAL);
	assert_true(bed_await_boosted(&b->vcpu[0], true, PATIENCE_MS));
	return &b->vcpu[0];
}

static void policy_changed_to_off_in_mid_boost_restores_and_stays_off(void **state)
{
	struct threads_bed *b = *state;
	struct bed_vcpu *v = boost(b);
	struct pvsched_vcpu_report from, to;
	uint64_t boosts, seen;

	assert_int_equal(set_policy(0, "off", NULL), 0);
	from = report(v);
	assert_false(bed_is_boosted(v));
	expect_policy(0, "off");
	boosts = bed_stats(v).boosts;
	bed_sleep_ms(300); /* critical and preempted all the time */
	assert_int_equal(bed_stats(v).boosts, boosts);
	seen = bed_now();
	assert_int_equal(set_policy(0, "latency", NULL), 0);
	assert_true(bed_await_boosted(v, true, PATIENCE_MS));
	/* what nobody saw counts as neither */
	to = report(v);
	assert_in_range(to.run_ns + to.steal_ns - from.run_ns - from.steal_ns, 0, bed_now() - seen);
}

static void policy_from_a_file_serves_and_its_vm_only(void **state)
{
	struct threads_bed *b = *state, other;
	struct bed_vcpu *v = boost(b);

	assert_int_equal(bed_open(&other, NULL), 0);
	assert_int_equal(set_policy(0, "src/policy/irq.bpf.o", NULL), 0);
	expect_policy(0, "irq");
	expect_policy(1, "latency");
	assert_true(bed_await_boosted(v, false, PATIENCE_MS)); /* irq knows no critical sections */
	bed_mode(&other.vcpu[0], BED_CRITICAL);
	assert_true(bed_await_boosted(&other.vcpu[0], true, PATIENCE_MS));
	assert_false(bed_is_boosted(v));
	bed_close(&other);
}

static void policy_kill_switch_reaches_all_and_those_to_come(void **state)
{
	struct threads_bed *b = *state, other;
	struct bed_vcpu *v = boost(b);

	assert_int_equal(set_policy(PVSCHED_ALL_VMS, "off", NULL), 0);
	assert_false(bed_is_boosted(v));
	assert_int_equal(bed_open(&other, NULL), 0);
	expect_policy(0, "off");
	expect_policy(1, "off");
	bed_close(&other);
	assert_int_equal(set_policy(PVSCHED_ALL_VMS, "latency", NULL), 0);
	assert_true(bed_await_boosted(v, true, PATIENCE_MS));
}

/*
 * Each change would be a chance to forget. The vCPU alone is poor, so that neither its VM's debts nor its
 * CPU's stand in for its own; after each change it asks until it is denied, so that a new debt would
 * be used up; and most changes load nothing, so that little time pays.
 */
static void policy_changed_all_the_time_keeps_the_debts(void **state)
{
	static const char *const turns[] = {
		"off", "latency", "off", "latency", "src/policy/latency.bpf.o", "latency"
	};
	struct pvsched_msg poor = { .type = PVSCHED_MSG_BUDGET, .index = 0 };
	static struct host_bound bound;
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[0];
	struct pvsched_vcpu_report r;
	uint64_t start = bed_now(), before;
	unsigned int swaps;

	bound.n = 0;
	poor.budget.vcpu = 0;
	poor.budget.set = 1u << PVSCHED_BUDGET_BOOST;
	poor.budget.value[PVSCHED_BUDGET_BOOST] = 1;
	assert_int_equal(ask(&poor, -1), 0);
	b->hog = bed_start_hog(b->cpu);
	bed_mode(v, BED_CRITICAL);
	HOST_AWAIT(report(v).denied_throttle > 0);
	host_bound_shot(&bound, v);
	for (swaps = 0; swaps < 30 && (swaps < 6 || bed_now() < start + LOADS_NS); swaps++) {
		const char *policy = turns[swaps % ARRAY_SIZE(turns)];

		assert_int_equal(set_policy(0, policy, NULL), 0);
		before = denied(v); /* not before: that was by the old one */
		if (strcmp(policy, "off"))
			HOST_AWAIT(denied(v) > before);
		host_bound_shot(&bound, v);
	}
	r = report(v);
	printf("# %u swaps in %.0f ms, %.1f ms boosted, longest boost %.2f ms\n", swaps,
	       (bed_now() - start) / 1e6, r.boosted_ns / 1e6, r.boost.max / 1e6);
	assert_true(r.boosts > 0);
	assert_int_equal(host_bound_excess(&bound, 1, 10000000, r.boost.max), 0);
}

static void policy_that_is_bad_is_refused_and_the_old_goes_on(void **state)
{
	static const struct {
		const char *policy;
		int err;
		const char *says;
	} bad[] = {
		{ "nonsense", -ENOENT, "no policy 'nonsense'" },
		{ "tests/native/policies/wrong_abi.bpf.o", -EPROTO, "policy version 99" },
		{ "tests/native/policies/wild.bpf.o", 0, "refuses it" },
		{ "tests/native/policies/nothing.bpf.o", -EINVAL, "" },
		{ "src/events/probe.bpf.o", -EINVAL, "" },
	};
	struct threads_bed *b = *state;
	struct bed_vcpu *v = boost(b);
	char line[256];
	int err;

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		line[0] = 0;
		err = set_policy(0, bad[i].policy, line);
		printf("# %s: %d: %s\n", bad[i].policy, err, line);
		assert_true(err < 0);
		if (bad[i].err)
			assert_int_equal(err, bad[i].err);
		assert_true(line[0]);
		assert_non_null(strstr(line, bad[i].says));
		assert_null(strchr(line, '\n'));
		expect_policy(0, "latency");
	}
	assert_int_equal(set_policy(77, "off", NULL), -ENOENT);
	assert_true(bed_await_boosted(v, false, PATIENCE_MS));
	assert_true(bed_await_boosted(v, true, PATIENCE_MS));
}

/* Loading takes as long as the verifier likes. Whether a look falls into it is chance: tried often. */
static void policy_being_loaded_holds_up_nobody(void **state)
{
	struct pvsched_msg load = { .type = PVSCHED_MSG_POLICY, .index = 0 }, m;
	struct threads_bed *b = *state;
	int fd = open_policy("src/policy/latency.bpf.o"), answered = 0, busy = 0, waiting;

	snprintf(load.policy.name, sizeof(load.policy.name), "latency.bpf.o");
	for (int i = 0; i < 50 && !(answered && busy); i++) {
		waiting = send_request(&load, fd);
		assert_true(waiting >= 0);
		m = (struct pvsched_msg){ .type = PVSCHED_MSG_LIST, .index = 0 };
		assert_int_equal(ask(&m, -1), 0);
		bed_stats(&b->vcpu[0]); /* a VM's own request */
		answered += recv(waiting, &m, sizeof(m), MSG_PEEK | MSG_DONTWAIT) < 0;
		m = load;
		if (ask(&m, fd) == -EBUSY) {
			assert_non_null(strstr(m.policy.error, "try again"));
			busy++;
		}
		assert_int_equal(take_reply(waiting, &m), 0);
	}
	close(fd);
	assert_true(answered && busy);
}

/* Its target and who asked for it leave in the meantime: nothing stays behind, and the next goes. */
static void policy_whose_vm_leaves_while_it_is_loaded_is_dropped(void **state)
{
	struct pvsched_msg load = { .type = PVSCHED_MSG_POLICY, .index = 1 };
	int fd = open_policy("src/policy/irq.bpf.o"), times, err;
	uint64_t start = bed_now();
	struct threads_bed other;

	(void)state;
	snprintf(load.policy.name, sizeof(load.policy.name), "irq.bpf.o");
	/* more than there may be policies, where time allows */
	for (times = 0; times < 12 && (!times || bed_now() < start + LOADS_NS); times++) {
		assert_int_equal(bed_open(&other, NULL), 0);
		close(send_request(&load, fd));
		bed_close(&other);
		while ((err = set_policy(0, "mirror", NULL)) == -EBUSY)
			bed_sleep_ms(1);
		assert_int_equal(err, 0);
		while ((err = set_policy(0, "latency", NULL)) == -EBUSY)
			bed_sleep_ms(1);
		assert_int_equal(err, 0);
	}
	close(fd);
	printf("# %d times\n", times);
	expect_policy(0, "latency");
}

static void policy_that_asks_for_exits_that_this_kvm_lacks_is_refused(void **state)
{
	char line[256];

	(void)state;
	if (!access("/sys/module/kvm_amd", F_OK) || !access("/sys/module/kvm_intel", F_OK)) {
		print_message("this KVM has VM exits\n");
		skip();
	}
	assert_int_equal(set_policy(0, "vmexit", line), -ENOTSUP);
	assert_non_null(strstr(line, "this host lacks them"));
	expect_policy(0, "latency");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		CASE(policy_changed_to_off_in_mid_boost_restores_and_stays_off),
		CASE(policy_from_a_file_serves_and_its_vm_only),
		CASE(policy_kill_switch_reaches_all_and_those_to_come),
		CASE(policy_changed_all_the_time_keeps_the_debts),
		CASE(policy_that_is_bad_is_refused_and_the_old_goes_on),
		CASE(policy_being_loaded_holds_up_nobody),
		CASE(policy_whose_vm_leaves_while_it_is_loaded_is_dropped),
		CASE(policy_that_asks_for_exits_that_this_kvm_lacks_is_refused),
	};

	return cmocka_run_group_tests(tests, group_start, group_stop);
}
