// SPDX-License-Identifier: GPL-2.0-only
/* The bench's targets and reports, from cells with known figures. */
#include <helpers/unit.h>

#include <stdlib.h>

#include <math.h>
#include <result.h>

/* 1,000 samples: all `p50` but the eleven highest; p99 is sample 990, p99.9 sample 999. */
static void add_cell(struct bench_report *r, enum bench_workload workload,
		     enum bench_variant variant, unsigned int hogs, uint64_t p50_us,
		     uint64_t p99_us, uint64_t p999_us, unsigned int hogs_percent)
{
	struct bench_cell *c = &r->cells[r->cell_count++];
	struct bench_run run = { .asked = 1000 };
	uint64_t v;
	int i;

	c->workload = workload;
	c->variant = variant;
	c->hogs = hogs;
	for (i = 1; i <= 1000; i++) {
		v = (i >= 999 ? p999_us : i >= 990 ? p99_us : p50_us) * 1000;
		assert_int_equal(bench_samples_append(&run.samples, &v, 1), 0);
	}
	run.wall_ns = 1000000000;
	run.hogs_ns = hogs_percent * 10000000ull;
	if (variant == BENCH_PVSCHED) {
		run.has_host = true;
		run.host.boosts = hogs ? 10 : 0;
		run.host.boosted_ns = hogs ? 40000000 : 0;
		if (hogs) {
			pvsched_hist_add(&run.host.boost, 900000);
			pvsched_hist_add(&run.host.apply, 50000);
		}
	}
	assert_int_equal(bench_cell_add(c, &run), 0);
	bench_cell_finish(c);
	bench_run_free(&run);
}

static void begin(struct bench_report *r)
{
	memset(r, 0, sizeof(*r));
	r->cells = calloc(32, sizeof(*r->cells));
	assert_non_null(r->cells);
	r->rounds = 1;
	r->cap_ns = 1000000;
}

static const struct bench_target *find(const struct bench_report *r, const char *line)
{
	unsigned int i;

	for (i = 0; i < r->target_count; i++)
		if (!strcmp(r->targets[i].line, line))
			return &r->targets[i];
	return NULL;
}

static void expect(const struct bench_report *r, const char *line, bool met, double value,
		   double limit)
{
	const struct bench_target *t = find(r, line);

	if (!t)
		fail_msg("no target '%s'", line);
	if (t->met != met || fabs(t->value - value) > 1e-6 || fabs(t->limit - limit) > 1e-6)
		fail_msg("'%s': met %d, %f of %f", line, t->met, t->value, t->limit);
}

static void targets_without_cells_are_none(void **state)
{
	struct bench_report r;

	(void)state;
	begin(&r);
	assert_int_equal(bench_targets(&r), 0);
	assert_int_equal(r.target_count, 0);
	bench_report_free(&r);
}

static void targets_at_their_limits_are_met(void **state)
{
	struct bench_report r;

	(void)state;
	begin(&r);
	add_cell(&r, BENCH_BUSY, BENCH_OTHER, 4, 40, 1000, 8000, 100);
	add_cell(&r, BENCH_BUSY, BENCH_FIFO, 4, 40, 1000, 1001, 6);
	add_cell(&r, BENCH_BUSY, BENCH_PVSCHED, 4, 60, 500, 1000, 90);
	add_cell(&r, BENCH_CRITICAL, BENCH_OTHER, 4, 50, 1000, 20000, 100);
	add_cell(&r, BENCH_CRITICAL, BENCH_PVSCHED, 4, 50, 500, 1000, 95);
	assert_int_equal(bench_targets(&r), 0);
	expect(&r, "busy: p99.9 <= 1/8 of other", true, 0.125, 0.125);
	expect(&r, "busy: p99.9 below fifo", true, 1000.0 / 1001, 1);
	expect(&r, "busy: p50 <= 1.5x other", true, 1.5, 1.5);
	expect(&r, "busy: hogs keep >= 90 % of their CPU", true, 0.9, 0.9);
	expect(&r, "critical: p99.9 <= 1/20 of other", true, 0.05, 0.05);
	expect(&r, "critical: hogs keep >= 95 % of their CPU", true, 0.95, 0.95);
	expect(&r, "critical: boosted <= 5 % of the time", true, 0.04, 0.05);
	expect(&r, "critical: a boost's p99.9 <= 1.2x the cap", true, 0.9, 1.2);
	assert_null(find(&r, "sleeping: p99 <= 1/8 of other"));
	assert_null(find(&r, "busy, 0 hogs: no boost"));
	bench_report_free(&r);
}

static void targets_past_their_limits_are_missed(void **state)
{
	struct bench_report r;

	(void)state;
	begin(&r);
	add_cell(&r, BENCH_BUSY, BENCH_OTHER, 4, 40, 1000, 8000, 100);
	add_cell(&r, BENCH_BUSY, BENCH_FIFO, 4, 40, 1000, 1001, 6);
	add_cell(&r, BENCH_BUSY, BENCH_PVSCHED, 4, 61, 500, 1001, 89);
	assert_int_equal(bench_targets(&r), 0);
	expect(&r, "busy: p99.9 <= 1/8 of other", false, 1001.0 / 8000, 0.125);
	expect(&r, "busy: p99.9 below fifo", false, 1, 1);
	expect(&r, "busy: p50 <= 1.5x other", false, 61.0 / 40, 1.5);
	expect(&r, "busy: hogs keep >= 90 % of their CPU", false, 0.89, 0.9);
	bench_report_free(&r);
}

static void targets_speak_of_the_cells_with_most_hogs(void **state)
{
	struct bench_report r;

	(void)state;
	begin(&r);
	add_cell(&r, BENCH_SLEEPING, BENCH_OTHER, 1, 40, 100, 100, 80);
	add_cell(&r, BENCH_SLEEPING, BENCH_PVSCHED, 1, 40, 100, 100, 80);
	add_cell(&r, BENCH_SLEEPING, BENCH_OTHER, 4, 40, 8000, 8000, 80);
	add_cell(&r, BENCH_SLEEPING, BENCH_PVSCHED, 4, 40, 800, 800, 80);
	assert_int_equal(bench_targets(&r), 0);
	expect(&r, "sleeping: p99 <= 1/8 of other", true, 0.1, 0.125);
	bench_report_free(&r);
}

static void targets_without_hogs_look_at_p50_and_boosts(void **state)
{
	struct bench_report r;

	(void)state;
	begin(&r);
	add_cell(&r, BENCH_BUSY, BENCH_OTHER, 0, 100, 100, 100, 0);
	add_cell(&r, BENCH_BUSY, BENCH_PVSCHED, 0, 111, 111, 111, 0);
	add_cell(&r, BENCH_SLEEPING, BENCH_OTHER, 0, 100, 100, 100, 0);
	add_cell(&r, BENCH_SLEEPING, BENCH_PVSCHED, 0, 95, 95, 95, 0);
	r.cells[3].pooled.host.boosts = 1;
	assert_int_equal(bench_targets(&r), 0);
	expect(&r, "busy, 0 hogs: p50 within 10 % of other", false, 0.11, 0.1);
	expect(&r, "busy, 0 hogs: no boost", true, 0, 0);
	expect(&r, "sleeping, 0 hogs: p50 within 10 % of other", true, 0.05, 0.1);
	expect(&r, "sleeping, 0 hogs: no boost", false, 1, 0);
	bench_report_free(&r);
}

static void targets_of_cost_need_a_measurement(void **state)
{
	struct bench_report r;

	(void)state;
	begin(&r);
	assert_int_equal(bench_targets(&r), 0);
	assert_null(find(&r, "cost: no program on the VM-exit path"));
	r.cost = (struct bench_cost){ true, 60, 91, 250, 800, 1 };
	assert_int_equal(bench_targets(&r), 0);
	expect(&r, "cost: a vCPU's context switch <= 250 ns", true, 250, 250);
	expect(&r, "cost: a boosted vCPU's <= 250 ns", false, 800, 250);
	expect(&r, "cost: any other's <= 1.5x an empty program", false, 91.0 / 60, 1.5);
	expect(&r, "cost: no program on the VM-exit path", false, 1, 0);
	bench_report_free(&r);
}

/* Widest figures that can be: the table must still fit. */
static void table_with_wide_figures_has_80_columns(void **state)
{
	char *text = NULL, *line, *save;
	struct bench_report r;
	unsigned int w, v;
	size_t size;
	FILE *f;

	(void)state;
	begin(&r);
	memset(r.machine.kernel, 'k', sizeof(r.machine.kernel) - 1);
	memset(r.machine.cpu, 'c', sizeof(r.machine.cpu) - 1);
	snprintf(r.machine.cpus_tool, sizeof(r.machine.cpus_tool), "0-2");
	for (w = 0; w < BENCH_WORKLOADS; w++)
		for (v = 0; v < BENCH_VARIANTS; v++)
			add_cell(&r, w, v, v % 2 ? 64 : 0, 123456, 999999, 999999, 99);
	r.cells[0].pooled.asked = 1000000;
	r.cost = (struct bench_cost){ true, 1000, 100000, 100000, 100000, 100 };
	r.programs = calloc(1, sizeof(*r.programs));
	assert_non_null(r.programs);
	r.program_count = 1;
	memset(r.programs[0].name, 'n', sizeof(r.programs[0].name) - 1);
	memset(r.programs[0].attached_to, 'a', sizeof(r.programs[0].attached_to) - 1);
	r.programs[0].runs = 1000000000;
	r.programs[0].run_ns = 99999ull * r.programs[0].runs;
	assert_int_equal(bench_targets(&r), 0);
	f = open_memstream(&text, &size);
	assert_non_null(f);
	bench_print_table(&r, f);
	fclose(f);
	assert_non_null(strstr(text, "only 1000 of 1000000 samples"));
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (strlen(line) > 80)
			fail_msg("%zu columns: %s", strlen(line), line);
	free(text);
	bench_report_free(&r);
}

static void table_with_foreign_work_warns(void **state)
{
	char *text = NULL;
	struct bench_report r;
	unsigned int cells;
	size_t size;
	FILE *f;

	(void)state;
	begin(&r);
	add_cell(&r, BENCH_BUSY, BENCH_OTHER, 4, 40, 1000, 8000, 70);
	add_cell(&r, BENCH_BUSY, BENCH_OTHER, 0, 40, 1000, 8000, 0);
	r.cells[0].pooled.vcpu_ns = 200000000;
	assert_true(fabs(bench_foreign_worst(&r, &cells) - 0.1) < 1e-9);
	assert_int_equal(cells, 0);
	r.cells[0].pooled.vcpu_ns = 100000000;
	assert_true(fabs(bench_foreign_worst(&r, &cells) - 0.2) < 1e-9);
	assert_int_equal(cells, 1);
	f = open_memstream(&text, &size);
	assert_non_null(f);
	bench_print_table(&r, f);
	fclose(f);
	assert_non_null(strstr(text, "Other work ran on the measured CPU"));
	free(text);
	bench_report_free(&r);
}

/* Text from the machine must not become markup, and nothing may be loaded from elsewhere. */
static void html_is_escaped_and_self_contained(void **state)
{
	char *text = NULL;
	struct bench_report r;
	size_t size;
	FILE *f;

	(void)state;
	begin(&r);
	snprintf(r.machine.kernel, sizeof(r.machine.kernel), "<script>\"&");
	add_cell(&r, BENCH_BUSY, BENCH_OTHER, 4, 40, 1000, 8000, 80);
	add_cell(&r, BENCH_BUSY, BENCH_PVSCHED, 4, 60, 500, 1000, 72);
	assert_int_equal(bench_targets(&r), 0);
	f = open_memstream(&text, &size);
	assert_non_null(f);
	bench_print_html(&r, f);
	fclose(f);
	assert_null(strstr(text, "<script"));
	assert_non_null(strstr(text, "&lt;script&gt;&quot;&amp;"));
	assert_null(strstr(text, "http"));
	assert_null(strstr(text, "src="));
	assert_null(strstr(text, "nan"));
	assert_non_null(strstr(text, "class=\"curve v-other\""));
	assert_non_null(strstr(text, "class=\"curve v-pvsched\""));
	assert_null(strstr(text, "class=\"curve v-fifo\""));
	free(text);
	bench_report_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(targets_without_cells_are_none),
		cmocka_unit_test(targets_at_their_limits_are_met),
		cmocka_unit_test(targets_past_their_limits_are_missed),
		cmocka_unit_test(targets_speak_of_the_cells_with_most_hogs),
		cmocka_unit_test(targets_without_hogs_look_at_p50_and_boosts),
		cmocka_unit_test(targets_of_cost_need_a_measurement),
		cmocka_unit_test(table_with_wide_figures_has_80_columns),
		cmocka_unit_test(table_with_foreign_work_warns),
		cmocka_unit_test(html_is_escaped_and_self_contained),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
