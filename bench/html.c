// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bench's report as one HTML file without outside resources or scripts. Reads the report,
 * owns nothing. Strings that come from the machine are escaped.
 */
#include <inttypes.h>
#include <string.h>

#include "chart.h"
#include "result.h"

static const char style[] =
	":root{--bg:#fbfbfa;--card:#fff;--ink:#1c1d1f;--soft:#62666d;--line:#e3e4e6;--fine:#f1f1f2;"
	"--other:#8a8f98;--nice:#3f7fd0;--fifo:#e08a1e;--pvsched:#0b8a5f;--bad:#b3362b;"
	"--bar:#d5d8dc}\n"
	"@media(prefers-color-scheme:dark){:root{--bg:#131416;--card:#1b1d20;--ink:#e9eaec;"
	"--soft:#9da2ab;--line:#34373c;--fine:#25272b;--other:#9aa0aa;--nice:#6aa5f0;"
	"--fifo:#f0a54a;--pvsched:#35c795;--bad:#f0796d;--bar:#44484f}}\n"
	"*{box-sizing:border-box}\n"
	"body{margin:0;background:var(--bg);color:var(--ink);"
	"font:15px/1.5 system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif}\n"
	"main{max-width:1240px;margin:0 auto;padding:32px 20px 60px}\n"
	"h1{font-size:26px;line-height:1.25;margin:0 0 6px}h2{font-size:20px;margin:38px 0 4px}"
	"h3{font-size:16px;margin:0}p{margin:0 0 12px}table+p,.wide+p{margin:8px 6px 0}\n"
	".soft{color:var(--soft)}.small{font-size:13px}\n"
	".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:14px;"
	"margin:22px 0 8px}\n"
	".tile,.card{background:var(--card);border:1px solid var(--line);border-radius:10px;"
	"padding:16px 18px}\n"
	".tile b{display:block;white-space:nowrap;font-size:19px;line-height:1.3;font-variant-numeric:tabular-nums}\n"
	".tile b span{color:var(--pvsched)}.tile i{font-style:normal;color:var(--soft)}\n"
	".grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,520px),1fr));"
	"gap:18px;margin-top:14px}\n"
	"svg{display:block;width:100%;height:auto;margin:10px 0 6px}\n"
	".major{stroke:var(--line);stroke-width:1}.minor{stroke:var(--fine);stroke-width:1}\n"
	".tick{font-size:12px;fill:var(--soft)}.axis{font-size:12px;fill:var(--soft)}\n"
	".curve{fill:none;stroke-width:2;stroke-linejoin:round}.curve.v-pvsched{stroke-width:3.2}\n"
	".curve.v-other{stroke:var(--other)}.curve.v-nice{stroke:var(--nice)}"
	".curve.v-fifo{stroke:var(--fifo)}.curve.v-pvsched{stroke:var(--pvsched)}\n"
	".dot.v-other,.key.v-other{fill:var(--other);background:var(--other)}"
	".dot.v-nice,.key.v-nice{fill:var(--nice);background:var(--nice)}"
	".dot.v-fifo,.key.v-fifo{fill:var(--fifo);background:var(--fifo)}"
	".dot.v-pvsched,.key.v-pvsched{fill:var(--pvsched);background:var(--pvsched)}\n"
	".key{display:inline-block;width:16px;height:4px;border-radius:2px;margin-right:7px;"
	"vertical-align:middle}\n"
	".wide{overflow-x:auto}\n"
	"table{border-collapse:collapse;width:100%;font-size:13px;"
	"font-variant-numeric:tabular-nums}\n"
	"th{font-weight:500;color:var(--soft);text-align:right;padding:4px 4px;white-space:nowrap}"
	"td{text-align:right;padding:4px 4px;border-top:1px solid var(--line);white-space:nowrap}"
	"th:first-child,td:first-child,.left{text-align:left}\n"
	"tr.own td{font-weight:600}\n"
	".bar{display:inline-block;width:36px;height:9px;border-radius:3px;background:var(--fine);"
	"margin-left:7px;vertical-align:middle;overflow:hidden}"
	".bar span{display:block;height:100%}\n"
	".met{color:var(--pvsched);font-weight:600}.missed{color:var(--bad);font-weight:600}\n"
	"dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 18px;margin:8px 0}"
	"dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}\n"
	"code{font:13px/1.5 ui-monospace,'DejaVu Sans Mono',monospace;overflow-wrap:anywhere}\n";

static void put_text(const char *s, FILE *f)
{
	for (; *s; s++) {
		if (*s == '<')
			fputs("&lt;", f);
		else if (*s == '>')
			fputs("&gt;", f);
		else if (*s == '&')
			fputs("&amp;", f);
		else if (*s == '"')
			fputs("&quot;", f);
		else
			fputc(*s, f);
	}
}

/* "1.62 ms": what people say aloud; tables keep to one unit. */
static const char *human(uint64_t ns, char *buf, size_t size)
{
	double v = (double)ns / 1000;
	const char *unit = "µs";

	if (v >= 1000) {
		v /= 1000;
		unit = "ms";
	}
	snprintf(buf, size, "%.*f %s", v < 10 ? 1 : 0, v, unit);
	return buf;
}

static void tile_latency(const struct bench_report *r, enum bench_workload workload, bool p999,
			 const char *text, FILE *f)
{
	unsigned int hogs = bench_hogs_most(r);
	const struct bench_cell *other = bench_find(r, workload, BENCH_OTHER, hogs);
	const struct bench_cell *own = bench_find(r, workload, BENCH_PVSCHED, hogs);
	char a[32], b[32];

	if (!other || !own || !hogs)
		return;
	fprintf(f, "<div class=\"tile\"><i>%s</i><b>%s → <span>%s</span></b>%s</div>\n",
		bench_workload_names[workload],
		human(p999 ? other->figures.p999 : other->figures.p99, a, sizeof(a)),
		human(p999 ? own->figures.p999 : own->figures.p99, b, sizeof(b)), text);
}

static void put_tiles(const struct bench_report *r, FILE *f)
{
	unsigned int hogs = bench_hogs_most(r);
	const struct bench_cell *other = bench_find(r, BENCH_BUSY, BENCH_OTHER, hogs);
	const struct bench_cell *own = bench_find(r, BENCH_BUSY, BENCH_PVSCHED, hogs);

	fputs("<div class=\"tiles\">\n", f);
	tile_latency(r, BENCH_BUSY, true, "1 in 1,000 timer interrupts waits longer", f);
	tile_latency(r, BENCH_BUSY_RANDOM, false, "1 in 100 device interrupts waits longer", f);
	tile_latency(r, BENCH_CRITICAL, true, "1 in 1,000 critical sections of 50 µs takes longer",
		     f);
	tile_latency(r, BENCH_SLEEPING, false, "1 in 100 wake-ups takes longer", f);
	if (other && own && hogs && bench_hogs_share(other) > 0)
		fprintf(f,
			"<div class=\"tile\"><i>the others</i><b><span>%.0f %%</span></b>of their CPU "
			"time is left to %u hogs beside the busy vCPU</div>\n",
			bench_hogs_share(own) / bench_hogs_share(other) * 100, hogs);
	fputs("</div>\n", f);
}

static void put_row(const struct bench_cell *c, FILE *f)
{
	char p50[24], p99[24], p999[24], max[24], low[24], high[24];
	const char *name = bench_variant_names[c->variant];
	double share = bench_hogs_share(c);
	uint64_t min, most;

	bench_spread(c, &min, &most);
	fprintf(f,
		"<tr%s><td title=\"%s\"><span class=\"key v-%s\"></span>%s</td><td>%s</td><td>%s</td>"
		"<td>%s</td><td>%s</td>",
		c->variant == BENCH_PVSCHED ? " class=\"own\"" : "",
		bench_variant_texts[c->variant], name, name,
		bench_us(c->figures.p50, p50, sizeof(p50)),
		bench_us(c->figures.p99, p99, sizeof(p99)),
		bench_us(c->figures.p999, p999, sizeof(p999)),
		bench_us(c->figures.max, max, sizeof(max)));
	fprintf(f, "<td>%s – %s</td>", bench_us(min, low, sizeof(low)),
		bench_us(most, high, sizeof(high)));
	if (c->hogs)
		fprintf(f,
			"<td>%.0f %%<span class=\"bar\"><span class=\"key v-%s\" "
			"style=\"width:%.1f%%;margin:0\"></span></span></td>",
			share * 100, name, share * 100 > 100 ? 100 : share * 100);
	else
		fputs("<td></td>", f);
	fputs("</tr>\n", f);
}

static void put_group(const struct bench_report *r, unsigned int workload, unsigned int hogs,
		      FILE *f)
{
	const struct bench_cell *c;
	unsigned int v, shown = 0;

	for (v = 0; v < BENCH_VARIANTS; v++)
		shown += !!bench_find(r, workload, v, hogs);
	if (!shown)
		return;
	fprintf(f, "<section class=\"card\"><h3>%s</h3><p class=\"soft small\">%s</p>\n",
		bench_workload_names[workload], bench_workload_texts[workload]);
	bench_chart(r, workload, hogs, f);
	fprintf(f,
		"<div class=\"wide\"><table><tr><th>µs</th><th>p50</th><th>p99</th><th>p99.9</th>"
		"<th>max</th><th>p99 by round</th><th>%s</th></tr>\n",
		hogs ? "hogs’ CPU" : "");
	for (v = 0; v < BENCH_VARIANTS; v++) {
		c = bench_find(r, workload, v, hogs);
		if (c)
			put_row(c, f);
	}
	fputs("</table></div>\n", f);
	c = bench_find(r, workload, BENCH_PVSCHED, hogs);
	if (c && c->pooled.has_host)
		fprintf(f,
			"<p class=\"small soft\">pvsched boosted the vCPU %" PRIu64
			" times, %.2f %% of the time.</p>\n",
			c->pooled.host.boosts, bench_boosted_share(c) * 100);
	fputs("</section>\n", f);
}

static void put_targets(const struct bench_report *r, FILE *f)
{
	unsigned int i;

	if (!r->target_count)
		return;
	fputs("<h2>What it must reach</h2><div class=\"card wide\"><table>\n"
	      "<tr><th class=\"left\">target</th><th class=\"left\"></th>"
	      "<th class=\"left\">measured</th></tr>\n",
	      f);
	for (i = 0; i < r->target_count; i++) {
		fputs("<tr><td>", f);
		put_text(r->targets[i].line, f);
		fprintf(f, "</td><td class=\"left %s\">%s</td><td class=\"left\">",
			r->targets[i].met ? "met" : "missed", r->targets[i].met ? "met" : "missed");
		put_text(r->targets[i].detail, f);
		fputs("</td></tr>\n", f);
	}
	fputs("</table></div>\n", f);
}

static void put_programs(const struct bench_report *r, FILE *f)
{
	unsigned int i;

	if (!r->program_count)
		return;
	fputs("<h2>What the host pays</h2><div class=\"card wide\"><table>\n"
	      "<tr><th>BPF program</th><th class=\"left\">attached to</th><th>runs</th>"
	      "<th>ns per run</th></tr>\n",
	      f);
	for (i = 0; i < r->program_count; i++) {
		fputs("<tr><td>", f);
		put_text(r->programs[i].name, f);
		fputs("</td><td class=\"left\">", f);
		put_text(r->programs[i].attached_to, f);
		fprintf(f, "</td><td>%" PRIu64 "</td>", r->programs[i].runs);
		if (r->programs[i].runs)
			fprintf(f, "<td>%.0f</td></tr>\n",
				(double)r->programs[i].run_ns / (double)r->programs[i].runs);
		else
			fputs("<td></td></tr>\n", f);
	}
	fputs("</table>", f);
	if (r->cost.measured)
		fprintf(f,
			"<p class=\"small soft\">A context switch pays %.0f ns when it concerns a "
			"registered vCPU, %.0f ns when that is boosted each period, and %.0f ns "
			"otherwise; an empty program costs %.0f ns. These include the kernel’s own "
			"measuring of programs.</p>",
			r->cost.vcpu_ns, r->cost.acting_ns, r->cost.other_ns, r->cost.empty_ns);
	fputs("</div>\n", f);
}

static void put_fact(const char *name, const char *value, FILE *f)
{
	if (!*value)
		return;
	fprintf(f, "<dt>%s</dt><dd>", name);
	put_text(value, f);
	fputs("</dd>\n", f);
}

static void put_machine(const struct bench_report *r, FILE *f)
{
	const struct bench_machine *m = &r->machine;
	char buf[160];

	fputs("<h2>The machine, and how to repeat this</h2><div class=\"card\"><dl>\n", f);
	put_fact("kernel", m->kernel, f);
	put_fact("preemption", m->preempt, f);
	put_fact("CPU", m->cpu, f);
	snprintf(buf, sizeof(buf), "%u; the vCPU and the hogs on CPU %d, all else on CPU %s",
		 m->cpus, m->cpu_measured, m->cpus_tool);
	put_fact("CPUs", buf, f);
	put_fact("clock source", m->clocksource, f);
	snprintf(buf, sizeof(buf), "RT throttling %ld of %ld us, autogroup %s", m->rt_runtime_us,
		 m->rt_period_us, m->autogroup ? "on" : "off");
	put_fact("scheduler", m->rt_runtime_us < 0 ? "RT throttling off" : buf, f);
	if (m->steal >= 0) {
		snprintf(buf, sizeof(buf), "%.1f %% of its CPU time went to other machines",
			 m->steal * 100);
		put_fact("steal", buf, f);
	}
	put_fact("load before", m->loadavg, f);
	put_fact("date", m->date, f);
	put_fact("pvsched", m->commit, f);
	snprintf(buf, sizeof(buf),
		 "%u rounds of %" PRIu64
		 " samples a cell, %.0f s; variants interleaved in an order "
		 "shuffled with seed %" PRIu64,
		 r->rounds, r->samples, r->seconds, r->seed);
	put_fact("run", buf, f);
	fputs("<dt>command</dt><dd><code>", f);
	put_text(r->command, f);
	fputs("</code></dd></dl>\n<p class=\"small soft\">Percentiles are nearest-rank over the "
	      "samples of all rounds. A timer period that was missed counts as a sample of its own. "
	      "The hogs’ CPU is their share of one CPU over the sampling intervals. Boosted is the "
	      "share of that time in which the vCPU ran at better than its own priority.</p></div>\n",
	      f);
}

void bench_print_html(const struct bench_report *r, FILE *f)
{
	unsigned int workload, hogs, v, cells;
	double foreign;
	bool any;

	fprintf(f,
		"<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\n"
		"<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
		"<title>pvsched bench</title>\n<style>\n%s</style>\n<main>\n"
		"<h1>A vCPU beside %u CPU hogs, with and without pvsched</h1>\n"
		"<p class=\"soft\">One KVM guest whose vCPU shares a CPU with ordinary processes that "
		"burn it. Lower and further left is better.</p>\n",
		style, bench_hogs_most(r));
	foreign = bench_foreign_worst(r, &cells);
	if (cells)
		fprintf(f,
			"<p class=\"missed\">Other work ran on the measured CPU: more than %.0f %% of the "
			"time in %u cells, %.0f %% in the worst. Do not trust these figures.</p>\n",
			BENCH_FOREIGN_LIMIT * 100, cells, foreign * 100);
	put_tiles(r, f);
	for (hogs = bench_hogs_most(r) + 1; hogs-- > 0;) {
		any = false;
		for (workload = 0; workload < BENCH_WORKLOADS; workload++)
			for (v = 0; v < BENCH_VARIANTS; v++)
				any |= !!bench_find(r, workload, v, hogs);
		if (!any)
			continue;
		if (hogs)
			fprintf(f, "<h2>%u hogs on the vCPU’s CPU</h2>\n", hogs);
		else
			fputs("<h2>Nobody else on the vCPU’s CPU</h2>\n", f);
		fputs("<p class=\"soft\">The share of samples that took longer than a given time. Each "
		      "gridline down is ten times rarer; a dot is the worst sample.</p>\n"
		      "<div class=\"grid\">\n",
		      f);
		for (workload = 0; workload < BENCH_WORKLOADS; workload++)
			put_group(r, workload, hogs, f);
		fputs("</div>\n", f);
	}
	put_targets(r, f);
	put_programs(r, f);
	put_machine(r, f);
	fputs("</main></html>\n", f);
}
