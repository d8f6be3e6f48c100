// SPDX-License-Identifier: GPL-2.0-only
/* Keeps the registry as the finder sees the host, see found.h. */
#include "found.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmname.h"
#include "../actuator/monotonic.h"

#define SETTLE_NS 20000000ull /* after news: a VMM makes its vCPUs in one go */
#define LINGER_NS 1000000000ull /* after a thread's end: the VMM then closes its files */
#define PERIOD_NS 1000000000ull /* between looks where no news can be had */
#define RETRY_NS  100000000ull /* after a look that failed: twice as long each time, */
#define RETRIES	  8 /* for 50 s in all */
/*
 * What there is to be found, and how often there is news of it, is up to any user with /dev/kvm. So much is looked
 * at in one go, and one process more; then the others are served. After a go nothing is looked at for some times as
 * long as finding took, if that was more than hosts have.
 */
#define SLICE_NS   20000000ull
#define REST	   3
#define REST_NS	   1000000ull
#define START_NS   1000000000ull /* of looking before anybody is served */
#define CMDLINE_SZ 16384

_Static_assert(SETTLE_NS > PVSCHED_NEWS_QUIET_NS, "what is held back was seen");

static void look_at_all(struct pvsched_found_vms *f, uint64_t at_ns)
{
	f->all_ns = f->all_ns && f->all_ns < at_ns ? f->all_ns : at_ns;
}

/* An earlier time that is set already stays. */
static void look_at(struct pvsched_found_vms *f, pid_t pid, uint64_t at_ns, bool fresh)
{
	unsigned int i;

	for (i = 0; i < f->n && f->look[i].pid != pid; i++)
		;
	if (i == PVSCHED_LOOKS_MAX) {
		look_at_all(f, at_ns);
		return;
	}
	if (i == f->n)
		f->look[f->n++] = (struct pvsched_look){ .pid = pid, .at_ns = at_ns };
	if (at_ns < f->look[i].at_ns)
		f->look[i].at_ns = at_ns;
	f->look[i].fresh |= fresh;
}

/* What could not be done now may be possible soon: a process that just begins is not all there, memory or
 * descriptors come back. Nobody would tell of that. */
static void try_again(struct pvsched_found_vms *f, pid_t pid, bool fresh, unsigned int tries)
{
	if (tries == RETRIES)
		return;
	look_at(f, pid, now_ns() + (f->n < PVSCHED_LOOKS_MAX ? RETRY_NS << tries : PERIOD_NS),
		fresh);
	for (unsigned int i = 0; i < f->n; i++)
		if (f->look[i].pid == pid && f->look[i].tries <= tries)
			f->look[i].tries = tries + 1;
}

/* Room was made. Not at once: more may go. */
static void has_room(struct pvsched_found_vms *f)
{
	if (f->wanting)
		look_at_all(f, now_ns() + LINGER_NS);
	f->wanting = false;
}

static bool had(const struct pvsched_found_vms *f, int place, unsigned int vcpu)
{
	return f->had[place][vcpu / 8] >> (vcpu % 8) & 1;
}

static size_t read_file(pid_t pid, const char *name, char *buf, size_t size)
{
	char path[64];
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, buf, size);
		close(fd);
	}
	return n > 0 ? n : 0;
}

/* The number behind "\nkey:\t" of /proc/PID/status, or -1. */
static long status_number(pid_t pid, const char *key)
{
	char buf[2048];
	const char *at;

	buf[read_file(pid, "status", buf, sizeof(buf) - 1)] = 0;
	at = strstr(buf, key);
	return at ? strtol(at + strlen(key), NULL, 10) : -1;
}

static void describe(struct pvsched_client *c)
{
	static char line[CMDLINE_SZ]; /* main thread only */
	char vmm[sizeof(c->vmm)];
	size_t len = read_file(c->pid, "cmdline", line, sizeof(line));

	vmm[read_file(c->pid, "comm", vmm, sizeof(vmm) - 1)] = 0;
	vmm[strcspn(vmm, "\n")] = 0;
	memcpy(c->vmm, vmm, sizeof(vmm));
	if (!pvsched_vm_name(line, len, c->name, sizeof(c->name)))
		snprintf(c->name, sizeof(c->name), "%s-%d", vmm, c->pid);
}

static void forget_thread(struct pvsched_found_vms *f, struct pvsched_client *c, unsigned int vcpu)
{
	if (c->slot[vcpu] < 0)
		return;
	f->changes++;
	pvsched_finder_know(f->finder, f->server->reg->tid[c->slot[vcpu]], false);
	pvsched_registry_remove(f->server->reg, c->slot[vcpu]);
	c->slot[vcpu] = -1;
	has_room(f);
}

/* err: -ENOSPC, or -EUSERS, which must not hide that. */
static void no_room(struct pvsched_found_vms *f, int err, const char *what, uid_t uid)
{
	bool *said = err == -ENOSPC ? &f->full : &f->full_user;
	char line[96], whose[32] = "";

	f->wanting = true;
	if (err != -ENOSPC)
		snprintf(whose, sizeof(whose), " of user %u", uid);
	snprintf(line, sizeof(line), "found: no room for a %s more%s: it is left as it is", what,
		 whose);
	if (!*said)
		f->say(f->ctx, line);
	*said = true;
}

static void add_thread(struct pvsched_found_vms *f, struct pvsched_client *c, int place,
		       const struct pvsched_found *row)
{
	const struct pvsched_policy_set *set = &f->server->policies->set[c->policy];
	struct pvsched_thread_id t = {
		.tid = row->tid,
		.tgid = row->tgid,
		.pidfd = -1,
		.doorbell_fd = -1,
		.vm = c->vm,
		.index = row->vcpu_idx,
		.apic_id = row->vcpu_id,
		.host_only = true,
		.task = row->task,
		.start_time = row->start_time,
		.programs = set->programs,
		.policy = pvsched_server_policy_id(f->server, c, row->vcpu_idx),
	};
	int slot;

	/* before it is looked at whether it lives: its end is then either seen or told */
	pvsched_finder_know(f->finder, row->tid, true);
	slot = pvsched_server_add(f->server, c, &t);
	if (slot >= 0) {
		c->slot[row->vcpu_idx] = slot;
		if (c->vcpus <= row->vcpu_idx)
			c->vcpus = row->vcpu_idx + 1;
		f->had[place][row->vcpu_idx / 8] |= 1u << (row->vcpu_idx % 8);
		if (status_number(row->tid, "\nTgid:\t") != row->tgid)
			forget_thread(f, c, row->vcpu_idx);
		return;
	}
	pvsched_finder_know(f->finder, row->tid, false);
	if (slot == -ENOSPC || slot == -EUSERS)
		no_room(f, slot, "vCPU", c->uid);
	else
		f->failed = true;
}

static int place_of(const struct pvsched_server *s, const struct pvsched_found *row)
{
	for (int place = 0; place < PVSCHED_VMS; place++)
		if (s->client[place].kvm == row->kvm && s->client[place].pid == row->tgid)
			return place;
	return -ENOENT;
}

static int make_place(struct pvsched_found_vms *f, const struct pvsched_found *row)
{
	uid_t uid = status_number(row->tgid, "\nUid:\t");
	struct pvsched_server *s = f->server;
	struct pvsched_client *c;
	struct epoll_event ev = { .events = EPOLLIN };
	int place, err;

	if (s->policies->found < 0)
		return -ENOTSUP;
	/* before what a name is read of: the process's memory, which may be long in coming */
	if (!pvsched_conf_may_serve(&s->conf, uid))
		return -EACCES;
	place = pvsched_server_place(s, uid);
	if (place == -ENOSPC || place == -EUSERS)
		no_room(f, place, "VM", uid);
	if (place < 0)
		return place;
	c = &s->client[place];
	memset(f->had[place], 0, sizeof(f->had[place]));
	c->pid = row->tgid;
	c->uid = uid;
	c->pidfd = syscall(SYS_pidfd_open, row->tgid, 0);
	if (c->pidfd < 0)
		return -errno;
	describe(c);
	c->kvm = row->kvm;
	c->policy = pvsched_server_choose(s, c);
	err = c->policy < 0 ? c->policy : pvsched_server_admit(s, c);
	if (err && c->policy >= 0)
		pvsched_policies_put(s->policies, c->policy);
	if (err) {
		c->kvm = 0;
		close(c->pidfd);
		return err;
	}
	c->hello = true;
	ev.data.u32 = f->tag + place;
	epoll_ctl(f->ep, EPOLL_CTL_ADD, c->pidfd, &ev);
	return place;
}

/* What of a VM was seen in a look. */
struct seen {
	bool vm;
	uint8_t vcpu[PVSCHED_VCPUS_MAX / 8];
};

static void take_row(struct pvsched_found_vms *f, const struct pvsched_found *row,
		     struct seen *seen)
{
	int place = place_of(f->server, row), slot;
	struct pvsched_client *c;
	uint8_t *bits;

	if (pvsched_server_knows(f->server, row->tgid)) /* a client's */
		return;
	/* a VM without a vCPU, of which a process may have any number, takes none */
	if (place < 0 && row->vcpu && !f->left) {
		place = make_place(f, row);
		f->left = place < 0;
		f->failed = place < 0 && place != -ENOSPC && place != -EUSERS && place != -EACCES &&
			    place != -ENOTSUP;
	}
	if (place < 0)
		return;
	seen[place].vm = true;
	if (!row->vcpu || row->vcpu_idx >= PVSCHED_VCPUS_MAX)
		return;
	bits = &seen[place].vcpu[row->vcpu_idx / 8];
	if (*bits >> (row->vcpu_idx % 8) & 1) /* its file is open twice */
		return;
	*bits |= 1u << (row->vcpu_idx % 8);
	c = &f->server->client[place];
	slot = c->slot[row->vcpu_idx];
	if (slot >= 0 && f->server->reg->tid[slot] == row->tid)
		return;
	forget_thread(f, c, row->vcpu_idx);
	if (row->tid)
		add_thread(f, c, place, row);
}

void pvsched_found_forget(struct pvsched_found_vms *f, int place)
{
	struct pvsched_client *c = &f->server->client[place];

	if (!f->finder || !c->kvm)
		return;
	f->changes++;
	for (unsigned int i = 0; i < PVSCHED_VCPUS_MAX; i++)
		if (c->slot[i] >= 0)
			pvsched_finder_know(f->finder, f->server->reg->tid[c->slot[i]], false);
	pvsched_finder_await(f->finder, c->pid, false);
	has_room(f);
}

void pvsched_found_drop(struct pvsched_found_vms *f, int place)
{
	if (!f->finder || !f->server->client[place].kvm)
		return;
	pvsched_found_forget(f, place);
	pvsched_server_drop(f->server, place);
}

/* Once a user: it is nobody's VMM, or somebody wants the log to grow. */
static void too_many(struct pvsched_found_vms *f, pid_t pid)
{
	uid_t uid = status_number(pid, "\nUid:\t");
	char line[192];

	if (!f->cut[uid % PVSCHED_SAID_USERS]) {
		snprintf(
			line, sizeof(line),
			"found: process %d of user %u has more than %u open files, or %u of KVM: VMs "
			"among the others are left as they are",
			pid, uid, PVSCHED_FOUND_FILES, PVSCHED_FOUND_ROWS);
		f->say(f->ctx, line);
	}
	f->cut[uid % PVSCHED_SAID_USERS] = true;
}

/* Is one of the first n places a VM's of this process? */
static bool has_place(const struct pvsched_found_vms *f, pid_t pid, int n)
{
	while (n--)
		if (f->server->client[n].kvm && f->server->client[n].pid == pid)
			return true;
	return false;
}

/* Does a vCPU of the process have no thread, and is one to come? */
static bool is_awaited(const struct pvsched_found_vms *f, const struct pvsched_found *rows, int n,
		       pid_t pid)
{
	for (int i = 0; i < n; i++) {
		if (rows[i].tgid != pid || !rows[i].vcpu || rows[i].tid ||
		    rows[i].vcpu_idx >= PVSCHED_VCPUS_MAX)
			continue;
		for (int place = 0; place < PVSCHED_VMS; place++)
			if (f->server->client[place].kvm == rows[i].kvm &&
			    f->server->client[place].pid == pid && !had(f, place, rows[i].vcpu_idx))
				return true;
	}
	return false;
}

/* tries: of a look at this process that failed. */
static void look(struct pvsched_found_vms *f, pid_t pid, bool fresh, unsigned int tries)
{
	struct pvsched_server *s = f->server;
	struct pvsched_found *rows = NULL;
	struct seen seen[PVSCHED_VMS] = { 0 };
	bool cut = false, awaited;
	int n, err;

	if (pvsched_server_knows(s, pid)) { /* it says itself what its vCPUs are */
		pvsched_finder_await(f->finder, pid, false);
		return;
	}
	n = pvsched_finder_scan(f->finder, pid, &rows, &cut);
	if (n < 0) {
		try_again(f, pid, fresh, tries);
		return;
	}
	if (cut)
		too_many(f, pid);
	pthread_mutex_lock(s->mutex);
	f->left = false;
	for (int i = 0; i < n; i++) {
		f->failed = false;
		take_row(f, &rows[i], seen);
		if (f->failed)
			try_again(f, pid, fresh, tries);
	}
	pthread_mutex_unlock(s->mutex);
	for (int place = 0; place < PVSCHED_VMS; place++) {
		struct pvsched_client *c = &s->client[place];

		if (!c->kvm || c->pid != pid)
			continue;
		if (!seen[place].vm) {
			pvsched_found_drop(f, place);
			continue;
		}
		for (unsigned int i = 0; i < PVSCHED_VCPUS_MAX && fresh; i++)
			if (c->slot[i] < 0)
				f->had[place][i / 8] &= ~(1u << (i % 8));
	}
	awaited = is_awaited(f, rows, n, pid);
	free(rows);
	if (!has_place(f, pid, PVSCHED_VMS))
		return;
	err = pvsched_finder_await(f->finder, pid, awaited);
	if (err > 0)
		look_at(f, pid, now_ns(), false);
	else if (err < 0 && err != -ENOTSUP) /* who runs it will not be told */
		try_again(f, pid, fresh, tries);
}

static void begin_walk(struct pvsched_found_vms *f)
{
	f->all_ns = pvsched_finder_has_news(f->finder) ? 0 : now_ns() + PERIOD_NS;
	f->walking = !pvsched_finder_rewind(f->finder);
	f->walked = 0;
	if (!f->walking)
		look_at_all(f, now_ns() + PERIOD_NS);
}

/* One process more of all: those of VMs that are known, of which some may have none any more, then others. */
static bool walk(struct pvsched_found_vms *f)
{
	const struct pvsched_client *c = f->server->client;
	pid_t pid;

	if (!f->walking)
		return false;
	for (; f->walked < PVSCHED_VMS; f->walked++) {
		if (!c[f->walked].kvm || has_place(f, c[f->walked].pid, f->walked))
			continue;
		look(f, c[f->walked++].pid, true, 0);
		return true;
	}
	do
		pid = pvsched_finder_next(f->finder);
	while (pid > 0 && has_place(f, pid, PVSCHED_VMS));
	f->walking = pid > 0;
	if (pid < 0)
		look_at_all(f, now_ns() + PERIOD_NS);
	else if (pid)
		look(f, pid, true, 0);
	return f->walking;
}

/* At the process that has been due for longest. */
static bool look_at_due(struct pvsched_found_vms *f, uint64_t now)
{
	struct pvsched_look due;
	unsigned int first = 0;

	for (unsigned int i = 1; i < f->n; i++)
		if (f->look[i].at_ns < f->look[first].at_ns)
			first = i;
	due = f->look[first];
	if (!f->n || due.at_ns > now)
		return false;
	f->look[first] = f->look[--f->n];
	look(f, due.pid, due.fresh, due.tries);
	return true;
}

int pvsched_found_open(struct pvsched_found_vms *f, const char *policy)
{
	struct pvsched_policies *p = f->server->policies;
	int err = pvsched_finder_open(f->say, f->ctx, &f->finder), index;
	uint64_t begin;

	if (err)
		return err;
	index = pvsched_policies_get(p, policy);
	if (index < 0) {
		pvsched_finder_free(f->finder);
		f->finder = NULL;
		return index;
	}
	p->found = index;
	pvsched_policies_put(p, index);
	if (!pvsched_finder_has_news(f->finder))
		f->say(f->ctx,
		       "found: this kernel lacks kvm_write_tsc_offset: new VMs are looked for "
		       "each second");
	f->all_ns = now_ns();
	begin = f->all_ns;
	do {
		f->rest_ns = 0;
		pvsched_found_run(f);
	} while (f->walking && now_ns() - begin < START_NS);
	return 0;
}

void pvsched_found_close(struct pvsched_found_vms *f)
{
	if (!f->finder)
		return;
	for (int place = 0; place < PVSCHED_VMS; place++)
		if (f->server->client[place].kvm)
			pvsched_found_drop(f, place);
	pvsched_finder_free(f->finder);
	f->finder = NULL;
	f->walking = false;
	f->server->policies->found = -1;
}

static void on_news(void *ctx, const struct pvsched_news *news)
{
	struct pvsched_found_vms *f = ctx;
	uint64_t now = now_ns();
	int slot;

	if (news->type != PVSCHED_NEWS_EXIT) {
		look_at(f, news->tgid, now + SETTLE_NS, news->type == PVSCHED_NEWS_VCPU);
		return;
	}
	pthread_mutex_lock(f->server->mutex);
	pvsched_finder_know(f->finder, news->tid, false);
	slot = pvsched_registry_find(f->server->reg, news->tid);
	for (int place = 0; place < PVSCHED_VMS && slot >= 0; place++) {
		struct pvsched_client *c = &f->server->client[place];

		for (unsigned int i = 0; i < PVSCHED_VCPUS_MAX && c->kvm; i++)
			if (c->slot[i] == slot)
				forget_thread(f, c, i);
	}
	pthread_mutex_unlock(f->server->mutex);
	look_at(f, news->tgid, now + LINGER_NS, false);
}

void pvsched_found_news(struct pvsched_found_vms *f)
{
	if (f->finder) /* it may have been given up since the event was taken */
		pvsched_finder_news(f->finder, on_news, f);
}

void pvsched_found_ended(struct pvsched_found_vms *f, int place)
{
	struct pollfd fd = { .fd = f->server->client[place].pidfd, .events = POLLIN };

	/* asked again: the place may have changed hands since the event was taken */
	if (f->finder && f->server->client[place].kvm && poll(&fd, 1, 0) == 1)
		pvsched_found_drop(f, place);
}

void pvsched_found_again(struct pvsched_found_vms *f)
{
	f->all_ns = now_ns();
}

void pvsched_found_changed(struct pvsched_found_vms *f, pid_t pid)
{
	if (!f->finder)
		return;
	look_at(f, pid, now_ns() + SETTLE_NS, false);
	has_room(f);
}

int pvsched_found_timeout(const struct pvsched_found_vms *f)
{
	uint64_t now = now_ns(), at = f->walking ? now : f->all_ns;

	for (unsigned int i = 0; i < f->n; i++)
		if (!at || f->look[i].at_ns < at)
			at = f->look[i].at_ns;
	if (!f->finder || !at)
		return -1;
	if (at < f->rest_ns)
		at = f->rest_ns;
	return at <= now ? 0 : (at - now) / 1000000 + 1;
}

void pvsched_found_run(struct pvsched_found_vms *f)
{
	uint64_t begin = now_ns(), took;
	bool more = true;

	if (!f->finder || f->rest_ns > begin)
		return;
	if (!f->walking && f->all_ns && f->all_ns <= begin)
		begin_walk(f);
	/* by turns: neither keeps the other waiting. What is added meanwhile is due at once, or later */
	while (more && now_ns() - begin < SLICE_NS) {
		more = walk(f);
		more |= look_at_due(f, begin);
	}
	took = now_ns() - begin;
	f->rest_ns = took < REST_NS ? 0 : now_ns() + REST * took;
}
