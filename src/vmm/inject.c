/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Interrupts from outside: MSIs as a device would send them, and a thread that sends them at
 * random, seeded times that no guest can announce. The thread stamps the TSC into guest memory
 * just before each one. It keeps off the vCPUs' CPUs and is real-time where it may be, so that a
 * stamp is not older than its interrupt; the worst case is measured and reported.
 */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <x86intrin.h>

#include "internal.h"

#define MSI_ADDRESS	 0xfee00000u /* physical destination: APIC id << 12 */
#define DEFAULT_MEAN_NS	 1000000
#define DEFAULT_FLOOR_NS 200000
#define NS		 1000000000ull

int vmm_inject(struct vmm *vm, unsigned int index)
{
	struct kvm_msi msi = {
		.address_lo = MSI_ADDRESS | index << 12,
		.data = GUEST_VECTOR_MSI,
	};

	if (index >= vm->opts.vcpus)
		return -EINVAL;
	return ioctl(vm->fd, KVM_SIGNAL_MSI, &msi) < 0 ? -errno : 0;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS + t.tv_nsec;
}

/* xorshift64*: 2^64 - 1 numbers, in (0, 1]. */
static double random_unit(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return ((x * 0x2545f4914f6cdd1dull >> 11) + 1) * 0x1p-53;
}

/* Exponential above the floor, so that the mean is what was asked for. */
static uint64_t random_gap(const struct vmm_vcpu_opts *o, uint64_t *state)
{
	uint64_t mean = o->period_ns ? o->period_ns : DEFAULT_MEAN_NS;
	uint64_t floor = o->floor_ns ? o->floor_ns : DEFAULT_FLOOR_NS;

	if (floor > mean)
		floor = mean;
	return floor + (uint64_t)(-log(random_unit(state)) * (mean - floor));
}

static bool wants_injection(const struct vmm_opts *o, unsigned int index)
{
	return o->vcpu[index].workload == GUEST_BUSY_RANDOM;
}

static void inject_stamped(struct vmm *vm, unsigned int index)
{
	struct guest_vcpu *g = &vm->control->vcpu[index];
	uint64_t head = __atomic_load_n(&g->stamp_head, __ATOMIC_RELAXED);
	uint64_t start = __rdtsc(), took;

	g->stamp[head % GUEST_STAMPS] = start + vm->vcpu[index].tsc_offset;
	/* pairs with the guest's read of stamp_head, then stamp[] */
	__atomic_store_n(&g->stamp_head, head + 1, __ATOMIC_RELEASE);
	vmm_inject(vm, index);
	took = vmm_ticks_to_ns(vm, __rdtsc() - start);
	if (took > atomic_load(&vm->inject_worst_ns))
		atomic_store(&vm->inject_worst_ns, took);
	atomic_fetch_add(&vm->injected, 1);
}

/* Off the CPUs of pinned vCPUs. With none left it stays where it may, and says so. */
static void place_injector(struct vmm *vm)
{
	struct sched_param param = { .sched_priority = 1 };
	cpu_set_t set;
	unsigned int i;

	if (!sched_getaffinity(0, sizeof(set), &set)) {
		for (i = 0; i < vm->opts.vcpus; i++)
			if (vm->opts.vcpu[i].pinned)
				CPU_CLR(vm->opts.vcpu[i].cpu, &set);
		if (!CPU_COUNT(&set) || sched_setaffinity(0, sizeof(set), &set))
			vmm_say(vm, PVSCHED_LOG_WARN,
				"injector: no CPU besides the vCPUs': its delays are in the samples");
	}
	sched_setscheduler(0, SCHED_FIFO, &param);
}

static void *injector_thread(void *arg)
{
	uint64_t next[VMM_VCPUS_MAX] = { 0 }, state[VMM_VCPUS_MAX], now, first;
	struct vmm *vm = arg;
	struct pollfd stop = { .fd = vm->stop_fd, .events = POLLIN };
	struct timespec wait;
	unsigned int i;

	prctl(PR_SET_NAME, "injector");
	place_injector(vm);
	if (vmm_thread_confine(vm, VMM_ROLE_INJECTOR))
		return NULL;
	for (i = 0; i < vm->opts.vcpus; i++)
		state[i] = (vm->opts.seed + i + 1) * 0x9e3779b97f4a7c15ull | 1;
	while (!atomic_load(&vm->stopping)) {
		now = now_ns();
		first = now + NS / 1000;
		for (i = 0; i < vm->opts.vcpus; i++) {
			uint32_t guest =
				__atomic_load_n(&vm->control->vcpu[i].state, __ATOMIC_ACQUIRE);

			if (!wants_injection(&vm->opts, i) || guest != GUEST_RUNNING)
				continue;
			if (next[i] && next[i] <= now)
				inject_stamped(vm, i);
			/* from now: the floor holds between any two, however late this thread is */
			if (next[i] <= now)
				next[i] = now_ns() + random_gap(&vm->opts.vcpu[i], &state[i]);
			if (next[i] < first)
				first = next[i];
		}
		now = now_ns();
		if (first <= now)
			continue;
		wait.tv_sec = (first - now) / NS;
		wait.tv_nsec = (first - now) % NS;
		if (ppoll(&stop, 1, &wait, NULL) > 0)
			break;
	}
	return NULL;
}

int vmm_injector_start(struct vmm *vm)
{
	unsigned int i;
	int ret;

	if (!vm->control)
		return 0;
	for (i = 0; i < vm->opts.vcpus; i++)
		if (wants_injection(&vm->opts, i))
			break;
	if (i == vm->opts.vcpus)
		return 0;
	ret = -pthread_create(&vm->injector, NULL, injector_thread, vm);
	if (ret)
		vmm_say(vm, PVSCHED_LOG_ERROR, "injector: thread: %s", strerror(-ret));
	vm->has_injector = !ret;
	return ret;
}

int vmm_injector_info(struct vmm *vm, struct vmm_injector_info *ret_info)
{
	ret_info->injected = atomic_load(&vm->injected);
	ret_info->worst_ns = atomic_load(&vm->inject_worst_ns);
	return 0;
}
