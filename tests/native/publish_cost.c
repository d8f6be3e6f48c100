// SPDX-License-Identifier: GPL-2.0-only
/*
 * What publishing costs a kernel that runs pvsched-guest: a context switch without any program, with
 * empty ones on the tracepoints that a switch and its wake-up pass, and with the guest's own, its page
 * enabled, interleaved. No device: the page is shared with nobody, which costs the programs the same. Printed, and
 * judged only where the clock counts instructions (lab/tests/publish-cost.sh).
 */
#include <helpers/median.h>
#include <helpers/names.h>
#include <helpers/threads.h>
#include <helpers/unit.h>

#define SWITCHES 1000
#include <helpers/switches.h>

#include <bpf/libbpf.h>
#include <guest/linux/clock.h>
#include <guest/linux/publisher.h>
#include <sys/resource.h>

#define ROUNDS	7
#define SAMPLES 8 /* of a round, of which the least counts: others' work comes on top */

extern const unsigned char bench_empty_bpf[];
extern const size_t bench_empty_bpf_size;

/* Between tasks that look the same to the host, and between two of which one has another nice: then each
 * switch is told. */
enum variant { NONE, NONE_UNLIKE, EMPTY, LIKE, UNLIKE, VARIANTS };

static const char *const names[VARIANTS] = { "switch_without_ns", "switch_unlike_without_ns",
					     "switch_with_empty_programs_ns", "switch_published_ns",
					     "switch_unlike_published_ns" };
static double cost[VARIANTS][ROUNDS];
static double stores[VARIANTS]; /* a switch */
static int to, back, nice_of_other;

static void *answer(void *arg)
{
	bed_pin(bed_last_cpu());
	setpriority(PRIO_PROCESS, gettid(), nice_of_other);
	volley(back, to);
	return arg;
}

static double sample(void)
{
	pthread_t other;
	uint64_t start;

	to = eventfd(0, EFD_CLOEXEC);
	back = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(pthread_create(&other, NULL, answer, NULL), 0);
	start = bed_now();
	eventfd_write(back, 1);
	volley(to, back);
	pthread_join(other, NULL);
	start = bed_now() - start;
	close(to);
	close(back);
	return (double)start / SWITCHES;
}

/* ns of a switch to the other thread, its wake-up included. */
static double switch_ns(void)
{
	double least = sample(), ns;

	for (int i = 1; i < SAMPLES; i++) {
		ns = sample();
		least = ns < least ? ns : least;
	}
	return least;
}

static double empty_ns(void)
{
	struct bpf_object *obj = bpf_object__open_mem(bench_empty_bpf, bench_empty_bpf_size, NULL);
	struct bpf_link *link[2] = { 0 };
	struct bpf_program *prog;
	unsigned int n = 0;
	double ns;

	assert_non_null(obj);
	assert_int_equal(bpf_object__load(obj), 0);
	bpf_object__for_each_program(prog, obj) {
		assert_true(n < 2);
		link[n] = bpf_program__attach(prog);
		assert_non_null(link[n++]);
	}
	assert_int_equal(n, 2);
	ns = switch_ns();
	bpf_link__destroy(link[0]);
	bpf_link__destroy(link[1]);
	bpf_object__close(obj);
	return ns;
}

static void ring(void *ctx, unsigned int cpu)
{
	(void)ctx, (void)cpu;
	fail_msg("nothing is boosted, so nothing rings");
}

static double told_ns(const struct publisher *p, int cpu, enum variant v)
{
	const volatile __u64 *n = &p->state->cpu[cpu].stores;
	uint64_t before;
	double ns;

	nice_of_other = v == UNLIKE;
	sample(); /* the word that stands there is one of these threads' */
	before = *n;
	ns = switch_ns();
	stores[v] = (double)(*n - before) / SWITCHES / SAMPLES;
	nice_of_other = 0;
	return ns;
}

static void publish(int cpu, int round)
{
	struct publisher p;
	struct cli_error e = { 0 };

	if (publisher_open(&p, libbpf_num_possible_cpus(), ring, NULL, &e))
		fail_msg("%s: %s: %s", e.what, e.on, e.why);
	clock_start(&p.state->clock);
	for (unsigned int i = 0; i < p.cpus && i < PVSCHED_VCPUS_MAX; i++)
		p.state->cpu[i].on = 1;
	cost[LIKE][round] = told_ns(&p, cpu, LIKE);
	cost[UNLIKE][round] = told_ns(&p, cpu, UNLIKE);
	publisher_poll(&p);
	publisher_unpin();
	publisher_close(&p);
}

static unsigned int links(void)
{
	unsigned int n = 0;
	__u32 id = 0;

	while (!bpf_link_get_next_id(id, &id))
		n++;
	return n;
}

static void publishing_is_measured_beside_empty_programs(void **state)
{
	int cpu = bed_last_cpu();
	unsigned int before;

	(void)state;
	need_names();
	if (publisher_left_over())
		fail_msg("%s: pvsched-guest runs here, or did: stop it first", PUBLISH_PINS);
	bed_pin(cpu);
	sample();
	before = links();
	for (int round = 0; round < ROUNDS; round++) {
		cost[NONE][round] = switch_ns();
		nice_of_other = 1;
		cost[NONE_UNLIKE][round] = switch_ns();
		nice_of_other = 0;
		cost[EMPTY][round] = empty_ns();
		publish(cpu, round);
		/* what was unpinned is gone, in a process that goes on, too; the kernel takes its time */
		for (int i = 0; i < 500 && links() > before; i++)
			bed_sleep_ms(10);
		assert_int_equal(links(), before);
	}
	for (int v = 0; v < VARIANTS; v++) {
		qsort(cost[v], ROUNDS, sizeof(double), by_size);
		printf("# figure %s %.0f\n# figure %s_spread %.0f\n", names[v], cost[v][ROUNDS / 2],
		       names[v], cost[v][ROUNDS - 1] - cost[v][0]);
	}
	printf("# figure stores_of_switch_published %.3f\n", stores[LIKE]);
	printf("# figure stores_of_switch_unlike %.3f\n", stores[UNLIKE]);
	assert_true(stores[LIKE] < 0.5);
	assert_true(stores[UNLIKE] > 0.9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(publishing_is_measured_beside_empty_programs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
