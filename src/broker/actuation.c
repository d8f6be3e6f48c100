// SPDX-License-Identifier: GPL-2.0-only
/* Who carries decisions out, the rings by which it is told, and the guardian behind it. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>

#include "../actuator/agent/clock.h"
#include "instance.h"

static int set_priority(struct pvsched_broker *b, unsigned int priority)
{
	const struct pvsched_actuator *a = b->reg.actuator;

	return a->set_priority ? a->set_priority(b->reg.actuator_state, priority) : 0;
}

/* Agents and guardian stay above every boost: raised before one may be higher, lowered after. */
int pvsched_actuation_ceiling(void *ctx, unsigned int ceiling)
{
	struct sched_param param = { .sched_priority = ceiling + 2 };
	struct pvsched_broker *b = ctx;
	struct pvsched_config *c = pvsched_programs_bss(b->programs)->config;
	int err = set_priority(b, ceiling + 1);

	if (!err && b->guardian.pid > 0 && sched_setscheduler(b->guardian.pid, SCHED_FIFO, &param))
		err = -errno;
	if (!err &&
	    b->guardian.pid > 0) /* it may be an ordinary one where it was not allowed more */
		pthread_setschedparam(b->guardian.maker, SCHED_FIFO, &param);
	if (err) {
		set_priority(b, b->ceiling + 1);
		return err;
	}
	b->act_opts.priority = ceiling + 1; /* of one that takes this one's place */
	b->ceiling = ceiling;
	c->agent_prio = 99 - (ceiling + 1);
	c->boost_prio = 99 - ceiling;
	return 0;
}

/*
 * Which ring each CPU's events use. All at once: after each update of a map of maps the kernel waits until no
 * program uses the old one, 16 ms on Linux 6.12.
 */
static int set_rings(int outer, const uint32_t *cpus, const int *fds, uint32_t n)
{
	uint32_t count = n;

	if (!bpf_map_update_batch(outer, cpus, fds, &count, NULL))
		return 0;
	for (uint32_t i = 0; i < n; i++)
		if (bpf_map_update_elem(outer, &cpus[i], &fds[i], BPF_ANY))
			return -errno;
	return 0;
}

/* A ring for each CPU that agents may use, and the guardian's; a CPU without one gets the first agent's. */
int pvsched_actuation_rings(struct pvsched_broker *b, const cpu_set_t *cpus)
{
	int first = -1, fds[PVSCHED_CPUS + 1], possible = libbpf_num_possible_cpus();
	uint32_t keys[PVSCHED_CPUS + 1], n = 0;

	if (possible < 0)
		return possible;
	for (uint32_t cpu = 0; cpu <= PVSCHED_CPUS; cpu++) {
		if (cpu < PVSCHED_CPUS && (cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, cpus)))
			continue;
		b->ring_fd[cpu] =
			bpf_map_create(BPF_MAP_TYPE_RINGBUF, "pvsched_ring", 0, 0, 65536, NULL);
		if (b->ring_fd[cpu] < 0)
			return -errno;
		if (first < 0)
			first = b->ring_fd[cpu];
	}
	for (uint32_t cpu = 0; cpu <= PVSCHED_CPUS; cpu++) {
		if (cpu < PVSCHED_CPUS && cpu >= (uint32_t)possible)
			continue;
		keys[n] = cpu;
		fds[n++] = b->ring_fd[cpu] >= 0 ? b->ring_fd[cpu] : first;
	}
	return set_rings(pvsched_programs_map_fd(b->programs, PVSCHED_MAP_RINGS), keys, fds, n);
}

int pvsched_actuation_guard(struct pvsched_broker *b)
{
	return pvsched_guardian_start(&b->reg.act, b->ring_fd[PVSCHED_CPUS], b->lock_fd,
				      b->ceiling + 2, &b->guardian);
}

static int start_actuator(struct pvsched_broker *b, const struct pvsched_actuator *a)
{
	struct pvsched_registry *r = &b->reg;
	int err;

	b->act_opts.programs = b->policies.set[b->policies.standard].programs;
	pvsched_programs_bss(b->programs)->config->act_ns = a->act_ns;
	err = a->start(&b->act_opts, &r->actuator_state);
	r->actuator = err ? NULL : a;
	return err;
}

int pvsched_actuation_begin(struct pvsched_broker *b, const struct pvsched_actuator *a)
{
	const struct pvsched_bss *bss = pvsched_programs_bss(b->programs);

	b->act_opts = (struct pvsched_actuator_opts){
		.act = &b->reg.act,
		.cpus = &b->cpus,
		.ring_fds = b->ring_fd,
		.priority = b->ceiling + 1,
		.clocks = bss->clocks,
		.clock_idx = bss->clock_idx,
		.say = pvsched_broker_say_line,
		.ctx = b,
	};
	pvsched_clock_start(bss->clocks, bss->clock_idx);
	return start_actuator(b, a);
}

void pvsched_actuation_end(struct pvsched_broker *b)
{
	struct pvsched_registry *r = &b->reg;

	if (r->actuator)
		r->actuator->stop(r->actuator_state);
	r->actuator = NULL;
	r->actuator_state = NULL;
}

/* The guardian died first: one process may die, so a new one takes its place. */
int pvsched_actuation_guard_again(struct pvsched_broker *b)
{
	int err;

	pvsched_guardian_stop(&b->guardian);
	err = pvsched_actuation_guard(b);
	if (!err)
		err = pvsched_broker_watch(b, b->guardian.pidfd, TAG_GUARDIAN);
	b->respawned++;
	return err;
}

int pvsched_actuation_watch(struct pvsched_broker *b)
{
	const struct pvsched_actuator *a = b->reg.actuator;

	int err = a->poll_fd
			  ? pvsched_broker_watch(b, a->poll_fd(b->reg.actuator_state), TAG_ACTUATOR)
			  : 0;

	return err == -EEXIST ? 0 : err; /* it did not begin anew */
}

/* The actuator has ended and said why: agents, who can act under any scheduler, take its place. */
static int replace_actuator(struct pvsched_broker *b)
{
	pvsched_actuation_end(b);
	return start_actuator(b, &pvsched_actuator_agent);
}

int pvsched_actuation_poll(struct pvsched_broker *b)
{
	int err;

	pthread_mutex_lock(&b->mutex);
	err = b->reg.actuator->poll(b->reg.actuator_state);
	if (err < 0)
		err = replace_actuator(b);
	else if (err > 0) /* it began anew */
		err = pvsched_actuation_watch(b);
	pthread_mutex_unlock(&b->mutex);
	return err;
}

/* Another policy is the standard now. Under the mutex. */
int pvsched_actuation_standard(void *ctx, struct pvsched_programs *p)
{
	struct pvsched_broker *b = ctx;
	const struct pvsched_actuator *a = b->reg.actuator;
	int err = a->policy ? a->policy(b->reg.actuator_state, p) : 0;

	if (err)
		return replace_actuator(b);
	return a->policy ? pvsched_actuation_watch(b) : 0;
}
