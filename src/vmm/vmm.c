/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Life of a VM: create, start, wait, stop, destroy. The caller's thread owns it; vCPU threads
 * report under `lock` and broadcast `cond`; vmm_stop may come from any other thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

#define TSS_GPA 0xfffbd000 /* three pages that VMX may need; below the 4 GiB top, no RAM there */

void vmm_say(struct vmm *vm, enum pvsched_log_level level, const char *format, ...)
{
	char line[320];
	va_list args;

	if (!vm->opts.print)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	vm->opts.print(level, line, vm->opts.print_ctx);
}

static int check_opts(struct vmm *vm)
{
	const struct vmm_opts *o = &vm->opts;
	unsigned int i;

	if (o->vcpus < 1 || o->vcpus > VMM_VCPUS_MAX) {
		vmm_say(vm, PVSCHED_LOG_ERROR, "vCPUs: %u: out of range: choose 1 to %u", o->vcpus,
			VMM_VCPUS_MAX);
		return -EINVAL;
	}
	if (o->steps > GUEST_STEPS_MAX || (o->steps && !o->script)) {
		vmm_say(vm, PVSCHED_LOG_ERROR, "script: %u steps: at most %u", o->steps,
			GUEST_STEPS_MAX);
		return -EINVAL;
	}
	for (i = 0; i < o->vcpus; i++) {
		if ((unsigned int)o->vcpu[i].workload >= GUEST_WORKLOADS) {
			vmm_say(vm, PVSCHED_LOG_ERROR, "vCPU %u: no workload %u", i,
				o->vcpu[i].workload);
			return -EINVAL;
		}
		if (o->tsc_khz && o->vcpu[i].workload == GUEST_BUSY_RANDOM) {
			vmm_say(vm, PVSCHED_LOG_ERROR,
				"vCPU %u: no random interrupts with a TSC of another speed", i);
			return -EINVAL;
		}
		if (o->vcpu[i].pinned && (o->vcpu[i].cpu < 0 || o->vcpu[i].cpu >= CPU_SETSIZE)) {
			vmm_say(vm, PVSCHED_LOG_ERROR, "vCPU %u: no CPU %d", i, o->vcpu[i].cpu);
			return -EINVAL;
		}
	}
	return 0;
}

static int open_kvm(struct vmm *vm)
{
	static const struct {
		int cap;
		const char *name;
	} needed[] = {
		{ KVM_CAP_IRQCHIP, "in-kernel irqchip" },
		{ KVM_CAP_SIGNAL_MSI, "KVM_SIGNAL_MSI" },
		{ KVM_CAP_IOEVENTFD, "ioeventfd" },
		{ KVM_CAP_TSC_DEADLINE_TIMER, "TSC-deadline timer" },
		{ KVM_CAP_GET_TSC_KHZ, "KVM_GET_TSC_KHZ" },
		{ KVM_CAP_EXT_CPUID, "CPUID" },
	};
	size_t i;
	int ret;

	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm < 0) {
		ret = -errno;
		vmm_say(vm, PVSCHED_LOG_ERROR, "/dev/kvm: %s", vmm_kvm_why(-ret));
		return ret;
	}
	ret = ioctl(vm->kvm, KVM_GET_API_VERSION, 0);
	if (ret != KVM_API_VERSION) {
		vmm_say(vm, PVSCHED_LOG_ERROR, "/dev/kvm: API version %d, not %d", ret,
			KVM_API_VERSION);
		return -ENOTSUP;
	}
	for (i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (ioctl(vm->kvm, KVM_CHECK_EXTENSION, needed[i].cap) > 0)
			continue;
		vmm_say(vm, PVSCHED_LOG_ERROR,
			"/dev/kvm: no %s: this host's KVM cannot run the guest", needed[i].name);
		return -ENOTSUP;
	}
	return 0;
}

static int create_machine(struct vmm *vm)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	int ret;

	vm->fd = ioctl(vm->kvm, KVM_CREATE_VM, 0);
	if (vm->fd < 0) {
		ret = -errno;
		vmm_say(vm, PVSCHED_LOG_ERROR, "KVM_CREATE_VM: %s", strerror(-ret));
		return ret;
	}
	if (ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_GPA) || ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0)) {
		ret = -errno;
		vmm_say(vm, PVSCHED_LOG_ERROR, "KVM_CREATE_IRQCHIP: %s", strerror(-ret));
		return ret;
	}
	if (vm->opts.kernel.file && ioctl(vm->fd, KVM_CREATE_PIT2, &pit)) {
		ret = -errno;
		vmm_say(vm, PVSCHED_LOG_ERROR, "KVM_CREATE_PIT2: %s", strerror(-ret));
		return ret;
	}
	return 0;
}

/* What libpvsched says, but for its failure to open: open_pvsched says that, with what to do. */
static void print_pvsched(enum pvsched_log_level level, const char *line, void *ctx)
{
	struct vmm *vm = ctx;

	if (vm->pvsched)
		vmm_say(vm, level, "%s", line);
}

static int open_pvsched(struct vmm *vm)
{
	const char *socket = vm->opts.socket;
	struct pvsched_vm_opts opts = {
		.sz = sizeof(opts),
		.name = vm->name,
		.socket = socket,
		.vcpus = vm->opts.vcpus,
		.print = print_pvsched,
		.print_ctx = vm,
		.rejoin = true,
	};
	int ret;

	if (!vm->opts.pvsched)
		return 0;
	vm->pvsched = pvsched_vm__open(&opts);
	if (vm->pvsched)
		return 0;
	ret = errno ? -errno : -EIO;
	if (!socket)
		socket = getenv("PVSCHED_SOCKET");
	vmm_say(vm, PVSCHED_LOG_ERROR, "broker: %s: %s%s",
		socket && *socket ? socket : PVSCHED_SOCKET, strerror(-ret),
		ret == -ENOENT || ret == -ECONNREFUSED ? ": start one with `pvsched serve`"
		: ret == -EACCES ? ": run as root, or join the group that it has"
				 : "");
	return ret;
}

static int init_sync(struct vmm *vm)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&vm->lock, NULL);
	pthread_mutex_init(&vm->pci_lock, NULL);
	pthread_mutex_init(&vm->stop_lock, NULL);
	pthread_mutex_init(&vm->serial_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&vm->cond, &attr);
	pthread_condattr_destroy(&attr);
	vm->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vm->room_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return vm->stop_fd < 0 || vm->room_fd < 0 ? -errno : 0;
}

int vmm_create(const struct vmm_opts *opts, struct vmm **ret_vm)
{
	struct vmm *vm = calloc(1, sizeof(*vm));
	unsigned int i;
	int ret;

	if (!vm)
		return -ENOMEM;
	vm->opts = *opts;
	vm->kvm = vm->fd = vm->stop_fd = vm->room_fd = -1;
	vm->ram.fd = vm->readonly.fd = vm->kernel.fd = vm->initrd.fd = -1;
	uart_reset(&vm->uart);
	for (i = 0; i < VMM_VCPUS_MAX; i++) {
		vm->vcpu[i].vm = vm;
		vm->vcpu[i].index = i;
		vm->vcpu[i].fd = -1;
	}
	ret = init_sync(vm);
	vm->name = strdup(opts->name ? opts->name : "guest");
	if (!ret && !vm->name)
		ret = -ENOMEM;
	if (!ret)
		ret = check_opts(vm);
	if (!ret && opts->kernel.file)
		ret = vmm_linux_open(vm);
	if (!ret)
		ret = open_kvm(vm);
	if (!ret)
		ret = create_machine(vm);
	if (!ret)
		ret = open_pvsched(vm);
	if (!ret)
		ret = vmm_memory_create(vm);
	if (!ret)
		ret = opts->kernel.file ? vmm_linux_load(vm) : vmm_load_image(vm);
	for (i = 0; !ret && i < opts->vcpus; i++)
		ret = vmm_vcpu_create(vm, i);
	if (ret)
		goto out;
	ret = ioctl(vm->vcpu[0].fd, KVM_GET_TSC_KHZ, 0);
	if (ret <= 0) {
		vmm_say(vm, PVSCHED_LOG_ERROR,
			"KVM_GET_TSC_KHZ: unknown: the host needs a stable TSC");
		ret = -ENOTSUP;
		goto out;
	}
	vm->tsc_khz = ret;
	ret = 0;
	if (opts->kernel.file)
		ret = vmm_snapshot_take(vm);
	else
		vmm_write_control(vm);
	if (ret)
		goto out;
	vm->opts.script = NULL; /* copied */
	*ret_vm = vm;
out:
	if (ret)
		vmm_destroy(vm);
	return ret;
}

void vmm_destroy(struct vmm *vm)
{
	unsigned int i;

	if (!vm)
		return;
	vmm_stop(vm);
	for (i = 0; i < VMM_VCPUS_MAX; i++)
		vmm_vcpu_destroy(&vm->vcpu[i]);
	pvsched_vm__close(vm->pvsched); /* gives guest memory back: before it goes */
	if (vm->fd >= 0)
		close(vm->fd);
	vmm_memory_destroy(vm);
	vmm_snapshot_free(vm);
	vmm_linux_close(vm);
	if (vm->kvm >= 0)
		close(vm->kvm);
	if (vm->stop_fd >= 0)
		close(vm->stop_fd);
	if (vm->room_fd >= 0)
		close(vm->room_fd);
	pthread_cond_destroy(&vm->cond);
	pthread_mutex_destroy(&vm->stop_lock);
	pthread_mutex_destroy(&vm->pci_lock);
	pthread_mutex_destroy(&vm->serial_lock);
	pthread_mutex_destroy(&vm->lock);
	free(vm->name);
	free(vm);
}

int vmm_thread_confine(struct vmm *vm, enum vmm_role role)
{
	int ret = vmm_confine(role);

	if (!ret)
		return 0;
	vmm_say(vm, PVSCHED_LOG_ERROR,
		"seccomp filter of a thread: %s: the kernel needs CONFIG_SECCOMP_FILTER",
		strerror(-ret));
	pthread_mutex_lock(&vm->lock);
	vm->dead = true;
	pthread_cond_broadcast(&vm->cond);
	pthread_mutex_unlock(&vm->lock);
	return ret;
}

#define REJOIN_MS 100 /* between two looks for a new broker, where the old one is gone */

/* What the broker has to say, until the VM stops; a lost broker's successor is joined. libpvsched
 * says what happened; the VM goes on meanwhile. */
static void *service_thread(void *arg)
{
	struct vmm *vm = arg;
	struct pollfd fds[2] = {
		{ .fd = vm->stop_fd, .events = POLLIN },
		{ .fd = pvsched_vm__poll_fd(vm->pvsched), .events = POLLIN },
	};
	bool gone = false;

	prctl(PR_SET_NAME, "service");
	if (vmm_thread_confine(vm, VMM_ROLE_SERVICE))
		return NULL;
	for (;;) {
		/* a descriptor that was hung up is readable for ever: not looked at */
		if (poll(fds, gone ? 1 : 2, gone ? REJOIN_MS : -1) < 0 && errno != EINTR)
			break;
		if (fds[0].revents)
			break;
		if (gone)
			gone = pvsched_vm__rejoin(vm->pvsched) != 0;
		else if (fds[1].revents)
			gone = pvsched_vm__dispatch(vm->pvsched) != 0;
		fds[1].revents = 0;
	}
	return NULL;
}

static int start_service(struct vmm *vm)
{
	int ret;

	if (!vm->pvsched)
		return 0;
	ret = -pthread_create(&vm->service, NULL, service_thread, vm);
	if (ret)
		vmm_say(vm, PVSCHED_LOG_ERROR, "service: thread: %s", strerror(-ret));
	vm->has_service = !ret;
	return ret;
}

static int start_vcpu(struct vmm_vcpu *v)
{
	struct vmm *vm = v->vm;
	int ret;

	v->setup_error = 1;
	ret = -pthread_create(&v->thread, NULL, vmm_vcpu_thread, v);
	if (ret) {
		vmm_say(vm, PVSCHED_LOG_ERROR, "vCPU %u: thread: %s", v->index, strerror(-ret));
		return ret;
	}
	v->has_thread = true;
	pthread_mutex_lock(&vm->lock);
	while (v->setup_error > 0)
		pthread_cond_wait(&vm->cond, &vm->lock);
	ret = v->setup_error;
	pthread_mutex_unlock(&vm->lock);
	if (ret || !vm->pvsched)
		return ret;
	ret = pvsched_vm__add_vcpu(vm->pvsched, v->index, v->tid, v->index, v->fd);
	if (ret)
		vmm_say(vm, PVSCHED_LOG_ERROR, "broker: vCPU %u (thread %d): %s", v->index, v->tid,
			strerror(-ret));
	return ret;
}

int vmm_start(struct vmm *vm)
{
	sigset_t all, old;
	unsigned int i;
	int ret = 0;

	if (vm->started || atomic_load(&vm->stopping))
		return -EALREADY;
	vm->started = true;
	/* The VM's threads take no signal of the program's. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	for (i = 0; !ret && i < vm->opts.vcpus; i++)
		ret = start_vcpu(&vm->vcpu[i]);
	if (!ret)
		ret = start_service(vm);
	if (!ret)
		ret = vmm_injector_start(vm);
	if (!ret)
		ret = vmm_console_start(vm);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret) {
		vmm_stop(vm);
		return ret;
	}
	pthread_mutex_lock(&vm->lock);
	vm->released = true;
	pthread_cond_broadcast(&vm->cond);
	pthread_mutex_unlock(&vm->lock);
	return 0;
}

int vmm_go(struct vmm *vm)
{
	unsigned int i;
	int ret = 0;

	if (!vm->control)
		return -ENOTSUP;
	__atomic_store_n(&vm->control->go, 1, __ATOMIC_RELEASE);
	for (i = 0; !ret && i < vm->opts.vcpus; i++)
		ret = vmm_inject(vm, i);
	if (ret)
		vmm_say(vm, PVSCHED_LOG_ERROR, "KVM_SIGNAL_MSI: %s", strerror(-ret));
	return ret;
}

void vmm_guest_said(struct vmm_vcpu *v, uint32_t what)
{
	struct vmm *vm = v->vm;
	struct guest_vcpu *g = &vm->control->vcpu[v->index];

	if (what == GUEST_EXIT_FAULT) {
		vmm_guest_died(v, "exception %llu, error 0x%llx, at RIP 0x%llx, address 0x%llx",
			       (unsigned long long)g->fault_vector,
			       (unsigned long long)g->fault_code, (unsigned long long)g->fault_rip,
			       (unsigned long long)g->fault_address);
		return;
	}
	pthread_mutex_lock(&vm->lock);
	if (what == GUEST_EXIT_READY)
		vm->ready |= 1u << v->index;
	else if (what == GUEST_EXIT_DONE)
		vm->done |= 1u << v->index;
	pthread_cond_broadcast(&vm->cond);
	pthread_mutex_unlock(&vm->lock);
}

void vmm_guest_died(struct vmm_vcpu *v, const char *format, ...)
{
	struct vmm *vm = v->vm;
	char why[200];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	/* said before a waiter learns of it */
	if (!atomic_exchange(&vm->dying, true))
		vmm_say(vm, PVSCHED_LOG_ERROR, "guest %s: vCPU %u died: %s", vm->name, v->index,
			why);
	pthread_mutex_lock(&vm->lock);
	vm->dead = true;
	pthread_cond_broadcast(&vm->cond);
	pthread_mutex_unlock(&vm->lock);
}

/* Until (*bits & wanted) == wanted. */
static int wait_bits(struct vmm *vm, const uint32_t *bits, uint32_t wanted, unsigned int timeout_ms)
{
	struct timespec end;
	int ret = 0;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += timeout_ms / 1000;
	end.tv_nsec += timeout_ms % 1000 * 1000000l;
	if (end.tv_nsec >= 1000000000l) {
		end.tv_sec++;
		end.tv_nsec -= 1000000000l;
	}
	pthread_mutex_lock(&vm->lock);
	while (!ret) {
		if (vm->dead)
			ret = -EIO;
		else if (atomic_load(&vm->stopping))
			ret = -ECANCELED;
		else if (vm->off)
			break;
		else if (wanted && (*bits & wanted) == wanted)
			break;
		else
			ret = -pthread_cond_timedwait(&vm->cond, &vm->lock, &end);
	}
	pthread_mutex_unlock(&vm->lock);
	return ret;
}

int vmm_wait_ready(struct vmm *vm, unsigned int timeout_ms)
{
	return wait_bits(vm, &vm->ready, (1u << vm->opts.vcpus) - 1, timeout_ms);
}

int vmm_wait(struct vmm *vm, unsigned int timeout_ms)
{
	uint32_t wanted = 0;
	unsigned int i;

	for (i = 0; i < vm->opts.vcpus; i++)
		if (vm->opts.vcpu[i].samples)
			wanted |= 1u << i;
	return wait_bits(vm, &vm->done, wanted, timeout_ms);
}

/* Every vCPU thread out of KVM_RUN for good, and no longer libpvsched's; then they may end. */
static void retire_vcpus(struct vmm *vm)
{
	unsigned int i, threads = 0;

	for (i = 0; i < VMM_VCPUS_MAX; i++) {
		if (!vm->vcpu[i].has_thread)
			continue;
		threads++;
		pthread_kill(vm->vcpu[i].thread, VMM_KICK);
	}
	pthread_mutex_lock(&vm->lock);
	while (vm->out < threads)
		pthread_cond_wait(&vm->cond, &vm->lock);
	pthread_mutex_unlock(&vm->lock);
	for (i = 0; vm->pvsched && i < VMM_VCPUS_MAX; i++)
		if (vm->vcpu[i].has_thread)
			pvsched_vm__remove_vcpu(vm->pvsched, i);
	pthread_mutex_lock(&vm->lock);
	vm->may_exit = true;
	pthread_cond_broadcast(&vm->cond);
	pthread_mutex_unlock(&vm->lock);
	for (i = 0; i < VMM_VCPUS_MAX; i++) {
		if (vm->vcpu[i].has_thread)
			pthread_join(vm->vcpu[i].thread, NULL);
		vm->vcpu[i].has_thread = false;
	}
}

void vmm_stop(struct vmm *vm)
{
	uint64_t one = 1;

	pthread_mutex_lock(&vm->stop_lock);
	pthread_mutex_lock(&vm->lock);
	atomic_store(&vm->stopping, true);
	pthread_cond_broadcast(&vm->cond);
	pthread_mutex_unlock(&vm->lock);
	if (vm->stop_fd >= 0 && write(vm->stop_fd, &one, sizeof(one)) < 0)
		atomic_store(&vm->stopping, true); /* a full eventfd is readable as well */
	retire_vcpus(vm);
	if (vm->has_injector)
		pthread_join(vm->injector, NULL);
	if (vm->has_service)
		pthread_join(vm->service, NULL);
	if (vm->has_console)
		pthread_join(vm->console, NULL);
	vm->has_injector = vm->has_service = vm->has_console = false;
	pthread_mutex_unlock(&vm->stop_lock);
}
