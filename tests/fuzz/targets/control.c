// SPDX-License-Identifier: GPL-2.0-only
/*
 * A line of the control socket, any bytes of any user, beside VMs whose names are any bytes: src/broker's
 * control.c, report.c and JSON's reader and writer. The answer is one object on one line, which the reader
 * takes, and tells nobody of another user's VM.
 */
#include <helpers/fuzz.h>

#include <helpers/bpf_edge.h>

#include <json/parse.h>

#include <broker/control.h>

#define VMS   3
#define USERS 3 /* 0 sees all */

static struct {
	struct pvsched_server server;
	struct pvsched_registry reg;
	struct pvsched_policies policies;
	pthread_mutex_t mutex;
} w;

static void say(void *ctx, const char *line)
{
	FUZZ_CHECK(!ctx && *line);
}

static void make(void)
{
	edge_open();
	pthread_mutex_init(&w.mutex, NULL);
	w.policies.say = say;
	FUZZ_CHECK(!pvsched_policies_open(&w.policies, "latency", -1));
	FUZZ_CHECK(!pvsched_registry_open(&w.reg, pvsched_policies_base(&w.policies)));
	w.server.reg = &w.reg;
	w.server.policies = &w.policies;
	w.server.mutex = &w.mutex;
	for (int i = 0; i < PVSCHED_PLACES; i++) {
		w.server.client[i].fd = w.server.client[i].pidfd = -1;
		memset(w.server.client[i].slot, -1, sizeof(w.server.client[i].slot));
	}
	/* one with vCPUs, so that there are numbers to tell */
	for (int i = 0; i < 2; i++) {
		w.server.client[0].slot[i] = i;
		w.reg.act.slots[i].used = 1;
		edge.vcpu[i] = (struct pvsched_vcpu){ .index = i, .tid = 100 + i, .sched_ins = i };
	}
}

/* As HELLO leaves it, or as a process is called. */
static void name(struct fuzz *f, char *to, size_t size)
{
	size_t n = fuzz_u8(f) % size;

	memset(to, 0, size);
	for (size_t i = 0; i < n && fuzz_left(f); i++)
		to[i] = fuzz_u8(f);
}

static struct json_value *answer_to(const char *request, size_t n, uid_t uid)
{
	size_t size = 0;
	char *text = NULL;
	FILE *out = open_memstream(&text, &size);
	struct json_value *v;

	FUZZ_CHECK(out);
	pvsched_control_answer(&w.server, uid, request, n, out);
	FUZZ_CHECK(!fclose(out) && size && memchr(text, '\n', size) == text + size - 1);
	v = json_parse(text, size - 1, 8);
	FUZZ_CHECK(json_is_object(v) &&
		   json_number(json_get(v, "pvsched")) == PVSCHED_CONTROL_VERSION);
	free(text);
	fuzz_steps++;
	return v;
}

static size_t visible(uid_t uid)
{
	size_t n = 0;

	for (int i = 0; i < VMS; i++)
		n += w.server.client[i].hello && (!uid || w.server.client[i].uid == uid);
	return n;
}

static void check(const struct json_value *v, uid_t uid)
{
	const struct json_value *error = json_get(v, "error"), *vms = json_get(v, "vms");

	FUZZ_CHECK((error != NULL) != (vms != NULL));
	if (error) {
		FUZZ_CHECK(json_text(json_get(error, "code")) && json_text(json_get(error, "why")));
		return;
	}
	FUZZ_CHECK(json_len(vms) == visible(uid));
	for (size_t i = 0; i < json_len(vms); i++)
		FUZZ_CHECK(json_text(json_get(json_at(vms, i), "name")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const known[] = { "{\"pvsched\":1,\"command\":\"list\"}",
					     "{\"pvsched\":1,\"command\":\"stat\"}" };
	struct fuzz f = { data, data + size };
	struct json_value *v;
	uid_t uid;

	if (!w.server.reg)
		make();
	uid = fuzz_u8(&f) % USERS;
	for (int i = 0; i < VMS; i++) {
		struct pvsched_client *c = &w.server.client[i];
		uint8_t kind = fuzz_u8(&f);

		c->hello = kind & 1;
		c->uid = kind >> 4;
		c->kvm = kind & 2;
		name(&f, c->name, sizeof(c->name));
		name(&f, c->vmm, sizeof(c->vmm));
	}
	for (unsigned int i = 0; i < 2; i++) {
		v = answer_to(known[i], strlen(known[i]), uid);
		FUZZ_CHECK(json_get(v, "vms"));
		check(v, uid);
		json_free(v);
	}
	v = answer_to((const char *)f.at, fuzz_left(&f), uid);
	check(v, uid);
	json_free(v);
	return 0;
}
