/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of the host's promises share: the guest's words set from outside its vCPUs, the
 * handshake in single steps, and waiting for what has no event. Patience is for machines that are
 * busy: what is awaited takes milliseconds, and what never comes fails.
 */
#ifndef PVSCHED_TESTS_HOST_BED_H
#define PVSCHED_TESTS_HOST_BED_H

#include <helpers/threads.h>
#include <helpers/unit.h>

#include <core/page.h>

#define HOST_PATIENCE_NS 20000000000ull

/* Polls until condition holds; fails the case when patience is over. */
#define HOST_AWAIT(condition)                                                                      \
	do {                                                                                       \
		uint64_t await_end = bed_now() + HOST_PATIENCE_NS;                                 \
		while (!(condition)) {                                                             \
			if (bed_now() > await_end)                                                 \
				fail_msg("never: %s", #condition);                                 \
			usleep(200);                                                               \
		}                                                                                  \
	} while (0)

static inline uint64_t host_word(const __u64 *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline void host_say_word(__u64 *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

static inline void host_say_context(struct pvsched_page *page, uint8_t flags, uint32_t gen)
{
	host_say_word(&page->context, pvsched_context_word(flags, gen));
}

static inline bool host_grant_boosted(uint64_t grant)
{
	return grant >> PVSCHED_TASK_FLAGS_SHIFT & PVSCHED_GRANT_BOOSTED;
}

static inline unsigned int host_grant_reason(uint64_t grant)
{
	return grant >> PVSCHED_TASK_FLAGS_SHIFT & PVSCHED_GRANT_REASON;
}

static inline uint32_t host_grant_generation(uint64_t grant)
{
	return grant >> PVSCHED_TASK_GEN_SHIFT;
}

/* Off the CPU that hog and vCPU share, if there is another: what looks at a boost must run while it
 * lasts. Threads made later inherit it, so come back before the next bed or broker. */
static cpu_set_t host_cpus;

static inline void host_stand_aside(int cpu)
{
	cpu_set_t set;

	sched_getaffinity(0, sizeof(host_cpus), &host_cpus);
	set = host_cpus;
	CPU_CLR(cpu, &set);
	if (CPU_COUNT(&set))
		sched_setaffinity(0, sizeof(set), &set);
}

static inline void host_come_back(void)
{
	sched_setaffinity(0, sizeof(host_cpus), &host_cpus);
}

/* A VM whose vCPU 0 computes beside a hog, on a CPU that the case itself leaves to the two. */
static inline int host_bed_open(struct threads_bed *b)
{
	int err = bed_open(b, NULL);

	if (err)
		return err;
	b->hog = bed_start_hog(b->cpu);
	bed_mode(&b->vcpu[0], BED_SPIN);
	host_stand_aside(b->cpu);
	return 0;
}

static inline void host_bed_close(struct threads_bed *b)
{
	bed_close(b);
	host_come_back();
}

/* The same under a broker of its own, in this process. */
static inline int host_open(const struct pvsched_broker_opts *o, struct pvsched_broker **broker,
			    struct threads_bed *b)
{
	int err = bed_broker(o, broker);

	return err ? err : host_bed_open(b);
}

static inline void host_close(struct pvsched_broker *broker, struct threads_bed *b)
{
	bed_close(b);
	pvsched_broker__stop(broker);
	host_come_back();
}

/* A reset by the guest, then negotiation of just these features. Returns STATUS. */
static inline uint32_t host_renegotiate(struct threads_bed *b, uint64_t features)
{
	guest_write(b->vm, PVSCHED_REG_STATUS, 0);
	guest_write(b->vm, PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE);
	guest_write(b->vm, PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER);
	guest_write(b->vm, PVSCHED_REG_GUEST_FEATURES, features);
	guest_write(b->vm, PVSCHED_REG_GUEST_FEATURES + 4, features >> 32);
	guest_write(b->vm, PVSCHED_REG_CHOICE_ID, PVSCHED_PROTO_BASE);
	guest_write(b->vm, PVSCHED_REG_CHOICE_VERSION, PVSCHED_PROTO_BASE_VERSION);
	guest_write(b->vm, PVSCHED_REG_STATUS,
		    PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER | PVSCHED_S_FEATURES_OK);
	return guest_read(b->vm, PVSCHED_REG_STATUS);
}

/* REGISTER with a clean page; waits out the limit of its rate. Returns PVSCHED_R_*. */
static inline uint32_t host_register(struct bed_vcpu *v)
{
	struct pvsched_vm *vm = v->bed->vm;
	uint64_t end = bed_now() + HOST_PATIENCE_NS;
	uint32_t result;

	guest_prepare(vm, v->page, v->index);
	v->page->current_task = 0;
	v->page->pending = 0;
	do {
		result = guest_register(vm, v->index, 16 + v->index);
		if (result == PVSCHED_R_RATE)
			bed_sleep_ms(1);
	} while (result == PVSCHED_R_RATE && bed_now() < end);
	return result;
}

static inline uint32_t host_attach(struct bed_vcpu *v)
{
	uint32_t result = host_register(v);

	return result != PVSCHED_R_OK ? result : guest_enable(v->bed->vm, v->index, v->page);
}

/* Until the vCPU has waited for its CPU for ns more: the host had that many reasons to act. */
#define HOST_AWAIT_STEAL(v, ns)                                                                    \
	do {                                                                                       \
		uint64_t steal_from = bed_stats(v).steal_ns;                                       \
		HOST_AWAIT(bed_stats(v).steal_ns >= steal_from + (ns));                            \
	} while (0)

/* Boosted time may exceed rate * W + burst by what is not charged yet at either end of W, and by
 * the longest boost as it was measured (spec/accounting.md). */
#define HOST_SHOTS 400

struct host_bound {
	unsigned int n;
	struct {
		uint64_t before, after, boosted_ns;
	} shot[HOST_SHOTS];
};

static inline void host_bound_shot(struct host_bound *h, struct bed_vcpu *v)
{
	if (h->n == HOST_SHOTS)
		return;
	h->shot[h->n].before = bed_now();
	h->shot[h->n].boosted_ns = bed_stats(v).boosted_ns;
	h->shot[h->n++].after = bed_now();
}

/* Every window between two shots. Returns by how much the worst one was exceeded; 0 = none. */
static inline uint64_t host_bound_excess(const struct host_bound *h, unsigned int percent,
					 uint64_t burst_ns, uint64_t longest_ns)
{
	uint64_t worst = 0;

	for (unsigned int i = 0; i < h->n; i++) {
		for (unsigned int j = i + 1; j < h->n; j++) {
			uint64_t window = h->shot[j].after - h->shot[i].before;
			uint64_t took = h->shot[j].boosted_ns - h->shot[i].boosted_ns;
			uint64_t may = window * percent / 100 + burst_ns + 2 * longest_ns;

			if (took > may && took - may > worst)
				worst = took - may;
		}
	}
	return worst;
}

/* Memory of its own that the process has, in KiB. */
static inline unsigned long bed_rss_anon_kb(pid_t pid)
{
	unsigned long kb = 0;
	char line[128];
	FILE *f;

	snprintf(line, sizeof(line), "/proc/%d/status", pid);
	f = fopen(line, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "RssAnon: %lu kB", &kb) == 1)
			break;
	fclose(f);
	return kb;
}

#endif
