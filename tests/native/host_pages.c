// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the host makes of a page: which words count, which never do, and that it writes its own
 * lines only. The real broker in this process; threads for vCPUs, beside a hog.
 */
/* timeout: 180 */
#include <helpers/host_bed.h>

#include <malloc.h>

#define FEATURES (PVSCHED_F_TICKET | PVSCHED_F_NEXT_EVENT | PVSCHED_F_PENDING)

/* The defaults of the broker: 40 %, and a burst of 10 ms. */
#define PERCENT	 40
#define BURST_NS 10000000ull

static struct pvsched_broker *broker;
static unsigned int lines_said; /* by the broker, since it runs */

static void count_line(enum pvsched_log_level level, const char *line, void *ctx)
{
	(void)ctx;
	__atomic_fetch_add(&lines_said, 1, __ATOMIC_RELAXED);
	bed_say(level, line, NULL);
}

static int group_start(void **state)
{
	struct pvsched_broker_opts o = { .print = count_line };
	int err = bed_broker(&o, &broker);

	(void)state;
	lines_said = 0;
	return err;
}

static int group_stop(void **state)
{
	(void)state;
	pvsched_broker__stop(broker);
	return 0;
}

/* A CPU-bound vCPU 0 that writes nothing itself: the case is its guest. */
static int setup(void **state)
{
	static struct threads_bed bed;

	*state = &bed;
	return host_bed_open(&bed);
}

static int teardown(void **state)
{
	host_bed_close(*state);
	return 0;
}

static uint64_t boosts_of(struct bed_vcpu *v)
{
	return bed_stats(v).boosts;
}

static void host_attached_page_is_not_acted_on(void **state)
{
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[0];

	assert_int_equal(guest_command(b->vm, 0, PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
	assert_int_equal(host_register(v), PVSCHED_R_OK);
	assert_int_equal(v->page->status, PVSCHED_PAGE_ATTACHED);
	host_say_context(v->page, PVSCHED_CTX_CRITICAL, 1);
	HOST_AWAIT_STEAL(v, 200000000);
	assert_int_equal(boosts_of(v), 0);
	assert_int_equal(host_word(&v->page->grant), 0);
	assert_int_equal(host_word(&v->page->state), 0);
	/* nothing but ENABLE was missing */
	assert_int_equal(guest_enable(b->vm, 0, v->page), PVSCHED_R_OK);
	HOST_AWAIT(host_grant_boosted(host_word(&v->page->grant)));
}

static void host_header_changed_after_register_changes_nothing(void **state)
{
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[0], *other = &b->vcpu[1];

	assert_int_equal(host_renegotiate(b, 0) & PVSCHED_S_FEATURES_OK, PVSCHED_S_FEATURES_OK);
	assert_int_equal(host_attach(other), PVSCHED_R_OK);
	assert_int_equal(host_register(v), PVSCHED_R_OK);
	v->page->magic = 0;
	v->page->abi_version = 99;
	v->page->protocol = 0;
	v->page->features = ~0ull;
	v->page->vcpu_id = 1;
	assert_int_equal(guest_enable(b->vm, 0, v->page), PVSCHED_R_OK);
	/* a feature that only the header claims stays off */
	host_say_word(&v->page->pending,
		      pvsched_task_word(SCHED_FIFO, 0, 50, PVSCHED_TASK_VALID, 1));
	HOST_AWAIT_STEAL(v, 200000000);
	assert_int_equal(boosts_of(v), 0);
	host_say_word(&v->page->pending, 0);
	/* and it is still this vCPU's page */
	host_say_context(v->page, PVSCHED_CTX_CRITICAL, 1);
	HOST_AWAIT(boosts_of(v) > 0);
	assert_int_equal(boosts_of(other), 0);
	assert_int_equal(host_word(&other->page->grant), 0);
	assert_int_equal(v->page->vcpu_id, 1);
	host_say_context(v->page, 0, 2);
	assert_int_equal(guest_command(b->vm, 0, PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
	assert_int_equal(v->page->features, ~0ull); /* the guest's, as it left it */
}

struct storm {
	struct pvsched_page *page;
	bool stop;
};

/* Every word of the page, the host's too, at full speed. */
static void *storm_thread(void *arg)
{
	struct storm *s = arg;
	__u64 *word = (__u64 *)s->page, x = 88172645463325252ull;

	while (!__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE)) {
		for (size_t i = 0; i < sizeof(*s->page) / sizeof(*word); i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			__atomic_store_n(&word[i], x, __ATOMIC_RELAXED);
		}
	}
	return NULL;
}

static void host_hostile_page_stays_within_bounds(void **state)
{
	static struct host_bound bound;
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[0];
	struct storm s = { .page = v->page };
	struct pvsched_vcpu_report r;
	uint64_t end;
	size_t before;
	pthread_t thread;

	bound.n = 0;
	assert_int_equal(pthread_create(&thread, NULL, storm_thread, &s), 0);
	HOST_AWAIT(boosts_of(v) > 10);
	before = mallinfo2().uordblks;
	end = bed_now() + 3000000000ull;
	while (bed_now() < end) {
		host_bound_shot(&bound, v);
		bed_sleep_ms(10);
	}
	assert_int_equal(mallinfo2().uordblks, before); /* of broker and agents: the process's */
	__atomic_store_n(&s.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);

	assert_int_equal(pvsched_broker__vcpu_report(broker, v->tid, &r), 0);
	printf("# %llu boosts, %.0f ms boosted in all, longest %.2f ms, %llu bad fields\n",
	       (unsigned long long)r.boosts, r.boosted_ns / 1e6, r.boost.max / 1e6,
	       (unsigned long long)r.bad_words);
	assert_int_equal(host_bound_excess(&bound, PERCENT, BURST_NS, r.boost.max), 0);
	assert_true(r.bad_words > 0);
	assert_true(r.boosts > 10);
	assert_int_equal(lines_said, 0);
	assert_int_equal(boosts_of(&b->vcpu[1]), 0);
	/* what the guest wrote over the host's words misled the guest only */
	memset(v->page, 0, sizeof(*v->page));
	HOST_AWAIT(!bed_is_boosted(v));
	HOST_AWAIT_STEAL(v, 50000000);
	host_say_context(v->page, PVSCHED_CTX_CRITICAL, 7);
	HOST_AWAIT(host_grant_boosted(host_word(&v->page->grant)));
	assert_int_equal(guest_command(b->vm, 0, PVSCHED_CMD_UNREGISTER), PVSCHED_R_OK);
	assert_false(bed_is_boosted(v));
}

static void host_leaves_the_guests_lines_alone(void **state)
{
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[0];
	const size_t host_from = offsetof(struct pvsched_page, status);
	const size_t host_to = offsetof(struct pvsched_page, extension);
	static struct pvsched_page before;
	char *page = (char *)v->page, *was = (char *)&before;

	/* all that the guest may write, with something in it; the host's lines as they are */
	memset(page + PVSCHED_LINE, 0xa5, host_from - PVSCHED_LINE);
	memset(page + host_to, 0x5a, sizeof(before) - host_to);
	v->page->current_task = pvsched_task_word(SCHED_FIFO, 0, 50, PVSCHED_TASK_LATENCY, 3);
	v->page->pending = pvsched_task_word(SCHED_RR, 0, 7, PVSCHED_TASK_VALID, 4);
	v->page->next_event = 1;
	v->page->ack = ~0ull;
	host_say_context(v->page, PVSCHED_CTX_CRITICAL, 5);
	memcpy(&before, page, sizeof(before));
	HOST_AWAIT(boosts_of(v) > 100);
	assert_memory_equal(page, was, host_from);
	assert_memory_equal(page + host_to, was + host_to, sizeof(before) - host_to);
	assert_memory_not_equal(page + host_from, was + host_from, host_to - host_from);
	/* and what is reserved in the host's lines stays zero */
	for (unsigned int i = 0; i < ARRAY_SIZE(v->page->reserved5); i++)
		assert_int_equal(v->page->reserved5[i], 0);
}

static bool boosted_because(const struct bed_vcpu *v, enum pvsched_reason reason)
{
	uint64_t grant = host_word(&v->page->grant);

	return host_grant_boosted(grant) && host_grant_reason(grant) == reason;
}

static bool swap(__u64 *word, uint64_t *expected, uint64_t value)
{
	return __atomic_compare_exchange_n(word, (__u64 *)expected, value, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}

static void host_pending_task_is_seen(void **state)
{
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[0];
	__u64 *pending = &v->page->pending;
	uint64_t plain = pvsched_task_word(SCHED_OTHER, 0, 0, PVSCHED_TASK_VALID, 1), seen, boosts;
	uint64_t urgent = pvsched_task_word(SCHED_FIFO, 0, 50, PVSCHED_TASK_VALID, 2);

	/* one that is not urgent changes nothing, nor one that is not VALID */
	host_say_word(pending, plain);
	HOST_AWAIT_STEAL(v, 50000000);
	assert_int_equal(boosts_of(v), 0);
	host_say_word(pending,
		      urgent & ~((uint64_t)PVSCHED_TASK_VALID << PVSCHED_TASK_FLAGS_SHIFT));
	HOST_AWAIT_STEAL(v, 50000000);
	assert_int_equal(boosts_of(v), 0);

	/* The owner read the word before it chose its task; somebody wakes a more urgent one: the
	 * owner's swap fails, the task survives, and the host sees it. */
	host_say_word(pending, plain);
	seen = plain;
	assert_true(swap(pending, &seen, urgent));
	seen = plain;
	assert_false(swap(pending, &seen, 0));
	HOST_AWAIT(boosted_because(v, PVSCHED_REASON_PENDING));

	/* cleared from the word that was read, at the switch to it: no boost more */
	assert_int_equal(seen, urgent);
	assert_true(swap(pending, &seen, 0));
	HOST_AWAIT(!bed_is_boosted(v));
	HOST_AWAIT_STEAL(v, 20000000); /* a decision that read it before is applied by now */
	boosts = boosts_of(v);
	HOST_AWAIT_STEAL(v, 200000000);
	assert_int_equal(boosts_of(v), boosts);
}

static void host_placement_is_not_offered_by_default(void **state)
{
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[0];
	uint32_t offered = guest_read(b->vm, PVSCHED_REG_HOST_FEATURES);

	assert_int_equal(offered & PVSCHED_F_PLACEMENT, 0);
	assert_int_equal(offered, FEATURES);
	assert_int_equal(guest_read(b->vm, PVSCHED_REG_HOST_FEATURES + 4), 0);
	assert_int_equal(
		host_renegotiate(b, FEATURES | PVSCHED_F_PLACEMENT) & PVSCHED_S_FEATURES_OK, 0);
	assert_int_equal(guest_read(b->vm, PVSCHED_REG_ERROR), PVSCHED_R_BAD_FEATURES);
	assert_int_equal(host_renegotiate(b, FEATURES) & PVSCHED_S_FEATURES_OK,
			 PVSCHED_S_FEATURES_OK);
	assert_int_equal(host_attach(v), PVSCHED_R_OK);
	host_say_context(v->page, PVSCHED_CTX_CRITICAL, 1);
	HOST_AWAIT(boosts_of(v) > 20);
	assert_int_equal(host_word(&v->page->placement), 0);
}

static uint64_t times_unconverted(void)
{
	struct pvsched_broker_counters c;

	assert_int_equal(pvsched_broker__counters(broker, &c), 0);
	return c.tsc_unknown;
}

/* A thread is no KVM vCPU, so its next_event cannot be converted: that is counted, which tells
 * whether the word was read. Tickets come with interrupts: host_vms.c. */
static void host_word_without_its_feature_is_not_used(void **state)
{
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[0];
	uint64_t urgent = pvsched_task_word(SCHED_FIFO, 0, 50, PVSCHED_TASK_VALID, 1), before;

	assert_int_equal(host_renegotiate(b, 0) & PVSCHED_S_FEATURES_OK, PVSCHED_S_FEATURES_OK);
	assert_int_equal(host_attach(v), PVSCHED_R_OK);
	host_say_word(&v->page->next_event, 12345);
	host_say_word(&v->page->pending, urgent);
	before = times_unconverted();
	HOST_AWAIT_STEAL(v, 200000000);
	assert_int_equal(boosts_of(v), 0);
	assert_int_equal(times_unconverted(), before);
	assert_int_equal(host_word(&v->page->ticket), 0);
	/* the same words with their features */
	assert_int_equal(host_renegotiate(b, FEATURES) & PVSCHED_S_FEATURES_OK,
			 PVSCHED_S_FEATURES_OK);
	assert_int_equal(host_attach(v), PVSCHED_R_OK);
	host_say_word(&v->page->next_event, 12345);
	host_say_word(&v->page->pending, urgent);
	HOST_AWAIT(boosts_of(v) > 0);
	HOST_AWAIT(times_unconverted() > before);
}

/* The host reads current and context once each, and answers the newer one, modulo 2^32. */
static void host_grant_answers_the_newer_generation(void **state)
{
	static const struct {
		uint32_t task, context, newer;
	} cases[] = {
		{ 5, 1000, 1000 },    { 2000, 1001, 2000 },
		{ 0xfffffff0, 3, 3 }, /* context went round */
		{ 4, 0xfffffff5, 4 }, { 0x7fffffff, 0x80000000, 0x80000000 },
	};
	struct threads_bed *b = *state;
	struct bed_vcpu *v = &b->vcpu[0];

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		host_say_context(v->page, 0, cases[i].context);
		host_say_word(&v->page->current_task,
			      pvsched_task_word(SCHED_OTHER, 0, 0, 0, cases[i].task));
		HOST_AWAIT(!bed_is_boosted(v));
		HOST_AWAIT_STEAL(v, 20000000);
		host_say_context(v->page, PVSCHED_CTX_CRITICAL, cases[i].context);
		HOST_AWAIT(host_grant_boosted(host_word(&v->page->grant)) &&
			   host_grant_generation(host_word(&v->page->grant)) == cases[i].newer);
	}
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(host_attached_page_is_not_acted_on),
		CASE(host_header_changed_after_register_changes_nothing),
		CASE(host_hostile_page_stays_within_bounds),
		CASE(host_leaves_the_guests_lines_alone),
		CASE(host_pending_task_is_seen),
		CASE(host_placement_is_not_offered_by_default),
		CASE(host_word_without_its_feature_is_not_used),
		CASE(host_grant_answers_the_newer_generation),
	};

	return cmocka_run_group_tests(tests, group_start, group_stop);
}
