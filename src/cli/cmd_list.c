// SPDX-License-Identifier: GPL-2.0-only
/* pvsched list: the VMs of this host's broker. Asks, prints, keeps nothing. */
#include <stdio.h>
#include <unistd.h>

#include "cmd.h"
#include "control.h"
#include "core/plain.h"

struct values {
	const char *socket;
	bool vcpus, json;
};

static const struct option options[] = {
	{ "vcpus", OPTION_FLAG, offsetof(struct values, vcpus), NULL, NULL,
	  "a line for each vCPU, too: its thread, CPU and state", 0, 0, NULL },
	{ "socket", OPTION_STRING, offsetof(struct values, socket), "PATH", NULL,
	  "the broker's; default $PVSCHED_SOCKET, else /run/pvsched/broker.sock", 0, 0, NULL },
	{ "json", OPTION_FLAG, offsetof(struct values, json), NULL, NULL,
	  "print JSON, vCPUs included", 0, 0, NULL },
	OPTIONS_END
};

/* A name is the VMM's to choose: what a terminal would obey is not printed. */
static const char *plain(const struct json_value *v, char *buf, size_t size)
{
	const char *text = json_text(v);

	snprintf(buf, size, "%s", text && *text ? text : "-");
	pvsched_plain(buf);
	return buf;
}

static void print_vcpu(const struct json_value *c)
{
	char cpu[16] = "-", state[16];

	if (json_number(json_get(c, "cpu")) >= 0)
		snprintf(cpu, sizeof(cpu), "%lld", (long long)json_number(json_get(c, "cpu")));
	printf("     vCPU %-5lld thread %-8lld CPU %-4s %-8s%-11s %7lld boosts %9.3f s boosted "
	       "%9.3f s delayed\n",
	       (long long)json_number(json_get(c, "vcpu")),
	       (long long)json_number(json_get(c, "tid")), cpu,
	       plain(json_get(c, "state"), state, sizeof(state)),
	       json_true(json_get(c, "boosted")) ? ", boosted" : "",
	       (long long)json_number(json_get(c, "boosts")), json_real(json_get(c, "boosted_s")),
	       json_real(json_get(c, "delay_s")));
}

static void print_vm(const struct json_value *vm, bool vcpus)
{
	const struct json_value *c;
	char name[24], vmm[16], protocol[16], policy[16];

	printf("%3lld  %-20.20s %-8.8s %7lld %5lld %5lld  %-9.9s %-8.8s %7lld %9.3f %9.3f\n",
	       (long long)json_number(json_get(vm, "vm")),
	       plain(json_get(vm, "name"), name, sizeof(name)),
	       plain(json_get(vm, "vmm"), vmm, sizeof(vmm)),
	       (long long)json_number(json_get(vm, "pid")),
	       (long long)json_number(json_get(vm, "uid")),
	       (long long)json_number(json_get(vm, "vcpus")),
	       plain(json_get(vm, "protocol"), protocol, sizeof(protocol)),
	       plain(json_get(vm, "policy"), policy, sizeof(policy)),
	       (long long)json_number(json_get(vm, "boosts")), json_real(json_get(vm, "boosted_s")),
	       json_real(json_get(vm, "delay_s")));
	for (c = vcpus ? json_at(json_get(vm, "vcpu"), 0) : NULL; c; c = json_next(c))
		print_vcpu(c);
}

static int run(const void *values, const char **operands, unsigned int count, struct cli_error *e)
{
	const struct values *v = values;
	int fd = control_connect(v->socket, "list", e);
	const struct json_value *vm;
	struct json_value *answer;

	(void)operands;
	(void)count;
	if (fd < 0)
		return e->exit;
	answer = control_ask(fd, "list", "list", e);
	close(fd);
	if (!answer)
		return e->exit;
	if (v->json) {
		json_print(answer, stdout);
	} else {
		printf(" VM  %-20s %-8s %7s %5s %5s  %-9s %-8s %7s %9s %9s\n", "name", "VMM", "pid",
		       "uid", "vCPUs", "protocol", "policy", "boosts", "boosted s", "delay s");
		for (vm = json_at(json_get(answer, "vms"), 0); vm; vm = json_next(vm))
			print_vm(vm, v->vcpus);
	}
	json_free(answer);
	return 0;
}

const struct cmd cmd_list = {
	.name = "list",
	.summary = "the VMs that this host's broker serves",
	.options = options,
	.size = sizeof(struct values),
	.run = run,
};
