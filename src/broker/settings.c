// SPDX-License-Identifier: GPL-2.0-only
/* What the options say: budgets, constants, policies; at a start, and while it serves. */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "instance.h"

static void set_constants(struct pvsched_broker *b)
{
	struct pvsched_config *c = pvsched_programs_bss(b->programs)->config;

	c->grace_ns = 8000000; /* two ticks: by then the fair class ends rare rivals itself */
	c->payback = 1;
	c->slack_ns = PVSCHED_SLACK_NS;
	c->min_ns = 50000; /* about one actuation there and back */
	c->agent_tgid = getpid();
	c->agent_prio = 99 - (b->ceiling + 1); /* how the kernel counts that SCHED_FIFO priority */
	c->boost_prio = 99 - b->ceiling;
}

static void set_lead(struct pvsched_broker *b, const struct pvsched_broker_opts *o)
{
	pvsched_programs_bss(b->programs)->config->lead_ns = o->lead_ns;
}

/* 40 % and 10 ms at once, the default: at most 50 % of any 100 ms. */
static struct pvsched_budget budget_of(const struct pvsched_broker_opts *o)
{
	const uint64_t given[PVSCHED_BUDGET_N] = {
		[PVSCHED_BUDGET_BOOST] = o->budget_percent, [PVSCHED_BUDGET_CS] = o->cs_ns,
		[PVSCHED_BUDGET_CAP] = o->cap_ns,	    [PVSCHED_BUDGET_GAP] = o->gap_ns,
		[PVSCHED_BUDGET_CEILING] = o->ceiling,	    [PVSCHED_BUDGET_RATE] = o->rate,
	};

	struct pvsched_budget b = { 0 };

	for (int i = 0; i < PVSCHED_BUDGET_N; i++) {
		b.value[i] = given[i];
		b.own |= given[i] ? 1u << i : 0;
	}
	return b;
}

/* At a start: agents and guardian are made for this ceiling. */
static void set_budgets(struct pvsched_broker *b, const struct pvsched_broker_opts *o)
{
	struct pvsched_budget given = budget_of(o);

	for (int i = 0; i < PVSCHED_BUDGET_N; i++)
		if (given.own >> i & 1)
			b->reg.host.value[i] = given.value[i];
	b->ceiling = b->reg.host.value[PVSCHED_BUDGET_CEILING];
}

void pvsched_settings_begin(struct pvsched_broker *b, const struct pvsched_broker_opts *o)
{
	set_budgets(b, o);
	set_constants(b);
}

/* What the options name: the standard policy, that of found VMs, and those of sections. */
static int name_policies(const struct pvsched_broker_opts *o, const char **names)
{
	int n = 0;

	names[n++] = o->policy ? o->policy : "latency";
	if (o->found_policy)
		names[n++] = o->found_policy;
	for (unsigned int i = 0; o->conf && i < o->conf->n; i++)
		if (o->conf->rule[i].set & PVSCHED_RULE_POLICY)
			names[n++] = o->conf->rule[i].policy;
	return n;
}

static int load_named(struct pvsched_broker *b, const char *name)
{
	/* VMs of a file that is another since move to that; the old one is put when none uses it */
	int err = pvsched_policies_find_current(&b->policies, name);

	if (err != -ENOENT)
		return err;
	if (!b->running)
		return pvsched_policies_get(&b->policies, name);
	if (b->server.fixed_policy) {
		pvsched_broker_say(
			b, "policy %s: the broker was started with --fixed-policy: start it again",
			name);
		return -EPERM;
	}
	err = pvsched_policies_begin(&b->policies, name, -1);
	if (!err)
		b->reload.loading = true;
	return err ? err : -EBUSY;
}

/*
 * Every policy that is named, in use once more, so that none can fail later. Once VMs are served each is
 * loaded by a thread of its own: -EBUSY, call again when a policy is loaded, be it an operator's.
 */
int pvsched_settings_hold(struct pvsched_broker *b, const struct pvsched_broker_opts *o)
{
	const char *names[PVSCHED_RULES_MAX + 2];
	struct pvsched_reload *r = &b->reload;
	int n = name_policies(o, names), index = 0;

	while (r->n < n && index >= 0) {
		index = load_named(b, names[r->n]);
		if (index >= 0)
			r->held[r->n++] = index;
	}
	if (index == -ENOSPC)
		pvsched_broker_say(b, "more than %d policies at once: name fewer",
				   PVSCHED_POLICIES_MAX);
	return index < 0 ? index : 0;
}

static void release_policies(struct pvsched_broker *b)
{
	while (b->reload.n)
		pvsched_policies_put(&b->policies, b->reload.held[--b->reload.n]);
	pvsched_policies_tidy(&b->policies);
}

/* Each VM as the new configuration has it. The mutex is held, but not all the time. */
static void settle_clients(struct pvsched_broker *b)
{
	struct pvsched_client *c;
	int policy;

	for (int place = 0; place < PVSCHED_VMS; place++) {
		c = &b->server.client[place];
		c->chosen = false;
		policy = c->hello ? pvsched_server_choose(&b->server, c) : -ENOENT;
		if (policy >= 0) {
			pvsched_server_move(&b->server, c, policy);
			if (b->running && pvsched_server_limit(&b->server, c))
				pvsched_broker_say(
					b,
					"VM %d: agents cannot run above its ceiling: its budget "
					"stays",
					place);
		} else if (c->hello) {
			pthread_mutex_unlock(&b->mutex);
			pvsched_found_drop(&b->found, place);
			pvsched_server_drop(&b->server, place); /* a client's connection ends */
			pthread_mutex_lock(&b->mutex);
		}
	}
}

/* Its policies are held. In the main thread, which alone finds VMs and drops clients. */
void pvsched_settings_take(struct pvsched_broker *b, const struct pvsched_broker_opts *o)
{
	static const struct pvsched_conf none;
	struct pvsched_budget budget = budget_of(o);
	struct pvsched_reload *r = &b->reload;
	bool overruled;

	pthread_mutex_lock(&b->mutex);
	set_lead(b, o);
	b->server.conf = o->conf ? *o->conf : none;
	/* who asks last is served: of an operator since then, this; of one before, what is still being loaded */
	b->server.pending.superseded = true;
	overruled = b->server.overruled_since;
	if (!overruled) {
		b->server.overruled = false;
		b->policies.standard = r->held[0];
	}
	for (int i = 0; i < PVSCHED_POLICIES_MAX; i++)
		b->policies.set[i].keep = false;
	for (int i = 0; i < r->n; i++)
		b->policies.set[r->held[i]].keep = true;
	if (b->found.finder && o->found_policy && !overruled)
		b->policies.found = r->held[1];
	/* while its predecessor is still loaded: the last VM that leaves that frees it */
	if (b->running && !overruled &&
	    pvsched_actuation_standard(b, b->policies.set[r->held[0]].programs)) {
		pvsched_broker_say(b, "actuator: cannot be replaced: the broker ends");
		eventfd_write(b->ended_fd, 1);
	}
	pthread_mutex_unlock(&b->mutex);
	if (!o->found_policy) {
		pvsched_ports_end(&b->ports);
		pvsched_found_close(&b->found);
	}
	pthread_mutex_lock(&b->mutex);
	if (b->running && pvsched_server_give_budget(&b->server, NULL, &budget))
		pvsched_broker_say(
			b, "budgets: agents cannot run above that ceiling: it stays as it was");
	settle_clients(b);
	pthread_mutex_unlock(&b->mutex);
	if (b->found.finder)
		pvsched_found_again(&b->found);
	else if (b->running)
		pvsched_broker_find_vms(b, o->found_policy);
	if (b->running && o->found_policy && !b->ports.running)
		pvsched_broker_say(
			b, "found: it was off when the broker started: guests of VMs that are "
			   "found can speak over no port until it starts again");
	pthread_mutex_lock(&b->mutex);
	release_policies(b);
	pthread_mutex_unlock(&b->mutex);
}

/* Goes on with the new options as far as it can without waiting. */
void pvsched_settings_again(struct pvsched_broker *b)
{
	struct pvsched_reload *r = &b->reload;
	int err = 0;

	if (r->opts && r->opts->found_policy && !pvsched_actuator_has_bpf(b->reg.actuator))
		err = pvsched_broker_no_finding(b, b->reg.actuator);
	else if (r->opts) {
		pthread_mutex_lock(&b->mutex);
		err = pvsched_settings_hold(b, r->opts);
		if (err && err != -EBUSY)
			release_policies(b);
		pthread_mutex_unlock(&b->mutex);
		if (err == -EBUSY)
			return;
		if (!err)
			pvsched_settings_take(b, r->opts);
	}
	r->opts = NULL;
	r->err = err;
	eventfd_write(b->configured_fd, 1);
}

/* Only from here on are they this thread's: a policy that was loaded just before goes on with none. */
void pvsched_settings_asked(struct pvsched_broker *b)
{
	b->reload.opts = b->reload.asked;
	b->reload.asked = NULL;
	b->server.overruled_since = false;
	pvsched_settings_again(b);
}

void pvsched_settings_loaded(struct pvsched_broker *b)
{
	struct pvsched_reload *r = &b->reload;
	int index;

	if (!r->loading) {
		pvsched_server_loaded(&b->server);
	} else {
		r->loading = false;
		pthread_mutex_lock(&b->mutex);
		index = pvsched_policies_end(&b->policies);
		if (index >= 0)
			r->held[r->n++] = index;
		else
			release_policies(b);
		pthread_mutex_unlock(&b->mutex);
		if (index < 0) {
			r->opts = NULL;
			r->err = index;
			eventfd_write(b->configured_fd, 1);
		}
	}
	if (r->opts)
		pvsched_settings_again(b);
}

void pvsched_settings_end(struct pvsched_broker *b)
{
	/* first: who looks before it is woken, who looks later sees it */
	__atomic_store_n(&b->reload.over, true, __ATOMIC_SEQ_CST);
	eventfd_write(b->configured_fd, 1);
}

static bool is_over(const struct pvsched_broker *b)
{
	return __atomic_load_n(&b->reload.over, __ATOMIC_SEQ_CST);
}

int pvsched_broker__configure(struct pvsched_broker *b, const struct pvsched_broker_opts *opts)
{
	eventfd_t done;

	b->reload.asked = opts;
	eventfd_write(b->configure_fd, 1);
	while (!is_over(b) && eventfd_read(b->configured_fd, &done))
		if (errno != EINTR)
			return -errno;
	return is_over(b) ? -EPIPE : b->reload.err;
}
