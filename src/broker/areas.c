// SPDX-License-Identifier: GPL-2.0-only
/* Pages of guests that speak through a port: the register device's operations, and the host's words in
 * guests' memory. See ports.h. */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "port.h"

#define PERIOD_MS  10 /* how old the host's words may be in the guest's memory */
#define LEASE_STEP 1000 /* by which a lease grows at most between two looks */
#define WORDS	   PVSCHED_AREA_WORDS
#define ALL_WORDS  ((1u << WORDS) - 1)
#define RETRIES	   8 /* of a look at slots that changed meanwhile */
/* REGISTER and ENABLE wait for grace periods: each vCPU twice at once, then 50 a second */
#define REGISTER_PER_S	50
#define REGISTER_BURST	512
#define MEM_READONLY	2 /* KVM_MEM_READONLY */
#define MEM_GUEST_MEMFD 4 /* KVM_MEM_GUEST_MEMFD */

static bool peek(const struct pvsched_port *p, uint64_t hva, void *to, size_t size)
{
	return pread(p->mem_fd, to, size, hva) == (ssize_t)size;
}

/* Words of lines 3 and 4, each by itself, so that the guest reads none by halves: the kernel copies 8 aligned
 * bytes by one store, or by `rep movsb`, of which that is promised nowhere and so far found everywhere
 * (stream_words_are_written_whole). The status comes last: who sees ATTACHED sees the nonce, and after OFF nothing
 * is written. */
static bool poke(const struct pvsched_port *p, uint64_t hva, const __u64 *words, uint32_t which)
{
	hva += offsetof(struct pvsched_page, status);
	for (unsigned int n = 1; n <= WORDS; n++) {
		unsigned int i = n % WORDS;

		if (which >> i & 1 && pwrite(p->mem_fd, &words[i], 8, hva + i * 8) != 8)
			return false;
	}
	return true;
}

/* The guest numbers its vCPUs by their APIC ids, as QEMU gave them to KVM. */
static int slot_of(const struct pvsched_port *p, unsigned int vcpu)
{
	const struct pvsched_client *c = pvsched_port_client(p);
	const struct pvsched_registry *r = p->all->server->reg;

	for (int i = 0; i < PVSCHED_VCPUS_MAX && pvsched_port_has_vm(p); i++)
		if (c->slot[i] >= 0 && r->act.slots[c->slot[i]].apic_id == vcpu)
			return c->slot[i];
	return -ENOENT;
}

static int frame_at(const struct pvsched_port *p, uint64_t gfn, struct pvsched_frame_at *ret)
{
	struct pvsched_finder *f = p->all->found->finder;
	int err = f ? -EAGAIN : -ESRCH;

	for (int i = 0; i < RETRIES && err == -EAGAIN; i++)
		err = pvsched_finder_frame(f, p->kvm, gfn, ret);
	return err;
}

static uint32_t find_frame(struct pvsched_port *p, uint64_t gfn, uint64_t *ret_hva)
{
	struct pvsched_frame_at at;
	int err = frame_at(p, gfn, &at);

	if (err)
		return err == -ENOENT ? PVSCHED_R_BAD_GFN : PVSCHED_R_HOST;
	if (at.flags & MEM_GUEST_MEMFD)
		return PVSCHED_R_PRIVATE;
	if (at.flags & MEM_READONLY)
		return PVSCHED_R_READ_ONLY;
	*ret_hva = at.hva;
	return PVSCHED_R_OK;
}

static uint32_t op_read_header(void *ctx, uint64_t gfn, struct pvsched_page *ret_line0)
{
	struct pvsched_port *p = ctx;
	uint64_t hva;
	uint32_t result = find_frame(p, gfn, &hva);

	if (result == PVSCHED_R_OK && !peek(p, hva, ret_line0, PVSCHED_LINE))
		result = PVSCHED_R_BAD_GFN;
	return result;
}

static uint32_t op_attach(void *ctx, unsigned int vcpu, uint64_t gfn, uint64_t nonce)
{
	const __u64 words[WORDS] = { PVSCHED_PAGE_ATTACHED, nonce };
	struct pvsched_port *p = ctx;
	struct pvsched_area *a = &p->area[vcpu];
	uint64_t hva;
	uint32_t result;

	if (slot_of(p, vcpu) < 0)
		return PVSCHED_R_BAD_VCPU;
	result = find_frame(p, gfn, &hva);
	if (result != PVSCHED_R_OK)
		return result;
	for (int i = 0; i < PVSCHED_VCPUS_MAX; i++)
		if (p->area[i].hva == hva)
			return PVSCHED_R_IN_USE;
	if (!poke(p, hva, words, ALL_WORDS))
		return PVSCHED_R_BAD_GFN;
	memset(a, 0, sizeof(*a));
	a->hva = hva;
	a->gfn = gfn;
	a->since_ns = now_ns();
	memcpy(a->told, words, sizeof(words));
	return PVSCHED_R_OK;
}

/* The VMM may have changed its slots since: what is at that address now is then its own affair. */
static enum pvsched_area_at whereabouts(const struct pvsched_port *p, uint64_t gfn, uint64_t hva)
{
	struct pvsched_frame_at at;
	int err = frame_at(p, gfn, &at);

	if (err == -ENOENT || err == -EAGAIN)
		return PVSCHED_AREA_AWAY;
	if (err || at.hva != hva || at.flags & (MEM_GUEST_MEMFD | MEM_READONLY))
		return PVSCHED_AREA_ELSEWHERE;
	return PVSCHED_AREA_HERE;
}

static bool is_here(const struct pvsched_port *p, uint64_t gfn, uint64_t hva)
{
	return whereabouts(p, gfn, hva) == PVSCHED_AREA_HERE;
}

/* An attached page that was not enabled has no lease: it has the time of one. */
static bool is_overdue(const struct pvsched_area *a)
{
	return now_ns() - a->since_ns > PVSCHED_LEASE_MS * 1000000ull;
}

static void choose_policy(struct pvsched_port *p)
{
	if (pvsched_port_has_vm(p))
		pvsched_server_speak(p->all->server, pvsched_port_client(p), p->enabled > 0);
}

static uint32_t op_enable(void *ctx, unsigned int vcpu, uint64_t features)
{
	struct pvsched_port *p = ctx;
	struct pvsched_registry *r = p->all->server->reg;
	struct pvsched_area *a = &p->area[vcpu];
	int slot = slot_of(p, vcpu);
	void *copy;

	if (slot < 0)
		return PVSCHED_R_BAD_VCPU;
	if (is_overdue(a))
		return PVSCHED_R_NOT_REGISTERED;
	if (!is_here(p, a->gfn, a->hva) ||
	    !peek(p, a->hva + offsetof(struct pvsched_page, lease), &a->lease, 8))
		return PVSCHED_R_BAD_GFN;
	if (pvsched_registry_enable_copy(r, slot, a->hva, features))
		return PVSCHED_R_HOST;
	copy = mmap(NULL, PVSCHED_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, r->page_fd[slot],
		    0);
	if (copy == MAP_FAILED) {
		pvsched_registry_disable(r, slot);
		return PVSCHED_R_HOST;
	}
	if (!p->enabled++) /* which may take a while: the lease begins afterwards */
		choose_policy(p);
	pthread_mutex_lock(&p->all->lock);
	a->lease_ns = now_ns();
	p->slots = 0;
	a->copy = copy;
	a->copy->nonce = a->told[1];
	a->copy->status =
		PVSCHED_PAGE_ENABLED; /* told as all else, but now: the guest looks at it */
	if (is_here(p, a->gfn, a->hva) && poke(p, a->hva, &a->copy->status, 1))
		a->told[0] = PVSCHED_PAGE_ENABLED;
	pthread_mutex_unlock(&p->all->lock);
	eventfd_write(p->all->wake_fd, 1);
	return PVSCHED_R_OK;
}

/* Under the lock. False: the lease of this page is over, or its memory gone. */
static bool is_leased(const struct pvsched_port *p, struct pvsched_area *a, uint64_t now)
{
	uint64_t lease;

	if (!peek(p, a->hva + offsetof(struct pvsched_page, lease), &lease, 8))
		return false;
	if (lease == a->lease)
		return now - a->lease_ns <= PVSCHED_LEASE_MS * 1000000ull;
	if (lease - a->lease > LEASE_STEP) /* it is no lease any more */
		return false;
	a->lease = lease;
	a->lease_ns = now;
	return true;
}

/* A page whose lease is over may be anybody's memory in the guest, one whose frame is not where it was
 * anybody's in its VMM: it stays as it is. */
static void op_detach(void *ctx, unsigned int vcpu)
{
	static const __u64 dead[WORDS] = { PVSCHED_PAGE_DEAD }, off[WORDS];
	struct pvsched_port *p = ctx;
	struct pvsched_area *a = &p->area[vcpu];
	uint64_t hva = a->hva, gfn = a->gfn;
	int slot = slot_of(p, vcpu);
	struct pvsched_page *copy;
	bool lapsed;

	pthread_mutex_lock(&p->all->lock);
	copy = a->copy;
	lapsed = a->lapsed || !is_here(p, gfn, hva) ||
		 (copy ? !is_leased(p, a, now_ns()) : is_overdue(a));
	a->copy = NULL;
	a->hva = 0;
	pthread_mutex_unlock(&p->all->lock);
	if (!lapsed)
		poke(p, hva, dead, 1);
	if (copy) {
		munmap(copy, PVSCHED_PAGE_SIZE);
		if (slot >= 0)
			pvsched_registry_disable(p->all->server->reg, slot);
		if (!--p->enabled)
			choose_policy(p);
	}
	if (!lapsed && is_here(p, gfn, hva))
		poke(p, hva, off, ALL_WORDS);
}

static uint64_t op_nonce(void *ctx)
{
	uint64_t nonce;

	(void)ctx;
	return getrandom(&nonce, sizeof(nonce), 0) == sizeof(nonce) ? nonce : 0;
}

static uint32_t op_may_register(void *ctx)
{
	struct pvsched_port *p = ctx;
	struct pvsched_rate_conf rate = pvsched_rate_conf(REGISTER_PER_S, REGISTER_BURST);
	uint64_t now = now_ns();

	if (pvsched_rate_wait(p->register_paid_at, now, &rate))
		return PVSCHED_R_RATE;
	p->register_paid_at = pvsched_rate_charge(p->register_paid_at, now, &rate);
	return PVSCHED_R_OK;
}

static void op_doorbell(void *ctx, unsigned int vcpu)
{
	struct pvsched_port *p = ctx;
	int slot = slot_of(p, vcpu);

	if (slot >= 0 && p->area[vcpu].copy)
		eventfd_write(p->all->server->reg->act.slots[slot].doorbell_fd, 1);
}

const struct pvsched_device_ops pvsched_area_ops = {
	.read_header = op_read_header,
	.attach = op_attach,
	.enable = op_enable,
	.detach = op_detach,
	.nonce = op_nonce,
	.may_register = op_may_register,
	.doorbell = op_doorbell,
};

/*
 * Looks where the pages are if the VM's slots are not what they were. One that is nowhere may come back
 * while its lease lasts: a VMM that changes a slot takes it away first.
 */
static void follow_slots(struct pvsched_port *p)
{
	struct pvsched_frame_at now = { 0 };
	bool settled = true;

	if (!frame_at(p, PVSCHED_NO_FRAME, &now) && now.slots == p->slots)
		return;
	for (int v = 0; v < PVSCHED_VCPUS_MAX; v++) {
		struct pvsched_area *a = &p->area[v];

		if (!a->copy)
			continue;
		a->at = whereabouts(p, a->gfn, a->hva);
		settled &= a->at != PVSCHED_AREA_AWAY;
	}
	p->slots = settled ? now.slots : 0;
}

/* True: nothing is written from here on. */
static bool pass_on(const struct pvsched_port *p, struct pvsched_area *a, uint64_t now)
{
	__u64 words[WORDS], *from = &a->copy->status;
	uint32_t which = 0;

	if (a->at == PVSCHED_AREA_AWAY)
		return now - a->lease_ns > PVSCHED_LEASE_MS * 1000000ull;
	if (a->at == PVSCHED_AREA_ELSEWHERE || !is_leased(p, a, now))
		return true;
	for (unsigned int i = 0; i < WORDS; i++) {
		words[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
		if (words[i] != a->told[i])
			which |= 1u << i;
	}
	if (!which)
		return false;
	memcpy(a->told, words, sizeof(words));
	return !poke(p, a->hva, words, which);
}

void *pvsched_areas_write(void *arg)
{
	struct pvsched_ports *all = arg;
	struct pollfd fd = { .fd = all->wake_fd, .events = POLLIN };
	bool any = false, lapsed;
	eventfd_t woken;

	pthread_setname_np(pthread_self(), "pvsched-area");
	while (!__atomic_load_n(&all->stop, __ATOMIC_ACQUIRE)) {
		if (poll(&fd, 1, any ? PERIOD_MS : -1) > 0)
			eventfd_read(all->wake_fd, &woken);
		any = lapsed = false;
		pthread_mutex_lock(&all->lock);
		for (int i = 0; i < PVSCHED_VMS; i++) {
			struct pvsched_port *p = all->port[i];

			if (p && p->enabled)
				follow_slots(p);
			for (int v = 0; p && p->enabled && v < PVSCHED_VCPUS_MAX; v++) {
				struct pvsched_area *a = &p->area[v];

				if (!a->copy || a->lapsed)
					continue;
				any = true;
				a->lapsed = pass_on(p, a, now_ns());
				lapsed |= a->lapsed;
			}
		}
		pthread_mutex_unlock(&all->lock);
		if (lapsed)
			eventfd_write(all->lapsed_fd, 1);
	}
	return NULL;
}

void pvsched_ports_lapsed(struct pvsched_ports *all)
{
	eventfd_t n;

	eventfd_read(all->lapsed_fd, &n);
	pthread_mutex_lock(all->server->mutex);
	for (int i = 0; i < PVSCHED_VMS; i++)
		for (int v = 0; all->port[i] && v < PVSCHED_VCPUS_MAX; v++)
			if (all->port[i]->area[v].copy && all->port[i]->area[v].lapsed)
				pvsched_device_detach(&all->port[i]->dev, v);
	pthread_mutex_unlock(all->server->mutex);
}

void pvsched_areas_check(struct pvsched_port *p)
{
	struct pvsched_server *s = p->all->server;
	int slot;

	pthread_mutex_lock(s->mutex);
	for (int v = 0; p->enabled && v < PVSCHED_VCPUS_MAX; v++) {
		if (!p->area[v].copy)
			continue;
		slot = slot_of(p, v);
		if (slot < 0 || !s->reg->act.slots[slot].page)
			pvsched_device_detach(&p->dev, v);
	}
	pthread_mutex_unlock(s->mutex);
}
