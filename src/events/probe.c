// SPDX-License-Identifier: GPL-2.0-only
/* Probes event sources, see probe.h. Each program is an object of its own, so that one that this
 * kernel lacks does not take the others with it. */
#include "probe.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

struct probe {
	const char *program;
	struct bpf_object *obj;
	struct bpf_link *link;
	int err; /* 0 = attached */
	const char *step; /* that failed */
	uint64_t runs;
};

static void attach(struct probe *p)
{
	struct bpf_program *prog;

	p->step = "open";
	p->obj = bpf_object__open_mem(pvsched_probe_bpf, pvsched_probe_bpf_size, NULL);
	if (!p->obj) {
		p->err = -errno;
		return;
	}
	bpf_object__for_each_program(prog, p->obj)
		bpf_program__set_autoload(prog, !strcmp(bpf_program__name(prog), p->program));
	p->step = "load";
	p->err = bpf_object__load(p->obj);
	if (p->err)
		return;
	p->step = "attach";
	p->link = bpf_program__attach(bpf_object__find_program_by_name(p->obj, p->program));
	p->err = p->link ? 0 : -errno;
}

static void detach(struct probe *p)
{
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);

	if (!p->err && !bpf_obj_get_info_by_fd(bpf_program__fd(bpf_object__find_program_by_name(
						       p->obj, p->program)),
					       &info, &size))
		p->runs = info.run_cnt;
	bpf_link__destroy(p->link);
	bpf_object__close(p->obj);
}

bool pvsched_probe_one(const char *program)
{
	libbpf_print_fn_t old = libbpf_set_print(quiet);
	struct probe p = { .program = program };
	bool ok;

	attach(&p);
	ok = !p.err;
	detach(&p);
	libbpf_set_print(old);
	return ok;
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

/* A program of the table that several rows name is attached once. */
static struct probe *find(struct probe *probes, int *n, const char *program)
{
	int i;

	for (i = 0; i < *n; i++)
		if (!strcmp(probes[i].program, program))
			return &probes[i];
	probes[*n] = (struct probe){ .program = program };
	attach(&probes[*n]);
	return &probes[(*n)++];
}

int pvsched_probe(struct pvsched_probe_row *rows, int max, pvsched_exercise_fn exercise, void *ctx)
{
	libbpf_print_fn_t old = libbpf_set_print(quiet);
	struct probe probes[N_TABLE] = { 0 };
	int n = 0, probed = 0, perm = 0, stats;
	bool counted;

	for (int i = 0; i < N_TABLE; i++)
		find(probes, &probed, table[i].program);
	stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
	counted = stats >= 0 && exercise && !exercise(ctx);
	for (int i = 0; i < probed; i++) {
		perm += probes[i].err == -EPERM;
		detach(&probes[i]);
	}
	if (stats >= 0)
		close(stats);
	for (int i = 0; i < N_TABLE && n < max; i++, n++) {
		const struct probe *p = find(probes, &probed, table[i].program), *better;
		struct pvsched_probe_row *r = &rows[n];

		*r = (struct pvsched_probe_row){ .event = table[i].event,
						 .source = table[i].source,
						 .best = true };
		r->usable = !p->err && (!counted || p->runs);
		if (p->err) {
			snprintf(r->why, sizeof(r->why), "%s: %s", p->step, reason(p->err));
			continue;
		}
		if (!r->usable) {
			snprintf(r->why, sizeof(r->why),
				 "attaches, but no guest ever passed it: this KVM does without");
			continue;
		}
		if (!table[i].better)
			continue;
		r->best = false;
		better = find(probes, &probed, table[i].better);
		if (better->err)
			snprintf(r->why, sizeof(r->why), "%s; not fentry: %s", table[i].note,
				 reason(better->err));
		else
			snprintf(r->why, sizeof(r->why), "%s", table[i].note);
	}
	libbpf_set_print(old);
	return perm == probed ? -EPERM : n;
}
