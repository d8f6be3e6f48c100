// SPDX-License-Identifier: GPL-2.0-only
/*
 * Complementary cumulative distributions as inline SVG. Colours come from the page's style
 * sheet (class v-VARIANT), so that light and dark pages share one drawing.
 */
#include <math.h>
#include <string.h>

#include "chart.h"

#define WIDTH  600.0
#define HEIGHT 330.0
#define LEFT   92.0
#define RIGHT  16.0
#define TOP    12.0
#define BOTTOM 46.0
#define STEP   0.6 /* pixels below which a corner is not worth a point */

struct scale {
	double x0, x1; /* log10 of ns */
	double y1; /* -log10 of the smallest share shown */
};

static double x_of(const struct scale *s, uint64_t ns)
{
	double v = log10(ns ? (double)ns : 1);

	v = v < s->x0 ? s->x0 : v > s->x1 ? s->x1 : v;
	return LEFT + (v - s->x0) / (s->x1 - s->x0) * (WIDTH - LEFT - RIGHT);
}

/* share 0 is the bottom edge */
static double y_of(const struct scale *s, double share)
{
	double v = share > 0 ? -log10(share) : s->y1;

	v = v > s->y1 ? s->y1 : v;
	return TOP + v / s->y1 * (HEIGHT - TOP - BOTTOM);
}

static struct scale scale_of(const struct bench_report *r, enum bench_workload workload,
			     unsigned int hogs)
{
	uint64_t min = UINT64_MAX, max = 1, n = 10;
	const struct bench_cell *c;
	struct scale s;
	unsigned int v;

	for (v = 0; v < BENCH_VARIANTS; v++) {
		c = bench_find(r, workload, v, hogs);
		if (!c)
			continue;
		/* the fastest percent would only move the interesting part to the right */
		if (bench_percentile(c->pooled.samples.v, c->figures.n, 1000) < min)
			min = bench_percentile(c->pooled.samples.v, c->figures.n, 1000);
		if (c->figures.max > max)
			max = c->figures.max;
		if (c->figures.n > n)
			n = c->figures.n;
	}
	/* whole thirds of a decade (1, 2, 5): the plot is used, and its ends are round */
	s.x0 = floor(log10(min ? (double)min : 1) * 3 - 0.2) / 3;
	s.x1 = ceil(log10((double)max) * 3 + 0.1) / 3;
	if (s.x1 - s.x0 < 1)
		s.x1 = s.x0 + 1;
	s.y1 = ceil(log10((double)n) - 0.05);
	if (s.y1 > 6)
		s.y1 = 6;
	return s;
}

/* digit * 10^decade ns */
static void x_label(int decade, int digit, char *buf, size_t size)
{
	static const char *const units[] = { "ns", "µs", "ms", "s" };
	int unit = decade / 3 > 3 ? 3 : decade / 3;

	snprintf(buf, size, "%.0f %s", digit * pow(10, decade - unit * 3), units[unit]);
}

static void grid(const struct scale *s, FILE *f)
{
	static const char *const shares[] = { "all",	       "1 in 10",     "1 in 100",
					      "1 in 1,000",    "1 in 10,000", "1 in 100,000",
					      "1 in 1,000,000" };
	double bottom = HEIGHT - BOTTOM, right = WIDTH - RIGHT, x, y;
	char label[32];
	int d, i;

	for (d = (int)floor(s->x0); d <= (int)ceil(s->x1); d++) {
		for (i = 1; i < 10; i++) {
			double at = d + log10(i);

			if (at < s->x0 - 1e-9 || at > s->x1 + 1e-9)
				continue;
			x = LEFT + (at - s->x0) / (s->x1 - s->x0) * (right - LEFT);
			fprintf(f, "<path class=\"%s\" d=\"M%.1f %.1fV%.1f\"/>\n",
				i == 1 ? "major" : "minor", x, TOP, bottom);
			/* a short axis is labelled at 1, 2, 5 */
			if (i != 1 && !(s->x1 - s->x0 < 2.2 && (i == 2 || i == 5)))
				continue;
			x_label(d, i, label, sizeof(label));
			fprintf(f,
				"<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" "
				"text-anchor=\"%s\">%s</text>\n",
				x, bottom + 18, x > right - 20 ? "end" : "middle", label);
		}
	}
	for (i = 0; i <= (int)s->y1; i++) {
		y = TOP + i / s->y1 * (bottom - TOP);
		fprintf(f,
			"<path class=\"major\" d=\"M%.1f %.1fH%.1f\"/>\n"
			"<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
			LEFT, y, right, LEFT - 8, y + 4, shares[i]);
	}
	fprintf(f,
		"<text class=\"axis\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">"
		"took longer than</text>\n",
		(LEFT + right) / 2, HEIGHT - 8);
}

static void curve(const struct scale *s, const struct bench_cell *c, FILE *f)
{
	const struct bench_samples *v = &c->pooled.samples;
	double x, y, px = LEFT, py = y_of(s, 1);
	size_t i;

	fprintf(f, "<path class=\"curve v-%s\" d=\"M%.1f %.1f", bench_variant_names[c->variant], px,
		py);
	for (i = 0; i < v->n; i++) {
		if (i + 1 < v->n && v->v[i + 1] == v->v[i])
			continue;
		x = x_of(s, v->v[i]);
		y = y_of(s, (double)(v->n - i - 1) / (double)v->n);
		/* the last drop goes to nothing: end where the worst sample stands */
		if (i + 1 == v->n)
			y = py;
		else if (x - px < STEP && y - py < STEP)
			continue;
		fprintf(f, "H%.1fV%.1f", x, y);
		px = x;
		py = y;
	}
	fprintf(f, "\"/><circle class=\"dot v-%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.4\"/>\n",
		bench_variant_names[c->variant], px, py);
}

void bench_chart(const struct bench_report *r, enum bench_workload workload, unsigned int hogs,
		 FILE *f)
{
	struct scale s = scale_of(r, workload, hogs);
	const struct bench_cell *c;
	unsigned int v;

	fprintf(f,
		"<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"%s, %u hogs: share of "
		"samples above a latency, by variant\">\n",
		WIDTH, HEIGHT, bench_workload_names[workload], hogs);
	grid(&s, f);
	/* pvsched last: on top */
	for (v = 0; v < BENCH_VARIANTS; v++) {
		c = bench_find(r, workload, v, hogs);
		if (c)
			curve(&s, c, f);
	}
	fputs("</svg>\n", f);
}
