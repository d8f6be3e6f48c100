// SPDX-License-Identifier: GPL-2.0-only
/* pvsched policy: moves VMs to another policy while they run. Debts stay, boosts of the old one end. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "events/programs.h"
#include "operator.h"

struct values {
	const char *socket;
	bool all, json;
};

static const struct option options[] = {
	{ "all", OPTION_FLAG, offsetof(struct values, all), NULL, NULL,
	  "every VM, and those to come; '--all off' is the kill switch", 0, 0, NULL },
	{ "socket", OPTION_STRING, offsetof(struct values, socket), "PATH", NULL,
	  "the broker's; default $PVSCHED_SOCKET, else /run/pvsched/broker.sock", 0, 0, NULL },
	{ "json", OPTION_FLAG, offsetof(struct values, json), NULL, NULL, "errors as JSON", 0, 0,
	  NULL },
	OPTIONS_END
};

static const char details[] =
	"VM is a number of 'pvsched list', or a name there that one VM alone has. POLICY\n"
	"is a built-in policy, or an object file whose name ends in .bpf.o (see\n"
	"examples/policy). Without operands: the built-in policies. The new policy is\n"
	"loaded before anything is moved: if it is refused, the line says why and the old\n"
	"one goes on.\n";

static int set_policy(int fd, uint32_t vm, const char *policy, const char *on, struct cli_error *e)
{
	struct pvsched_msg m = { .type = PVSCHED_MSG_POLICY, .index = vm };
	const char *base = strrchr(policy, '/');
	int file = -1, err;

	if (strstr(policy, ".bpf.o")) {
		file = open(policy, O_RDONLY | O_CLOEXEC);
		if (file < 0)
			return cli_fail(e, CLI_FAILED, "policy", policy,
					"build it, or give its path", "%s", strerror(errno));
	}
	snprintf(m.policy.name, sizeof(m.policy.name), "%s", base && file >= 0 ? base + 1 : policy);
	err = operator_call(fd, &m, file);
	if (file >= 0)
		close(file);
	if (!err)
		return 0;
	m.policy.error[sizeof(m.policy.error) - 1] = 0;
	if (err == -ETIMEDOUT)
		return cli_fail(e, CLI_FAILED, "policy", on,
				"it may still be loaded: see 'pvsched list'", "no answer in %d s",
				OPERATOR_PATIENCE_S);
	if (err != -EPIPE && m.policy.error[0])
		return cli_fail(e, CLI_FAILED, "policy", on,
				err == -ECANCELED ? "see 'pvsched list'" : "the old one goes on",
				"%s", m.policy.error);
	return cli_fail(e, CLI_FAILED, "policy", on, operator_next(err), "%s", operator_why(err));
}

static int run(const void *values, const char **operands, unsigned int count, struct cli_error *e)
{
	const struct values *v = values;
	uint32_t vm = PVSCHED_ALL_VMS;
	int fd, err, status;

	if (!count && !v->all) {
		for (const char *const *name = pvsched_policies(); *name; name++)
			printf("%s\n", *name);
		return 0;
	}
	if (count != (v->all ? 1u : 2u))
		return cli_fail(e, CLI_USAGE, "policy", NULL,
				"see 'pvsched policy --help'; '--all off' stops all boosting",
				v->all ? "--all takes a policy and no VM"
				       : "a VM and a policy are needed");
	fd = operator_connect(v->socket, "policy", e);
	if (fd < 0)
		return e->exit;
	err = v->all ? 0 : operator_find_vm(fd, operands[0], &vm);
	if (err)
		status = cli_fail(e, CLI_FAILED, "policy", operands[0], operator_next(err), "%s",
				  operator_why(err));
	else
		status = set_policy(fd, vm, operands[count - 1], operands[0], e);
	close(fd);
	return status;
}

const struct cmd cmd_policy = {
	.name = "policy",
	.summary = "move VMs to another policy, live",
	.operands = "[VM POLICY | --all POLICY]",
	.details = details,
	.options = options,
	.size = sizeof(struct values),
	.max_operands = 2,
	.run = run,
};
