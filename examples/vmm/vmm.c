// SPDX-License-Identifier: GPL-2.0-only
/*
 * A whole VMM around libpvsched: one vCPU on /dev/kvm that runs the installed bare-metal guest,
 * with a pvsched function at 00:01.0. Prints each second what the host does for it; ends after
 * SECONDS (default 10). Usage: vmm [SECONDS [IMAGE]]. Needs a broker: pvsched serve.
 * One thread does everything: it is the vCPU, and a timer takes it out of the guest each second.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include <pvsched/pvsched.h>

#include <guestabi.h> /* how the guest wants to be loaded */

static struct pvsched_vm *pvsched;
static int vm, doorbell_fd;
static uint64_t bar; /* where the guest placed BAR0; 0 = nowhere */
static uint32_t config_address;

static int check(int ret, const char *what)
{
	if (ret < 0)
		err(1, "%s", what);
	return ret;
}

/* libpvsched returns -errno */
static int check_lib(int ret, const char *what)
{
	if (ret < 0)
		errno = -ret;
	return check(ret, what);
}

static void doorbell(uint64_t at, unsigned int flags)
{
	struct kvm_ioeventfd io = {
		.addr = at + PVSCHED_REG_DOORBELL, .len = 4, .fd = doorbell_fd, .flags = flags
	};

	if (at) /* without it the write exits, and bar_write() rings */
		ioctl(vm, KVM_IOEVENTFD, &io);
}

/* Configuration space by ports 0xcf8 and 0xcfc; everything else reads as ones. */
static void port(uint16_t port, int out, void *data, size_t size)
{
	unsigned int offset = (config_address & 0xfc) + (port & 3);
	uint64_t old = bar;

	if (port == 0xcf8 && size == 4)
		memcpy(out ? &config_address : data, out ? data : &config_address, 4);
	else if ((port & ~3) != 0xcfc || (config_address & ~0xfcu) != 0x80000800)
		memset(data, 0xff, out ? 0 : size);
	else if (!out)
		pvsched_vm__config_read(pvsched, offset, data, size);
	else
		pvsched_vm__config_write(pvsched, offset, data, size, &bar);
	if (bar != old) {
		doorbell(old, KVM_IOEVENTFD_FLAG_DEASSIGN);
		doorbell(bar, 0);
	}
}

static void mmio(uint64_t address, int write, void *data, size_t size)
{
	if (!bar || address < bar || address - bar >= PVSCHED_BAR_SIZE)
		memset(data, 0xff, write ? 0 : size);
	else if (write)
		pvsched_vm__bar_write(pvsched, address - bar, data, size);
	else
		pvsched_vm__bar_read(pvsched, address - bar, data, size);
}

static void handle_exit(struct kvm_run *run)
{
	if (run->exit_reason == KVM_EXIT_IO)
		port(run->io.port, run->io.direction == KVM_EXIT_IO_OUT,
		     (uint8_t *)run + run->io.data_offset, run->io.size);
	else if (run->exit_reason == KVM_EXIT_MMIO)
		mmio(run->mmio.phys_addr, run->mmio.is_write, run->mmio.data, run->mmio.len);
	else
		errx(1, "the guest stopped: exit reason %u", run->exit_reason);
}

static int report(void)
{
	struct pvsched_vcpu_stats s = { .sz = sizeof(s) };

	if (pvsched_vm__dispatch(pvsched) || pvsched_vm__vcpu_stats(pvsched, 0, &s))
		puts("the broker is gone; the guest goes on");
	else
		printf("page %u: %llu boosts; ran %.3f s, of it boosted %.3f s\n", s.page,
		       (unsigned long long)s.boosts, s.run_ns / 1e9, s.boosted_ns / 1e9);
	fflush(stdout);
	return 1;
}

static void start_vcpu(int kvm, int vcpu)
{
	struct kvm_regs regs = { .rip = GUEST_LOAD_GPA, .rflags = 2 };
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[256];
	} cpuid = { .head.nent = 256 };
	struct kvm_sregs sregs;

	check(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid), "KVM_GET_SUPPORTED_CPUID");
	for (unsigned int i = 0; i < cpuid.head.nent; i++)
		if (cpuid.entries[i].function == 1) /* x2APIC and its deadline timer; APIC id 0 */
			cpuid.entries[i].ecx |= 1u << 21 | 1u << 24,
				cpuid.entries[i].ebx &= 0xffffff;
	check(ioctl(vcpu, KVM_SET_CPUID2, &cpuid), "KVM_SET_CPUID2");
	check(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs.l = 1, sregs.cs.db = 0, sregs.cs.base = 0, sregs.cs.selector = 8;
	sregs.cr0 = 0x80000001, sregs.cr4 = 0x20, sregs.efer = 0x500, sregs.cr3 = GUEST_CR3_GPA;
	check(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	check(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static void tick(int signal)
{
	(void)signal; /* to be there is enough: KVM_RUN returns EINTR */
}

int main(int argc, char **argv)
{
	const struct itimerval second = { .it_interval.tv_sec = 1, .it_value.tv_sec = 1 };
	struct pvsched_vm_opts opts = { .sz = sizeof(opts), .name = "example", .vcpus = 1 };
	struct sigaction action = { .sa_handler = tick };
	int seconds = argc > 1 ? atoi(argv[1]) : 10;
	int image = check(open(argc > 2 ? argv[2] : IMAGE, O_RDONLY), "guest image");
	int kvm = check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	uint8_t *ram = mmap(NULL, GUEST_MEMORY_MIN, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region slot = { .memory_size = GUEST_MEMORY_MIN,
						    .userspace_addr = (uintptr_t)ram };
	struct kvm_run *run;
	int vcpu;

	if (ram == MAP_FAILED)
		err(1, "guest memory");
	check(read(image, ram + GUEST_LOAD_GPA, GUEST_MEMORY_MIN - GUEST_LOAD_GPA), "guest image");
	vm = check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	check(ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");
	vcpu = check(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED,
		   vcpu, 0);
	if (run == MAP_FAILED)
		err(1, "kvm_run");
	start_vcpu(kvm, vcpu);

	/* Everything that embeds pvsched; port() and mmio() are the rest. */
	pvsched = pvsched_vm__open(&opts);
	if (!pvsched)
		err(1, "no broker: start one with pvsched serve");
	check_lib(pvsched_vm__add_memory(pvsched, 0, GUEST_MEMORY_MIN, ram, -1, 0, 0),
		  "add_memory");
	check_lib(pvsched_vm__add_vcpu(pvsched, 0, gettid(), 0, vcpu), "add_vcpu");
	doorbell_fd = check_lib(pvsched_vm__doorbell_fd(pvsched, 0), "doorbell_fd");

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &second, NULL);
	while (seconds > 0) {
		if (!ioctl(vcpu, KVM_RUN, 0))
			handle_exit(run);
		else if (errno == EINTR)
			seconds -= report();
		else
			err(1, "KVM_RUN");
	}
	pvsched_vm__close(pvsched);
	return 0;
}
