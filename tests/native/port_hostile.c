// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guests that break the rules of the stream's port, one kind at a time and as fast as they are heard, beside
 * a VM that keeps to them: the broker's memory does not grow, it says nothing, its counters tell what
 * happened, and the other guest is answered and has its words. The broker is a process of its own, and so is
 * the VM that means harm: this program again.
 */
/* timeout: 240, soak: 900, needs: /dev/kvm */
#include <helpers/port_bed.h>
#include <helpers/storm.h>

#define HARM	   "--harm"
#define FRAMES	   1024
#define ANSWER_TRY 100

/* Of what a port may say: 128 KiB a second and as much at once. Half as much again is for sockets, and for
 * what is said between a look and the next. */
#define HEARD_AT_MOST(ns) ((131072 + (ns) / 1000000 * 128) * 3 / 2)

static pid_t broker, harmful;
static uint64_t harmful_since;
static unsigned int *lines_said; /* shared with the broker */
static struct pvsched_frame frame[FRAMES];
static uint64_t seed = 0x9e3779b97f4a7c15ull;

static void count_line(enum pvsched_log_level level, const char *line, void *ctx)
{
	(void)ctx;
	__atomic_fetch_add(lines_said, 1, __ATOMIC_RELAXED);
	bed_say(level, line, NULL);
}

static void *run_vcpu(void *arg)
{
	(void)arg;
	bed_pin(bed_last_cpu());
	while (!ending)
		ioctl(vcpu_fd, KVM_RUN, 0);
	return NULL;
}

/* Blocks while the broker holds the port back. Who was dropped dials again. */
static void send_all(const void *data, size_t size)
{
	char drain[4096];
	ssize_t n;

	while (recv(port, drain, sizeof(drain), MSG_DONTWAIT) > 0)
		;
	for (size_t at = 0; at < size; at += n) {
		n = send(port, (const char *)data + at, size - at, MSG_NOSIGNAL);
		if (n > 0)
			continue;
		close(port);
		port = dial();
		synchronise();
		return;
	}
}

static size_t put(size_t n, uint32_t reg, uint32_t value)
{
	frame[n] = (struct pvsched_frame){ PVSCHED_FRAME_WRITE, reg, value };
	return n + 1;
}

static void harm_bytes(void)
{
	for (size_t i = 0; i < FRAMES; i++)
		frame[i] = (struct pvsched_frame){ storm_random(&seed, ~0ull),
						   storm_random(&seed, ~0ull),
						   storm_random(&seed, ~0ull) };
	send_all(frame, sizeof(frame) - storm_random(&seed, 100)); /* of any length */
}

/* SYNC, so that there are frames, of which the last is cut short. */
static void harm_lengths(void)
{
	frame[0] = (struct pvsched_frame){ PVSCHED_FRAME_SYNC, 7, ~7u };
	for (size_t i = 1; i < 8; i++)
		put(i, PVSCHED_REG_VCPU_SELECT, i);
	send_all(frame, 8 * sizeof(*frame) - 1 - storm_random(&seed, 11));
}

static void harm_registers(void)
{
	for (size_t i = 0; i < FRAMES; i++) {
		put(i,
		    storm_random(&seed, 4) ? storm_random(&seed, PVSCHED_REG_END / 4) * 4
					   : storm_random(&seed, 1ull << 32),
		    storm_random(&seed, 4) ? storm_random(&seed, 16)
					   : storm_random(&seed, 1ull << 32));
		if (!storm_random(&seed, 16))
			frame[i].op = PVSCHED_FRAME_READ;
	}
	send_all(frame, sizeof(frame));
}

static size_t put_negotiation(size_t n)
{
	const uint32_t s = PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER;

	n = put(n, PVSCHED_REG_STATUS, 0);
	n = put(n, PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE);
	n = put(n, PVSCHED_REG_STATUS, s);
	n = put(n, PVSCHED_REG_CHOICE_ID, PVSCHED_PROTO_BASE);
	n = put(n, PVSCHED_REG_CHOICE_VERSION, PVSCHED_PROTO_BASE_VERSION);
	n = put(n, PVSCHED_REG_GUEST_FEATURES, page->features);
	return put(n, PVSCHED_REG_STATUS, s | PVSCHED_S_FEATURES_OK);
}

static size_t put_register(size_t n, uint32_t vcpu, uint64_t gfn)
{
	n = put(n, PVSCHED_REG_VCPU_SELECT, vcpu);
	n = put(n, PVSCHED_REG_VCPU_GFN, gfn);
	n = put(n, PVSCHED_REG_VCPU_GFN + 4, gfn >> 32);
	return put(n, PVSCHED_REG_VCPU_COMMAND, PVSCHED_CMD_REGISTER);
}

/* Every frame that there is, in order, and many that there are not. */
static void harm_gfns(void)
{
	static uint64_t gfn;
	size_t n = put_negotiation(0);

	while (n + 5 <= FRAMES) {
		n = put_register(n, VCPU,
				 storm_random(&seed, 8) ? gfn++ % (MEMORY / 4096 + 4)
							: storm_random(&seed, ~0ull));
		n = put(n, PVSCHED_REG_VCPU_COMMAND, PVSCHED_CMD_UNREGISTER);
	}
	send_all(frame, n * sizeof(*frame));
}

/* One frame for two vCPUs, again and again for the second, which has none. */
static void harm_twice(void)
{
	static bool has;
	size_t n = has ? 0 : put_register(0, VCPU, FRAME);

	for (has = true; n + 4 <= FRAMES;)
		n = put_register(n, VCPU + 1, FRAME);
	send_all(frame, n * sizeof(*frame));
}

static void harm_resets(void)
{
	size_t n = 0;

	while (n + 13 <= FRAMES) {
		n = put_negotiation(n);
		n = put_register(n, VCPU, FRAME);
		n = put(n, PVSCHED_REG_VCPU_COMMAND, PVSCHED_CMD_ENABLE); /* without its nonce */
	}
	send_all(frame, n * sizeof(*frame));
}

/* Urgent for ever, and a page that is shared. */
static void harm_bells(void)
{
	host_say_context(page, PVSCHED_CTX_CRITICAL, storm_random(&seed, 1ull << 32));
	for (size_t i = 0; i < FRAMES; i++)
		put(i, PVSCHED_REG_DOORBELL + 4 * VCPU, 1);
	send_all(frame, sizeof(frame));
}

/* More answers than a socket holds, of which it reads none. */
static void harm_unread(void)
{
	for (size_t i = 0; i < FRAMES; i++)
		frame[i] = (struct pvsched_frame){ PVSCHED_FRAME_READ, PVSCHED_REG_MAGIC, 0 };
	while (send(port, frame, sizeof(frame), MSG_NOSIGNAL) > 0)
		;
	close(port);
	port = dial();
	synchronise();
}

static const struct harm {
	const char *name;
	void (*now)(void);
	const char
		*counter[3]; /* that name it: of the port, of what is refused there, of the vCPU */
	bool floods; /* it says more than is heard */
} harms[] = {
	{ "bytes", harm_bytes, { "skipped" }, true },
	{ "lengths", harm_lengths, { "skipped" }, false },
	{ "registers", harm_registers, { "BAD_ACCESS", "BAD_STATUS", "resets" }, true },
	{ "gfns", harm_gfns, { "BAD_GFN", "BAD_HEADER", "RATE" }, true },
	{ "twice", harm_twice, { "IN_USE" }, true },
	{ "resets", harm_resets, { "resets", "BAD_NONCE", "RATE" }, true },
	{ "bells", harm_bells, { "doorbells", "boosts" }, true },
	{ "unread", harm_unread, { "ports" }, false },
};

/* A process of its own. A check that fails ends it. */
static int do_harm(const char *name)
{
	const struct harm *h = NULL;

	for (size_t i = 0; i < sizeof(harms) / sizeof(*harms); i++)
		if (!strcmp(harms[i].name, name))
			h = &harms[i];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!h || start_vm(run_vcpu))
		return 1;
	renewing = true;
	port = dial();
	if (h->now == harm_bells)
		share();
	else
		negotiate();
	for (;;)
		h->now();
}

/* What `pvsched stat --json` says of the VM of that process; 0 = nothing. */
static uint64_t counted(pid_t pid, const char *name)
{
	const char *build = getenv("PVSCHED_BUILD");
	static char text[1 << 20];
	char command[512], key[64], *at, *end;
	size_t n;
	FILE *f;

	snprintf(command, sizeof(command), "%s/src/cli/pvsched stat --json",
		 build ? build : "build");
	f = popen(command, "r");
	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = 0;
	pclose(f);
	snprintf(key, sizeof(key), "\"pid\": %d,", pid);
	at = strstr(text, key);
	if (!at)
		return 0;
	end = strstr(at, "{\"vm\": ");
	if (end)
		*end = 0;
	snprintf(key, sizeof(key), "\"%s\": ", name);
	at = strstr(at, key);
	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

static void start_harm(const char *name)
{
	fflush(stdout);
	harmful_since = bed_now();
	harmful = fork();
	assert_true(harmful >= 0);
	if (harmful)
		return;
	execl("/proc/self/exe", "port_hostile", HARM, name, NULL);
	_exit(1);
}

/* The victim is answered, has its words, and can come again. Returns how often it was answered. */
static unsigned int be_served(unsigned int ms)
{
	uint64_t end = bed_now() + ms * 1000000ull, steal = host_word(&page->steal_ns);
	unsigned int answers = 0;

	while (bed_now() < end || answers < ANSWER_TRY) {
		assert_int_equal(reg(PVSCHED_REG_MAGIC), PVSCHED_MAGIC);
		answers++;
		usleep(1000);
	}
	HOST_AWAIT(host_word(&page->steal_ns) != steal);
	assert_int_equal(reg(PVSCHED_REG_VCPU_STATE), PVSCHED_PAGE_ENABLED);
	share();
	return answers;
}

static void suffer(const char *name)
{
	const struct harm *h = harms;
	unsigned int ms = storm_long(1000, 60000), answers;
	unsigned long rss;
	char figure[64];

	while (strcmp(h->name, name))
		h++;
	start_harm(name);
	for (int i = 0; i < 3 && h->counter[i]; i++)
		HOST_AWAIT(counted(harmful, h->counter[i]) > (h->now == harm_unread));
	HOST_AWAIT(!h->floods || counted(harmful, "held") > 0);
	be_served(200); /* what is allocated once is */
	rss = bed_rss_anon_kb(broker);
	__atomic_store_n(lines_said, 0, __ATOMIC_RELAXED);
	answers = be_served(ms);
	for (int i = 0; i < 3 && h->counter[i]; i++)
		printf("# %s %llu\n", h->counter[i],
		       (unsigned long long)counted(harmful, h->counter[i]));
	snprintf(figure, sizeof(figure), "port_hostile_%s_broker_grown_kb", name);
	storm_figure(figure, (double)bed_rss_anon_kb(broker) - rss);
	snprintf(figure, sizeof(figure), "port_hostile_%s_answers_per_s", name);
	storm_figure(figure, answers * 1e3 / ms);
	assert_true(bed_rss_anon_kb(broker) <= rss + 64);
	assert_int_equal(__atomic_load_n(lines_said, __ATOMIC_RELAXED), 0);
	/* it is the harmful one's: nothing of it is the victim's */
	for (int i = 0; i < 3 && h->counter[i]; i++)
		if (strstr("skipped BAD_GFN BAD_HEADER IN_USE BAD_NONCE held", h->counter[i]))
			assert_int_equal(counted(getpid(), h->counter[i]), 0);
	assert_int_equal(waitpid(harmful, NULL, WNOHANG), 0); /* it goes on */
}

static void hostile_bytes_over_a_port_are_skipped_and_counted(void **state)
{
	(void)state;
	suffer("bytes");
	assert_true(counted(harmful, "skipped") < HEARD_AT_MOST(bed_now() - harmful_since));
}

static void hostile_lengths_over_a_port_are_skipped_and_counted(void **state)
{
	(void)state;
	suffer("lengths");
}

static void hostile_registers_over_a_port_are_refused_and_counted(void **state)
{
	(void)state;
	suffer("registers");
}

static void hostile_gfns_over_a_port_are_refused_and_counted(void **state)
{
	(void)state;
	suffer("gfns");
}

static void hostile_gfn_of_two_vcpus_over_a_port_is_refused_and_counted(void **state)
{
	(void)state;
	suffer("twice");
}

static void hostile_resets_over_a_port_are_bounded_and_counted(void **state)
{
	(void)state;
	suffer("resets");
	/* of twelve frames each */
	assert_true(counted(harmful, "resets") * 12 * sizeof(*frame) <
		    HEARD_AT_MOST(bed_now() - harmful_since));
}

static void hostile_bells_over_a_port_are_held_back_and_counted(void **state)
{
	(void)state;
	suffer("bells");
	assert_true(counted(harmful, "doorbells") * sizeof(*frame) <
		    HEARD_AT_MOST(bed_now() - harmful_since));
}

static void hostile_guest_that_reads_no_answer_loses_its_port_and_is_counted(void **state)
{
	(void)state;
	suffer("unread");
}

static int setup(void **state)
{
	const struct pvsched_broker_opts o = { .print = count_line,
					       .found_policy = "irq",
					       .confine = true };

	(void)state;
	fflush(stdout);
	lines_said = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (lines_said == MAP_FAILED)
		return -1;
	broker = bed_start_broker(&o);
	if (broker < 0 || start_vm(run_vcpu)) {
		printf("# no broker, or no VM: %s\n", strerror(errno));
		return -1;
	}
	renewing = true;
	port = dial();
	share();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bed_stop_child(&broker);
	stop_vm();
	return 0;
}

static int end_harm(void **state)
{
	(void)state;
	bed_stop_child(&harmful);
	return 0;
}

int main(int argc, char **argv)
{
#define CASE(f) cmocka_unit_test_teardown(f, end_harm)
	const struct CMUnitTest tests[] = {
		CASE(hostile_bytes_over_a_port_are_skipped_and_counted),
		CASE(hostile_lengths_over_a_port_are_skipped_and_counted),
		CASE(hostile_registers_over_a_port_are_refused_and_counted),
		CASE(hostile_gfns_over_a_port_are_refused_and_counted),
		CASE(hostile_gfn_of_two_vcpus_over_a_port_is_refused_and_counted),
		CASE(hostile_resets_over_a_port_are_bounded_and_counted),
		CASE(hostile_bells_over_a_port_are_held_back_and_counted),
		CASE(hostile_guest_that_reads_no_answer_loses_its_port_and_is_counted),
	};

	if (argc == 3 && !strcmp(argv[1], HARM))
		return do_harm(argv[2]);
	return cmocka_run_group_tests(tests, setup, teardown);
}
