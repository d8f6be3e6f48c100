// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a page over a port costs beside one under an overlay, in one run: a switch of its vCPU, by BPF
 * run-time statistics, and the thread that carries the words of the host. Printed, and judged only where the
 * clock counts instructions (lab/tests/port-cost.sh).
 */
/* needs: /dev/kvm */
#include <helpers/median.h>
#include <helpers/port_bed.h>
#include <helpers/switches.h>

#define ROUNDS	5
#define IDLE_MS 500

enum measured { FOUND, PORT_PAGE, OVERLAY, AREA_IDLE, AREA_BUSY, MEASURED };

static const char *const names[MEASURED] = { "switch_without_page_ns", "switch_over_port_ns",
					     "switch_under_overlay_ns",
					     "area_of_idle_vcpu_ns_per_s",
					     "area_of_busy_vcpu_ns_per_s" };
static double cost[MEASURED][ROUNDS];
static pid_t broker;
static int go = -1, to = -1, back = -1;
static _Atomic bool turning; /* the vCPU's thread switches to another one and runs no guest */

/* A round of the vCPU's thread. */
static void turn(struct bed_vcpu *v)
{
	eventfd_t n;

	(void)v;
	eventfd_read(go, &n);
	if (!ending)
		volley(to, back);
}

static void *run_and_turn(void *arg)
{
	bed_pin(bed_last_cpu());
	while (!ending && !turning)
		ioctl(vcpu_fd, KVM_RUN, 0);
	while (!ending)
		turn(arg);
	return NULL;
}

static void *answer(void *arg)
{
	bed_pin(bed_last_cpu());
	volley(back, to);
	return arg;
}

/* ns of CPU time so far of the thread that reads and writes in the guests' memory. */
static uint64_t area_ns(void)
{
	unsigned long long ns = 0, one;
	glob_t files = { 0 };
	char path[64], name[32];

	snprintf(path, sizeof(path), "/proc/%d/task/*/schedstat", broker);
	glob(path, 0, NULL, &files);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		char *end = strrchr(files.gl_pathv[i], '/');
		FILE *f = fopen(files.gl_pathv[i], "re");

		if (f && fscanf(f, "%llu", &one) == 1) {
			fclose(f);
			strcpy(end, "/comm");
			f = fopen(files.gl_pathv[i], "re");
			if (f && fscanf(f, "%31s", name) == 1 && !strcmp(name, "pvsched-area"))
				ns += one;
		}
		if (f)
			fclose(f);
	}
	globfree(&files);
	return ns;
}

/* ns of the program on sched_switch, a run. */
static double switch_ns(void)
{
	uint64_t runs, ns, runs0, ns0;
	pthread_t other;

	to = eventfd(0, EFD_CLOEXEC);
	back = eventfd(0, EFD_CLOEXEC);
	read_switch(&runs0, &ns0);
	pthread_create(&other, NULL, answer, NULL);
	eventfd_write(go, 1);
	eventfd_write(to, 1);
	pthread_join(other, NULL);
	read_switch(&runs, &ns);
	close(to);
	close(back);
	assert_true(runs > runs0 + SWITCHES / 2);
	return (double)(ns - ns0) / (runs - runs0);
}

static void begin(void)
{
	ending = turning = false;
	go = eventfd(0, EFD_CLOEXEC);
}

static void of_port(int round)
{
	uint64_t from, begun;

	begin();
	renewing = true;
	assert_int_equal(start_vm(run_and_turn), 0);
	port = dial();
	synchronise(); /* so it is found */
	turning = true;
	pthread_kill(thread, SIGUSR1);
	cost[FOUND][round] = switch_ns();
	share();
	begun = bed_now();
	from = area_ns();
	bed_sleep_ms(IDLE_MS);
	cost[AREA_IDLE][round] = (area_ns() - from) * 1e9 / (bed_now() - begun);
	begun = bed_now();
	from = area_ns();
	cost[PORT_PAGE][round] = switch_ns();
	cost[AREA_BUSY][round] = (area_ns() - from) * 1e9 / (bed_now() - begun);
	assert_int_equal(reg(PVSCHED_REG_VCPU_STATE), PVSCHED_PAGE_ENABLED);
	close(port);
	ending = true;
	eventfd_write(go, 1);
	pthread_join(thread, NULL);
	pthread_join(lease, NULL);
	close(go);
	close(vcpu_fd);
	close(vm_fd);
}

static void of_overlay(int round)
{
	struct threads_bed bed;

	begin();
	assert_int_equal(bed_open(&bed, NULL), 0);
	bed.vcpu[0].harm = turn;
	bed_mode(&bed.vcpu[0], BED_HARM);
	cost[OVERLAY][round] = switch_ns();
	ending = true;
	bed_mode(&bed.vcpu[0], BED_STOP);
	eventfd_write(go, 1);
	bed_close(&bed);
	close(go);
}

static void port_costs_are_measured_beside_the_overlay(void **state)
{
	const struct pvsched_broker_opts o = { .print = bed_say,
					       .found_policy = "latency",
					       .stats = true };

	(void)state;
	fflush(stdout);
	broker = bed_start_broker(&o);
	assert_true(broker > 0);
	for (int round = 0; round < ROUNDS; round++) {
		of_port(round);
		of_overlay(round);
	}
	for (int m = 0; m < MEASURED; m++) {
		qsort(cost[m], ROUNDS, sizeof(double), by_size);
		printf("# figure %s %.0f\n# figure %s_spread %.0f\n", names[m], cost[m][ROUNDS / 2],
		       names[m], cost[m][ROUNDS - 1] - cost[m][0]);
		assert_true(cost[m][ROUNDS / 2] > 0);
	}
}

static int teardown(void **state)
{
	(void)state;
	bed_stop_child(&broker);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(port_costs_are_measured_beside_the_overlay, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
