// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tracepoints by name: most are not exported to modules, but each can be found. Under `registry`.
 */
#include <linux/module.h>
#include <linux/tracepoint.h>

#include "engine.h"

static void look(struct tracepoint *tp, void *arg)
{
	struct source *s = arg;

	if (!s->tp && !strcmp(tp->name, s->name))
		s->tp = tp;
}

static struct source *wanted; /* of a module's: KVM's; under `registry` */

/* The kernel calls it for each module that is there, as if that came just now. */
static int on_module(struct notifier_block *nb, unsigned long state, void *data)
{
	struct tp_module *m = data;

	if (state != MODULE_STATE_COMING || wanted->tp)
		return 0;
	for (u32 i = 0; i < m->mod->num_tracepoints; i++)
		look(tracepoint_ptr_deref(&m->mod->tracepoints_ptrs[i]), wanted);
	/* its tracepoint must not go before the probe */
	if (wanted->tp && try_module_get(m->mod))
		wanted->owner = m->mod;
	else
		wanted->tp = NULL;
	return 0;
}

static struct notifier_block modules = { .notifier_call = on_module };

static void find(struct source *s)
{
	s->tp = NULL;
	for_each_kernel_tracepoint(look, s);
	if (s->tp)
		return;
	wanted = s;
	if (!register_tracepoint_module_notifier(&modules))
		unregister_tracepoint_module_notifier(&modules);
	wanted = NULL;
}

static void release(struct source *s)
{
	module_put(s->owner);
	s->owner = NULL;
	s->tp = NULL;
	s->on = false;
}

static int attach(struct source *s)
{
	int err;

	find(s);
	if (!s->tp)
		return -ENOENT;
	if (s->owner)
		WRITE_ONCE(engine.apic_timer_fn,
			   NULL); /* nothing held KVM: it may be another one */
	err = tracepoint_probe_register(s->tp, s->probe, NULL);
	if (err)
		release(s);
	s->on = !err;
	return err;
}

int trace_events(u32 events, const char **ret_missing)
{
	bool fresh[SOURCES_MAX] = {}, leaves[SOURCES_MAX] = {}, any = false;
	int err = 0;

	for (u32 i = 0; i < n_sources && !err; i++) {
		if (sources[i].on || !(sources[i].events & events))
			continue;
		err = attach(&sources[i]);
		fresh[i] = !err;
		if (err)
			*ret_missing = sources[i].name;
	}
	for (u32 i = 0; i < n_sources; i++) {
		leaves[i] = sources[i].on && (err ? fresh[i] : !(sources[i].events & events));
		if (leaves[i])
			tracepoint_probe_unregister(sources[i].tp, sources[i].probe, NULL);
		any |= leaves[i];
	}
	if (any)
		tracepoint_synchronize_unregister();
	for (u32 i = 0; i < n_sources; i++)
		if (leaves[i])
			release(&sources[i]);
	return err;
}
