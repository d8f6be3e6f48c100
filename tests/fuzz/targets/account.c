// SPDX-License-Identifier: GPL-2.0-only
/*
 * The accounting primitives against naive models: a bucket whose debt is a fraction kept exactly,
 * a stretch that is paid back ns by ns. Any rate, burst and cap that can be configured; times up to
 * a hundred years; boosts and pauses of any length up to ten seconds.
 */
#include <helpers/fuzz.h>

#include <core/account.h>

#define MS	  1000000ull
#define LONG_NS	  10000000000ull
#define OLDEST	  3153600000000000000ull
#define TAKES_MAX 64

/* Debt in units of 1/1024 boosted ns, paid at rate_q10 units a ns: what the bucket's rate says. */
struct debt {
	unsigned __int128 q10;
	uint64_t at;
};

static void pay(struct debt *d, uint64_t now, uint32_t rate_q10)
{
	unsigned __int128 paid = (unsigned __int128)(now - d->at) * rate_q10;

	d->q10 = d->q10 > paid ? d->q10 - paid : 0;
	d->at = now;
}

static void bucket(struct fuzz *f)
{
	uint32_t percent = 1 + fuzz_u8(f) % 100, n = 0;
	struct pvsched_bucket_conf c = pvsched_bucket_conf(percent, 1 + fuzz_u32(f) % LONG_NS);
	struct take {
		uint64_t start, end;
	} take[TAKES_MAX];
	uint64_t now = fuzz_number(f) % OLDEST + LONG_NS, paid = 0, left, most, ns, sum;
	struct debt d = { .at = now };

	while (fuzz_left(f) && n < TAKES_MAX) {
		now += fuzz_number(f) % LONG_NS;
		pay(&d, now, c.rate_q10);
		left = pvsched_bucket_left(paid, now, &c);
		/* never more than the exact debt leaves, and less by rounding only: a ns of debt for
		 * each charge, a ns of what is left */
		most = d.q10 >> 10 < c.burst_ns ? c.burst_ns - (uint64_t)(d.q10 >> 10) : 0;
		FUZZ_CHECK(left <= most && left <= c.burst_ns);
		FUZZ_CHECK(left + 3 + n + (d.q10 >> 10) / 9 + c.burst_ns / 9 >= most);
		if (!left)
			continue;
		ns = 1 + fuzz_u32(f) % left;
		take[n].start = now;
		now += ns;
		take[n++].end = now;
		d.q10 += (unsigned __int128)ns << 10;
		pay(&d, now, c.rate_q10);
		paid = pvsched_bucket_charge(paid, now, ns, &c);
		/* the promise: in any window rate * W + burst */
		sum = 0;
		for (unsigned int i = n; i-- > 0;) {
			sum += take[i].end - take[i].start;
			FUZZ_CHECK((unsigned __int128)sum * 100 <=
				   (unsigned __int128)(now - take[i].start) * percent +
					   (unsigned __int128)c.burst_ns * 100);
		}
		fuzz_steps++;
	}
}

static void stretch(struct fuzz *f)
{
	struct pvsched_stretch s = { 0 };
	uint64_t cap = 1 + fuzz_u32(f) % (100 * MS), now = fuzz_number(f) % OLDEST + LONG_NS;
	uint64_t owed = 0, on = 0, hold = 0, ns, left, want;
	bool boosted = false;

	while (fuzz_left(f)) {
		ns = fuzz_number(f) % LONG_NS;
		now += ns;
		owed = boosted ? owed + ns : owed > ns ? owed - ns : 0;
		FUZZ_CHECK(pvsched_stretch_owed(&s, now) == owed);
		left = pvsched_stretch_left(&s, now, cap);
		want = owed < cap && (boosted || now >= hold) ? cap - owed : 0;
		FUZZ_CHECK(left == want);
		if (fuzz_u8(f) & 1) {
			pvsched_stretch_on(&s, now);
			on = boosted ? on : now;
			boosted = true;
		} else {
			FUZZ_CHECK(pvsched_stretch_off(&s, now, cap, 0) ==
				   (boosted ? now - on : 0));
			if (boosted && owed >= cap)
				hold = now + owed;
			boosted = false;
		}
		fuzz_steps++;
	}
}

static void owed(struct fuzz *f)
{
	int64_t owed = 0;
	__int128 model = 0;

	while (fuzz_left(f)) {
		uint64_t ns = fuzz_number(f);

		if (fuzz_u8(f) & 1) {
			owed = pvsched_owed_add(owed, ns);
			model += ns;
		} else {
			owed = pvsched_owed_pay(owed, ns);
			model -= ns;
		}
		if (model > PVSCHED_OWED_MAX_NS)
			model = PVSCHED_OWED_MAX_NS;
		if (model < -PVSCHED_OWED_CREDIT_NS)
			model = -PVSCHED_OWED_CREDIT_NS;
		FUZZ_CHECK(owed == model);
		FUZZ_CHECK(pvsched_owed_paid(ns) >= ns);
		FUZZ_CHECK(pvsched_owed_paid(ns) <= 3 * (unsigned __int128)ns);
		fuzz_steps++;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { data, data + size };

	switch (fuzz_u8(&f) % 3) {
	case 0:
		bucket(&f);
		break;
	case 1:
		stretch(&f);
		break;
	case 2:
		owed(&f);
		break;
	}
	return 0;
}
