// SPDX-License-Identifier: GPL-2.0-only
/* Probes event sources, see probe.h. Each program is its own object, so that one that this
 * kernel lacks does not take the others with it. */
#include "probe.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

extern const unsigned char pvsched_probe_bpf[];
extern const size_t pvsched_probe_bpf_size;

static const struct {
	const char *event, *source, *program;
	const char *better; /* program of a better source for the event; NULL = this is best */
	const char *note;
} table[] = {
	{ "PREEMPTED", "tp_btf sched_switch", "probe_sched_switch", NULL, NULL },
	{ "BLOCKED", "tp_btf sched_switch", "probe_sched_switch", NULL, NULL },
	{ "SCHED_IN", "tp_btf sched_switch", "probe_sched_switch", NULL, NULL },
	{ "WOKEN", "tp_btf sched_waking", "probe_sched_waking", NULL, NULL },
	{ "INTR_PENDING", "fentry __apic_accept_irq", "probe_accept_irq_fentry", NULL, NULL },
	{ "INTR_PENDING", "tp_btf hrtimer_expire_entry", "probe_hrtimer_expire_entry",
	  "probe_accept_irq_fentry", "LAPIC timer only" },
	{ "INTR_PENDING", "tp_btf kvm_apic_accept_irq", "probe_kvm_apic_accept_irq",
	  "probe_accept_irq_fentry", "interrupts raised by the VMM's own threads" },
	{ "INTR_DONE", "ack word of the page", "probe_sched_switch", NULL, NULL },
	{ "INTR_DONE", "tp_btf kvm_eoi", "probe_kvm_eoi", NULL, NULL },
	{ "NEXT_EVENT", "bpf_timer", "probe_sched_switch", NULL, NULL },
	{ "DOORBELL", "ioeventfd of the device", "probe_sched_switch", NULL, NULL },
	{ "VMEXIT", "tp_btf kvm_exit", "probe_kvm_exit", NULL, NULL },
	{ "HALT", "tp_btf kvm_exit", "probe_kvm_exit", NULL, NULL },
	{ "VMENTRY", "tp_btf kvm_entry", "probe_kvm_entry", NULL, NULL },
	{ "INTR_INJECT", "tp_btf kvm_inj_virq", "probe_kvm_inj_virq", NULL, NULL },
};
#define N_TABLE ((int)(sizeof(table) / sizeof(table[0])))

static int quiet(enum libbpf_print_level level, const char *fmt, va_list args)
{
	(void)level;
	(void)fmt;
	(void)args;
	return 0;
}

/* 0, or -errno and where it failed. */
static int try_program(const char *name, const char **ret_step)
{
	struct bpf_object *obj =
		bpf_object__open_mem(pvsched_probe_bpf, pvsched_probe_bpf_size, NULL);
	struct bpf_program *prog;
	struct bpf_link *link = NULL;
	int err;

	*ret_step = "open";
	if (!obj)
		return -errno;
	bpf_object__for_each_program(prog, obj)
		bpf_program__set_autoload(prog, !strcmp(bpf_program__name(prog), name));
	*ret_step = "load";
	err = bpf_object__load(obj);
	if (err)
		goto out;
	*ret_step = "attach";
	prog = bpf_object__find_program_by_name(obj, name);
	link = bpf_program__attach(prog);
	err = link ? 0 : -errno;
out:
	bpf_link__destroy(link);
	bpf_object__close(obj);
	return err;
}

static const char *reason(int err)
{
	switch (err) {
	case -ESRCH:
	case -ENOENT:
		return "this kernel has no such hook (is kvm loaded?)";
	case -EPERM:
		return "the kernel refuses this program type (lockdown, or not root)";
	case -EINVAL:
		return "the kernel does not know this hook";
	default:
		return strerror(-err);
	}
}

int pvsched_probe(struct pvsched_probe_row *rows, int max)
{
	libbpf_print_fn_t old = libbpf_set_print(quiet);
	const char *step = "";
	int err = 0, perm = 0, n = 0;

	for (int i = 0; i < N_TABLE && n < max; i++, n++) {
		struct pvsched_probe_row *r = &rows[n];

		*r = (struct pvsched_probe_row){ .event = table[i].event,
						 .source = table[i].source,
						 .best = true };
		err = try_program(table[i].program, &step);
		r->usable = !err;
		if (err) {
			perm += err == -EPERM;
			snprintf(r->why, sizeof(r->why), "%s: %s", step, reason(err));
			continue;
		}
		if (!table[i].better)
			continue;
		r->best = false;
		err = try_program(table[i].better, &step);
		if (err)
			snprintf(r->why, sizeof(r->why), "%s; not fentry: %s", table[i].note,
				 reason(err));
		else
			snprintf(r->why, sizeof(r->why), "%s", table[i].note);
	}
	libbpf_set_print(old);
	return perm == n ? -EPERM : n;
}
