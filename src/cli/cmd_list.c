// SPDX-License-Identifier: GPL-2.0-only
/* pvsched list: the VMs of this host's broker. Asks, prints, keeps nothing. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "json/json.h"
#include "operator.h"

struct values {
	const char *socket;
	bool json;
};

static const struct option options[] = {
	{ "socket", OPTION_STRING, offsetof(struct values, socket), "PATH", NULL,
	  "the broker's; default $PVSCHED_SOCKET, else /run/pvsched/broker.sock", 0, 0, NULL },
	{ "json", OPTION_FLAG, offsetof(struct values, json), NULL, NULL, "print JSON", 0, 0,
	  NULL },
	OPTIONS_END
};

/* A name is the VMM's to choose: what a terminal would obey is not printed. */
static void plain(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 127)
			*text = '?';
}

static void print_vm(struct json *j, struct pvsched_msg *m, unsigned int vm)
{
	m->list.name[sizeof(m->list.name) - 1] = 0;
	m->list.policy[sizeof(m->list.policy) - 1] = 0;
	if (j) {
		json_object(j, NULL);
		json_u64(j, "vm", vm);
		json_str(j, "name", m->list.name);
		json_i64(j, "pid", m->list.pid);
		json_u64(j, "uid", m->list.uid);
		json_u64(j, "vcpus", m->list.vcpus);
		json_u64(j, "enabled", m->list.enabled);
		json_str(j, "policy", m->list.policy);
		json_u64(j, "boosts", m->list.boosts);
		json_num(j, "boosted_s", m->list.boosted_ns / 1e9, 6);
		json_end(j, '}');
		return;
	}
	plain(m->list.name);
	printf("%3u  %-20.20s %8d %6u %5u %7u  %-12.12s %9" PRIu64 " %9.3f\n", vm, m->list.name,
	       m->list.pid, m->list.uid, m->list.vcpus, m->list.enabled, m->list.policy,
	       m->list.boosts, m->list.boosted_ns / 1e9);
}

static int run(const void *values, const char **operands, unsigned int count, struct cli_error *e)
{
	const struct values *v = values;
	int fd = operator_connect(v->socket, "list", e), err = 0;
	struct json json;

	(void)operands;
	(void)count;
	if (fd < 0)
		return e->exit;
	if (v->json) {
		json_init(&json, stdout);
		json_object(&json, NULL);
		json_array(&json, "vms");
	} else {
		printf(" VM  %-20s %8s %6s %5s %7s  %-12s %9s %9s\n", "name", "pid", "uid", "vCPUs",
		       "enabled", "policy", "boosts", "boosted s");
	}
	for (unsigned int vm = 0; err != -ERANGE; vm++) {
		struct pvsched_msg m = { .type = PVSCHED_MSG_LIST, .index = vm };

		err = operator_call(fd, &m, -1);
		if (!err)
			print_vm(v->json ? &json : NULL, &m, vm);
		else if (err != -ENOENT && err != -ERANGE)
			break;
	}
	close(fd);
	if (v->json) {
		json_end(&json, ']');
		json_end(&json, '}');
	}
	if (err != -ERANGE)
		return cli_fail(e, CLI_FAILED, "list", "broker",
				"run it as root, or as the "
				"broker's user",
				"%s", strerror(-err));
	return 0;
}

const struct cmd cmd_list = {
	.name = "list",
	.summary = "the VMs that this host's broker serves",
	.options = options,
	.size = sizeof(struct values),
	.run = run,
};
