// SPDX-License-Identifier: GPL-2.0-only
/*
 * pvsched check: what this host can do for pvsched, and why not better. Reads, probes, measures;
 * leaves nothing behind.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "cmd.h"
#include "events/probe.h"
#include "json/json.h"
#include "vmm/vmm.h"

struct values {
	bool json;
};

static const struct option options[] = { { "json", OPTION_FLAG, offsetof(struct values, json), NULL,
					   NULL, "print JSON", 0, 0, NULL },
					 OPTIONS_END };

static const char details[] =
	"ok: as it should be; note: worth knowing; limit: works with less; no: pvsched\n"
	"cannot work without it, and the line says what to do. Exit status 1 if any line\n"
	"says no. Run it as root: what the broker may do is what is looked at.\n";

#define EVENTS_MAX 64

static const char *const state_names[] = {
	[CHECK_OK] = "ok",
	[CHECK_NOTE] = "note",
	[CHECK_LIMIT] = "limit",
	[CHECK_NO] = "no",
};

/* Events without which the default policy has nothing to act on. */
static const char *const needed[] = { "PREEMPTED", "BLOCKED", "SCHED_IN", "WOKEN", "NEXT_EVENT" };

/* The bare-metal guest for a moment: HLT, timer interrupts, exits; no pvsched device. */
static int run_guest(void *ctx)
{
	struct vmm_opts opts = { .name = "check",
				 .vcpus = 1,
				 .vcpu[0] = { .workload = GUEST_SLEEPING, .samples = 100 } };
	struct vmm *vm = NULL;
	int err;

	(void)ctx;
	err = vmm_create(&opts, &vm);
	if (!err)
		err = vmm_start(vm);
	if (!err)
		err = vmm_wait(vm, 5000);
	vmm_destroy(vm);
	return err;
}

struct events {
	struct pvsched_probe_row row[EVENTS_MAX];
	enum check_state state[EVENTS_MAX];
	int n; /* -errno: nothing could be probed */
};

static bool has_source(const struct events *events, const char *event)
{
	int i;

	for (i = 0; i < events->n; i++)
		if (!strcmp(events->row[i].event, event) && events->row[i].usable)
			return true;
	return false;
}

static void judge_events(struct events *events)
{
	enum check_state state;
	unsigned int k;
	int i;

	for (i = 0; i < events->n; i++) {
		state = events->row[i].usable ? CHECK_OK : CHECK_NOTE;
		if (events->row[i].usable && !events->row[i].best)
			state = CHECK_LIMIT;
		/* the row of a missing source is bad only if no other source serves the event */
		for (k = 0; k < sizeof(needed) / sizeof(*needed); k++)
			if (!strcmp(events->row[i].event, needed[k]) &&
			    !has_source(events, needed[k]))
				state = CHECK_NO;
		events->state[i] = state;
	}
}

static unsigned int count_missing(const struct check_list *l, const struct events *events)
{
	unsigned int i, missing = events->n < 0;
	int k;

	for (i = 0; i < l->n; i++)
		missing += l->row[i].state == CHECK_NO;
	for (k = 0; k < events->n; k++)
		missing += events->state[k] == CHECK_NO;
	return missing;
}

/* Fills lines of 80 columns after a hanging indent. */
static void put_text(const char *text, int indent)
{
	int column = indent;
	size_t word;

	while (*text) {
		word = strcspn(text, " ");
		if (column > indent && column + 1 + (int)word > 80) {
			printf("\n%*s", indent, "");
			column = indent;
		} else if (column > indent) {
			putchar(' ');
			column++;
		}
		printf("%.*s", (int)word, text);
		column += word;
		text += word;
		text += strspn(text, " ");
	}
	putchar('\n');
}

static void print_section(const struct check_list *l, const char *section)
{
	unsigned int i;

	printf("%s\n", section);
	for (i = 0; i < l->n; i++) {
		if (strcmp(l->row[i].section, section))
			continue;
		printf("  %-5s  %-19s  ", state_names[l->row[i].state], l->row[i].name);
		put_text(l->row[i].text, 30);
	}
}

static void print_events(const struct events *events)
{
	char text[256];
	int i;

	printf("Events\n");
	if (events->n < 0) {
		printf("  no     %-19s  ", "all");
		snprintf(text, sizeof(text), "nothing could be probed: %s: run as root",
			 strerror(-events->n));
		put_text(text, 30);
	}
	for (i = 0; i < events->n; i++) {
		snprintf(text, sizeof(text), "%s%s%s%s", events->row[i].source,
			 events->row[i].why[0] ? ": " : "",
			 events->row[i].usable || !events->row[i].why[0] ? "" : "no: ",
			 events->row[i].why);
		printf("  %-5s  %-19s  ", state_names[events->state[i]], events->row[i].event);
		put_text(text, 30);
	}
}

static void json_section(struct json *j, const struct check_list *l, const char *key,
			 const char *section)
{
	unsigned int i;

	json_array(j, key);
	for (i = 0; i < l->n; i++) {
		if (strcmp(l->row[i].section, section))
			continue;
		json_object_inline(j, NULL);
		json_str(j, "name", l->row[i].name);
		json_str(j, "state", state_names[l->row[i].state]);
		json_str(j, "text", l->row[i].text);
		json_end(j, '}');
	}
	json_end(j, ']');
}

static void print_json(const struct check_list *l, const struct events *events,
		       unsigned int missing)
{
	struct json j;
	int i;

	json_init(&j, stdout);
	json_object(&j, NULL);
	json_bool(&j, "ok", !missing);
	json_section(&j, l, "kvm", "KVM");
	json_section(&j, l, "bpf", "BPF");
	if (events->n < 0)
		json_str(&j, "events_error", strerror(-events->n));
	json_array(&j, "events");
	for (i = 0; i < events->n; i++) {
		json_object_inline(&j, NULL);
		json_str(&j, "event", events->row[i].event);
		json_str(&j, "source", events->row[i].source);
		json_bool(&j, "usable", events->row[i].usable);
		json_bool(&j, "best", events->row[i].best);
		json_str(&j, "why", events->row[i].why);
		json_end(&j, '}');
	}
	json_end(&j, ']');
	json_section(&j, l, "actuators", "Actuators");
	json_section(&j, l, "stream", "Stock QEMU");
	json_section(&j, l, "limits", "Limits");
	json_end(&j, '}');
}

static int run(const void *values, const char **operands, unsigned int count, struct cli_error *e)
{
	const struct values *v = values;
	struct check_list *l = calloc(1, sizeof(*l));
	struct events *events = calloc(1, sizeof(*events));
	unsigned int missing;
	int status = 0;

	(void)operands;
	(void)count;
	if (!l || !events) {
		status = cli_fail(e, CLI_FAILED, "check", NULL, NULL, "out of memory");
		goto out;
	}
	check_kvm(l);
	check_bpf(l);
	check_stream(l);
	events->n = pvsched_probe(events->row, EVENTS_MAX, run_guest, NULL);
	if (events->n > EVENTS_MAX)
		events->n = EVENTS_MAX;
	judge_events(events);
	check_actuators(l);
	check_limits(l);
	missing = count_missing(l, events);
	if (v->json) {
		print_json(l, events, missing);
		status = missing ? CLI_FAILED : 0;
	} else {
		print_section(l, "KVM");
		print_section(l, "BPF");
		print_events(events);
		print_section(l, "Actuators");
		print_section(l, "Stock QEMU");
		print_section(l, "Limits");
		if (missing)
			status = cli_fail(e, CLI_FAILED, "check", NULL,
					  "see the lines that say 'no'",
					  "pvsched cannot work on this host as it is");
	}
out:
	free(events);
	free(l);
	return status;
}

const struct cmd cmd_check = {
	.name = "check",
	.summary = "what this host can do for pvsched, and why not better",
	.details = details,
	.options = options,
	.size = sizeof(struct values),
	.run = run,
};
