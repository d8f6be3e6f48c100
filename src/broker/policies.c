// SPDX-License-Identifier: GPL-2.0-only
/* Policy sets, see policies.h. */
#include "policies.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int load(struct pvsched_policies *p, int index, const char *name, int policy_fd)
{
	struct pvsched_policy_set *s = &p->set[index];
	struct pvsched_load_opts o = { .policy = name,
				       .policy_fd = policy_fd,
				       .id = ++p->next_id,
				       .base = index ? p->set[0].programs : NULL };
	int err = pvsched_programs_load(&o, p->say, p->ctx, &s->programs);

	if (err)
		return err;
	s->id = o.id;
	s->vms = 0;
	snprintf(s->name, sizeof(s->name), "%s", name);
	return 0;
}

int pvsched_policies_open(struct pvsched_policies *p, const char *name)
{
	int err = load(p, 0, name, -1);

	if (err)
		return err;
	err = pvsched_programs_attach(p->set[0].programs);
	pvsched_programs_detach(p->set[0].programs);
	return err;
}

void pvsched_policies_close(struct pvsched_policies *p)
{
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

void pvsched_policies_put(struct pvsched_policies *p, int index)
{
	struct pvsched_policy_set *s = &p->set[index];

	if (--s->vms)
		return;
	pvsched_programs_detach(s->programs);
	if (!index || index == p->standard)
		return;
	pvsched_programs_free(s->programs);
	s->programs = NULL;
}

int pvsched_policies_get(struct pvsched_policies *p, const char *name, int policy_fd)
{
	int free_index = -1, err;

	for (int i = 0; i < PVSCHED_POLICIES_MAX; i++) {
		if (!p->set[i].programs)
			free_index = free_index < 0 ? i : free_index;
		else if (policy_fd < 0 && !strcmp(p->set[i].name, name)) {
			err = pvsched_policies_use(p, i);
			return err ? err : i;
		}
	}
	if (free_index < 0)
		return -ENOSPC;
	err = load(p, free_index, name, policy_fd);
	if (err)
		return err;
	err = pvsched_policies_use(p, free_index);
	if (!err)
		return free_index;
	pvsched_programs_free(p->set[free_index].programs);
	p->set[free_index].programs = NULL;
	return err;
}
