// SPDX-License-Identifier: GPL-2.0-only
/* pvsched-guest status: what each CPU publishes, and what the host granted and why. Reads only. */
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd.h"
#include "json/json.h"
#include "publisher.h"
#include "words.h"

struct values {
	bool watch, json;
};

static const struct option options[] = {
	{ "watch", OPTION_FLAG, offsetof(struct values, watch), NULL, NULL, "again each second", 0,
	  0, NULL },
	{ "json", OPTION_FLAG, offsetof(struct values, json), NULL, NULL,
	  "print JSON: an array of CPUs (with --watch one a line)", 0, 0, NULL },
	OPTIONS_END
};

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
	(void)number;
	stopped = 1;
}

static void text(const struct publisher *p)
{
	char current[64], pending[64], context[96], grant[96];

	printf("%-4s %-10s %-24s %-12s %-20s %10s %10s %8s %9s %10s %8s %8s\n", "CPU", "vCPU",
	       "runs", "in", "host runs it as", "steal ms", "budget ms", "boosts", "throttles",
	       "sched-ins", "stores", "rings");
	for (unsigned int i = 0; i < p->cpus; i++) {
		const volatile struct pvsched_page *page = &p->pages[i];
		uint64_t waits = page->pending, place = page->placement;

		if (!p->state->cpu[i].on) {
			printf("%-4u shares no page\n", i);
			continue;
		}
		printf("%-4u %-10s %-24s %-12s %-20s %10.1f %10.1f %8" PRIu64 " %9" PRIu64
		       " %10" PRIu64 " %8" PRIu64 " %8" PRIu64 "\n",
		       i, show_state(page->state),
		       show_task(page->current_task, current, sizeof(current)),
		       show_context(page->context, context, sizeof(context)),
		       show_grant(page->grant, grant, sizeof(grant)), (double)page->steal_ns / 1e6,
		       (double)page->budget_left_ns / 1e6, (uint64_t)page->boosts,
		       (uint64_t)page->throttles,
		       (uint64_t)(page->state >> PVSCHED_STATE_INS_SHIFT),
		       (uint64_t)p->state->cpu[i].stores, (uint64_t)p->state->cpu[i].rings);
		if (waits >> PVSCHED_TASK_FLAGS_SHIFT & PVSCHED_TASK_VALID)
			printf("%-4s %-10s %s waits\n", "", "",
			       show_task(waits, pending, sizeof(pending)));
		if (place)
			printf("%-4s %-10s on core %u, cache %u, node %u\n", "", "",
			       (unsigned int)(place >> PVSCHED_PLACE_CORE_SHIFT & 0xffff),
			       (unsigned int)(place >> PVSCHED_PLACE_LLC_SHIFT & 0xffff),
			       (unsigned int)(place >> PVSCHED_PLACE_NODE_SHIFT & 0xffff));
	}
}

/* The newer of the two that were published (spec GUEST-1). */
static uint32_t generation(const volatile struct pvsched_page *page)
{
	uint32_t task = page->current_task >> PVSCHED_TASK_GEN_SHIFT;
	uint32_t context = page->context >> PVSCHED_CTX_GEN_SHIFT;

	return (int32_t)(task - context) > 0 ? task : context;
}

static void to_json(const struct publisher *p, bool on_one_line)
{
	struct json j;
	char buf[96];

	json_init(&j, stdout);
	on_one_line ? json_array_inline(&j, NULL) : json_array(&j, NULL);
	for (unsigned int i = 0; i < p->cpus; i++) {
		const volatile struct pvsched_page *page = &p->pages[i];

		json_object(&j, NULL);
		json_u64(&j, "cpu", i);
		json_bool(&j, "shared", p->state->cpu[i].on);
		json_str(&j, "state", show_state(page->state));
		json_u64(&j, "sched_ins", page->state >> PVSCHED_STATE_INS_SHIFT);
		json_str(&j, "current", show_task(page->current_task, buf, sizeof(buf)));
		json_str(&j, "context", show_context(page->context, buf, sizeof(buf)));
		json_bool(&j, "pending",
			  page->pending >> PVSCHED_TASK_FLAGS_SHIFT & PVSCHED_TASK_VALID);
		json_u64(&j, "generation", generation(page));
		json_str(&j, "grant", show_grant(page->grant, buf, sizeof(buf)));
		json_u64(&j, "grant_generation", page->grant >> PVSCHED_TASK_GEN_SHIFT);
		json_u64(&j, "next_event", page->next_event);
		json_u64(&j, "ticket", page->ticket);
		json_u64(&j, "ack", page->ack);
		json_u64(&j, "steal_ns", page->steal_ns);
		json_u64(&j, "budget_left_ns", page->budget_left_ns);
		show_placement_json(&j, page->placement);
		json_u64(&j, "boosts", page->boosts);
		json_u64(&j, "throttles", page->throttles);
		json_u64(&j, "stores", p->state->cpu[i].stores);
		json_u64(&j, "rings", p->state->cpu[i].rings);
		json_end(&j, '}');
	}
	json_end(&j, ']');
}

/* Without a daemon there are no pages. */
static void show(const struct publisher *p, const struct values *v, const struct cli_error *gone)
{
	if (v->json) {
		to_json(p, v->watch);
		return;
	}
	if (v->watch && isatty(STDOUT_FILENO))
		printf("\033[H\033[2J");
	if (gone->exit)
		cli_error_print(gone, stdout);
	else
		text(p);
}

static int run(const void *values, const char **operands, unsigned int count, struct cli_error *e)
{
	const struct timespec pause = { .tv_sec = 1 };
	const struct values *v = values;
	struct cli_error gone = { 0 };
	struct publisher p;

	(void)operands, (void)count;
	stopped = 0;
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	if (publisher_look(&p, e))
		goto out;
	for (;;) {
		show(&p, v, &gone);
		fflush(stdout);
		if (!v->watch || stopped || ferror(stdout) || nanosleep(&pause, NULL) || stopped)
			break;
		/* anew each time: the next daemon has other pages */
		publisher_close(&p);
		gone = (struct cli_error){ 0 };
		publisher_look(&p, &gone);
	}
out:
	publisher_close(&p);
	return e->exit;
}

const struct cmd cmd_guest_status = {
	.name = "status",
	.summary = "what each CPU publishes, and what the host granted and why",
	.options = options,
	.size = sizeof(struct values),
	.run = run,
};
