// SPDX-License-Identifier: GPL-2.0-only
/*
 * An agent's loop. Cost of a wake-up that boosts: one epoll_wait, sched_getattr, a pidfd probe,
 * sched_setattr; no allocation, no lock that another agent holds for longer than those.
 */
#include "agent.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

#define EVENTS_MAX  16
#define BOOSTED_MAX 64 /* per agent; more than a CPU can usefully run in one cap */

#define TAG_STOP (1ull << 32)
#define TAG_RING (2ull << 32)
#define TAG_BELL (3ull << 32) /* | slot */
#define TAG_MASK (~0ull << 32)

struct boosted {
	uint32_t slot;
	uint64_t until_ns;
};

struct agent {
	struct pvsched_agents *all;
	pthread_t thread;
	int index, cpu, ep, stop_fd;
	struct ring_buffer *ring;
	struct boosted boosted[BOOSTED_MAX];
	unsigned int n;
	bool running;
};

struct pvsched_agents {
	struct pvsched_agents_opts o;
	struct agent *agent;
	int n;
};

static void drop(struct agent *a, uint32_t slot)
{
	for (unsigned int i = 0; i < a->n; i++)
		if (a->boosted[i].slot == slot) {
			a->boosted[i] = a->boosted[--a->n];
			return;
		}
}

static int keep(struct agent *a, uint32_t slot, uint64_t until_ns)
{
	for (unsigned int i = 0; i < a->n; i++)
		if (a->boosted[i].slot == slot) {
			a->boosted[i].until_ns = until_ns;
			return 0;
		}
	if (a->n == BOOSTED_MAX)
		return -ENOSPC;
	a->boosted[a->n++] = (struct boosted){ slot, until_ns };
	return 0;
}

/* Edge-triggered: a doorbell needs no read, each ring is a new edge. Moves only when the vCPU
 * was last boosted from another CPU. */
static void listen_bell(struct agent *a, struct pvsched_slot *s)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.u64 = TAG_BELL };

	if (s->agent == a->index || s->doorbell_fd < 0)
		return;
	ev.data.u64 |= s->doorbell_id;
	if (s->agent >= 0)
		epoll_ctl(a->all->agent[s->agent].ep, EPOLL_CTL_DEL, s->doorbell_fd, NULL);
	s->agent = epoll_ctl(a->ep, EPOLL_CTL_ADD, s->doorbell_fd, &ev) ? -1 : a->index;
}

static void run_doorbell(struct agent *a, uint32_t slot)
{
	struct pvsched_slot_arg arg = { .slot = slot };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &arg, .ctx_size_in = sizeof(arg));

	bpf_prog_test_run_opts(a->all->o.doorbell_prog_fd, &opts);
}

static void serve(struct agent *a, uint32_t slot, uint64_t event_ns)
{
	struct pvsched_actuation *act = a->all->o.act;
	struct pvsched_slot *s = &act->slots[slot];
	struct pvsched_page *page;
	struct pvsched_applied r;

	pvsched_apply(act, slot, event_ns, false, &r);
	if (r.boosted && r.changed) {
		pthread_mutex_lock(&s->lock);
		listen_bell(a, s);
		page = s->page;
		/* The guest ended its urgency before it could see the grant, so it did not
		 * ring: ask again on its behalf. Pairs with its barrier, see tell_guest(). */
		if (page && pvsched_page_gen(page) != (uint32_t)act->shared[slot].gen)
			event_ns = 1;
		else
			event_ns = 0;
		pthread_mutex_unlock(&s->lock);
		if (event_ns) {
			run_doorbell(a, slot);
			pvsched_apply(act, slot, 0, false, &r);
		}
	}
	if (!r.boosted) {
		drop(a, slot);
	} else if (keep(a, slot, r.until_ns)) {
		/* nobody would watch over it: take it back */
		__atomic_store_n(&act->shared[slot].desired, 0, __ATOMIC_RELEASE);
		pvsched_apply(act, slot, 0, true, &r);
	}
}

static int on_hint(void *ctx, void *data, size_t size)
{
	const struct pvsched_hint *h = data;

	if (size >= sizeof(*h) && h->slot < PVSCHED_SLOTS)
		serve(ctx, h->slot, h->event_ns);
	return 0;
}

static void on_bell(struct agent *a, uint32_t slot)
{
	a->all->o.act->slots[slot].doorbells++;
	/* The vCPU lost its CPU to this very wake-up, so PREEMPTED saw its page already; ask the
	 * policy only if the desired state still stands. */
	if (pvsched_word_active(
		    __atomic_load_n(&a->all->o.act->shared[slot].desired, __ATOMIC_ACQUIRE),
		    pvsched_now_ns()))
		run_doorbell(a, slot);
	serve(a, slot, 0);
}

static void expire(struct agent *a)
{
	uint64_t now = pvsched_now_ns();

	/* backwards: serve() may drop the entry, which moves the last one here */
	for (unsigned int i = a->n; i-- > 0;)
		if (i < a->n && a->boosted[i].until_ns <= now)
			serve(a, a->boosted[i].slot, 0);
}

static int timeout(struct agent *a, struct timespec *ts)
{
	uint64_t now, min = ~0ull;

	if (!a->n)
		return -1;
	for (unsigned int i = 0; i < a->n; i++)
		if (a->boosted[i].until_ns < min)
			min = a->boosted[i].until_ns;
	now = pvsched_now_ns();
	min = min > now ? min - now : 0;
	ts->tv_sec = min / 1000000000;
	ts->tv_nsec = min % 1000000000;
	return 0;
}

static void *run(void *arg)
{
	struct agent *a = arg;
	struct epoll_event ev[EVENTS_MAX];
	struct timespec ts;
	int n;

	for (;;) {
		n = epoll_pwait2(a->ep, ev, EVENTS_MAX, timeout(a, &ts) ? NULL : &ts, NULL);
		if (n < 0 && errno != EINTR)
			break;
		for (int i = 0; i < n; i++) {
			switch (ev[i].data.u64 & TAG_MASK) {
			case TAG_STOP:
				return NULL;
			case TAG_RING:
				ring_buffer__consume(a->ring);
				break;
			case TAG_BELL:
				on_bell(a, (uint32_t)ev[i].data.u64);
				break;
			}
		}
		if (a->n)
			expire(a);
		pvsched_clock_refresh(a->all->o.clocks, a->all->o.clock_idx);
	}
	return NULL;
}

static int watch(struct agent *a, int fd, uint64_t tag)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = tag };

	return epoll_ctl(a->ep, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

static int agent_start(struct agent *a, int ring_fd, unsigned int priority)
{
	struct sched_param param = { .sched_priority = priority };
	pthread_attr_t attr;
	cpu_set_t set;
	int err;

	a->ep = epoll_create1(EPOLL_CLOEXEC);
	a->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (a->ep < 0 || a->stop_fd < 0)
		return -errno;
	a->ring = ring_buffer__new(ring_fd, on_hint, a, NULL);
	if (!a->ring)
		return -errno;
	err = watch(a, a->stop_fd, TAG_STOP);
	if (!err)
		err = watch(a, ring_fd, TAG_RING);
	if (err)
		return err;
	CPU_ZERO(&set);
	CPU_SET(a->cpu, &set);
	pthread_attr_init(&attr);
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
	pthread_attr_setschedparam(&attr, &param);
	pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	err = pthread_create(&a->thread, &attr, run, a);
	pthread_attr_destroy(&attr);
	if (err)
		return -err;
	a->running = true;
	pthread_setname_np(a->thread, "pvsched-agent");
	return 0;
}

int pvsched_agents_start(const struct pvsched_agents_opts *opts, struct pvsched_agents **ret)
{
	struct pvsched_agents *all = calloc(1, sizeof(*all));
	int err = -ENOMEM;

	if (!all)
		return err;
	all->o = *opts;
	all->agent = calloc(CPU_COUNT(opts->cpus), sizeof(*all->agent));
	if (!all->agent)
		goto out;
	for (int cpu = 0; cpu < CPU_SETSIZE && cpu < PVSCHED_CPUS; cpu++) {
		struct agent *a = &all->agent[all->n];

		if (!CPU_ISSET(cpu, opts->cpus))
			continue;
		*a = (struct agent){ .all = all, .index = all->n, .cpu = cpu };
		a->ep = a->stop_fd = -1;
		all->n++;
		err = agent_start(a, opts->ring_fds[cpu], opts->priority);
		if (err)
			goto out;
	}
	*ret = all;
	return 0;
out:
	pvsched_agents_stop(all);
	return err;
}

void pvsched_agents_stop(struct pvsched_agents *all)
{
	if (!all)
		return;
	for (int i = 0; i < all->n; i++)
		if (all->agent[i].running && eventfd_write(all->agent[i].stop_fd, 1))
			pthread_cancel(all->agent[i].thread);
	for (int i = 0; i < all->n; i++) {
		struct agent *a = &all->agent[i];

		if (a->running)
			pthread_join(a->thread, NULL);
		ring_buffer__free(a->ring);
		if (a->ep >= 0)
			close(a->ep);
		if (a->stop_fd >= 0)
			close(a->stop_fd);
	}
	free(all->agent);
	free(all);
}

void pvsched_agents_forget(struct pvsched_agents *all, uint32_t slot)
{
	struct pvsched_slot *s = &all->o.act->slots[slot];

	pthread_mutex_lock(&s->lock);
	if (s->agent >= 0)
		epoll_ctl(all->agent[s->agent].ep, EPOLL_CTL_DEL, s->doorbell_fd, NULL);
	s->agent = -1;
	pthread_mutex_unlock(&s->lock);
}
