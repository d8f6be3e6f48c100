// SPDX-License-Identifier: GPL-2.0-only
/* What broker, agents and guardian may still do once they serve, read from /proc; and that boosts,
 * registration, a change of policy and restoring need no more. The broker is a process of its own. */
/* timeout: 150 */
#include <helpers/threads.h>
#include <helpers/unit.h>

#include <glob.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <broker/wire.h>
#include <privilege/caps.h>

#define PATIENCE_MS 20000

struct scene {
	pid_t broker;
	bool fixed; /* wanted by the case */
	struct threads_bed bed;
};

static int start(void **state, bool fixed, const char *found_policy)
{
	struct pvsched_broker_opts o = { .print = bed_say,
					 .confine = true,
					 .fixed_policy = fixed,
					 .found_policy = found_policy };
	static struct scene s;

	*state = &s;
	s.fixed = fixed;
	s.broker = bed_start_broker(&o);
	return s.broker > 0 ? bed_open(&s.bed, NULL) : -1;
}

static int setup(void **state)
{
	return start(state, false, NULL);
}

static int setup_fixed(void **state)
{
	return start(state, true, NULL);
}

static int setup_finding(void **state)
{
	return start(state, true, "irq");
}

static int teardown(void **state)
{
	struct scene *s = *state;

	bed_close(&s->bed);
	bed_stop_child(&s->broker);
	return 0;
}

struct rights {
	char name[32];
	unsigned long long effective, permitted, inheritable, bounding, ambient;
	int no_new_privs;
};

static void read_rights(const char *path, struct rights *ret)
{
	FILE *f = fopen(path, "re");
	char line[256];

	memset(ret, 0xff, sizeof(*ret));
	ret->no_new_privs = 0;
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		sscanf(line, "Name: %31s", ret->name);
		sscanf(line, "CapEff: %llx", &ret->effective);
		sscanf(line, "CapPrm: %llx", &ret->permitted);
		sscanf(line, "CapInh: %llx", &ret->inheritable);
		sscanf(line, "CapBnd: %llx", &ret->bounding);
		sscanf(line, "CapAmb: %llx", &ret->ambient);
		sscanf(line, "NoNewPrivs: %d", &ret->no_new_privs);
	}
	fclose(f);
	printf("# %s: effective %llx, permitted %llx\n", ret->name, ret->effective, ret->permitted);
}

/* What this test was given bounds what a broker can keep: where it runs with less, so does that. */
static uint64_t own_rights(void)
{
	struct rights r;

	read_rights("/proc/self/status", &r);
	return r.permitted;
}

static void expect_rights(const char *path, uint64_t effective, uint64_t dormant)
{
	uint64_t own = own_rights();
	struct rights r;

	read_rights(path, &r);
	assert_int_equal(r.effective, effective & own);
	assert_int_equal(r.permitted, (effective | dormant) & own);
	assert_int_equal(r.inheritable, 0);
	assert_int_equal(r.ambient, 0);
	assert_int_equal(r.bounding, 0);
	assert_int_equal(r.no_new_privs, 1);
}

/* Calls expect_rights on each thread of the process by its role. Returns how many agents it has. */
static unsigned int expect_threads(pid_t pid, uint64_t effective, uint64_t dormant)
{
	unsigned int agents = 0;
	char pattern[64];
	glob_t files = { 0 };
	struct rights r;

	snprintf(pattern, sizeof(pattern), "/proc/%d/task/*/status", pid);
	assert_int_equal(glob(pattern, 0, NULL, &files), 0);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		read_rights(files.gl_pathv[i], &r);
		if (!strcmp(r.name, "pvsched-control")) {
			expect_rights(files.gl_pathv[i], PVSCHED_CAP(CAP_BPF), 0);
			continue;
		}
		/* of the guardian, and sleeps; has guests' memory open */
		if (!strcmp(r.name, "pvsched-maker") || !strcmp(r.name, "pvsched-area")) {
			expect_rights(files.gl_pathv[i], 0, 0);
			continue;
		}
		if (strcmp(r.name, "pvsched-agent")) {
			expect_rights(files.gl_pathv[i], effective, dormant);
			continue;
		}
		agents++;
		expect_rights(files.gl_pathv[i], PVSCHED_CAPS_ACTUATE, 0);
	}
	globfree(&files);
	return agents;
}

static pid_t guardian_of(pid_t broker)
{
	char pattern[64];
	glob_t files = { 0 };
	int pid = 0;

	snprintf(pattern, sizeof(pattern), "/proc/%d/task/*/children", broker);
	glob(pattern, 0, NULL, &files);
	for (size_t i = 0; i < files.gl_pathc && !pid; i++) {
		FILE *f = fopen(files.gl_pathv[i], "re");

		if (f && fscanf(f, "%d", &pid) != 1)
			pid = 0;
		if (f)
			fclose(f);
	}
	globfree(&files);
	return pid;
}

static void expect_guardian(pid_t guardian)
{
	char path[64];

	assert_true(guardian > 0);
	snprintf(path, sizeof(path), "/proc/%d/status", guardian);
	expect_rights(path, PVSCHED_CAPS_ACTUATE, 0);
}

static uint64_t dormant(void)
{
	return access("/sys/kernel/btf/kvm", F_OK) ? 0 : PVSCHED_CAP(CAP_SYS_ADMIN);
}

static void boost(struct scene *s)
{
	struct bed_vcpu *v = &s->bed.vcpu[0];

	if (!s->bed.hog)
		s->bed.hog = bed_start_hog(s->bed.cpu);
	bed_mode(v, BED_CRITICAL);
	assert_true(bed_await_boosted(v, true, PATIENCE_MS));
	assert_true(bed_await_boosted(v, false, PATIENCE_MS));
	assert_true(bed_await_boosted(v, true, PATIENCE_MS));
}

static int set_policy(const char *name, char *ret_line)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = PVSCHED_SOCKET };
	struct pvsched_msg m = { .type = PVSCHED_MSG_POLICY, .index = PVSCHED_ALL_VMS };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	snprintf(m.policy.name, sizeof(m.policy.name), "%s", name);
	assert_int_equal(send(fd, &m, sizeof(m), 0), sizeof(m));
	assert_int_equal(recv(fd, &m, sizeof(m), 0), sizeof(m));
	close(fd);
	if (m.error)
		printf("# policy %s: %d: %s\n", name, m.error, m.policy.error);
	if (ret_line)
		snprintf(ret_line, 200, "%s", m.policy.error);
	return m.error;
}

static void broker_that_serves_keeps_only_what_it_needs(void **state)
{
	struct scene *s = *state;

	assert_true(expect_threads(s->broker, PVSCHED_CAPS_SWAP, dormant()) > 0);
	expect_guardian(guardian_of(s->broker));
	boost(s);
	/* the sets of those who acted are what they were */
	assert_true(expect_threads(s->broker, PVSCHED_CAPS_SWAP, dormant()) > 0);
}

static void broker_of_few_rights_swaps_and_registers(void **state)
{
	/* the first one is loaded anew, with KVM's events in it */
	static const char *const policies[] = { "irq", "latency" };
	struct scene *s = *state;
	struct threads_bed other;

	boost(s);
	for (unsigned int i = 0; i < ARRAY_SIZE(policies); i++)
		assert_int_equal(set_policy(policies[i], NULL), 0);
	boost(s);
	assert_true(expect_threads(s->broker, PVSCHED_CAPS_SWAP, dormant()) > 0);
	assert_int_equal(bed_open(&other, NULL), 0);
	bed_close(&other);
	bed_mode(&s->bed.vcpu[0], BED_SLEEP);
	assert_true(bed_await_boosted(&s->bed.vcpu[0], false, PATIENCE_MS));
}

static void guardian_of_few_rights_is_replaced_and_restores(void **state)
{
	struct scene *s = *state;
	pid_t first = guardian_of(s->broker), next = 0;

	assert_true(first > 0);
	kill(first, SIGKILL);
	for (int i = 0; i < PATIENCE_MS / 10 && (!next || next == first); i++) {
		bed_sleep_ms(10);
		next = guardian_of(s->broker);
	}
	assert_true(next > 0 && next != first);
	boost(s);
	expect_guardian(next);
	bed_stop_child(&s->broker);
	assert_true(bed_await_boosted(&s->bed.vcpu[0], false, PATIENCE_MS));
}

static void broker_with_a_fixed_policy_can_load_nothing_more(void **state)
{
	struct scene *s = *state;
	char line[200];

	assert_true(expect_threads(s->broker, PVSCHED_CAPS_SERVE, 0) > 0);
	boost(s);
	assert_int_equal(set_policy("off", line), -EPERM);
	assert_non_null(strstr(line, "--fixed-policy"));
	boost(s);
}

static void broker_that_finds_vms_may_open_their_memory(void **state)
{
	struct scene *s = *state;

	assert_true(expect_threads(s->broker, PVSCHED_CAPS_SERVE | PVSCHED_CAP(CAP_SYS_PTRACE),
				   PVSCHED_CAP(CAP_DAC_OVERRIDE)) > 0);
	expect_guardian(guardian_of(s->broker));
}

/* In a program that does other things besides, the broker's own threads only give up theirs. */
static void broker_inside_another_program_leaves_that_its_rights(void **state)
{
	uint64_t before = own_rights();
	struct pvsched_broker_opts o = { .print = bed_say };
	struct pvsched_broker *b;
	struct rights r;

	(void)state;
	assert_int_equal(bed_broker(&o, &b), 0);
	read_rights("/proc/self/status", &r);
	assert_int_equal(r.effective, before);
	assert_int_equal(r.no_new_privs, 0);
	expect_guardian(guardian_of(getpid()));
	pvsched_broker__stop(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(broker_that_serves_keeps_only_what_it_needs, setup,
						teardown),
		cmocka_unit_test_setup_teardown(broker_of_few_rights_swaps_and_registers, setup,
						teardown),
		cmocka_unit_test_setup_teardown(guardian_of_few_rights_is_replaced_and_restores,
						setup, teardown),
		cmocka_unit_test_setup_teardown(broker_with_a_fixed_policy_can_load_nothing_more,
						setup_fixed, teardown),
		cmocka_unit_test_setup_teardown(broker_that_finds_vms_may_open_their_memory,
						setup_finding, teardown),
		cmocka_unit_test(broker_inside_another_program_leaves_that_its_rights),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
