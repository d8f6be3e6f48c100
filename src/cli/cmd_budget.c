// SPDX-License-Identifier: GPL-2.0-only
/* pvsched budget: what boosts may take, shown and changed while VMs run. Debts stay as they are. */
#include <errno.h>
#include <inttypes.h>
#include <pvsched/abi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "budget_text.h"
#include "cmd.h"
#include "operator.h"

struct values {
	const char *socket;
	const char *value[PVSCHED_BUDGET_N];
	bool json;
};

#define VALUE(id, name, arg, help)                                                                 \
	{                                                                                          \
		name, OPTION_STRING, offsetof(struct values, value[id]), arg, NULL, help, 0, 0,    \
			NULL                                                                       \
	}

static const struct option options[] = {
	VALUE(PVSCHED_BUDGET_CS, "cs", "T",
	      "critical sections and interrupts of a vCPU: boosted time at once"),
	VALUE(PVSCHED_BUDGET_BOOST, "boost", "PCT",
	      "lasting share of a CPU that boosts of the vCPU, the VM, or on each CPU may take"),
	VALUE(PVSCHED_BUDGET_CAP, "cap", "T", "longest boost without a gap as long"),
	VALUE(PVSCHED_BUDGET_GAP, "gap", "T", "after a cap that was used up: at least this long"),
	VALUE(PVSCHED_BUDGET_CEILING, "ceiling", "fifo:N", "highest priority of a boost"),
	VALUE(PVSCHED_BUDGET_RATE, "rate", "N", "boosts per second of a vCPU"),
	{ "socket", OPTION_STRING, offsetof(struct values, socket), "PATH", NULL,
	  "the broker's; default $PVSCHED_SOCKET, else /run/pvsched/broker.sock", 0, 0, NULL },
	{ "json", OPTION_FLAG, offsetof(struct values, json), NULL, NULL, "print JSON", 0, 0,
	  NULL },
	OPTIONS_END
};

static const char details[] =
	"VM is a number of 'pvsched list', or a name there that one VM alone has. Without\n"
	"options: what holds, and what is left; without operands, of the host, every VM\n"
	"and every vCPU. A time has its unit: 500us, 1.5ms. What is set on a VM holds for\n"
	"its vCPUs, what is set on the host for all that have nothing of their own, which\n"
	"'*' marks; 'default' gives a value up. Values hold at a vCPU's next event, and\n"
	"until the VM or the broker ends.\n";

static void row_name(char *buf, size_t size, uint32_t vm, uint32_t vcpu)
{
	if (vm == PVSCHED_ALL_VMS)
		snprintf(buf, size, "host");
	else if (vcpu == PVSCHED_ALL_VCPUS)
		snprintf(buf, size, "%u", vm);
	else
		snprintf(buf, size, "%u/%u", vm, vcpu);
}

static void print_json(struct json *j, const struct pvsched_msg *m)
{
	char name[32];

	row_name(name, sizeof(name), m->index, m->budget.vcpu);
	json_object(j, NULL);
	json_str(j, "of", name);
	json_u64(j, "boost_percent", m->budget.value[PVSCHED_BUDGET_BOOST]);
	json_num(j, "cs_us", m->budget.value[PVSCHED_BUDGET_CS] / 1e3, 3);
	json_num(j, "cap_us", m->budget.value[PVSCHED_BUDGET_CAP] / 1e3, 3);
	json_num(j, "gap_us", m->budget.value[PVSCHED_BUDGET_GAP] / 1e3, 3);
	json_u64(j, "ceiling_fifo", m->budget.value[PVSCHED_BUDGET_CEILING]);
	json_u64(j, "rate", m->budget.value[PVSCHED_BUDGET_RATE]);
	json_array(j, "own");
	for (unsigned int i = 0; i < PVSCHED_BUDGET_N; i++)
		if (m->budget.own >> i & 1)
			json_str(j, NULL, pvsched_budget_rows[i].name);
	json_end(j, ']');
	json_num(j, "left_us", m->budget.left_ns / 1e3, 3);
	if (m->budget.vcpu != PVSCHED_ALL_VCPUS) {
		json_num(j, "cs_left_us", m->budget.cs_left_ns / 1e3, 3);
		json_num(j, "owed_us", m->budget.owed_ns / 1e3, 3);
	}
	json_u64(j, "boosts", m->budget.boosts);
	json_num(j, "boosted_s", m->budget.boosted_ns / 1e9, 6);
	json_u64(j, "refused", m->budget.refused);
	json_end(j, '}');
}

static void print_row(struct json *j, const struct pvsched_msg *m)
{
	char name[32], text[32], cell[40];

	if (j) {
		print_json(j, m);
		return;
	}
	row_name(name, sizeof(name), m->index, m->budget.vcpu);
	printf("%-8s", name);
	for (unsigned int i = 0; i < PVSCHED_BUDGET_N; i++) {
		snprintf(cell, sizeof(cell), "%s%s",
			 budget_show(i, m->budget.value[i], text, sizeof(text)),
			 m->index != PVSCHED_ALL_VMS && m->budget.own >> i & 1 ? "*" : " ");
		printf(" %9s", cell);
	}
	printf(" %9s %8" PRIu64 " %10.3f %8" PRIu64 "\n",
	       budget_time(m->budget.left_ns, text, sizeof(text)), m->budget.boosts,
	       m->budget.boosted_ns / 1e9, m->budget.refused);
}

static void print_head(void)
{
	printf("%-8s", "");
	for (unsigned int i = 0; i < PVSCHED_BUDGET_N; i++)
		printf(" %8s ", pvsched_budget_rows[i].name);
	printf(" %9s %8s %10s %8s\n", "left now", "boosts", "boosted s", "refused");
}

/* A VM and all its vCPUs that are registered. */
static int show_vm(int fd, uint32_t vm, struct json *j)
{
	struct pvsched_msg m = { .type = PVSCHED_MSG_BUDGET, .index = vm };
	uint32_t vcpus;
	int err;

	m.budget.vcpu = PVSCHED_ALL_VCPUS;
	err = operator_call(fd, &m, -1);
	if (err)
		return err;
	print_row(j, &m);
	vcpus = m.budget.vcpus;
	for (uint32_t i = 0; i < vcpus && !err; i++) {
		m = (struct pvsched_msg){ .type = PVSCHED_MSG_BUDGET, .index = vm };
		m.budget.vcpu = i;
		err = operator_call(fd, &m, -1);
		if (!err)
			print_row(j, &m);
		else if (err == -ENOENT)
			err = 0;
	}
	return err;
}

static int show_all(int fd, struct json *j)
{
	struct pvsched_msg m = { .type = PVSCHED_MSG_BUDGET, .index = PVSCHED_ALL_VMS };
	int err;

	m.budget.vcpu = PVSCHED_ALL_VCPUS;
	err = operator_call(fd, &m, -1);
	if (!err)
		print_row(j, &m);
	for (uint32_t vm = 0; !err; vm++) {
		err = show_vm(fd, vm, j);
		if (err == -ENOENT)
			err = 0;
	}
	return err == -ERANGE ? 0 : err;
}

/* "host", VM, VM/VCPU. A name may hold slashes: digits after the last one are a vCPU. */
static int find_target(int fd, const char *operand, struct pvsched_msg *m)
{
	const char *slash = strrchr(operand, '/');
	char vm[64], *end = NULL;
	unsigned long vcpu;

	m->index = PVSCHED_ALL_VMS;
	m->budget.vcpu = PVSCHED_ALL_VCPUS;
	if (!strcmp(operand, "host"))
		return 0;
	if (slash && slash[1] >= '0' && slash[1] <= '9') {
		vcpu = strtoul(slash + 1, &end, 10);
		if (!*end && vcpu < PVSCHED_VCPUS_MAX)
			m->budget.vcpu = vcpu;
	}
	snprintf(vm, sizeof(vm), "%.*s",
		 m->budget.vcpu != PVSCHED_ALL_VCPUS ? (int)(slash - operand) : 63, operand);
	return operator_find_vm(fd, vm, &m->index);
}

static int fill(const struct values *v, struct pvsched_msg *m, struct cli_error *e)
{
	bool inherit;
	int status = 0;

	for (unsigned int i = 0; i < PVSCHED_BUDGET_N && !status; i++) {
		if (!v->value[i])
			continue;
		status = budget_parse(i, v->value[i], (uint64_t *)&m->budget.value[i], &inherit, e);
		*(inherit ? &m->budget.inherit : &m->budget.set) |= 1u << i;
	}
	return status;
}

static int refused(int err, const char *on, struct pvsched_msg *m, struct cli_error *e)
{
	const char *next = operator_next(err);

	m->budget.error[sizeof(m->budget.error) - 1] = 0;
	if (err == -EPIPE || (err == -EPERM && m->budget.error[0])) /* it has said all of it */
		next = NULL;
	return cli_fail(e, CLI_FAILED, "budget", on, next, "%s",
			m->budget.error[0] ? m->budget.error : operator_why(err));
}

static int run(const void *values, const char **operands, unsigned int count, struct cli_error *e)
{
	const struct values *v = values;
	struct pvsched_msg m = { .type = PVSCHED_MSG_BUDGET };
	struct json json, *j = v->json ? &json : NULL;
	const char *on = count ? operands[0] : "broker";
	int fd, err, status;

	status = fill(v, &m, e);
	if (status)
		return status;
	if ((m.budget.set | m.budget.inherit) && !count)
		return cli_fail(e, CLI_USAGE, "budget", NULL, "see 'pvsched budget --help'",
				"whose? Name a VM, a vCPU as VM/VCPU, or 'host'");
	fd = operator_connect(v->socket, "budget", e);
	if (fd < 0)
		return e->exit;
	err = count ? find_target(fd, operands[0], &m) : 0;
	if (!err && count)
		err = operator_call(fd, &m, -1);
	if (err)
		goto out;
	if (j) {
		json_init(j, stdout);
		json_object(j, NULL);
		json_array(j, "budgets");
	} else {
		print_head();
	}
	if (count && (m.index == PVSCHED_ALL_VMS || m.budget.vcpu != PVSCHED_ALL_VCPUS))
		print_row(j, &m);
	else
		err = count ? show_vm(fd, m.index, j) : show_all(fd, j);
	if (j) {
		json_end(j, ']');
		/* the document has begun: the error goes into it, and main says no more */
		status = err ? refused(err, on, &m, e) : 0;
		if (e->exit)
			cli_error_member(e, j);
		e->exit = 0;
		json_end(j, '}');
		close(fd);
		return status;
	}
out:
	close(fd);
	return err ? refused(err, on, &m, e) : 0;
}

const struct cmd cmd_budget = {
	.name = "budget",
	.summary = "what boosts may take: show it, change it live",
	.operands = "[VM[/VCPU]|host]",
	.details = details,
	.options = options,
	.size = sizeof(struct values),
	.max_operands = 1,
	.run = run,
};
