// SPDX-License-Identifier: GPL-2.0-only
/* Policy sets, see policies.h. */
#include "policies.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../privilege/caps.h"

/* False: there is none of that name. A built-in is always the same. */
static bool look_at_file(const char *name, struct pvsched_policy_file *ret)
{
	struct stat st;

	memset(ret, 0, sizeof(*ret));
	if (!strstr(name, ".bpf.o"))
		return true;
	if (stat(name, &st))
		return false;
	ret->dev = st.st_dev;
	ret->ino = st.st_ino;
	ret->changed = st.st_ctim;
	return true;
}

static int load(struct pvsched_policy_set *s, const char *name, int policy_fd,
		struct pvsched_programs *base, int debts_fd,
		const struct pvsched_event_object *object, pvsched_say_fn say, void *ctx)
{
	struct pvsched_load_opts o = { .policy = name,
				       .policy_fd = policy_fd,
				       .id = s->id,
				       .base = base,
				       .debts_fd = debts_fd,
				       .object = object };

	snprintf(s->name, sizeof(s->name), "%s", name);
	s->vms = 0;
	if (policy_fd < 0) /* before it is read: what is written meanwhile is another one */
		look_at_file(name, &s->file);
	return pvsched_programs_load(&o, say, ctx, &s->programs);
}

int pvsched_policies_open(struct pvsched_policies *p, const char *name, int debts_fd)
{
	int err;

	p->found = -1;
	p->loading.done_fd = eventfd(0, EFD_CLOEXEC);
	if (p->loading.done_fd < 0)
		return -errno;
	p->set[0].id = ++p->next_id;
	err = load(&p->set[0], name, -1, NULL, debts_fd, p->object, p->say, p->ctx);
	if (err)
		return err;
	err = pvsched_programs_attach(p->set[0].programs);
	pvsched_programs_detach(p->set[0].programs);
	if (err || !strcmp(name, "off"))
		return err;
	p->off = 1;
	p->set[1].id = ++p->next_id;
	return load(&p->set[1], "off", -1, p->set[0].programs, -1, p->object, p->say, p->ctx);
}

void pvsched_policies_close(struct pvsched_policies *p)
{
	struct pvsched_policy_loading *l = &p->loading;

	if (l->running) {
		pthread_join(l->thread, NULL);
		pvsched_programs_free(l->set.programs);
		if (l->policy_fd >= 0)
			close(l->policy_fd);
	}
	l->running = false;
	if (l->done_fd >= 0)
		close(l->done_fd);
	l->done_fd = -1;
	/* the first last: it made the maps */
	for (int i = PVSCHED_POLICIES_MAX; i-- > 0;) {
		pvsched_programs_free(p->set[i].programs);
		p->set[i].programs = NULL;
	}
}

struct pvsched_programs *pvsched_policies_base(struct pvsched_policies *p)
{
	return p->set[0].programs;
}

int pvsched_policies_use(struct pvsched_policies *p, int index)
{
	struct pvsched_policy_set *s = &p->set[index];
	int err = s->vms ? 0 : pvsched_programs_attach(s->programs);

	if (!err)
		s->vms++;
	return err;
}

/* The first made the maps: it lives as long as they. */
static void tidy(struct pvsched_policies *p, int index)
{
	struct pvsched_policy_set *s = &p->set[index];

	if (!s->programs || s->vms || s->keep || !index || index == p->off ||
	    index == p->standard || index == p->found)
		return;
	pvsched_programs_free(s->programs);
	s->programs = NULL;
}

void pvsched_policies_put(struct pvsched_policies *p, int index)
{
	struct pvsched_policy_set *s = &p->set[index];

	if (--s->vms)
		return;
	pvsched_programs_detach(s->programs);
	tidy(p, index);
}

void pvsched_policies_tidy(struct pvsched_policies *p)
{
	for (int i = 0; i < PVSCHED_POLICIES_MAX; i++)
		tidy(p, i);
}

/* file NULL = whatever it was */
static int find(struct pvsched_policies *p, const char *name,
		const struct pvsched_policy_file *file)
{
	int index = -ENOENT, err;

	for (int i = 0; i < PVSCHED_POLICIES_MAX; i++) {
		const struct pvsched_policy_set *s = &p->set[i];

		if (!s->programs || strcmp(s->name, name) ||
		    (file && memcmp(&s->file, file, sizeof(*file))))
			continue;
		if (index < 0 || s->keep)
			index = i;
	}
	err = index < 0 ? 0 : pvsched_policies_use(p, index);
	return err ? err : index;
}

int pvsched_policies_find(struct pvsched_policies *p, const char *name)
{
	return find(p, name, NULL);
}

int pvsched_policies_find_current(struct pvsched_policies *p, const char *name)
{
	struct pvsched_policy_file file;

	return look_at_file(name, &file) ? find(p, name, &file) : -ENOENT;
}

static int find_free(const struct pvsched_policies *p)
{
	for (int i = 0; i < PVSCHED_POLICIES_MAX; i++)
		if (!p->set[i].programs)
			return i;
	return -ENOSPC;
}

int pvsched_policies_get(struct pvsched_policies *p, const char *name)
{
	int index = pvsched_policies_find(p, name), err;
	struct pvsched_policy_set *s;

	if (index != -ENOENT)
		return index;
	index = find_free(p);
	if (index < 0)
		return index;
	s = &p->set[index];
	*s = (struct pvsched_policy_set){ .id = ++p->next_id };
	err = load(s, name, -1, p->set[0].programs, -1, p->object, p->say, p->ctx);
	if (err) {
		s->programs = NULL;
		return err;
	}
	err = pvsched_policies_use(p, index);
	if (!err)
		return index;
	pvsched_programs_free(s->programs);
	s->programs = NULL;
	return err;
}

static void keep_line(void *ctx, const char *line)
{
	struct pvsched_policy_loading *l = ctx;

	snprintf(l->said, sizeof(l->said), "%.255s", line);
}

static void *load_thread(void *arg)
{
	struct pvsched_policy_loading *l = arg;

	pvsched_caps_raise(PVSCHED_CAP(CAP_SYS_ADMIN)); /* until this thread ends */
	l->err = load(&l->set, l->name, l->policy_fd, l->base, -1, l->object, keep_line, l);
	eventfd_write(l->done_fd, 1);
	return NULL;
}

int pvsched_policies_begin(struct pvsched_policies *p, const char *name, int policy_fd)
{
	struct pvsched_policy_loading *l = &p->loading;
	int err;

	if (l->running)
		return -EBUSY;
	if (find_free(p) < 0)
		return -ENOSPC;
	l->policy_fd = policy_fd < 0 ? -1 : fcntl(policy_fd, F_DUPFD_CLOEXEC, 0);
	if (policy_fd >= 0 && l->policy_fd < 0)
		return -errno;
	l->set = (struct pvsched_policy_set){ .id = ++p->next_id };
	l->said[0] = 0;
	l->base = p->set[0].programs;
	l->object = p->object;
	snprintf(l->name, sizeof(l->name), "%s", name);
	err = -pthread_create(&l->thread, NULL, load_thread, l);
	l->running = !err;
	if (err && l->policy_fd >= 0)
		close(l->policy_fd);
	return err;
}

int pvsched_policies_end(struct pvsched_policies *p)
{
	struct pvsched_policy_loading *l = &p->loading;
	eventfd_t done;
	int index, err;

	eventfd_read(l->done_fd, &done);
	pthread_join(l->thread, NULL);
	l->running = false;
	if (l->policy_fd >= 0)
		close(l->policy_fd);
	if (l->said[0])
		p->say(p->ctx, l->said);
	if (l->err)
		return l->err;
	index = find_free(p);
	if (index < 0) {
		pvsched_programs_free(l->set.programs);
		return index;
	}
	p->set[index] = l->set;
	err = pvsched_policies_use(p, index);
	if (!err)
		return index;
	pvsched_programs_free(p->set[index].programs);
	p->set[index].programs = NULL;
	return err;
}
