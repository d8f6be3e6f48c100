// SPDX-License-Identifier: GPL-2.0-only
/*
 * A million random events against src/core/account.h: two VMs of two vCPUs each on two CPUs, boosted
 * and not, moving, their limits changed whether they owe something or not. The model
 * knows the formulas of spec/accounting.md and a list of what was taken, nothing else: exact
 * integers, every window looked at. Seeded, so that a failure repeats; PVSCHED_EVENTS asks for more.
 */
#include <helpers/unit.h>

#include <stdlib.h>
#include <string.h>

#undef __always_inline
#define __always_inline __attribute__((noinline, unused))
#include <core/account.h>

#define MS     1000000ull
#define MIN_NS 50000
#define ACT_NS 50000 /* of who carries boosts out */

enum { VCPUS = 4, VMS = 2, CPUS = 2, LOG = 4096 };

static uint64_t seed = 0x9e3779b97f4a7c15ull;

static uint64_t rnd(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

static unsigned long events(void)
{
	const char *asked = getenv("PVSCHED_EVENTS");

	return asked ? strtoul(asked, NULL, 10) : 1000000;
}

/* All that was taken from one budget under one set of values. */
struct log {
	unsigned int n, first; /* a ring: n in all, those from `first` are looked at */
	struct {
		uint64_t start, ns;
	} piece[LOG];
};

static void log_clear(struct log *l)
{
	l->n = l->first = 0;
}

static void log_add(struct log *l, uint64_t now, uint64_t ns)
{
	l->piece[l->n % LOG].start = now - ns;
	l->piece[l->n++ % LOG].ns = ns;
	if (l->n - l->first > LOG)
		l->first = l->n - LOG;
}

/*
 * Debt in 1/1024 ns of time to repay, by definition: the worst, over all windows that end now, of
 * what was taken in it (each ns costs cost_q10) less the time that has passed in it. Pieces before
 * a moment without debt belong to no such window and are forgotten.
 */
static __int128 log_debt(struct log *l, uint64_t now, uint32_t cost_q10, unsigned int *ret_pieces)
{
	__int128 taken = 0, worst = 0, debt;

	for (unsigned int i = l->n; i-- > l->first;) {
		taken += (__int128)l->piece[i % LOG].ns * cost_q10;
		debt = taken - ((__int128)(now - l->piece[i % LOG].start) << 10);
		if (debt > worst)
			worst = debt;
	}
	*ret_pieces = l->n - l->first;
	if (!worst)
		l->first = l->n;
	return worst;
}

/* spec/accounting.md, ACC-1: over any window W, at most r * W + b. Windows of one piece at least. */
static void log_check_bound(const struct log *l, uint64_t now, uint32_t percent, uint64_t burst_ns,
			    uint64_t overshoot_ns)
{
	unsigned __int128 taken = 0, may;

	for (unsigned int i = l->n; i-- > l->first;) {
		taken += l->piece[i % LOG].ns;
		may = (unsigned __int128)(now - l->piece[i % LOG].start) * percent +
		      (unsigned __int128)(burst_ns + overshoot_ns) * 100;
		assert_true(taken * 100 <= may);
	}
}

/* The C's word against the definition: it may only err to the taker's disadvantage, by the rounding
 * up of each charge to a ns. carried: a debt from under other values stands in the word, too. */
static void bucket_check(uint64_t paid_at, uint64_t now, const struct pvsched_bucket_conf *c,
			 struct log *l, bool carried)
{
	unsigned int pieces;
	__int128 exact = log_debt(l, now, c->cost_q10, &pieces);
	__int128 word = paid_at > now ? (__int128)(paid_at - now) << 10 : 0;

	assert_true(word >= exact);
	assert_true(carried || word <= exact + ((__int128)pieces << 10));
}

struct vcpu {
	struct pvsched_debt d;
	struct pvsched_limits l;
	unsigned int vm, cpu;
	bool carried;
	uint32_t percent;
	uint64_t cs_burst;
	struct log all, cs, wall;
	/* the model's own of the stretch: plain sums */
	uint64_t owed, owed_at, hold;
	/* begins of boosts under one rate */
	struct log begun;
	uint32_t per_s, at_once;
};

static struct vcpu vcpu[VCPUS];
static struct pvsched_debt vm_debt[VMS], cpu_debt[CPUS];
static struct log vm_log[VMS], cpu_log[CPUS];
/* the model's own of the CPUs' stretches */
static uint64_t cpu_owed[CPUS], cpu_owed_at[CPUS], cpu_hold[CPUS];
static uint32_t vm_percent[VMS], cpu_percent;
static uint32_t vm_shares[VMS]; /* vCPUs that may run at once: percent and burst for each */

static const uint32_t percents[] = { 1, 2, 10, 40, 50, 90, 100 };

/* New values; what was taken under the old ones is another regime's: its windows end here. */
static void limit(struct vcpu *v)
{
	v->percent = percents[rnd(ARRAY_SIZE(percents))];
	v->cs_burst = 100000 + rnd(10 * MS);
	v->per_s = rnd(4) ? 100 + rnd(20000) : 0;
	v->at_once = 1 + rnd(50);
	v->l.cs = pvsched_bucket_conf(v->percent, v->cs_burst);
	v->l.all = pvsched_bucket_conf(v->percent, 10 * MS);
	v->l.vm = pvsched_bucket_conf(vm_percent[v->vm] * vm_shares[v->vm],
				      10 * MS * vm_shares[v->vm]);
	v->l.cpu = pvsched_bucket_conf(cpu_percent, 10 * MS);
	v->l.rate = pvsched_rate_conf(v->per_s, v->at_once);
	v->l.cap_ns = 100000 + rnd(3 * MS);
	v->l.gap_ns = rnd(3) ? 0 : rnd(5 * MS);
	v->carried = true;
	log_clear(&v->all);
	log_clear(&v->cs);
	log_clear(&v->wall);
	log_clear(&v->begun);
}

static uint64_t owed_now(const struct vcpu *v, uint64_t now)
{
	return v->owed > now - v->owed_at ? v->owed - (now - v->owed_at) : 0;
}

static uint64_t cpu_owed_now(unsigned int cpu, uint64_t now)
{
	uint64_t gap = now - cpu_owed_at[cpu];

	return cpu_owed[cpu] > gap ? cpu_owed[cpu] - gap : 0;
}

static unsigned long boosts, refused[4];

/* Takes as much as all bounds leave, or less. Returns the new time. */
static uint64_t boost(struct vcpu *v, uint64_t now)
{
	uint64_t cs_paid_at = v->d.cs_paid_at;
	bool is_cs = rnd(2);
	uint64_t left, until, take, cs, owed = owed_now(v, now), shared;

	left = pvsched_debt_left(&v->d, vm_debt[v->vm].paid_at, cpu_debt[v->cpu].paid_at, now,
				 MIN_NS, &v->l);
	cs = pvsched_bucket_left(v->d.cs_paid_at, now, &v->l.cs);
	if (is_cs && cs < left)
		left = cs;
	if (left < MIN_NS) {
		refused[0]++;
		return now;
	}
	if (pvsched_rate_wait(v->d.rate_paid_at, now, &v->l.rate)) {
		refused[1]++;
		return now;
	}
	/* the actuator's own word on it */
	until = pvsched_wall_until(&v->d, now, &v->l);
	if (until <= now) {
		/* ACC-7: in the gap or with the cap owed; its own count is never the first to bind */
		refused[2]++;
		assert_true(now < v->hold || owed >= v->l.cap_ns);
		return now;
	}
	/* ACC-5, ACC-7: never more than the cap less what is owed, never in the gap */
	assert_true(until - now <= v->l.cap_ns - owed);
	assert_true(now >= v->hold);
	if (left > until - now)
		left = until - now;
	/* ACC-34: the same of all vCPUs of its CPU together */
	shared = pvsched_stretch_left(&cpu_debt[v->cpu].stretch, now, v->l.cap_ns);
	if (shared < MIN_NS) {
		refused[3]++;
		assert_true(now < cpu_hold[v->cpu] ||
			    cpu_owed_now(v->cpu, now) + MIN_NS > v->l.cap_ns);
		return now;
	}
	assert_true(now >= cpu_hold[v->cpu]);
	assert_int_equal(shared, v->l.cap_ns - cpu_owed_now(v->cpu, now));
	if (left > shared)
		left = shared;
	take = rnd(4) ? 1 + rnd(left) : left;
	v->d.rate_paid_at = pvsched_rate_charge(v->d.rate_paid_at, now, &v->l.rate);
	pvsched_wall_on(&v->d, now, &v->l);
	log_add(&v->begun, now, 0);
	boosts++;
	now += take;
	assert_int_equal(pvsched_wall_off(&v->d, now, &v->l), take);
	pvsched_debt_charge(&v->d, now, take, is_cs, &v->l);
	if (!is_cs)
		assert_int_equal(v->d.cs_paid_at, cs_paid_at);
	vm_debt[v->vm].paid_at = pvsched_bucket_charge(vm_debt[v->vm].paid_at, now, take, &v->l.vm);
	pvsched_cpu_charge(&cpu_debt[v->cpu], now, take, ACT_NS, &v->l);

	/* the model's turn */
	v->owed = owed + take;
	v->owed_at = now;
	if (v->owed >= v->l.cap_ns)
		v->hold = now + (v->owed > v->l.gap_ns ? v->owed : v->l.gap_ns);
	cpu_owed[v->cpu] = cpu_owed_now(v->cpu, now - take) + take;
	cpu_owed_at[v->cpu] = now;
	if (cpu_owed[v->cpu] >= v->l.cap_ns)
		cpu_hold[v->cpu] =
			now + (cpu_owed[v->cpu] > v->l.gap_ns ? cpu_owed[v->cpu] : v->l.gap_ns);
	if (is_cs)
		log_add(&v->cs, now, take);
	log_add(&v->all, now, take);
	log_add(&v->wall, now, take);
	log_add(&vm_log[v->vm], now, take);
	log_add(&cpu_log[v->cpu], now + ACT_NS, take + ACT_NS);
	log_check_bound(&v->all, now, v->percent, 10 * MS, 0);
	log_check_bound(&v->cs, now, v->percent, v->cs_burst, 0);
	log_check_bound(&vm_log[v->vm], now, vm_percent[v->vm] * vm_shares[v->vm],
			10 * MS * vm_shares[v->vm], 0);
	log_check_bound(&cpu_log[v->cpu], now, cpu_percent, 10 * MS, ACT_NS);
	/* ACC-16: in any window W at most W * rate + the number at once have begun */
	for (unsigned int i = v->begun.n, n = 0; v->per_s && i-- > v->begun.first;)
		assert_true(++n <= (now - take - v->begun.piece[i % LOG].start) * v->per_s /
						   1000000000ull +
					   v->at_once);
	if (v->begun.n - v->begun.first > 2 * v->at_once + 50)
		v->begun.first = v->begun.n - 2 * v->at_once - 50;
	return now;
}

/* What the word says is left, against the definition, whenever it is looked at. */
static void compare(struct vcpu *v, uint64_t now)
{
	if (v->d.paid_at <= now && v->d.cs_paid_at <= now && v->d.wall_paid_at <= now)
		v->carried = false;
	bucket_check(v->d.paid_at, now, &v->l.all, &v->all, v->carried);
	bucket_check(v->d.cs_paid_at, now, &v->l.cs, &v->cs, v->carried);
	bucket_check(v->d.wall_paid_at, now, &v->l.all, &v->wall, v->carried);
	bucket_check(vm_debt[v->vm].paid_at, now, &v->l.vm, &vm_log[v->vm], false);
	bucket_check(cpu_debt[v->cpu].paid_at, now, &v->l.cpu, &cpu_log[v->cpu], false);
	assert_int_equal(pvsched_stretch_owed(&v->d.stretch, now), owed_now(v, now));
}

static void debts_of_a_million_random_events_are_the_models(void **state)
{
	unsigned long n = events(), moves = 0, changes = 0;
	uint64_t now = 1000 * MS;

	(void)state;
	cpu_percent = 50;
	vm_percent[0] = 40;
	vm_shares[0] = 1;
	vm_percent[1] = 20;
	vm_shares[1] = 2;
	for (unsigned int i = 0; i < CPUS; i++)
		cpu_owed_at[i] = now;
	for (unsigned int i = 0; i < VCPUS; i++) {
		vcpu[i].vm = i / 2;
		vcpu[i].owed_at = now;
		limit(&vcpu[i]);
	}
	for (unsigned long e = 0; e < n; e++) {
		struct vcpu *v = &vcpu[rnd(VCPUS)];
		unsigned int what = rnd(1000);

		now += rnd(rnd(8) ? 60000 : rnd(20) ? 2 * MS : 100 * MS);
		if (what < 900) {
			now = boost(v, now);
		} else if (what < 996) {
			v->cpu = rnd(CPUS);
			moves++;
		} else {
			now += rnd(2) * 3000 * MS;
			limit(v);
			changes++;
		}
		compare(v, now);
	}
	print_message("# %lu events: %lu boosts; refused by share %lu, rate %lu, stretch or "
		      "actuator %lu, the CPU's stretch %lu; %lu moves, %lu changes of limits\n",
		      n, boosts, refused[0], refused[1], refused[2], refused[3], moves, changes);
	assert_true(boosts > n / 20);
	assert_true(refused[0] > n / 1000 && refused[1] > n / 1000 && refused[2] > n / 1000 &&
		    refused[3] > n / 1000);
}

/* Whoever asks without regard to BPF's count: the actuator alone holds the cap, twice the bursts. */
static void wall_count_alone_bounds_whoever_asks(void **state)
{
	unsigned long n = events() / 4, taken = 0;
	static struct vcpu v;
	uint64_t now = 1000 * MS, until, start;

	(void)state;
	limit(&v);
	v.owed_at = now;
	for (unsigned long e = 0; e < n; e++) {
		now += rnd(rnd(4) ? 20000 : 3 * MS);
		until = pvsched_wall_until(&v.d, now, &v.l);
		if (until <= now)
			continue;
		start = now;
		pvsched_wall_on(&v.d, now, &v.l);
		/* asked again on the way, it never promises more; on twice is on once */
		now += rnd(until - now + 1);
		assert_true(pvsched_wall_until(&v.d, now, &v.l) <= until);
		pvsched_wall_on(&v.d, now, &v.l);
		now = until;
		assert_true(pvsched_wall_until(&v.d, now, &v.l) <= now);
		assert_int_equal(pvsched_wall_off(&v.d, now, &v.l), now - start);
		assert_int_equal(pvsched_wall_off(&v.d, now, &v.l), 0);
		log_add(&v.wall, now, now - start);
		log_check_bound(&v.wall, now, v.percent, 20 * MS, 0);
		if (v.wall.n - v.wall.first > 300)
			v.wall.first = v.wall.n - 300;
		taken++;
		if (!rnd(2000)) {
			now += 4000 * MS;
			limit(&v);
		}
	}
	assert_true(taken > n / 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(debts_of_a_million_random_events_are_the_models),
		cmocka_unit_test(wall_count_alone_bounds_whoever_asks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
