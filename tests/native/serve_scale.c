// SPDX-License-Identifier: GPL-2.0-only
/*
 * A host full of VMs, up to the last slot: 256 of four vCPUs each that a VMM under KVM runs and the
 * broker finds, and 64 VMM processes that are its clients. What is counted is judged here; what takes
 * time is printed, and judged where the machine is known (lab/tests/serve-scale.sh, docs/costs.md).
 */
/* timeout: 300 */
#include <helpers/control.h>
#include <helpers/host_bed.h>
#include <helpers/switches.h>

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include <broker/conf.h>

#define ALL	      1024
#define VMS	      256
#define VM_VCPUS      4
#define CLIENTS	      64
#define STACK	      65536
#define SWITCHES      40000 /* of the two threads whose switches are timed */
#define IDLE_MS	      1000
#define SCALE_WAIT_NS 200000000000ull

static pid_t broker, vmm, client[CLIENTS];

static void configure(struct pvsched_broker *b, struct pvsched_broker_opts *o, const char *text)
{
	static struct pvsched_conf conf;
	char why[256];

	pvsched_conf_parse(text, "test", &conf, why, sizeof(why));
	o->conf = &conf;
	pvsched_broker__configure(b, o);
}

/* SIGUSR1: nobody is served; SIGUSR2: everybody. */
static void be_broker(int ready)
{
	struct pvsched_broker_opts o = { .print = bed_say, .found_policy = "irq", .stats = true };
	struct rlimit most;
	struct pvsched_broker *b;
	sigset_t set;
	int sig;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	getrlimit(RLIMIT_NOFILE, &most); /* as pvsched serve does: three descriptors a vCPU */
	most.rlim_cur = most.rlim_max;
	setrlimit(RLIMIT_NOFILE, &most);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (bed_broker(&o, &b) || write(ready, "r", 1) != 1)
		_exit(1);
	for (;;)
		if (!sigwait(&set, &sig))
			configure(b, &o, sig == SIGUSR1 ? "[vm *]\nserve = no\n" : "");
}

/* Runs fn in a process of its own; returns when it has said so, or -errno that it ended with. */
static pid_t start(void (*fn)(int ready))
{
	int ready[2], status = 0;
	pid_t pid;
	char c;

	if (pipe(ready))
		return -errno;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		close(ready[0]);
		fn(ready[1]);
		_exit(0);
	}
	close(ready[1]);
	if (read(ready[0], &c, 1) != 1) {
		waitpid(pid, &status, 0);
		pid = WIFEXITED(status) && WEXITSTATUS(status) ? -WEXITSTATUS(status) : -EIO;
	}
	close(ready[0]);
	return pid;
}

static int teardown(void **state)
{
	(void)state;
	for (int i = 0; i < CLIENTS; i++)
		bed_stop_child(&client[i]);
	if (vmm > 0)
		kill(vmm, SIGKILL); /* its end takes KVM as long as all else here; nobody waits */
	vmm = 0;
	bed_stop_child(&broker);
	return 0;
}

/* How many vCPUs the broker lists. */
static int listed(void)
{
	int count = 0;

	for (const char *at = control_ask("list"); (at = strstr(at, "\"tid\":")); at++)
		count++;
	return count;
}

static void await_listed(int count)
{
	uint64_t end = bed_now() + SCALE_WAIT_NS;
	int n;

	while ((n = listed()) != count) {
		if (bed_now() > end)
			fail_msg("%d vCPUs are listed, not %d", n, count);
		bed_sleep_ms(10);
	}
}

static unsigned long long status_value(const char *path, const char *key)
{
	FILE *f = fopen(path, "re");
	unsigned long long v = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			v = strtoull(line + strlen(key), NULL, 10);
	if (f)
		fclose(f);
	return v;
}

/* How often the broker's threads have run, of which each time but the first they were woken. */
static unsigned long long broker_runs(void)
{
	unsigned long long sum = 0;
	char pattern[64];
	glob_t files = { 0 };

	snprintf(pattern, sizeof(pattern), "/proc/%d/task/*/status", broker);
	glob(pattern, 0, NULL, &files);
	for (size_t i = 0; i < files.gl_pathc; i++)
		sum += status_value(files.gl_pathv[i], "voluntary_ctxt_switches:");
	globfree(&files);
	return sum;
}

/* Memory, and that nobody is woken while nothing happens. */
static void expect_small_and_asleep(const char *of)
{
	unsigned long long runs, rss;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", broker);
	rss = status_value(path, "VmRSS:");
	printf("# %s: the broker has %llu KiB\n", of, rss);
	assert_in_range(rss, 1, 32 * 1024 + 8 * ALL);
	bed_sleep_ms(300); /* the last answer's thread goes to sleep */
	runs = broker_runs();
	bed_sleep_ms(IDLE_MS);
	assert_int_equal(broker_runs(), runs);
}

struct kvm_thread {
	int vcpu;
};

static _Atomic int running;

static void *run_vcpu(void *arg)
{
	struct kvm_thread *t = arg;

	running++;
	for (;;)
		ioctl(t->vcpu, KVM_RUN, 0);
	return NULL;
}

/* vCPUs that halt, and others that wait to be started: both sleep in KVM. */
static void be_vmm(int ready)
{
	static struct kvm_thread thread[ALL];
	static const unsigned char code[] = { 0xf4, 0xeb, 0xfd }; /* hlt; jmp to it */
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm, vcpu;
	struct rlimit most;
	pthread_attr_t attr;
	pthread_t id;
	char *mem;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	getrlimit(RLIMIT_NOFILE, &most);
	most.rlim_cur = most.rlim_max;
	setrlimit(RLIMIT_NOFILE, &most);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	mem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memcpy(mem, code, sizeof(code));
	for (int i = 0; i < VMS; i++) {
		struct kvm_userspace_memory_region region = { .memory_size = 4096,
							      .userspace_addr = (uint64_t)mem };

		vm = ioctl(kvm, KVM_CREATE_VM, 0);
		if (vm < 0 || ioctl(vm, KVM_CREATE_IRQCHIP, 0) ||
		    ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
			_exit(2);
		for (int v = 0; v < VM_VCPUS; v++) {
			struct kvm_regs regs = { .rflags = 2 };
			struct kvm_sregs sregs;

			vcpu = ioctl(vm, KVM_CREATE_VCPU, v);
			if (vcpu < 0 || ioctl(vcpu, KVM_GET_SREGS, &sregs))
				_exit(3);
			sregs.cs.base = sregs.cs.selector = 0;
			if (ioctl(vcpu, KVM_SET_SREGS, &sregs) || ioctl(vcpu, KVM_SET_REGS, &regs))
				_exit(4);
			thread[i * VM_VCPUS + v].vcpu = vcpu;
		}
	}
	for (int i = 0; i < ALL; i++)
		if (pthread_create(&id, &attr, run_vcpu, &thread[i]))
			_exit(5);
	while (running < ALL)
		bed_sleep_ms(1);
	if (write(ready, "r", 1) == 1)
		pause();
}

/* A kernel since 6.18 takes a timer's memory without waiting, and has none to take in some states (a
 * machine that goes on setting up its memory while it runs): seen by who asks first. */
static int timers = ALL;

static void skip_for_want_of_timers(void)
{
	printf("this kernel has no timers for more than %d vCPUs: the lab has kernels that do\n",
	       timers);
	skip();
}

static void scale_256_found_vms_are_served(void **state)
{
	uint64_t begin;

	(void)state;
	if (timers < ALL)
		skip_for_want_of_timers();
	if (access("/dev/kvm", R_OK | W_OK)) {
		printf("needs /dev/kvm: the lab runs it\n");
		skip();
	}
	vmm = start(be_vmm);
	assert_true(vmm > 0);
	broker = start(be_broker);
	assert_true(broker > 0);
	await_listed(ALL);
	/* nobody, and all of them in one look */
	kill(broker, SIGUSR1);
	await_listed(0);
	begin = bed_now();
	kill(broker, SIGUSR2);
	await_listed(ALL);
	printf("# found: %d vCPUs of %d VMs in %llu ms\n", ALL, VMS,
	       (unsigned long long)(bed_now() - begin) / 1000000);
	expect_small_and_asleep("found");
}

struct pong {
	int in, out;
	_Atomic pid_t tid;
};

static void *pong(void *arg)
{
	struct pong *p = arg;

	bed_pin(bed_last_cpu());
	p->tid = gettid();
	volley(p->in, p->out);
	return NULL;
}

/* A VM of so many sleeping threads, with enabled pages; for the first, tid instead of one of them. */
static struct pvsched_vm *open_vm(unsigned int vcpus, pid_t tid)
{
	struct pvsched_vm_opts o = { .sz = sizeof(o), .name = "scale", .vcpus = vcpus };
	struct pvsched_vm *vm = pvsched_vm__open(&o);
	char *mem = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int err = vm ? pvsched_vm__add_memory(vm, 0, 1 << 20, mem, -1, 0, 0) : -errno;

	for (unsigned int i = 0; i < vcpus && !err; i++) {
		struct pong *p = calloc(1, sizeof(*p));
		pthread_t thread;

		p->in = p->out = eventfd(0, EFD_CLOEXEC);
		if (!tid || i)
			pthread_create(&thread, NULL, pong, p);
		else
			p->tid = tid;
		while (!p->tid)
			bed_sleep_ms(1);
		err = pvsched_vm__add_vcpu(vm, i, p->tid, i, STDOUT_FILENO);
	}
	if (err) {
		printf("# a client fails: %s\n", strerror(-err));
		errno = -err;
		return NULL;
	}
	guest_negotiate(vm);
	for (unsigned int i = 0; i < vcpus; i++) {
		struct pvsched_page *page = (void *)(mem + (16 + i) * 4096);
		uint32_t result;

		guest_prepare(vm, page, i);
		page->current_task = page->pending = 0;
		result = guest_register(vm, i, 16 + i);
		if (result == PVSCHED_R_OK)
			result = guest_enable(vm, i, page);
		if (result != PVSCHED_R_OK) {
			printf("# vCPU %u of a client fails: %s\n", i, pvsched_result_str(result));
			return NULL;
		}
	}
	return vm;
}

/* ns of pvsched_sched_switch, a run, while two threads, one of them registered, switch. */
static double switch_cost(struct pong *p, pthread_t vcpu)
{
	struct pong other = { .in = p->out, .out = p->in };
	uint64_t runs, ns, runs0, ns0;
	pthread_t thread;

	read_switch(&runs0, &ns0);
	pthread_create(&thread, NULL, pong, &other);
	eventfd_write(p->in, 1);
	pthread_join(vcpu, NULL);
	pthread_join(thread, NULL);
	read_switch(&runs, &ns);
	assert_true(runs > runs0 + SWITCHES / 2);
	return (double)(ns - ns0) / (runs - runs0);
}

static void be_client(int ready)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	errno = 0;
	if (open_vm(ALL / CLIENTS, 0) && write(ready, "r", 1) == 1)
		pause();
	fflush(stdout);
	_exit(errno);
}

static void scale_64_clients_are_served(void **state)
{
	double cost[2] = { 1e9, 1e9 }, one;
	struct pvsched_vm *vm;

	(void)state;
	broker = start(be_broker);
	assert_true(broker > 0);
	for (int full = 0; full < 2; full++) {
		for (int i = 0; full && i < CLIENTS; i++) {
			client[i] = start(be_client);
			if (client[i] == -ENOMEM) {
				timers = i * (ALL / CLIENTS);
				skip_for_want_of_timers();
			}
			if (client[i] <= 0)
				fail_msg("client %d of %d is not served: %s", i, CLIENTS,
					 strerror(-client[i]));
		}
		if (full) {
			await_listed(ALL);
			expect_small_and_asleep("clients");
			bed_stop_child(&client[CLIENTS - 1]); /* the pair needs a place */
			await_listed(ALL - ALL / CLIENTS);
		}
		for (int round = 0; round < 3; round++) {
			struct pong p = { .in = eventfd(0, 0), .out = eventfd(0, 0) };
			pthread_t thread;

			pthread_create(&thread, NULL, pong, &p);
			while (!p.tid)
				bed_sleep_ms(1);
			vm = open_vm(1, p.tid);
			assert_non_null(vm);
			one = switch_cost(&p, thread);
			pvsched_vm__close(vm);
			cost[full] = one < cost[full] ? one : cost[full];
		}
	}
	printf("# switch: %.0f ns with one vCPU, %.0f ns with %d of %d clients\n", cost[0], cost[1],
	       ALL - ALL / CLIENTS + 1, CLIENTS - 1);
}

int main(int argc, char **argv)
{
#define CASE(f) cmocka_unit_test_teardown(f, teardown)
	const struct CMUnitTest tests[] = {
		CASE(scale_64_clients_are_served),
		CASE(scale_256_found_vms_are_served),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
