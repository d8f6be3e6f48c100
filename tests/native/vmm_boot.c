// SPDX-License-Identifier: GPL-2.0-only
/*
 * The reference VMM and the bare-metal guest, without pvsched: boot, workloads, results, ends,
 * and what is refused. Functional: no case asserts a latency.
 */
/* timeout: 180, needs: /dev/kvm */
#include <helpers/vmm_bed.h>

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>

static struct vmm_bed bed;

static int teardown(void **state)
{
	(void)state;
	vmm_destroy(bed.vm);
	bed.vm = NULL;
	return 0;
}

static void run_to_the_end(unsigned int vcpus, enum guest_workload workload, uint64_t samples)
{
	static uint64_t buf[4096];
	unsigned int i;
	size_t n, j;

	vmm_bed_init(&bed, vcpus, workload, samples);
	vmm_bed_run(&bed);
	assert_int_equal(vmm_wait(bed.vm, BED_TIMEOUT_MS), 0);
	for (i = 0; i < vcpus; i++) {
		struct vmm_vcpu_info info = vmm_bed_info(&bed, i);

		assert_int_equal(info.state, GUEST_DONE);
		assert_true(info.samples >= samples);
		assert_true(info.end_tsc > info.start_tsc);
		n = vmm_samples(bed.vm, i, buf, ARRAY_SIZE(buf));
		assert_int_equal(n, samples);
		for (j = 0; j < n; j++)
			assert_true(buf[j] < BED_TIMEOUT_MS * 1000000ull);
	}
	assert_int_equal(bed.errors, 0);
}

static void workload_sleeping_gives_samples(void **state)
{
	(void)state;
	run_to_the_end(1, GUEST_SLEEPING, 200);
	assert_true(vmm_bed_info(&bed, 0).interrupts > 0);
}

static void workload_busy_gives_samples(void **state)
{
	(void)state;
	run_to_the_end(1, GUEST_BUSY, 200);
	assert_true(vmm_bed_info(&bed, 0).interrupts > 0);
}

static void workload_critical_takes_as_long_as_its_work(void **state)
{
	static uint64_t buf[500];
	uint64_t least = UINT64_MAX;

	(void)state;
	run_to_the_end(1, GUEST_CRITICAL, 500);
	assert_true(vmm_bed_info(&bed, 0).sections >= 500);
	assert_int_equal(vmm_samples(bed.vm, 0, buf, 500), 500);
	for (size_t i = 0; i < 500; i++)
		least = buf[i] < least ? buf[i] : least;
	/* 50 us of calibrated work: faster only if the clock rate rose since */
	assert_in_range(least, 20000, 1000000);
}

static void workload_busy_random_answers_every_injection(void **state)
{
	struct vmm_injector_info info;

	(void)state;
	run_to_the_end(1, GUEST_BUSY_RANDOM, 200);
	assert_int_equal(vmm_injector_info(bed.vm, &info), 0);
	assert_true(info.injected >= 200);
	assert_true(info.worst_ns > 0);
}

static void workload_exits_gives_samples(void **state)
{
	(void)state;
	run_to_the_end(1, GUEST_EXITS, 200);
}

static void workload_critical_given_iterations_are_used(void **state)
{
	(void)state;
	vmm_bed_init(&bed, 1, GUEST_CRITICAL, 10);
	bed.opts.vcpu[0].iterations = 12345;
	vmm_bed_run(&bed);
	assert_int_equal(vmm_wait(bed.vm, BED_TIMEOUT_MS), 0);
	assert_int_equal(vmm_bed_info(&bed, 0).section_iterations, 12345);
}

static void vcpus_two_and_eight_all_run(void **state)
{
	(void)state;
	run_to_the_end(2, GUEST_SLEEPING, 100);
	teardown(NULL);
	run_to_the_end(8, GUEST_SLEEPING, 50);
}

static void vcpus_of_different_workloads_run_side_by_side(void **state)
{
	(void)state;
	vmm_bed_init(&bed, 3, GUEST_SLEEPING, 50);
	bed.opts.vcpu[1].workload = GUEST_BUSY;
	bed.opts.vcpu[2].workload = GUEST_BUSY_RANDOM;
	vmm_bed_run(&bed);
	assert_int_equal(vmm_wait(bed.vm, BED_TIMEOUT_MS), 0);
}

/* A busy guest that loses its CPU for many periods: they all are samples. */
static void period_that_passed_unseen_is_a_sample(void **state)
{
	struct sched_param fifo = { .sched_priority = 2 }, other = { 0 };
	struct vmm_vcpu_info info;
	uint64_t elapsed, end;
	cpu_set_t old, set;
	int cpu = vmm_bed_last_cpu();

	(void)state;
	vmm_bed_init(&bed, 1, GUEST_BUSY, 300);
	bed.opts.vcpu[0].pinned = true;
	bed.opts.vcpu[0].cpu = cpu;
	vmm_bed_run(&bed);
	WAIT_UNTIL(vmm_bed_info(&bed, 0).samples > 10);
	assert_int_equal(sched_getaffinity(0, sizeof(old), &old), 0);
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
	assert_int_equal(sched_setscheduler(0, SCHED_FIFO, &fifo), 0);
	end = vmm_bed_now_ms() + 30;
	while (vmm_bed_now_ms() < end)
		;
	assert_int_equal(sched_setscheduler(0, SCHED_OTHER, &other), 0);
	assert_int_equal(sched_setaffinity(0, sizeof(old), &old), 0);
	assert_int_equal(vmm_wait(bed.vm, BED_TIMEOUT_MS), 0);
	info = vmm_bed_info(&bed, 0);
	assert_true(info.missed >= 20);
	assert_true(info.interrupts + info.missed >= 300);
	elapsed = vmm_ticks_to_ns(bed.vm, info.end_tsc - info.start_tsc) / 1000000;
	assert_in_range(info.samples, elapsed > 300 ? 300 : elapsed, elapsed + 1);
}

static void samples_endless_keeps_the_newest(void **state)
{
	uint64_t buf[8];

	(void)state;
	vmm_bed_init(&bed, 1, GUEST_CRITICAL, 0);
	vmm_bed_run(&bed);
	WAIT_UNTIL(vmm_bed_info(&bed, 0).samples > 20);
	assert_int_equal(vmm_wait(bed.vm, 1), -ETIMEDOUT);
	vmm_stop(bed.vm);
	assert_int_equal(vmm_samples(bed.vm, 0, buf, 8), 8);
	assert_int_equal(vmm_samples(bed.vm, 1, buf, 8), 0);
}

static void demo_plays_its_phases(void **state)
{
	(void)state;
	vmm_bed_init(&bed, 1, GUEST_DEMO, 0);
	vmm_bed_run(&bed);
	WAIT_UNTIL(vmm_bed_info(&bed, 0).phase == GUEST_SLEEPING);
	WAIT_UNTIL(vmm_bed_info(&bed, 0).phase == GUEST_BUSY);
	WAIT_UNTIL(vmm_bed_info(&bed, 0).phase == GUEST_CRITICAL);
	WAIT_UNTIL(vmm_bed_info(&bed, 0).phase == GUEST_TASK);
	WAIT_UNTIL(vmm_bed_info(&bed, 0).phase == GUEST_SLEEPING);
}

static void guest_without_a_function_runs_without_it(void **state)
{
	struct vmm_guest_info info;

	(void)state;
	run_to_the_end(1, GUEST_BUSY, 20);
	assert_int_equal(vmm_guest_info(bed.vm, &info), 0);
	assert_int_equal(info.device, GUEST_DEVICE_NONE);
	assert_int_equal(vmm_bed_info(&bed, 0).page_gpa, 0);
	assert_null(vmm_pvsched(bed.vm));
}

static void run_with_memory(enum vmm_memory memory)
{
	vmm_bed_init(&bed, 2, GUEST_SLEEPING, 20);
	bed.opts.memory = memory;
	bed.opts.readonly_slot = true;
	vmm_bed_run(&bed);
	assert_int_equal(vmm_wait(bed.vm, BED_TIMEOUT_MS), 0);
}

static void memory_of_huge_pages_and_memfd_runs(void **state)
{
	(void)state;
	run_with_memory(VMM_MEMORY_THP);
	teardown(NULL);
	run_with_memory(VMM_MEMORY_MEMFD);
}

static void memory_of_hugetlb_without_reserve_says_so(void **state)
{
	(void)state;
	vmm_bed_init(&bed, 1, GUEST_BUSY, 250u << 20 >> 3); /* 250 MiB of samples: not reserved */
	bed.opts.memory = VMM_MEMORY_HUGETLB;
	assert_int_equal(vmm_create(&bed.opts, &bed.vm), -ENOMEM);
	assert_int_equal(bed.errors, 1);
	assert_non_null(strstr(bed.last, "nr_hugepages"));
}

static int vcpu_policy(pid_t tid, int *ret_nice)
{
	*ret_nice = getpriority(PRIO_PROCESS, tid);
	return sched_getscheduler(tid);
}

static void scheduling_and_pinning_are_as_asked(void **state)
{
	static const struct {
		enum vmm_sched sched;
		int policy, nice;
	} cases[] = {
		{ VMM_SCHED_OTHER, SCHED_OTHER, 0 },
		{ VMM_SCHED_NICE, SCHED_OTHER, -20 },
		{ VMM_SCHED_FIFO, SCHED_FIFO, 0 },
	};
	cpu_set_t set;
	int nice;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		vmm_bed_init(&bed, 1, GUEST_IDLE, 0);
		bed.opts.sched = cases[i].sched;
		bed.opts.vcpu[0].pinned = true;
		bed.opts.vcpu[0].cpu = vmm_bed_last_cpu();
		vmm_bed_boot(&bed);
		assert_int_equal(vcpu_policy(vmm_bed_info(&bed, 0).tid, &nice), cases[i].policy);
		assert_int_equal(nice, cases[i].nice);
		assert_int_equal(sched_getaffinity(vmm_bed_info(&bed, 0).tid, sizeof(set), &set),
				 0);
		assert_int_equal(CPU_COUNT(&set), 1);
		assert_true(CPU_ISSET(vmm_bed_last_cpu(), &set));
		teardown(NULL);
	}
}

/* One that spins for another would keep the CPU from it for ever: FIFO knows no turns. */
static void vcpus_of_static_fifo_on_one_cpu_start(void **state)
{
	(void)state;
	for (int round = 0; round < 5; round++) {
		vmm_bed_init(&bed, 4, GUEST_IDLE, 0);
		bed.opts.sched = VMM_SCHED_FIFO;
		for (unsigned int i = 0; i < 4; i++) {
			bed.opts.vcpu[i].pinned = true;
			bed.opts.vcpu[i].cpu = vmm_bed_last_cpu();
		}
		vmm_bed_boot(&bed);
		teardown(NULL);
	}
}

static unsigned int entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Threads of the VMM; KVM may keep one of its own in the process for as long as the VM exists. */
static unsigned int vmm_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	unsigned int n = 0;
	char path[300], name[32];
	FILE *file;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
		file = fopen(path, "re");
		if (!file)
			continue;
		if (fgets(name, sizeof(name), file))
			n += !strncmp(name, "vcpu", 4) || !strncmp(name, "injector", 8);
		fclose(file);
	}
	closedir(dir);
	return n;
}

static void *stop_it(void *arg)
{
	vmm_stop(arg);
	return NULL;
}

static void stop_from_another_thread_ends_everything(void **state)
{
	unsigned int fds = entries("/proc/self/fd");
	pthread_t thread;

	(void)state;
	vmm_bed_init(&bed, 8, GUEST_BUSY_RANDOM, 1000000);
	vmm_bed_run(&bed);
	assert_int_equal(vmm_threads(), 9);
	assert_int_equal(pthread_create(&thread, NULL, stop_it, bed.vm), 0);
	assert_int_equal(vmm_wait(bed.vm, BED_TIMEOUT_MS), -ECANCELED);
	vmm_stop(bed.vm);
	pthread_join(thread, NULL);
	/* a joined thread's entry may outlive it for a moment */
	WAIT_UNTIL(!vmm_threads());
	teardown(NULL);
	assert_int_equal(entries("/proc/self/fd"), fds);
}

static void stop_before_start_and_twice_is_harmless(void **state)
{
	(void)state;
	vmm_bed_init(&bed, 2, GUEST_BUSY, 0);
	assert_int_equal(vmm_create(&bed.opts, &bed.vm), 0);
	vmm_stop(bed.vm);
	vmm_stop(bed.vm);
	assert_int_equal(vmm_start(bed.vm), -EALREADY);
}

static void refused(int error, const char *says)
{
	unsigned int fds = entries("/proc/self/fd");
	int ret = vmm_create(&bed.opts, &bed.vm);

	if (!ret) {
		ret = vmm_start(bed.vm);
		teardown(NULL);
	}
	assert_int_equal(ret, error);
	assert_int_equal(bed.errors, 1);
	if (!strstr(bed.last, says))
		fail_msg("\"%s\" does not say \"%s\"", bed.last, says);
	assert_null(strchr(bed.last, '\n'));
	assert_int_equal(entries("/proc/self/fd"), fds);
	WAIT_UNTIL(!vmm_threads());
}

static void options_out_of_range_are_refused_in_one_line(void **state)
{
	(void)state;
	vmm_bed_init(&bed, 0, GUEST_BUSY, 1);
	refused(-EINVAL, "1 to 8");
	vmm_bed_init(&bed, 9, GUEST_BUSY, 1);
	refused(-EINVAL, "1 to 8");
	vmm_bed_init(&bed, 1, GUEST_WORKLOADS, 1);
	refused(-EINVAL, "workload");
	vmm_bed_init(&bed, 1, GUEST_BUSY, UINT64_MAX);
	refused(-E2BIG, "fewer");
	vmm_bed_init(&bed, 1, GUEST_BUSY, 1);
	bed.opts.steps = GUEST_STEPS_MAX + 1;
	refused(-EINVAL, "steps");
	vmm_bed_init(&bed, 1, GUEST_BUSY, 1);
	bed.opts.vcpu[0].pinned = true;
	bed.opts.vcpu[0].cpu = CPU_SETSIZE;
	refused(-EINVAL, "CPU");
	vmm_bed_init(&bed, 2, GUEST_BUSY, 1);
	bed.opts.vcpu[1].pinned = true;
	bed.opts.vcpu[1].cpu = CPU_SETSIZE - 1;
	refused(-EINVAL, "vCPU 1: pinning");
}

static void image_missing_or_foreign_is_refused_in_one_line(void **state)
{
	(void)state;
	vmm_bed_init(&bed, 1, GUEST_BUSY, 1);
	bed.opts.image = "/nonexistent/baremetal.bin";
	refused(-ENOENT, "/nonexistent/baremetal.bin");
	vmm_bed_init(&bed, 1, GUEST_BUSY, 1);
	bed.opts.image = "/proc/self/exe";
	refused(-ENOEXEC, "not a pvsched guest");
	vmm_bed_init(&bed, 1, GUEST_BUSY, 1);
	bed.opts.image = "/dev/null";
	refused(-ENOEXEC, "not a pvsched guest");
	vmm_bed_init(&bed, 1, GUEST_BUSY, 1);
	bed.opts.image = "/proc";
	refused(-EISDIR, "/proc");
}

static void broker_missing_is_refused_in_one_line(void **state)
{
	(void)state;
	vmm_bed_init(&bed, 1, GUEST_BUSY, 1);
	bed.opts.pvsched = true;
	bed.opts.socket = "/nonexistent/broker.sock";
	refused(-ENOENT, "pvsched serve");
}

static void workload_names_are_parsed_back(void **state)
{
	enum guest_workload w;

	(void)state;
	for (unsigned int i = 0; i < GUEST_WORKLOADS; i++) {
		assert_int_equal(vmm_workload_parse(vmm_workload_str(i), &w), 0);
		assert_int_equal(w, i);
	}
	assert_null(vmm_workload_str(GUEST_WORKLOADS));
	assert_int_equal(vmm_workload_parse("lazy", &w), -EINVAL);
}

#define CASE(f) cmocka_unit_test_teardown(f, teardown)

int main(void)
{
	const struct CMUnitTest cases[] = {
		CASE(workload_sleeping_gives_samples),
		CASE(workload_busy_gives_samples),
		CASE(workload_critical_takes_as_long_as_its_work),
		CASE(workload_busy_random_answers_every_injection),
		CASE(workload_exits_gives_samples),
		CASE(workload_critical_given_iterations_are_used),
		CASE(vcpus_two_and_eight_all_run),
		CASE(vcpus_of_different_workloads_run_side_by_side),
		CASE(period_that_passed_unseen_is_a_sample),
		CASE(samples_endless_keeps_the_newest),
		CASE(demo_plays_its_phases),
		CASE(guest_without_a_function_runs_without_it),
		CASE(memory_of_huge_pages_and_memfd_runs),
		CASE(memory_of_hugetlb_without_reserve_says_so),
		CASE(scheduling_and_pinning_are_as_asked),
		CASE(vcpus_of_static_fifo_on_one_cpu_start),
		CASE(stop_from_another_thread_ends_everything),
		CASE(stop_before_start_and_twice_is_harmless),
		CASE(options_out_of_range_are_refused_in_one_line),
		CASE(image_missing_or_foreign_is_refused_in_one_line),
		CASE(broker_missing_is_refused_in_one_line),
		CASE(workload_names_are_parsed_back),
	};

	return cmocka_run_group_tests(cases, NULL, NULL);
}
