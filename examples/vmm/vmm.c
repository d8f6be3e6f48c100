// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a VMM does for libpvsched, in one that runs (what any VMM needs of KVM is in kvm.h): one vCPU on
 * /dev/kvm with the installed bare-metal guest and a pvsched function at 00:01.0. Prints each second
 * what the host does for it; ends after SECONDS (default 10). Usage: vmm [SECONDS [IMAGE]]. Needs a
 * broker: pvsched serve. One thread does everything: it is the vCPU, and a timer takes it out of the
 * guest each second.
 */
#include "kvm.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

#include <pvsched/pvsched.h>

static struct pvsched_vm *pvsched;
static struct machine m;
static int doorbell_fd;
static uint64_t bar; /* where the guest placed BAR0; 0 = nowhere */
static uint32_t config_address;

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
		ioctl(m.vm, KVM_IOEVENTFD, &io);
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

	machine_open(&m, argc > 2 ? argv[2] : IMAGE);

	/* Everything that embeds pvsched; port() and mmio() are the rest. */
	pvsched = pvsched_vm__open(&opts);
	if (!pvsched)
		err(1, "no broker: start one with pvsched serve");
	check_lib(pvsched_vm__add_memory(pvsched, 0, GUEST_MEMORY_MIN, m.ram, -1, 0, 0),
		  "add_memory");
	check_lib(pvsched_vm__add_vcpu(pvsched, 0, gettid(), 0, m.vcpu), "add_vcpu");
	doorbell_fd = check_lib(pvsched_vm__doorbell_fd(pvsched, 0), "doorbell_fd");

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &second, NULL);
	while (seconds > 0) {
		if (!ioctl(m.vcpu, KVM_RUN, 0))
			handle_exit(m.run);
		else if (errno == EINTR)
			seconds -= report();
		else
			err(1, "KVM_RUN");
	}
	pvsched_vm__close(pvsched);
	return 0;
}
