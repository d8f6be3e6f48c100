// SPDX-License-Identifier: GPL-2.0-only
/*
 * How a boost begins, ends and is told: by expiry, doorbell, reset. The real broker in this
 * process, one per case; a thread for the vCPU, beside a hog.
 */
/* timeout: 180 */
#include <helpers/host_bed.h>

#include <actuator/attr.h>

#define CAP_NS	       10000000ull
#define IMPATIENT_RATE 200 /* a second */

struct scene {
	struct pvsched_broker *broker;
	struct threads_bed bed;
};

/* Boosts of 10 ms that are followed by gaps as long, for cases that look at them from outside. */
static const struct pvsched_broker_opts long_boosts = { .print = bed_say,
							.cap_ns = CAP_NS,
							.budget_percent = 100 };
static const struct pvsched_broker_opts as_it_is = { .print = bed_say };
static const struct pvsched_broker_opts poor = { .print = bed_say, .budget_percent = 2 };

static struct scene scene;

static int setup(void **state)
{
	return host_open(*state, &scene.broker, &scene.bed);
}

static int teardown(void **state)
{
	(void)state;
	host_close(scene.broker, &scene.bed);
	return 0;
}

static void host_boost_expires_without_the_guest(void **state)
{
	struct bed_vcpu *v = &scene.bed.vcpu[0];
	struct pvsched_vcpu_stats s;

	(void)state;
	for (int i = 0; i < 10; i++) {
		host_say_context(v->page, PVSCHED_CTX_CRITICAL, 2 * i + 1);
		HOST_AWAIT(bed_is_boosted(v));
		/* no rival from here on: no switch, no event that could end it */
		kill(scene.bed.hog, SIGSTOP);
		HOST_AWAIT(!bed_is_boosted(v));
		host_say_context(v->page, 0, 2 * i + 2);
		kill(scene.bed.hog, SIGCONT);
	}
	s = bed_stats(v);
	assert_true(s.expired > 0);
	assert_int_equal(s.doorbells, 0);
	/* urgent for ever and silent: each boost ends all the same */
	host_say_context(v->page, PVSCHED_CTX_CRITICAL, 100);
	for (int i = 0; i < 10; i++) {
		HOST_AWAIT(bed_is_boosted(v));
		HOST_AWAIT(!bed_is_boosted(v));
	}
	HOST_AWAIT(bed_stats(v).expired >= s.expired + 10); /* counted after the change */
	HOST_AWAIT(!host_grant_boosted(host_word(&v->page->grant)));
	assert_int_equal(host_grant_reason(host_word(&v->page->grant)), PVSCHED_REASON_EXPIRED);
}

/* What grant and thread say differs only while the host is between changing the thread and
 * writing grant. Then grant is the next to change: if the thread follows it instead, it was
 * written too early. An agent that is overtaken by another one (apply.c: raced) looks the same for
 * once; what is written too early does so whenever it is seen. */
static void host_grant_follows_the_change(void **state)
{
	struct bed_vcpu *v = &scene.bed.vcpu[0];
	unsigned int turns = 0, apart = 0, early = 0;
	uint64_t boosts, grant, end = bed_now() + HOST_PATIENCE_NS;
	bool said, was = false;

	(void)state;
	host_say_context(v->page, PVSCHED_CTX_CRITICAL, 1);
	while (turns < 100 || (early * 8 > apart && turns < 1000)) {
		assert_true(bed_now() < end);
		boosts = host_word(&v->page->boosts);
		grant = host_word(&v->page->grant);
		said = host_grant_boosted(grant);
		turns += said != was;
		was = said;
		if (bed_is_boosted(v) == said)
			continue;
		apart++;
		for (;;) {
			bool is = bed_is_boosted(v);

			if (host_word(&v->page->grant) != grant ||
			    host_word(&v->page->boosts) != boosts)
				break;
			assert_true(bed_now() < end);
			if (is == said) {
				early++;
				break;
			}
		}
	}
	printf("# %u changes of grant, %u seen between thread and grant, %u of them before it\n",
	       turns, apart, early);
	assert_true(early * 8 <= apart);
	/* it says the rest of what the thread runs as, too */
	HOST_AWAIT(host_grant_boosted(grant = host_word(&v->page->grant)));
	assert_int_equal(grant & 0xff, SCHED_FIFO);
	assert_int_equal(grant >> PVSCHED_TASK_PRIO_SHIFT & 0xff, 1);
	host_say_context(v->page, 0, 2);
	HOST_AWAIT(!host_grant_boosted(grant = host_word(&v->page->grant)));
	assert_int_equal(grant & 0xff, SCHED_OTHER);
}

static void ring(struct bed_vcpu *v)
{
	eventfd_write(pvsched_vm__doorbell_fd(v->bed->vm, v->index), 1);
}

static void host_doorbell_ends_the_boost(void **state)
{
	struct bed_vcpu *v = &scene.bed.vcpu[0];
	unsigned int ended = 0, late = 0, i;

	(void)state;
	/* This thread may come too late, and then the boost expires: that round tells nothing. */
	for (i = 0; i < 200 && ended < 5; i++) {
		struct pvsched_vcpu_stats before = bed_stats(v), after;

		host_say_context(v->page, PVSCHED_CTX_CRITICAL, 2 * i + 1);
		HOST_AWAIT(host_grant_boosted(host_word(&v->page->grant)));
		/* By then the agent has looked for what changed while it granted, and sleeps: it is
		 * the ring that has to tell it. */
		usleep(2000);
		host_say_context(v->page, 0, 2 * i + 2);
		ring(v);
		HOST_AWAIT(!bed_is_boosted(v));
		after = bed_stats(v);
		ended += after.expired == before.expired && after.doorbells > before.doorbells;
		late += after.expired != before.expired;
		HOST_AWAIT_STEAL(v, 10000000); /* the gap */
	}
	printf("# %u of %u boosts ended by a ring, %u expired before\n", ended, i, late);
	assert_int_equal(ended, 5);
}

static void host_doorbell_makes_and_prolongs_no_boost(void **state)
{
	struct bed_vcpu *v = &scene.bed.vcpu[0];
	struct pvsched_vcpu_report r;
	uint64_t end = bed_now() + 1000000000ull;

	(void)state;
	while (bed_now() < end)
		ring(v);
	assert_int_equal(bed_stats(v).boosts, 0);
	/* urgent, and ringing all the time: each boost ends when it would have */
	host_say_context(v->page, PVSCHED_CTX_CRITICAL, 1);
	while (bed_stats(v).expired < 20)
		ring(v);
	assert_int_equal(pvsched_broker__vcpu_report(scene.broker, v->tid, &r), 0);
	/* half of them, so that no hiccup of the machine decides */
	assert_true(pvsched_hist_percentile(&r.boost, 500) <= CAP_NS + CAP_NS / 2);
}

/* A ring costs its guest a store and an agent, which is real-time, a wake-up. */
static void host_doorbell_flood_is_not_heard(void **state)
{
	struct bed_vcpu *v = &scene.bed.vcpu[0];
	struct pvsched_vcpu_stats s;
	uint64_t before;

	(void)state;
	host_say_context(v->page, PVSCHED_CTX_CRITICAL, 1);
	HOST_AWAIT(bed_stats(v).boosts > 10);
	host_say_context(v->page, 0, 2);
	HOST_AWAIT(!bed_is_boosted(v));
	HOST_AWAIT_STEAL(v, 20000000);
	before = bed_stats(v).doorbells;
	for (int i = 0; i < 100000; i++)
		ring(v);
	HOST_AWAIT_STEAL(v, 20000000);
	assert_true(bed_stats(v).doorbells <= before + 1);
	/* urgent again, and ringing all the time */
	host_say_context(v->page, PVSCHED_CTX_CRITICAL, 3);
	while (bed_stats(v).boosts < 100)
		for (int i = 0; i < 1000; i++)
			ring(v);
	host_say_context(v->page, 0, 4);
	HOST_AWAIT(!bed_is_boosted(v));
	s = bed_stats(v);
	printf("# %llu rings heard in %llu boosts\n", (unsigned long long)(s.doorbells - before),
	       (unsigned long long)s.boosts);
	assert_true(s.doorbells - before <= 9 * s.boosts);
}

static void host_debts_survive_a_reset(void **state)
{
	static struct host_bound bound;
	struct threads_bed *b = &scene.bed;
	struct bed_vcpu *v = &b->vcpu[0];
	struct pvsched_vcpu_report r;
	uint64_t begin = bed_now();
	unsigned int resets = 0;

	(void)state;
	bound.n = 0;
	memset(&r, 0, sizeof(r));
	/* the rate of REGISTER allows 50 in a second: 10 ms each time, if a new page were a new debt.
	 * Until it is used up: where the vCPU gets to ask seldom, that takes longer. */
	while (bed_now() < begin + 4000000000ull ||
	       (!r.denied_throttle && bed_now() < begin + HOST_PATIENCE_NS)) {
		host_bound_shot(&bound, v);
		assert_true(host_renegotiate(b, 0) & PVSCHED_S_FEATURES_OK);
		assert_int_equal(host_attach(v), PVSCHED_R_OK);
		host_say_context(v->page, PVSCHED_CTX_CRITICAL, ++resets);
		bed_sleep_ms(10);
		assert_int_equal(pvsched_broker__vcpu_report(scene.broker, v->tid, &r), 0);
	}
	host_bound_shot(&bound, v);
	assert_int_equal(pvsched_broker__vcpu_report(scene.broker, v->tid, &r), 0);
	printf("# %.1f ms boosted in %u lives of the page, longest boost %.2f ms\n",
	       r.boosted_ns / 1e6, resets, r.boost.max / 1e6);
	assert_true(r.boosts > 0);
	assert_true(r.denied_throttle > 0);
	assert_true(resets > 20);
	assert_int_equal(host_bound_excess(&bound, 2, 10000000, r.boost.max), 0);
}

static void host_reset_in_mid_boost_restores_the_thread(void **state)
{
	struct threads_bed *b = &scene.bed;
	struct bed_vcpu *v = &b->vcpu[0];
	struct pvsched_attr before = { 0 }, after = { 0 };
	const char *host_lines = (const char *)&v->page->status;
	static const char zero[2 * PVSCHED_LINE];
	uint64_t urgent = pvsched_task_word(SCHED_FIFO, 0, 50, 0, 9), boosts;

	(void)state;
	assert_int_equal(pvsched_attr_get(v->tid, &before), 0);
	for (int i = 0; i < 8; i++) {
		uint32_t epoch = guest_read(b->vm, PVSCHED_REG_EPOCH);

		host_say_word(&v->page->current_task, urgent);
		HOST_AWAIT(bed_is_boosted(v));
		guest_write(b->vm, PVSCHED_REG_STATUS, 0);
		/* at once: nothing is waited for */
		assert_int_equal(pvsched_attr_get(v->tid, &after), 0);
		assert_memory_equal(&before, &after, sizeof(before));
		assert_memory_equal(host_lines, zero, sizeof(zero));
		assert_int_equal(v->page->current_task, urgent);
		assert_int_equal(guest_read(b->vm, PVSCHED_REG_EPOCH), epoch + 1);
		/* whatever was queued for that life of the page is dropped */
		boosts = bed_stats(v).boosts;
		HOST_AWAIT_STEAL(v, 20000000);
		assert_int_equal(bed_stats(v).boosts, boosts);
		assert_memory_equal(host_lines, zero, sizeof(zero));
		assert_true(host_renegotiate(b, PVSCHED_F_TICKET) & PVSCHED_S_FEATURES_OK);
		assert_int_equal(host_attach(v), PVSCHED_R_OK);
	}
}

static void sleep_long(struct bed_vcpu *v)
{
	(void)v;
	bed_sleep_ms(1000);
}

/* Whatever times a guest brings its policy to ask for: looking costs what a boost does. */
static void host_asking_again_counts_against_the_rate(void **state)
{
	struct pvsched_broker_counters before, after;
	uint64_t from, took, asked;

	(void)state;
	if (!bed_has_bpf()) {
		print_message("needs a policy of its own; here the module has them all\n");
		skip();
	}
	for (unsigned int i = 0; i < BED_VCPUS; i++) {
		scene.bed.vcpu[i].harm = sleep_long;
		bed_mode(&scene.bed.vcpu[i], BED_HARM);
	}
	bed_sleep_ms(300); /* what may come at once has come */
	assert_int_equal(pvsched_broker__counters(scene.broker, &before), 0);
	from = bed_now();
	bed_sleep_ms(500);
	assert_int_equal(pvsched_broker__counters(scene.broker, &after), 0);
	took = bed_now() - from;
	asked = after.events[6] - before.events[6];
	printf("# asked %llu times in %.0f ms\n", (unsigned long long)asked, took / 1e6);
	assert_true(asked > 0);
	/* twice: one that was put off is asked, and put off, once more */
	assert_true(asked <= BED_VCPUS * 2 * took * IMPATIENT_RATE / 1000000000 + 100);
}

static int impatient_setup(void **state)
{
	static char policy[512];
	static struct pvsched_broker_opts o = { .print = bed_say,
						.policy = policy,
						.rate = IMPATIENT_RATE };
	const char *build = getenv("PVSCHED_BUILD");

	snprintf(policy, sizeof(policy), "%s/tests/native/policies/impatient.bpf.o",
		 build ? build : "build");
	if (!bed_has_bpf())
		o.policy = NULL;
	*state = &o;
	return setup(state);
}

int main(void)
{
#define CASE(f, opts) cmocka_unit_test_prestate_setup_teardown(f, setup, teardown, (void *)&(opts))
	const struct CMUnitTest tests[] = {
		CASE(host_boost_expires_without_the_guest, long_boosts),
		CASE(host_grant_follows_the_change, long_boosts),
		CASE(host_doorbell_ends_the_boost, long_boosts),
		CASE(host_doorbell_makes_and_prolongs_no_boost, long_boosts),
		CASE(host_doorbell_flood_is_not_heard, as_it_is),
		CASE(host_debts_survive_a_reset, poor),
		CASE(host_reset_in_mid_boost_restores_the_thread, as_it_is),
		cmocka_unit_test_setup_teardown(host_asking_again_counts_against_the_rate,
						impatient_setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
