// SPDX-License-Identifier: GPL-2.0-only
/*
 * A policy's wish that boosted vCPUs be apart: carried out by the agents, through the affinity of a
 * thread, for the boost only; the ids in the host area tell that it was. vCPU 0 may run on one CPU
 * only and is always urgent there; vCPU 1 is urgent beside it and may go elsewhere.
 */
/* timeout: 120 */
#include <helpers/host_bed.h>

struct scene {
	struct threads_bed bed;
	pid_t broker, other_hog;
	int other; /* a CPU of another core */
};

/* What vCPU 1 saw of itself, atomic. */
static int apart, together, meddle, meddled;
static __u64 neighbour; /* vCPU 0's placement */
static cpu_set_t one, both;

static uint64_t core_of(uint64_t placement)
{
	return placement >> PVSCHED_PLACE_CORE_SHIFT & 0xffff;
}

/* As the guest: urgent; its own affinity tells whether somebody has moved it. */
static void urgent(struct bed_vcpu *v)
{
	cpu_set_t now;
	uint64_t core;

	bed_publish(v, PVSCHED_CTX_CRITICAL);
	bed_work(20000);
	if (sched_getaffinity(0, sizeof(now), &now) || CPU_EQUAL(&now, &both))
		return;
	core = core_of(host_word(&v->page->placement));
	/* the boost may end between any two of these lines: then nothing was seen */
	if (sched_getaffinity(0, sizeof(now), &now) || CPU_EQUAL(&now, &both) ||
	    CPU_EQUAL(&now, &one))
		return;
	if (core == core_of(host_word(&neighbour)))
		__atomic_fetch_add(&together, 1, __ATOMIC_RELAXED);
	else
		__atomic_fetch_add(&apart, 1, __ATOMIC_RELAXED);
	if (!__atomic_load_n(&meddle, __ATOMIC_ACQUIRE))
		return;
	/* somebody else has another idea of where it runs */
	sched_setaffinity(0, sizeof(one), &one);
	__atomic_store_n(&meddled, 1, __ATOMIC_RELEASE);
}

static int setup(void **state)
{
	struct pvsched_broker_opts o = { .print = bed_say, .placement = true };
	static struct scene s;
	static char policy[256];
	const char *build = getenv("PVSCHED_BUILD");
	struct threads_bed *b = &s.bed;
	int err;

	*state = &s;
	s.broker = s.other_hog = 0;
	s.other = -1;
	__atomic_store_n(&apart, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&together, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&meddle, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&meddled, 0, __ATOMIC_RELAXED);
	snprintf(policy, sizeof(policy), "%s/tests/native/policies/apart.bpf.o",
		 build ? build : "build");
	o.policy = policy;
	s.broker = bed_start_broker(&o);
	err = s.broker > 0 ? bed_open(b, NULL) : s.broker;
	if (err)
		return err;
	host_stand_aside(b->cpu);
	for (int cpu = 0; cpu < CPU_SETSIZE && s.other < 0; cpu++)
		if (CPU_ISSET(cpu, &host_cpus) && cpu != b->cpu)
			s.other = cpu;
	CPU_ZERO(&one);
	CPU_SET(b->cpu, &one);
	both = one;
	if (s.other < 0)
		return 0;
	CPU_SET(s.other, &both);
	if (host_renegotiate(b, PVSCHED_F_PLACEMENT) == 0 ||
	    host_attach(&b->vcpu[0]) != PVSCHED_R_OK || host_attach(&b->vcpu[1]) != PVSCHED_R_OK)
		return -EPROTO;
	/* as much to do on either CPU, so that the kernel has no reason to part the two */
	b->hog = bed_start_hog(b->cpu);
	s.other_hog = bed_start_hog(s.other);
	return 0;
}

static int teardown(void **state)
{
	struct scene *s = *state;

	bed_close(&s->bed);
	bed_stop_child(&s->other_hog);
	bed_stop_child(&s->broker);
	host_come_back();
	return 0;
}

/* Urgent side by side, until vCPU 1 was found elsewhere. It is put back beside vCPU 0 again and again,
 * as its owner might: the kernel may part them by itself, and does where it wakes up. */
static void await_apart(struct scene *s)
{
	struct bed_vcpu *v = s->bed.vcpu;
	uint64_t end = bed_now() + HOST_PATIENCE_NS;

	v[1].harm = urgent;
	bed_mode(&v[0], BED_CRITICAL);
	HOST_AWAIT(host_word(&v[0].page->placement));
	host_say_word(&neighbour, host_word(&v[0].page->placement));
	sched_setaffinity(v[1].tid, sizeof(one), &one);
	bed_mode(&v[1], BED_HARM);
	HOST_AWAIT(__atomic_load_n(&v[1].seen, __ATOMIC_ACQUIRE) == BED_HARM);
	while (!__atomic_load_n(&apart, __ATOMIC_ACQUIRE)) {
		if (bed_now() > end)
			fail_msg("vCPU 1 was never moved away from vCPU 0");
		sched_setaffinity(v[1].tid, sizeof(one), &one);
		bed_sleep_ms(1);
		sched_setaffinity(v[1].tid, sizeof(both), &both);
		bed_sleep_ms(20);
	}
}

static bool has(pid_t tid, const cpu_set_t *wanted)
{
	cpu_set_t now;

	return !sched_getaffinity(tid, sizeof(now), &now) && CPU_EQUAL(&now, wanted);
}

static void end_urgency(struct scene *s)
{
	for (int i = 0; i < BED_VCPUS; i++) {
		bed_mode(&s->bed.vcpu[i], BED_SPIN);
		HOST_AWAIT(__atomic_load_n(&s->bed.vcpu[i].seen, __ATOMIC_ACQUIRE) == BED_SPIN);
		bed_publish(&s->bed.vcpu[i], 0);
	}
}

static bool one_cpu_only(const struct scene *s)
{
	if (s->other < 0)
		print_message("needs two CPUs\n");
	return s->other < 0;
}

static void host_wish_apart_moves_a_boost_to_another_core(void **state)
{
	struct scene *s = *state;
	struct bed_vcpu *v = s->bed.vcpu;

	if (one_cpu_only(s))
		skip();
	await_apart(s);
	end_urgency(s);
	HOST_AWAIT(has(v[1].tid, &both));
	assert_true(has(v[0].tid, &one));
	assert_int_equal(__atomic_load_n(&together, __ATOMIC_ACQUIRE), 0);
}

static void host_wish_leaves_an_affinity_that_somebody_else_set(void **state)
{
	struct scene *s = *state;
	struct bed_vcpu *v = s->bed.vcpu;
	bool left = false;

	if (one_cpu_only(s))
		skip();
	/* What is set between the agent's look and its change, some us, is lost: then again. */
	for (int i = 0; i < 5 && !left; i++) {
		__atomic_store_n(&apart, 0, __ATOMIC_RELEASE);
		__atomic_store_n(&meddled, 0, __ATOMIC_RELEASE);
		__atomic_store_n(&meddle, 1, __ATOMIC_RELEASE);
		await_apart(s);
		HOST_AWAIT(__atomic_load_n(&meddled, __ATOMIC_ACQUIRE));
		end_urgency(s);
		HOST_AWAIT(!host_grant_boosted(host_word(&v[1].page->grant)));
		left = has(v[1].tid, &one);
	}
	assert_true(left);
}

static void host_wish_is_taken_back_when_the_broker_is_killed(void **state)
{
	struct scene *s = *state;
	struct bed_vcpu *v = s->bed.vcpu;

	if (one_cpu_only(s))
		skip();
	await_apart(s);
	bed_stop_child(&s->broker);
	HOST_AWAIT(has(v[1].tid, &both));
	assert_true(has(v[0].tid, &one));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(host_wish_apart_moves_a_boost_to_another_core),
		CASE(host_wish_leaves_an_affinity_that_somebody_else_set),
		CASE(host_wish_is_taken_back_when_the_broker_is_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
