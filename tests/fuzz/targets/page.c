// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every word that a guest writes: header, current and pending, context, next_event. Decoders
 * against what spec/protocol.md says of each field, TSC conversions against 128-bit arithmetic.
 */
#include <helpers/fuzz.h>

#include <sanitizer/asan_interface.h>

#include <core/page.h>
#include <events/state.h>

static bool task_is_valid(uint8_t policy, int8_t nice, uint8_t prio)
{
	if (nice < -20 || nice > 19)
		return false;
	switch (policy) {
	case PVSCHED_POLICY_FIFO:
	case PVSCHED_POLICY_RR:
		return prio >= 1 && prio <= 99;
	case PVSCHED_POLICY_NORMAL:
	case PVSCHED_POLICY_BATCH:
	case PVSCHED_POLICY_IDLE:
	case PVSCHED_POLICY_DEADLINE:
	case PVSCHED_POLICY_EXT:
		return !prio;
	}
	return false;
}

static void task_word(uint64_t word, uint8_t known)
{
	uint8_t policy = word, prio = word >> 16, flags = word >> 24;
	struct pvsched_task t = { 0 };
	int8_t nice = word >> 8;
	int bad = pvsched_task_decode(word, known, &t);

	FUZZ_CHECK(!bad == task_is_valid(policy, nice, prio));
	FUZZ_CHECK(t.gen == word >> 32);
	if (bad) {
		FUZZ_CHECK(bad <= 3 && !t.policy && !t.nice && !t.rt_priority && !t.flags);
		return;
	}
	FUZZ_CHECK(t.policy == policy && t.nice == nice && t.rt_priority == prio);
	FUZZ_CHECK(t.flags == (flags & known));
	FUZZ_CHECK(pvsched_task_word(policy, nice, prio, flags, word >> 32) == word);
}

static void context_word(uint8_t flags, uint32_t gen)
{
	uint64_t word = pvsched_context_word(flags, gen);

	FUZZ_CHECK((uint8_t)word == flags && word >> PVSCHED_CTX_GEN_SHIFT == gen);
	FUZZ_CHECK(!(word & 0xffffff00));
}

static void header(struct fuzz *f)
{
	struct pvsched_page *p = calloc(1, sizeof(*p));
	uint8_t flips = fuzz_u8(f) % 4;
	uint64_t features = fuzz_u64(f);
	uint32_t vcpu = fuzz_u32(f), r;
	uint8_t good[PVSCHED_LINE];

	FUZZ_CHECK(p);
	/* the host copies line 0 and no more */
	__asan_poison_memory_region((char *)p + PVSCHED_LINE, sizeof(*p) - PVSCHED_LINE);
	p->magic = PVSCHED_MAGIC;
	p->abi_version = PVSCHED_ABI_VERSION;
	p->protocol = PVSCHED_PROTO_BASE;
	p->protocol_version = PVSCHED_PROTO_BASE_VERSION;
	p->features = features;
	p->vcpu_id = vcpu;
	memcpy(good, p, sizeof(good));
	while (flips--)
		((uint8_t *)p)[fuzz_u8(f) % PVSCHED_LINE] ^= fuzz_u8(f);
	r = pvsched_header_check(p, vcpu, PVSCHED_PROTO_BASE, PVSCHED_PROTO_BASE_VERSION, features);
	FUZZ_CHECK((r == PVSCHED_R_OK) == !memcmp(p, good, sizeof(good)));
	FUZZ_CHECK(r == PVSCHED_R_OK || r == PVSCHED_R_BAD_HEADER || r == PVSCHED_R_BAD_PROTOCOL ||
		   r == PVSCHED_R_BAD_VCPU || r == PVSCHED_R_BAD_FEATURES);
	free(p);
}

/* The clock is the host's: ticks of 0.1 to 16 ns, up to 100 years. The value is the guest's. */
static void next_event(struct fuzz *f)
{
	const int64_t max_ticks = 1ll << 34;
	uint64_t value = fuzz_number(f), tsc = fuzz_number(f);
	uint64_t mult = (1ull << 24) / 10 + fuzz_u32(f) % (1u << 28);
	uint64_t base = fuzz_number(f) % 3153600000000000000ull, now = base + fuzz_u32(f);
	uint64_t ns = pvsched_tsc_to_ns(value, tsc, base, mult, now);
	__int128 exact = (int64_t)(value - tsc);

	if (exact > max_ticks)
		exact = max_ticks;
	if (exact < -max_ticks)
		exact = -max_ticks;
	exact = (exact * mult >> PVSCHED_TSC_SHIFT) + base;
	if (exact > (__int128)now + PVSCHED_NEXT_MAX_NS)
		exact = (__int128)now + PVSCHED_NEXT_MAX_NS;
	FUZZ_CHECK(ns == (exact > 0 ? (uint64_t)exact : 0));
}

/* Offset and ratio are KVM's, but told to it by the VMM: any. */
static void scaled(struct fuzz *f)
{
	uint64_t guest = fuzz_number(f), offset = fuzz_number(f), ratio = fuzz_number(f);
	uint64_t tsc = fuzz_number(f), got = pvsched_host_tsc(guest, offset, ratio, tsc);
	unsigned int fraction = ratio < 1ull << 40 ? 32 : 48;
	uint64_t scale = ratio >> (fraction - 24), at_tsc;
	__int128 ticks;

	if (ratio <= 1 || ratio == 1ull << fraction || !scale) {
		FUZZ_CHECK(got == guest - offset);
		return;
	}
	at_tsc = (uint64_t)((unsigned __int128)tsc * ratio >> fraction) + offset;
	ticks = (int64_t)(guest - at_tsc);
	if (ticks > 1ll << 34)
		ticks = 1ll << 34;
	if (ticks < -(1ll << 34))
		ticks = -(1ll << 34);
	FUZZ_CHECK(got == tsc + (uint64_t)(int64_t)(ticks * (1 << 24) / (__int128)scale));
}

static void lead(struct fuzz *f)
{
	uint32_t avg = 0, dev = 0;
	uint64_t ns;

	for (unsigned int n = fuzz_u8(f) % 16; n--;) {
		pvsched_lead_sample(&avg, &dev, fuzz_number(f));
		FUZZ_CHECK(avg <= PVSCHED_LEAD_MAX_NS + 1 && dev <= PVSCHED_LEAD_MAX_NS);
		ns = pvsched_lead(avg, dev, PVSCHED_ENTRY_NS);
		FUZZ_CHECK(ns >= PVSCHED_LEAD_MIN_NS && ns <= PVSCHED_LEAD_MAX_NS);
	}
}

static void desired_word(struct fuzz *f)
{
	uint16_t seq = fuzz_u16(f);
	uint8_t level = fuzz_u8(f) & 3, reason = fuzz_u8(f) & 63;
	int8_t value = fuzz_u8(f);
	uint64_t now = fuzz_u64(f);
	int64_t left = (int32_t)fuzz_u32(f), got;
	uint64_t w = pvsched_word(seq, level, value, reason, now + left);

	FUZZ_CHECK(PVSCHED_WORD_SEQ(w) == seq && PVSCHED_WORD_LEVEL(w) == level &&
		   PVSCHED_WORD_VALUE(w) == value && PVSCHED_WORD_REASON(w) == reason);
	got = pvsched_word_left(w, now);
	FUZZ_CHECK(got > left - 1024 && got < left + 1024);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { data, data + size };

	while (fuzz_left(&f)) {
		switch (fuzz_u8(&f) % 7) {
		case 0:
			task_word(fuzz_u64(&f), fuzz_u8(&f));
			break;
		case 1:
			context_word(fuzz_u8(&f), fuzz_u32(&f));
			break;
		case 2:
			header(&f);
			break;
		case 3:
			next_event(&f);
			break;
		case 4:
			scaled(&f);
			break;
		case 5:
			lead(&f);
			break;
		case 6:
			desired_word(&f);
			break;
		}
		fuzz_steps++;
	}
	return 0;
}
