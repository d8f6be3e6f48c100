// SPDX-License-Identifier: GPL-2.0-only
/* Values of budgets as they are typed, inherited and resolved; whose debt is whose. */
#include <helpers/unit.h>

#include <errno.h>
#include <string.h>

#include <broker/budget.h>
#include <broker/cpus.h>
#include <broker/debts.h>
#include <budget_text.h>

#define MS 1000000ull

static void budget_vcpu_inherits_from_vm_and_host(void **state)
{
	struct pvsched_budget host, vm = { 0 }, vcpu = { 0 };
	struct pvsched_limits l;

	(void)state;
	pvsched_budget_init(&host);
	pvsched_budget_resolve(&host, &vm, &vcpu, 1, &l);
	assert_int_equal(l.cap_ns, MS);
	assert_int_equal(l.ceiling, 1);
	assert_int_equal(l.all.rate_q10, 409);
	assert_int_equal(l.rate.every_ns, 200000);
	assert_int_equal(l.rate.horizon_ns, 499 * 200000);

	vm.own = 1u << PVSCHED_BUDGET_BOOST | 1u << PVSCHED_BUDGET_CAP;
	vm.value[PVSCHED_BUDGET_BOOST] = 20;
	vm.value[PVSCHED_BUDGET_CAP] = 2 * MS;
	vcpu.own = 1u << PVSCHED_BUDGET_BOOST;
	vcpu.value[PVSCHED_BUDGET_BOOST] = 10;
	pvsched_budget_resolve(&host, &vm, &vcpu, 1, &l);
	assert_int_equal(l.cap_ns, 2 * MS);
	assert_int_equal(l.all.rate_q10, 102);
	assert_int_equal(l.cs.rate_q10, 102);
	assert_int_equal(l.vm.rate_q10, 204);
	assert_int_equal(l.cpu.rate_q10, 409);
}

static void budget_vm_has_a_share_for_each_vcpu(void **state)
{
	struct pvsched_budget host, vm = { 0 }, vcpu = { 0 };
	struct pvsched_limits one, all;

	(void)state;
	pvsched_budget_init(&host);
	pvsched_budget_resolve(&host, &vm, &vcpu, 1, &one);
	for (unsigned int n = 1; n <= 512; n *= 2) {
		pvsched_budget_resolve(&host, &vm, &vcpu, n, &all);
		assert_int_equal(all.vm.burst_ns, n * one.vm.burst_ns);
		assert_in_range(all.vm.rate_q10, n * one.vm.rate_q10, (n + 1) * one.vm.rate_q10);
		/* rounded to the taker's disadvantage, so never less than each one's share costs */
		assert_true((uint64_t)all.vm.cost_q10 * all.vm.rate_q10 >= 1 << 20);
		/* and the others are as they were */
		assert_memory_equal(&all.all, &one.all, sizeof(one.all));
		assert_memory_equal(&all.cs, &one.cs, sizeof(one.cs));
		assert_memory_equal(&all.cpu, &one.cpu, sizeof(one.cpu));
	}
	/* by what the VM has of its own, not by what a vCPU has */
	vm.own = vcpu.own = 1u << PVSCHED_BUDGET_BOOST;
	vm.value[PVSCHED_BUDGET_BOOST] = 10;
	vcpu.value[PVSCHED_BUDGET_BOOST] = 90;
	pvsched_budget_resolve(&host, &vm, &vcpu, 3, &all);
	assert_int_equal(all.vm.rate_q10, 30 * 1024 / 100);
	assert_int_equal(all.all.rate_q10, 90 * 1024 / 100);
}

static void budget_out_of_range_is_refused_and_says_the_range(void **state)
{
	char why[128];

	(void)state;
	for (unsigned int i = 0; i < PVSCHED_BUDGET_N; i++) {
		const struct pvsched_budget_row *r = &pvsched_budget_rows[i];

		assert_int_equal(pvsched_budget_check(i, r->initial, why, sizeof(why)), 0);
		assert_int_equal(pvsched_budget_check(i, r->max + 1, why, sizeof(why)), -ERANGE);
		assert_non_null(strstr(why, r->name));
		if (r->min)
			assert_int_equal(pvsched_budget_check(i, r->min - 1, why, sizeof(why)),
					 -ERANGE);
	}
	pvsched_budget_check(PVSCHED_BUDGET_CAP, 0, why, sizeof(why));
	assert_string_equal(why, "--cap: it may be 100 to 100000 us");
	pvsched_budget_check(PVSCHED_BUDGET_CEILING, 99, why, sizeof(why));
	assert_string_equal(why, "--ceiling: it may be fifo:1 to 90");
}

static void budget_typed_well_is_taken(void **state)
{
	static const struct {
		unsigned int i;
		const char *text;
		uint64_t value;
		const char *shown;
	} good[] = {
		{ PVSCHED_BUDGET_BOOST, "40", 40, "40 %" },
		{ PVSCHED_BUDGET_BOOST, "7%", 7, "7 %" },
		{ PVSCHED_BUDGET_CS, "500us", 500000, "500 us" },
		{ PVSCHED_BUDGET_CAP, "1.5ms", 1500000, "1.5 ms" },
		{ PVSCHED_BUDGET_CAP, "0.1s", 100000000, "100 ms" },
		{ PVSCHED_BUDGET_GAP, "0us", 0, "0 us" },
		{ PVSCHED_BUDGET_GAP, "0.25ms", 250000, "250 us" },
		{ PVSCHED_BUDGET_CEILING, "fifo:3", 3, "fifo:3" },
		{ PVSCHED_BUDGET_RATE, "1000", 1000, "1000/s" },
	};
	struct cli_error e = { 0 };
	uint64_t value = 0;
	bool inherit;
	char buf[32];

	(void)state;
	for (unsigned int k = 0; k < ARRAY_SIZE(good); k++) {
		assert_int_equal(budget_parse(good[k].i, good[k].text, &value, &inherit, &e), 0);
		assert_int_equal(value, good[k].value);
		assert_false(inherit);
		assert_string_equal(budget_show(good[k].i, value, buf, sizeof(buf)), good[k].shown);
	}
	assert_int_equal(budget_parse(PVSCHED_BUDGET_RATE, "default", &value, &inherit, &e), 0);
	assert_true(inherit);
}

static void budget_typed_badly_is_refused_in_one_line(void **state)
{
	static const struct {
		unsigned int i;
		const char *text;
	} bad[] = {
		{ PVSCHED_BUDGET_BOOST, "" },
		{ PVSCHED_BUDGET_BOOST, "0" },
		{ PVSCHED_BUDGET_BOOST, "91" },
		{ PVSCHED_BUDGET_BOOST, "-1" },
		{ PVSCHED_BUDGET_BOOST, "4.5" },
		{ PVSCHED_BUDGET_BOOST, "%" },
		{ PVSCHED_BUDGET_CS, "1000" },
		{ PVSCHED_BUDGET_CS, "us" },
		{ PVSCHED_BUDGET_CS, "11ms" },
		{ PVSCHED_BUDGET_CAP, "1m" },
		{ PVSCHED_BUDGET_CAP, "99us" },
		{ PVSCHED_BUDGET_CAP, "1.2.3ms" },
		{ PVSCHED_BUDGET_CAP, "1.2345ms" },
		{ PVSCHED_BUDGET_CAP, "1e3us" },
		{ PVSCHED_BUDGET_CAP, "99999999999999999999999s" },
		{ PVSCHED_BUDGET_GAP, "2s" },
		{ PVSCHED_BUDGET_CEILING, "1" },
		{ PVSCHED_BUDGET_CEILING, "fifo:0" },
		{ PVSCHED_BUDGET_CEILING, "fifo:91" },
		{ PVSCHED_BUDGET_CEILING, "fifo:" },
		{ PVSCHED_BUDGET_CEILING, "rr:1" },
		{ PVSCHED_BUDGET_RATE, "0" },
		{ PVSCHED_BUDGET_RATE, "1000000" },
		{ PVSCHED_BUDGET_RATE, "fast" },
	};
	uint64_t value = 77;
	bool inherit;

	(void)state;
	for (unsigned int k = 0; k < ARRAY_SIZE(bad); k++) {
		struct cli_error e = { 0 };

		assert_int_equal(budget_parse(bad[k].i, bad[k].text, &value, &inherit, &e),
				 CLI_USAGE);
		assert_int_equal(value, 77);
		assert_true(e.why[0]);
		assert_null(strchr(e.why, '\n'));
	}
}

static struct pvsched_debt debts[4];
static bool used[4];

static int choose(uint32_t id, uint64_t start, uint64_t now)
{
	return pvsched_debts_choose(debts, used, 4, id, start, now);
}

static void debt_is_found_again_by_who_owes_it(void **state)
{
	int at;

	(void)state;
	memset(debts, 0, sizeof(debts));
	at = choose(10, 5, 1000);
	assert_int_equal(at, 0);
	used[0] = true;
	debts[0].paid_at = 9000;
	assert_int_equal(choose(11, 5, 1000), 1);
	used[0] = false;
	/* the thread of the same number, started later, is another */
	at = choose(10, 6, 1000);
	assert_int_not_equal(at, 0);
	assert_int_equal(debts[at].paid_at, 0);
	assert_int_equal(choose(10, 5, 1000), 0);
	assert_int_equal(debts[0].paid_at, 9000);
}

static void debt_of_a_process_with_several_is_its_worst(void **state)
{
	(void)state;
	memset(debts, 0, sizeof(debts));
	for (int i = 0; i < 3; i++) {
		debts[i].id = 10;
		debts[i].start = 5;
	}
	debts[0].paid_at = 2000;
	debts[1].paid_at = 9000;
	debts[2].paid_at = 3000;
	assert_int_equal(choose(10, 5, 1000), 1);
	used[1] = true;
	assert_int_equal(choose(10, 5, 1000), 2);
	used[1] = false;
}

static void debt_that_is_unpaid_is_the_last_to_be_wiped(void **state)
{
	static const uint64_t paid_at[] = { 5000, 9000, 500, 7000 };

	(void)state;
	memset(debts, 0, sizeof(debts));
	for (unsigned int i = 0; i < 4; i++) {
		debts[i].id = 100 + i;
		debts[i].paid_at = paid_at[i];
	}
	assert_int_equal(choose(10, 5, 1000), 2);
	assert_int_equal(debts[2].paid_at, 0);
	assert_int_equal(debts[2].id, 10);
	used[2] = true;
	assert_int_equal(choose(11, 5, 1000), 0);
	used[0] = used[1] = used[3] = true;
	assert_int_equal(choose(12, 5, 1000), -ENOSPC);
	memset(used, 0, sizeof(used));
}

static void cpus_set_apart_are_taken_out(void **state)
{
	static const struct {
		const char *list;
		int left;
	} lists[] = {
		{ "", 16 },	   { "\n", 16 },      { "3\n", 15 },	  { "0-3\n", 12 },
		{ "0-3,8\n", 11 }, { "1,3-5\n", 12 }, { "(null)\n", 16 }, { "15-99999\n", 15 },
		{ "0-15\n", 0 },   { "5-2\n", 16 },
	};
	cpu_set_t set;

	(void)state;
	for (unsigned int k = 0; k < ARRAY_SIZE(lists); k++) {
		CPU_ZERO(&set);
		for (int i = 0; i < 16; i++)
			CPU_SET(i, &set);
		pvsched_cpus_remove(&set, lists[k].list);
		assert_int_equal(CPU_COUNT(&set), lists[k].left);
	}
	/* never all of them: somebody has to act */
	sched_getaffinity(0, sizeof(set), &set);
	pvsched_cpus_shared(&set);
	assert_true(CPU_COUNT(&set) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(budget_vcpu_inherits_from_vm_and_host),
		cmocka_unit_test(budget_vm_has_a_share_for_each_vcpu),
		cmocka_unit_test(budget_out_of_range_is_refused_and_says_the_range),
		cmocka_unit_test(budget_typed_well_is_taken),
		cmocka_unit_test(budget_typed_badly_is_refused_in_one_line),
		cmocka_unit_test(cpus_set_apart_are_taken_out),
		cmocka_unit_test(debt_is_found_again_by_who_owes_it),
		cmocka_unit_test(debt_of_a_process_with_several_is_its_worst),
		cmocka_unit_test(debt_that_is_unpaid_is_the_last_to_be_wiped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
