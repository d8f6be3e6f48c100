// SPDX-License-Identifier: GPL-2.0-only
/* What clients ask for, see server.h; how they come and go is in door.c. */
#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../actuator/monotonic.h"
#include "core/plain.h"
#include "door.h"
#include "wire.h"

#define DEFERRED 1 /* the reply comes later */

/*
 * A client registers threads of its own process and no others. The kernel says whose they are:
 * SO_PEERCRED names the process, the pidfd the thread, /proc the thread's process. On kernels
 * before 6.9 a pidfd is of the process; the thread is then looked up among its tasks.
 */
static int own_thread(const struct pvsched_client *c, int pidfd, pid_t claimed, pid_t *ret_tid)
{
	long pid = pvsched_pid_of(pidfd);

	if (pid < 0)
		return -EBADF;
	if (!pid || !pvsched_client_lives(c))
		return -ESRCH;
	if (pid == c->pid && claimed != c->pid)
		pid = claimed;
	if (pid <= 0)
		return -ESRCH;
	*ret_tid = pid;
	return pvsched_thread_is_of(pid, c->pid);
}

uint32_t pvsched_server_policy_id(const struct pvsched_server *s, const struct pvsched_client *c,
				  unsigned int vcpu)
{
	struct pvsched_choice choice = pvsched_conf_choose(&s->conf, c->name, c->uid);

	return pvsched_choice_has(&choice, vcpu) ? s->policies->set[c->policy].id : 0;
}

int pvsched_server_choose(struct pvsched_server *s, const struct pvsched_client *c)
{
	struct pvsched_choice choice = pvsched_conf_choose(&s->conf, c->name, c->uid);
	int index = c->kvm && !c->speaks ? s->policies->found : s->policies->standard, err;

	if (!choice.serve)
		return -EACCES;
	if (choice.policy && !s->overruled)
		return pvsched_policies_find(s->policies, choice.policy); /* kept: it is loaded */
	err = pvsched_policies_use(s->policies, index);
	return err ? err : index;
}

int pvsched_server_limit(struct pvsched_server *s, struct pvsched_client *c)
{
	struct pvsched_choice choice = pvsched_conf_choose(&s->conf, c->name, c->uid);

	return pvsched_server_give_budget(s, c, &choice.budget);
}

/* A number of its own, and the budget that it has by the configuration. */
int pvsched_server_admit(struct pvsched_server *s, struct pvsched_client *c)
{
	int err = pvsched_registry_vm(s->reg, c->pid, &c->vm);

	if (err)
		return err;
	err = pvsched_server_limit(s, c);
	if (err)
		s->reg->vm_used[c->vm] = false;
	return err;
}

static int add_vcpu(struct pvsched_server *s, struct pvsched_client *c, const struct pvsched_msg *m,
		    int *fds, int nfds, int *ret_fd)
{
	struct pvsched_thread_id t = {
		.tgid = c->pid,
		.vm = c->vm,
		.index = m->index,
		.apic_id = m->add.apic_id,
		.programs = s->policies->set[c->policy].programs,
		.policy = pvsched_server_policy_id(s, c, m->index),
	};
	int err;

	if (nfds != 2)
		return -EBADF;
	if (c->slot[m->index] >= 0)
		return -EEXIST;
	err = own_thread(c, fds[0], m->add.tid, &t.tid);
	if (err) {
		s->refused++;
		return err;
	}
	t.pidfd = fds[0];
	t.doorbell_fd = fds[1];
	t.passed = true;
	err = pvsched_server_add(s, c, &t);
	if (err < 0)
		return err;
	fds[0] = fds[1] = -1; /* the registry's now */
	c->slot[m->index] = err;
	*ret_fd = s->reg->page_fd[err];
	return 0;
}

static void fill_stats(struct pvsched_server *s, uint32_t slot, struct pvsched_msg *m)
{
	const struct pvsched_shared *sh = &s->reg->act.shared[slot];
	const struct pvsched_slot *sl = &s->reg->act.slots[slot];
	struct pvsched_attr boosted = pvsched_attr_of_word(sh->applied);
	struct pvsched_vcpu v = { 0 };

	pvsched_registry_read(s->reg, slot, &v);
	m->stats.boosts = sh->boosts;
	m->stats.boosted_ns = v.boosted_ns;
	m->stats.run_ns = v.run_ns;
	m->stats.steal_ns = v.steal_ns;
	m->stats.denied_throttle = v.denied_throttle + v.denied_rate;
	m->stats.denied_gap = v.denied_gap;
	m->stats.expired = sh->expired;
	m->stats.bad_words = v.bad_words;
	m->stats.doorbells = sl->doorbells;
	/* from our own state: a page is never read back */
	m->stats.grant = PVSCHED_WORD_LEVEL(sh->applied) != PVSCHED_LEVEL_BASE
				 ? (uint32_t)pvsched_task_word(
					   boosted.policy, boosted.nice, boosted.priority,
					   PVSCHED_GRANT_BOOSTED | PVSCHED_WORD_REASON(sh->applied),
					   0)
				 : (uint32_t)pvsched_task_word(sl->base.policy, sl->base.nice,
							       sl->base.priority,
							       PVSCHED_WORD_REASON(sh->applied), 0);
}

/* VMs are numbered by their clients' places; a place is kept while its client lives. */
static int list(struct pvsched_server *s, struct pvsched_msg *m)
{
	const struct pvsched_client *c;
	struct pvsched_vcpu v;
	uint32_t index = m->index;

	if (index >= PVSCHED_VMS)
		return -ERANGE;
	c = &s->client[index];
	if (!c->hello)
		return -ENOENT;
	memset(&m->list, 0, sizeof(m->list));
	snprintf(m->list.name, sizeof(m->list.name), "%s", c->name);
	snprintf(m->list.policy, sizeof(m->list.policy), "%.23s",
		 pvsched_programs_policy(s->policies->set[c->policy].programs)->name);
	snprintf(m->list.vmm, sizeof(m->list.vmm), "%.15s", c->vmm);
	m->list.found = c->kvm != 0;
	m->list.pid = c->pid;
	m->list.uid = c->uid;
	for (int i = 0; i < PVSCHED_VCPUS_MAX; i++) {
		if (c->slot[i] < 0)
			continue;
		m->list.vcpus++;
		m->list.enabled += s->reg->act.slots[c->slot[i]].page != NULL;
		m->list.boosts += s->reg->act.shared[c->slot[i]].boosts;
		if (!pvsched_registry_read(s->reg, c->slot[i], &v))
			m->list.boosted_ns += v.boosted_ns;
	}
	return 0;
}

void pvsched_server_move(struct pvsched_server *s, struct pvsched_client *c, int policy)
{
	int old = c->policy;

	c->policy = policy;
	for (int i = 0; i < PVSCHED_VCPUS_MAX; i++)
		if (c->slot[i] >= 0)
			pvsched_registry_set_policy(s->reg, c->slot[i],
						    s->policies->set[policy].programs,
						    pvsched_server_policy_id(s, c, i));
	pvsched_policies_put(s->policies, old);
}

void pvsched_server_speak(struct pvsched_server *s, struct pvsched_client *c, bool speaks)
{
	int policy;

	c->speaks = speaks;
	policy = c->chosen ? -ENOENT : pvsched_server_choose(s, c);
	if (policy >= 0)
		pvsched_server_move(s, c, policy);
}

static int move_all(struct pvsched_server *s, int policy)
{
	int err;

	s->overruled = s->overruled_since = true;
	for (int i = 0; i < PVSCHED_VMS; i++)
		if (s->client[i].hello && !pvsched_policies_use(s->policies, policy))
			pvsched_server_move(s, &s->client[i], policy);
	s->policies->standard = policy;
	if (s->policies->found >= 0)
		s->policies->found = policy;
	err = s->on_standard ? s->on_standard(s->ctx, s->policies->set[policy].programs) : 0;
	pvsched_policies_put(s->policies, policy);
	pvsched_policies_tidy(s->policies); /* the old ones were kept without VMs */
	return err;
}

/* Moves to a policy that is in use for one VM, or all. */
static int move(struct pvsched_server *s, struct pvsched_pending *to, int policy)
{
	if (policy < 0)
		return policy;
	if (to->superseded || (!to->all && to->target < 0)) { /* it left meanwhile */
		pvsched_policies_put(s->policies, policy);
		if (to->superseded)
			snprintf(s->said, sizeof(s->said), "another policy was set meanwhile");
		return to->superseded ? -ECANCELED : -ENOENT;
	}
	if (to->all)
		return move_all(s, policy);
	s->client[to->target].chosen = true;
	pvsched_server_move(s, &s->client[to->target], policy); /* the use is the client's now */
	return 0;
}

/* The new policy is loaded and attached before anybody is moved: if that fails, nothing changed. */
static int set_policy(struct pvsched_server *s, int operator, struct pvsched_msg * m, int fd)
{
	struct pvsched_pending to = { .operator= operator,
				      .target = - 1,
				      .all = m->index == PVSCHED_ALL_VMS };
	int err;

	m->policy.name[sizeof(m->policy.name) - 1] = 0;
	if (!to.all) {
		if (m->index >= PVSCHED_VMS || !s->client[m->index].hello)
			return -ENOENT;
		to.target = m->index;
	}
	if (s->fixed_policy) {
		snprintf(m->policy.error, sizeof(m->policy.error),
			 "the broker was started with --fixed-policy: start it again without");
		return -EPERM;
	}
	s->said[0] = 0;
	err = fd < 0 ? pvsched_policies_find(s->policies, m->policy.name) : -ENOENT;
	if (err != -ENOENT) {
		/* who asks last is served, the kill switch above all */
		if (err >= 0 && (to.all || to.target == s->pending.target))
			s->pending.superseded = true;
		snprintf(m->policy.error, sizeof(m->policy.error), "%.175s", s->said);
		return move(s, &to, err);
	}
	err = pvsched_policies_begin(s->policies, m->policy.name, fd);
	if (err)
		snprintf(m->policy.error, sizeof(m->policy.error), "%s",
			 err == -EBUSY	  ? "another policy is being loaded: try again"
			 : err == -ENOSPC ? "as many policies are in use as there can be: move "
					    "VMs from one of them first"
					  : strerror(-err));
	if (err)
		return err;
	s->pending = to;
	s->pending.msg = *m;
	return DEFERRED;
}

static int operate(struct pvsched_server *s, const struct pvsched_client *c, struct pvsched_msg *m,
		   const int *fds, int nfds)
{
	if (!pvsched_is_operator(c->uid))
		return -EPERM;
	if (m->type == PVSCHED_MSG_LIST)
		return list(s, m);
	if (m->type == PVSCHED_MSG_BUDGET)
		return pvsched_server_budget(s, m);
	return set_policy(s, c - s->client, m, nfds == 1 ? fds[0] : -1);
}

/* Of each its own line: the actuator may have found several before this thread wakes up. */
static const struct {
	uint32_t foreign;
	const char *text;
} sayings[] = {
	{ PVSCHED_FOREIGN_POLICY,
	  "somebody else changed its policy or priority: it is left alone until it is registered anew" },
	{ PVSCHED_FOREIGN_NICE,
	  "somebody else changed its nice: it keeps that, and pays no boosts back" },
	{ PVSCHED_FOREIGN_GROUP,
	  "its cgroup has no real-time time (cpu.rt_runtime_us): it is boosted by nice instead" },
	{ PVSCHED_FOREIGN_AFFINITY,
	  "somebody else changed its affinity during a boost: it keeps that" },
};

/* A thread that is registered again and again would be said again and again: of a user (and who shares his place)
 * ten lines at once, then one a minute, and that there are more. */
static bool may_say(struct pvsched_server *s, uid_t uid, bool *ret_first)
{
	static const struct pvsched_rate_conf rate = { .every_ns = 60000000000ull,
						       .horizon_ns = 9 * 60000000000ull };
	struct pvsched_saying *said = &s->said_of[uid % PVSCHED_SAID_USERS];
	uint64_t now = now_ns();

	*ret_first = !said->out;
	said->out = pvsched_rate_wait(said->paid_at, now, &rate) != 0;
	if (!said->out)
		said->paid_at = pvsched_rate_charge(said->paid_at, now, &rate);
	return !said->out;
}

static void say_foreign(struct pvsched_server *s, const struct pvsched_client *c, int index,
			uint32_t foreign, pvsched_say_fn say, void *ctx)
{
	char line[256];
	bool first;

	for (unsigned int i = 0; i < sizeof(sayings) / sizeof(*sayings); i++) {
		if (!(foreign & sayings[i].foreign))
			continue;
		if (may_say(s, c->uid, &first))
			snprintf(line, sizeof(line), "VM %d, vCPU %d, thread %d: %s",
				 (int)(c - s->client), index, s->reg->act.slots[c->slot[index]].tid,
				 sayings[i].text);
		else if (first)
			snprintf(line, sizeof(line),
				 "user %u: somebody else changes more of its threads than is said",
				 c->uid);
		else
			continue;
		say(ctx, line);
	}
}

void pvsched_server_foreign(struct pvsched_server *s, pvsched_say_fn say, void *ctx)
{
	const struct pvsched_client *c;
	uint32_t foreign;

	pthread_mutex_lock(s->mutex);
	for (int vm = 0; vm < PVSCHED_VMS; vm++) {
		c = &s->client[vm];
		for (int i = 0; c->hello && i < PVSCHED_VCPUS_MAX; i++) {
			foreign = c->slot[i] < 0 ? 0 : pvsched_registry_foreign(s->reg, c->slot[i]);
			say_foreign(s, c, i, foreign, say, ctx);
		}
	}
	pthread_mutex_unlock(s->mutex);
}

/* Returns 0 or -errno for the reply, or DEFERRED. */
static int handle(struct pvsched_server *s, struct pvsched_client *c, struct pvsched_msg *m,
		  int *fds, int nfds, int *ret_fd)
{
	int slot;

	if (m->type == PVSCHED_MSG_HELLO) {
		if (c->hello)
			return -EALREADY;
		if (c - s->client >= PVSCHED_VMS) /* an operator's place */
			return -ENOSPC;
		if (!pvsched_client_lives(c)) /* who connected may have passed the socket on */
			return -ESRCH;
		if (m->hello.version != PVSCHED_WIRE_VERSION)
			return -EPROTO;
		if (!m->hello.vcpus || m->hello.vcpus > PVSCHED_VCPUS_MAX)
			return -EINVAL;
		c->vcpus = m->hello.vcpus;
		memcpy(c->name, m->hello.name, sizeof(c->name));
		c->name[sizeof(c->name) - 1] = 0;
		pvsched_plain(c->name); /* operators read it in a terminal */
		m->hello.host_features = s->features;
		/* found before it spoke: from now on it says itself what its vCPUs are */
		for (int i = 0; i < PVSCHED_VMS; i++)
			if (s->client[i].kvm && s->client[i].pid == c->pid) {
				if (s->on_taken)
					s->on_taken(s->ctx, i);
				pvsched_server_drop_locked(s, &s->client[i]);
				s->changed = c->pid;
			}
		slot = pvsched_server_choose(s, c);
		if (slot < 0)
			return slot;
		c->policy = slot;
		slot = pvsched_server_admit(s, c);
		if (slot)
			pvsched_policies_put(s->policies, c->policy);
		c->hello = !slot;
		s->joined |= c->hello;
		return slot;
	}
	if (m->type == PVSCHED_MSG_LIST || m->type == PVSCHED_MSG_POLICY ||
	    m->type == PVSCHED_MSG_BUDGET)
		return operate(s, c, m, fds, nfds);
	if (!c->hello)
		return -EPROTO;
	if (m->index >= c->vcpus)
		return -EINVAL;
	if (m->type == PVSCHED_MSG_ADD_VCPU)
		return add_vcpu(s, c, m, fds, nfds, ret_fd);
	slot = c->slot[m->index];
	if (slot < 0)
		return -ENOENT;
	switch (m->type) {
	case PVSCHED_MSG_REMOVE_VCPU:
		pvsched_registry_remove(s->reg, slot);
		c->slot[m->index] = -1;
		return 0;
	case PVSCHED_MSG_ENABLE:
		return pvsched_registry_enable(s->reg, slot, m->enable.features & s->features);
	case PVSCHED_MSG_DISABLE:
		pvsched_registry_disable(s->reg, slot);
		return 0;
	case PVSCHED_MSG_STATS:
		fill_stats(s, slot, m);
		return 0;
	default:
		return -ENOTSUP;
	}
}

/* One without descriptors. */
static int receive(int fd, struct pvsched_msg *m)
{
	struct iovec iov = { .iov_base = m, .iov_len = sizeof(*m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT);

	if (n < 0)
		return -errno;
	if (!n)
		return -EPIPE;
	return n == sizeof(*m) && !(msg.msg_flags & MSG_TRUNC) ? 0 : -EPROTO;
}

static int reply(int fd, const struct pvsched_msg *m, int pass)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)m, .iov_len = sizeof(*m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (pass >= 0) {
		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &pass, sizeof(int));
	}
	/* Never blocks: a client that does not read its replies is dropped. */
	return sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(*m) ? 0 : -EPIPE;
}

static void answer(struct pvsched_server *s, int index, struct pvsched_msg *m, int *fds, int nfds)
{
	struct pvsched_client *c = &s->client[index];
	int err, pass = -1;

	pthread_mutex_lock(s->mutex);
	m->error = handle(s, c, m, fds, nfds, &pass);
	pthread_mutex_unlock(s->mutex);
	if (c->hello || pvsched_is_operator(c->uid))
		c->joined_ns = 0;
	err = m->error == DEFERRED ? 0 : reply(c->fd, m, m->error ? -1 : pass);
	for (int i = 0; i < nfds; i++)
		pvsched_porters_lay_down(&s->porters, fds[i], c->uid);
	pvsched_server_lay_down_left(s, c->uid);
	if (err)
		pvsched_server_drop(s, index);
}

void pvsched_server_serve(struct pvsched_server *s, int index)
{
	struct pvsched_client *c = &s->client[index];
	struct pvsched_msg m = { 0 };
	int err;

	if (c->fd < 0 || c->fetched || c->waits)
		return;
	err = pvsched_brings_fds(c->fd);
	if (err > 0) {
		pvsched_server_send_porter(s, c);
		return;
	}
	if (!err)
		err = receive(c->fd, &m);
	if (!err)
		answer(s, index, &m, NULL, 0);
	else if (err != -EAGAIN)
		pvsched_server_drop(s, index);
}

static void take_parcel(struct pvsched_server *s, struct pvsched_parcel *p, int *fds, int nfds)
{
	struct pvsched_client *c = pvsched_server_porter_back(s, p->sender);

	if (c && !p->err) {
		answer(s, c - s->client, &p->msg, fds, nfds);
		return;
	}
	while (nfds)
		pvsched_porters_lay_down(&s->porters, fds[--nfds],
					 s->porters.porter[p->porter].uid);
	if (!c)
		return;
	s->refused += p->err == -EBADF;
	p->msg.error = p->err;
	if (p->err == -EPIPE || p->err == -EPROTO || reply(c->fd, &p->msg, -1))
		pvsched_server_drop(s, c - s->client);
}

void pvsched_server_ported(struct pvsched_server *s)
{
	int fds[PVSCHED_PASSED_MAX], nfds;
	struct pvsched_parcel parcel;

	while (pvsched_porters_take(&s->porters, &parcel, fds, &nfds))
		if (!parcel.back)
			take_parcel(s, &parcel, fds, nfds);
	pvsched_server_send_waiting(s);
}

void pvsched_server_loaded(struct pvsched_server *s)
{
	struct pvsched_msg *m = &s->pending.msg;
	int operator;

	pthread_mutex_lock(s->mutex);
	s->said[0] = 0;
	m->error = move(s, &s->pending, pvsched_policies_end(s->policies));
	snprintf(m->policy.error, sizeof(m->policy.error), "%.175s", s->said);
	pthread_mutex_unlock(s->mutex);
	operator= s->pending.operator;
	if (operator >= 0 && reply(s->client[operator].fd, m, -1))
		pvsched_server_drop(s, operator);
	s->pending.operator= s->pending.target = - 1;
	s->pending.all = false;
}
