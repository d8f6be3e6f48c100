// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random pages through all that the host makes of one: header, words, the guest's time, the default
 * policy, the desired word. Whatever stands there, each field that comes out is inside its range.
 */
/* timeout: 60, soak: 600 */
#include "../../src/policy/latency.c"

#include <helpers/policy.h>

#include <core/page.h>
#include <events/state.h>
#include <stdio.h>
#include <stdlib.h>

#define KNOWN (PVSCHED_TASK_LATENCY | PVSCHED_TASK_VALID)

static uint64_t seed = 0x9e3779b97f4a7c15ull;

static uint64_t next_random(void)
{
	/* xorshift64: Marsaglia, "Xorshift RNGs", 2003 */
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Half of the words are what a guest might mean, bit by bit wrong at times: pure noise is refused by
 * the first look. */
static uint64_t nearly(uint64_t word)
{
	uint64_t x = next_random();

	return x & 1 ? word : x & 2 ? word ^ 1ull << (x >> 8 & 63) : next_random();
}

static void make_page(struct pvsched_page *page)
{
	uint64_t *word = (uint64_t *)page, x;

	for (size_t i = 0; i < offsetof(struct pvsched_page, status) / 8; i++)
		word[i] = next_random();
	x = next_random();
	if (x & 1) {
		page->magic = nearly(PVSCHED_MAGIC);
		page->abi_version = nearly(PVSCHED_ABI_VERSION);
		page->reserved0 = page->reserved1 = 0;
		memset(page->reserved2, 0, sizeof(page->reserved2));
		page->protocol = nearly(PVSCHED_PROTO_BASE);
		page->protocol_version = nearly(PVSCHED_PROTO_BASE_VERSION);
		page->features = nearly(PVSCHED_F_TICKET);
		page->vcpu_id = nearly(3);
	}
	page->current_task = nearly(pvsched_task_word(x >> 8 & 7, (int)(x >> 16 & 31) - 16,
						      x >> 24 & 63, x >> 32, x >> 40));
	page->pending = nearly(pvsched_task_word(x >> 9 & 7, 0, x >> 25 & 127, x >> 33, x >> 41));
	page->context = nearly(x >> 48 & 31);
}

static void check_task(uint64_t word, struct pvsched_task *ret)
{
	int rt, bad;

	memset(ret, 0xa5, sizeof(*ret));
	bad = pvsched_task_decode(word, KNOWN, ret);
	rt = ret->policy == PVSCHED_POLICY_FIFO || ret->policy == PVSCHED_POLICY_RR;
	assert_in_range(bad, 0, 3);
	assert_true(ret->policy <= PVSCHED_POLICY_EXT && ret->policy != 4);
	assert_true(ret->nice >= -20 && ret->nice <= 19);
	assert_true(rt ? ret->rt_priority >= 1 && ret->rt_priority <= 99 : !ret->rt_priority);
	assert_int_equal(ret->flags & ~KNOWN, 0);
	assert_int_equal(ret->gen, word >> 32);
}

static uint64_t check_time(uint64_t guest_tsc, uint64_t now)
{
	uint64_t tsc = next_random(), host, ns;
	uint64_t ratio = next_random() & 1 ? 1ull << 32 : next_random() >> (next_random() & 63);

	host = pvsched_host_tsc(guest_tsc, next_random(), ratio, tsc);
	ns = pvsched_tsc_to_ns(host, tsc, now - 1000000, 1 << PVSCHED_TSC_SHIFT, now);
	assert_true(ns <= now + PVSCHED_NEXT_MAX_NS);
	return ns;
}

static void check_decision(const struct pvsched_policy_in *in)
{
	struct pvsched_decision out = decide(*in);
	uint64_t word;

	assert_true(out.level == PVSCHED_LEVEL_BASE || out.level == PVSCHED_LEVEL_RT);
	assert_true(out.level == PVSCHED_LEVEL_BASE || in->context || in->task.policy ||
		    in->task.flags || in->pending.flags || in->intr_since_ns || in->next_event_ns);
	if (out.level == PVSCHED_LEVEL_BASE)
		return;
	assert_int_equal(out.value, 1);
	assert_true(out.expiry_ns <= in->now_ns + in->cap_ns);
	word = pvsched_word(next_random(), out.level, out.value, out.reason, out.expiry_ns);
	assert_int_equal(PVSCHED_WORD_VALUE(word), 1);
	assert_true(pvsched_word_left(word, in->now_ns) <=
		    (int64_t)in->cap_ns + 1024); /* its unit */
}

static void random_pages_come_out_inside_every_range(void **state)
{
	const char *soak = getenv("PVSCHED_SOAK");
	unsigned int pages = soak && *soak == '1' ? 10000000 : 300000, good = 0, boosts = 0;
	struct pvsched_page page;

	(void)state;
	memset(&page, 0, sizeof(page));
	for (unsigned int i = 0; i < pages; i++) {
		uint64_t x = next_random(), now = NOW + (x >> 24);
		struct pvsched_policy_in in = {
			.event = 1u << (x & 15) % 12,
			.now_ns = now,
			.wait_since_ns = now - (x >> 44),
			.intr_since_ns = x & 16 ? now - (x >> 45) : 0,
			.cap_ns = x & 32 ? MS : x >> 46,
			.lead_ns = 20000 + (x >> 50),
			.grace_ns = 8 * MS,
			.state = (x >> 6) % 4,
			.rivals = (x >> 8) % 3,
			.boosted = x >> 10 & 1,
			.features = x >> 11 & 15,
			.page = !!(x >> 15 & 3),
		};
		uint32_t result;

		make_page(&page);
		result = pvsched_header_check(&page, 3, PVSCHED_PROTO_BASE,
					      PVSCHED_PROTO_BASE_VERSION, PVSCHED_F_TICKET);
		assert_true(result == PVSCHED_R_OK || result == PVSCHED_R_BAD_HEADER ||
			    result == PVSCHED_R_BAD_PROTOCOL || result == PVSCHED_R_BAD_FEATURES ||
			    result == PVSCHED_R_BAD_VCPU);
		good += result == PVSCHED_R_OK;
		check_task(page.current_task, &in.task);
		check_task(page.pending, &in.pending);
		in.context = page.context & PVSCHED_CTX_KNOWN;
		in.next_event_ns = check_time(page.next_event, now);
		check_decision(&in);
		boosts += decide(in).level != PVSCHED_LEVEL_BASE;
	}
	printf("figure random_pages %u\n", pages);
	/* the walk went everywhere it should */
	assert_true(good > pages / 1000);
	assert_true(boosts > pages / 10);
	assert_true(boosts < pages / 10 * 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_pages_come_out_inside_every_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
