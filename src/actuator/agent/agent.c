// SPDX-License-Identifier: GPL-2.0-only
/*
 * The agents: one SCHED_FIFO thread per allowed CPU, asleep on that CPU's ring. An agent applies
 * what the ring hints at. It watches over the vCPUs it boosted: it hears their doorbells, restores
 * them at expiry by its own absolute sleep, and sleeps for the time at which the policy wants to be
 * asked again. At each wake-up it looks at all it watches. With no event it has no wake-up at all.
 *
 * Cost of a wake-up that boosts: one epoll_wait, sched_getattr, a pidfd probe,
 * sched_setattr; no allocation, no lock that another agent holds for longer than those.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "../../privilege/caps.h"
#include "../../privilege/thread.h"
#include "../actuator.h"
#include "../monotonic.h"
#include "../place.h"
#include "../topology.h"
#include "clock.h"

#define EVENTS_MAX  16
#define WATCHED_MAX 64 /* per agent; more than a CPU can usefully run in one cap */

#define BELLS_MAX 8 /* rings heard in one boost; a guest that keeps to the protocol needs one */

#define TAG_STOP (1ull << 32)
#define TAG_RING (2ull << 32)
#define TAG_BELL (3ull << 32) /* | slot */
#define TAG_MASK (~0ull << 32)

struct watched {
	uint32_t slot;
	bool boosted;
	uint64_t until_ns; /* expiry, or when to ask the policy again, whichever comes first */
	uint64_t desired; /* the word it was served for */
	int at; /* 1 + CPU where it counts as boosted; 0 = it does not */
};

struct agent {
	struct pvsched_agents *all;
	pthread_t thread;
	int index, cpu, ep, stop_fd;
	struct ring_buffer *ring;
	struct watched watched[WATCHED_MAX];
	unsigned int n;
	bool running;
};

struct pvsched_agents {
	struct pvsched_actuator_opts o;
	struct agent *agent;
	int n;
	/* for wishes: vCPUs boosted on each core, and by whom each CPU is shared */
	int cpus;
	int boosted[PVSCHED_CPUS]; /* by core; atomic */
	uint16_t core[PVSCHED_CPUS], llc[PVSCHED_CPUS];
};

static void count_at(struct agent *a, struct watched *w, int at)
{
	struct pvsched_agents *all = a->all;

	if (w->at == at)
		return;
	if (w->at)
		__atomic_fetch_sub(&all->boosted[all->core[w->at - 1]], 1, __ATOMIC_RELAXED);
	if (at)
		__atomic_fetch_add(&all->boosted[all->core[at - 1]], 1, __ATOMIC_RELAXED);
	w->at = at;
}

/* model: agent.drop */
static void drop(struct agent *a, uint32_t slot)
{
	struct pvsched_shared *sh = &a->all->o.act->shared[slot];

	for (unsigned int i = 0; i < a->n; i++)
		if (a->watched[i].slot == slot) {
			count_at(a, &a->watched[i], 0);
			a->watched[i] = a->watched[--a->n];
			break;
		}
	if (sh->owner == (uint32_t)a->cpu + 1) {
		sh->watch_ns = 0;
		sh->owner = 0;
	}
}

/* PVSCHED_WISH_APART: from a core with another boosted vCPU to one without. */
static void set_apart(struct agent *a, struct watched *w)
{
	struct pvsched_agents *all = a->all;
	struct pvsched_slot *s = &all->o.act->slots[w->slot];
	cpu_set_t free;
	int cpu = -1;

	if (__atomic_load_n(&all->boosted[all->core[a->cpu]], __ATOMIC_RELAXED) < 2)
		return;
	CPU_ZERO(&free);
	for (int i = 0; i < all->cpus && i < CPU_SETSIZE; i++)
		if (all->llc[i] == all->llc[a->cpu] &&
		    !__atomic_load_n(&all->boosted[all->core[i]], __ATOMIC_RELAXED))
			CPU_SET(i, &free);
	if (!pvsched_slot_lock(s))
		return;
	if (pvsched_thread_lives(all->o.act, s, &all->o.act->shared[w->slot]))
		cpu = pvsched_place_move(s, &all->o.act->shared[w->slot], &free);
	pvsched_slot_unlock(s);
	if (cpu >= 0)
		count_at(a, w, cpu + 1);
}

/* model: agent.keep */
static int keep(struct agent *a, uint32_t slot, const struct pvsched_applied *r, uint64_t again)
{
	struct pvsched_shared *sh = &a->all->o.act->shared[slot];
	unsigned int i;
	int at;

	for (i = 0; i < a->n && a->watched[i].slot != slot; i++)
		;
	if (i == WATCHED_MAX)
		return -ENOSPC;
	at = i < a->n ? a->watched[i].at : 0;
	a->watched[i] = (struct watched){ slot, r->boosted, r->until_ns, r->desired, at };
	if (!r->boosted || !at)
		count_at(a, &a->watched[i], r->boosted ? a->cpu + 1 : 0);
	if (r->boosted && !at && __atomic_load_n(&sh->wish, __ATOMIC_RELAXED) == PVSCHED_WISH_APART)
		set_apart(a, &a->watched[i]);
	if (again && (!r->until_ns || again < r->until_ns))
		a->watched[i].until_ns = again;
	if (i == a->n)
		a->n++;
	sh->watch_ns = again;
	sh->owner = a->cpu + 1;
	return 0;
}

/*
 * One ring is heard, and then none until this is called again: a ring costs its guest one store,
 * but wakes a real-time thread that no budget is charged for. Moves only when the vCPU was last
 * boosted from another CPU. Under the slot's lock. model: agent.listen
 */
static void listen_bell(struct agent *a, struct pvsched_slot *s)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLONESHOT, .data.u64 = TAG_BELL };
	int err;

	if (s->doorbell_fd < 0 || (s->agent == a->index && s->listening))
		return;
	ev.data.u64 |= s->doorbell_id;
	if (s->agent == a->index) {
		err = epoll_ctl(a->ep, EPOLL_CTL_MOD, s->doorbell_fd, &ev);
	} else {
		if (s->agent >= 0)
			epoll_ctl(a->all->agent[s->agent].ep, EPOLL_CTL_DEL, s->doorbell_fd, NULL);
		err = epoll_ctl(a->ep, EPOLL_CTL_ADD, s->doorbell_fd, &ev);
		s->agent = err ? -1 : a->index;
	}
	s->listening = !err;
}

/* What rang is taken off, so that only later rings count. Never blocks, whatever flags the client
 * gave its eventfd. model: agent.take_bell */
static void take_bell(struct agent *a, struct pvsched_slot *s)
{
	uint64_t rings;
	struct iovec iov = { &rings, sizeof(rings) };

	if (s->agent != a->index)
		return; /* moved meanwhile */
	s->listening = false;
	if (preadv2(s->doorbell_fd, &iov, 1, -1, RWF_NOWAIT) > 0)
		s->doorbells++;
}

static void ask(struct agent *a, uint32_t slot, uint32_t event)
{
	struct pvsched_slot_arg arg = { .slot = slot, .op = event };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &arg, .ctx_size_in = sizeof(arg));

	bpf_prog_test_run_opts(
		__atomic_load_n(&a->all->o.act->slots[slot].prog_fd, __ATOMIC_ACQUIRE), &opts);
}

/*
 * Did the guest end its urgency before it could see the grant? Then it did not ring. Pairs with its
 * barrier, see tell_guest(). Asked once of each word that is a boost, whoever carried it out: one that
 * stands for another boost changes nothing of the thread, and may be of an older page than the one whose
 * doorbell was heard. ~100 ns.
 */
static bool unseen(struct agent *a, uint32_t slot, uint64_t word)
{
	struct pvsched_actuation *act = a->all->o.act;
	struct pvsched_slot *s = &act->slots[slot];
	bool newer = false;
	uint64_t ack;

	if (__atomic_load_n(&s->heard, __ATOMIC_RELAXED) == word || !pvsched_slot_lock(s))
		return false;
	__atomic_store_n(&s->heard, word, __ATOMIC_RELAXED);
	if (s->used && s->bells < BELLS_MAX)
		listen_bell(a, s);
	if (s->page) {
		/* model: agent.unseen */
		newer = pvsched_page_gen(s->page) !=
			(uint32_t)__atomic_load_n(&act->shared[slot].gen, __ATOMIC_ACQUIRE);
		/* model: agent.unseen_ack; an ack need not come with a new generation */
		ack = __atomic_load_n(&act->shared[slot].ack, __ATOMIC_ACQUIRE);
		if (ack != PVSCHED_NO_ACK)
			newer |= __atomic_load_n(&s->page->ack, __ATOMIC_ACQUIRE) != ack;
	}
	pvsched_slot_unlock(s);
	return newer;
}

/* Returns whether the vCPU is boosted now. */
static bool serve(struct agent *a, uint32_t slot, uint64_t event_ns)
{
	struct pvsched_actuation *act = a->all->o.act;
	struct pvsched_shared *sh = &act->shared[slot];
	struct pvsched_applied r;
	uint64_t again = 0;

	pvsched_apply(act, slot, event_ns, false, &r);
	if (!r.until_ns && PVSCHED_WORD_LEVEL(__atomic_load_n(&sh->desired, __ATOMIC_ACQUIRE)) !=
				   PVSCHED_LEVEL_BASE) {
		/* Expired, or too little was left of it to begin. If the vCPU still waits, no
		 * event of its own will ask for it: do so. model: agent.expired */
		ask(a, slot, PVSCHED_EV_TIMER);
		pvsched_apply(act, slot, 0, false, &r);
	}
	/* Whatever made it a boost: its end must be heard. Each turn costs the guest an end of
	 * urgency at this very moment. model: agent.ask */
	for (int i = 0; i < 4 && r.boosted && unseen(a, slot, r.desired); i++) {
		ask(a, slot, PVSCHED_EV_DOORBELL);
		pvsched_apply(act, slot, 0, false, &r);
	}
	if (!r.boosted)
		again = __atomic_load_n(&sh->again_ns, __ATOMIC_ACQUIRE);
	/* one more than a moment away is bpf_timer's: most sleep longer than they are watched */
	if (again > now_ns() + PVSCHED_WATCH_NS)
		again = 0;
	if ((again || r.until_ns) && !keep(a, slot, &r, again))
		return r.boosted;
	drop(a, slot);
	if (r.until_ns) { /* nobody would watch over it: take it back */
		pvsched_desire_nothing(sh);
		pvsched_apply(act, slot, 0, true, &r);
	}
	return r.boosted;
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
	struct pvsched_actuation *act = a->all->o.act;
	struct pvsched_slot *s = &act->slots[slot];
	uint64_t desired;

	if (pvsched_slot_lock(s)) {
		if (s->used)
			take_bell(a, s);
		pvsched_slot_unlock(s);
	} else {
		s->listening = false; /* no ring comes until it is listened for again */
	}
	/* The vCPU lost its CPU to this very wake-up, so PREEMPTED saw its page already; ask the
	 * policy only if the desired state still stands. */
	desired = __atomic_load_n(&act->shared[slot].desired, __ATOMIC_ACQUIRE);
	if (pvsched_word_active(desired, now_ns()) &&
	    PVSCHED_WORD_REASON(desired) != PVSCHED_REASON_PAYBACK)
		ask(a, slot, PVSCHED_EV_DOORBELL);
	if (!serve(a, slot, 0))
		return;
	/* still boosted, for another reason: its end may be rung for, too */
	if (!pvsched_slot_lock(s))
		return;
	if (s->used && s->bells < BELLS_MAX) {
		s->bells++;
		listen_bell(a, s);
	}
	pvsched_slot_unlock(s);
}

/* At the end of each wake-up: whatever is watched is looked at, due or not. PREEMPTED relies on
 * it when this thread took the CPU from a vCPU that it watches. */
static void look(struct agent *a)
{
	struct pvsched_shared *sh;
	uint64_t now = now_ns(), event_ns;
	struct watched w;

	/* backwards: serve() may drop the entry, which moves the last one here */
	for (unsigned int i = a->n; i-- > 0;) {
		if (i >= a->n)
			continue;
		w = a->watched[i];
		sh = &a->all->o.act->shared[w.slot];
		event_ns = 0;
		/* model: agent.look */
		if (__atomic_load_n(&sh->desired, __ATOMIC_ACQUIRE) == w.desired) {
			if (__atomic_load_n(&sh->owner, __ATOMIC_ACQUIRE) != (uint32_t)a->cpu + 1) {
				count_at(a, &a->watched[i], 0);
				a->watched[i] = a->watched[--a->n]; /* another agent has it */
				continue;
			}
			/* another decision may ask for an earlier look and change no word */
			event_ns = __atomic_load_n(&sh->again_ns, __ATOMIC_ACQUIRE);
			if (!w.boosted && event_ns && event_ns < w.until_ns)
				a->watched[i].until_ns = w.until_ns = event_ns;
			event_ns = 0;
			if (w.until_ns > now)
				continue;
		}
		/* Of another word, who watches does not matter: PREEMPTED may have relied on this
		 * agent just before the other one took over. */
		if (!w.boosted && w.until_ns <= now) {
			sh->again_ns = 0;
			ask(a, w.slot, PVSCHED_EV_TIMER);
			event_ns = w.until_ns; /* when it was due: this thread may wake late */
		}
		serve(a, w.slot, event_ns);
	}
}

static int timeout(struct agent *a, struct timespec *ts)
{
	uint64_t now, min = ~0ull;

	if (!a->n)
		return -1;
	for (unsigned int i = 0; i < a->n; i++)
		if (a->watched[i].until_ns < min)
			min = a->watched[i].until_ns;
	now = now_ns();
	min = min > now ? min - now : 0;
	ts->tv_sec = min / 1000000000;
	ts->tv_nsec = min % 1000000000;
	return 0;
}

/* Its CPU was off as it woke: the kernel lets it run anywhere from then on, where the programs would take it for
 * the agent of that CPU. */
static void go_home(const struct agent *a)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(a->cpu, &set);
	sched_setaffinity(0, sizeof(set), &set); /* still off: at the next wake-up */
}

static void *run(void *arg)
{
	struct agent *a = arg;
	struct epoll_event ev[EVENTS_MAX];
	struct timespec ts;
	int n;

	for (;;) {
		/* model: agent.sleep */
		n = epoll_pwait2(a->ep, ev, EVENTS_MAX, timeout(a, &ts) ? NULL : &ts, NULL);
		if (n < 0 && errno != EINTR)
			break;
		if (sched_getcpu() != a->cpu)
			go_home(a);
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
			look(a);
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
	err = pvsched_thread_start(&a->thread, &attr, PVSCHED_CAPS_ACTUATE, 0, run, a);
	pthread_attr_destroy(&attr);
	if (err)
		return err;
	a->running = true;
	pthread_setname_np(a->thread, "pvsched-agent");
	return 0;
}

static void stop(void *arg)
{
	struct pvsched_agents *all = arg;

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

static int start(const struct pvsched_actuator_opts *opts, void **ret)
{
	struct pvsched_agents *all = calloc(1, sizeof(*all));
	int err = -ENOMEM;

	if (!all)
		return err;
	all->o = *opts;
	all->cpus = libbpf_num_possible_cpus();
	if (all->cpus > PVSCHED_CPUS)
		all->cpus = PVSCHED_CPUS;
	for (int cpu = 0; cpu < all->cpus; cpu++) {
		all->core[cpu] = pvsched_topology_core(PVSCHED_TOPOLOGY_ROOT, cpu) % PVSCHED_CPUS;
		all->llc[cpu] = pvsched_topology_llc(PVSCHED_TOPOLOGY_ROOT, cpu);
	}
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
	stop(all);
	if (opts->say)
		opts->say(opts->ctx,
			  err == -EPERM ? "agents: SCHED_FIFO: not permitted: needs CAP_SYS_NICE, "
					  "and a real-time quota where RT group scheduling is on"
					: strerror(-err));
	return err;
}

static int set_priority(void *arg, unsigned int priority)
{
	struct pvsched_agents *all = arg;
	int err = 0;

	for (int i = 0; i < all->n && !err; i++)
		err = -pthread_setschedprio(all->agent[i].thread, priority);
	return err;
}

static void forget(void *arg, uint32_t slot)
{
	struct pvsched_agents *all = arg;
	struct pvsched_slot *s = &all->o.act->slots[slot];
	bool locked = pvsched_slot_lock(s);

	if (s->agent >= 0)
		epoll_ctl(all->agent[s->agent].ep, EPOLL_CTL_DEL, s->doorbell_fd, NULL);
	s->agent = -1;
	s->listening = false;
	if (locked)
		pvsched_slot_unlock(s);
}

static void *nothing(void *arg)
{
	return arg;
}

/* Asked with a thread of its own: one that made itself real-time to see whether it may could stay so. */
static int usable(char *why, size_t size)
{
	struct sched_param fifo = { .sched_priority = 1 };
	pthread_attr_t attr;
	pthread_t thread;
	int err;

	pthread_attr_init(&attr);
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
	pthread_attr_setschedparam(&attr, &fifo);
	err = -pthread_create(&thread, &attr, nothing, NULL);
	pthread_attr_destroy(&attr);
	if (!err)
		pthread_join(thread, NULL);
	else
		snprintf(why, size,
			 "SCHED_FIFO: %s: needs CAP_SYS_NICE, and real-time time in this cgroup",
			 strerror(-err));
	return err;
}

const struct pvsched_actuator pvsched_actuator_agent = {
	.name = "agent",
	.summary = "a SCHED_FIFO thread on each CPU changes the vCPU thread's scheduling",
	.kind = PVSCHED_ACTUATOR_AGENT,
	.act_ns = 50000, /* docs/costs.md: 995 boosts a second take 4.7 to 5.2 % of a CPU */
	.automatic = true,
	.usable = usable,
	.start = start,
	.stop = stop,
	.forget = forget,
	.set_priority = set_priority,
};
