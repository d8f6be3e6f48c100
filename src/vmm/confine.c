/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The filters, see confine.h. A table row is a system call, who may make it, and the one argument that
 * is looked at, if any. What is looked at costs a thread some 50 ns per such call; the others the kernel
 * has in a bitmap. KVM_RUN is among the former: an exit to user space costs a hundred times that.
 */
#include "confine.h"

#include <errno.h>
#include <linux/kvm.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define VCPU	 (1u << VMM_ROLE_VCPU)
#define SERVICE	 (1u << VMM_ROLE_SERVICE)
#define INJECTOR (1u << VMM_ROLE_INJECTOR)
#define CONSOLE	 (1u << VMM_ROLE_CONSOLE)
#define ALL	 (VCPU | SERVICE | INJECTOR | CONSOLE)
#define PAGES	 (VCPU | SERVICE) /* move guest pages and speak to the broker */

struct call {
	int number;
	unsigned int roles;
};

static const struct call calls[] = {
	/* locks, time, memory for a line that is said, the thread's end */
	{ SCMP_SYS(futex), ALL },
	{ SCMP_SYS(clock_gettime), ALL },
	{ SCMP_SYS(restart_syscall), ALL },
	{ SCMP_SYS(rt_sigreturn), ALL },
	{ SCMP_SYS(rt_sigprocmask), ALL },
	{ SCMP_SYS(getpid), ALL },
	{ SCMP_SYS(gettid), ALL },
	{ SCMP_SYS(sched_yield), ALL },
	{ SCMP_SYS(brk), ALL },
	{ SCMP_SYS(munmap), ALL },
	{ SCMP_SYS(madvise), ALL },
	{ SCMP_SYS(write), ALL },
	{ SCMP_SYS(poll), ALL },
	{ SCMP_SYS(ppoll), ALL },
	{ SCMP_SYS(exit), ALL },
	{ SCMP_SYS(exit_group), ALL },
	/* KVM_RUN's signal; the kernel's and the initrd's files, again at a reset; a nonce */
	{ SCMP_SYS(rt_sigtimedwait), VCPU },
	{ SCMP_SYS(pread64), VCPU },
	{ SCMP_SYS(getrandom), VCPU },
	/* libpvsched: pages, doorbells, the broker */
	{ SCMP_SYS(mremap), PAGES },
	{ SCMP_SYS(eventfd2), PAGES },
	{ SCMP_SYS(sendmsg), PAGES },
	{ SCMP_SYS(recvmsg), PAGES },
	{ SCMP_SYS(shutdown), PAGES },
	{ SCMP_SYS(close), PAGES },
	/* and the next one */
	{ SCMP_SYS(connect), SERVICE },
	{ SCMP_SYS(setsockopt), SERVICE },
	{ SCMP_SYS(dup3), SERVICE },
	{ SCMP_SYS(pidfd_open), SERVICE },
	{ SCMP_SYS(read), CONSOLE },
};

static const struct {
	unsigned long request;
	unsigned int roles;
} ioctls[] = {
	{ KVM_RUN, VCPU },
	{ KVM_GET_REGS, VCPU }, /* where it died */
	{ KVM_IOEVENTFD, VCPU }, /* the guest moves BAR0 */
	{ KVM_IRQ_LINE, VCPU | CONSOLE }, /* the serial port's */
	{ KVM_SIGNAL_MSI, INJECTOR },
	/* reset.c */
	{ KVM_SET_IRQCHIP, VCPU },
	{ KVM_SET_PIT2, VCPU },
	{ KVM_SET_MP_STATE, VCPU },
	{ KVM_SET_REGS, VCPU },
	{ KVM_GET_SREGS, VCPU },
	{ KVM_SET_SREGS, VCPU },
	{ KVM_SET_XSAVE, VCPU },
	{ KVM_SET_XCRS, VCPU },
	{ KVM_SET_DEBUGREGS, VCPU },
	{ KVM_SET_LAPIC, VCPU },
	{ KVM_GET_MSRS, VCPU },
	{ KVM_SET_MSRS, VCPU },
	{ KVM_SET_VCPU_EVENTS, VCPU },
	{ KVM_SET_DEVICE_ATTR, VCPU },
	{ KVM_SET_TSC_KHZ, VCPU },
	{ KVM_CHECK_EXTENSION, VCPU },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int allow(scmp_filter_ctx ctx, int number, const struct scmp_arg_cmp *arg)
{
	return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, number, arg ? 1 : 0, arg);
}

static int add_rules(scmp_filter_ctx ctx, unsigned int role)
{
	/* the kernel reads 32 bits of each of these */
	const struct scmp_arg_cmp no_code = SCMP_CMP(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
	const struct scmp_arg_cmp self =
		SCMP_CMP(0, SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint32_t)getpid());
	const struct scmp_arg_cmp local = SCMP_CMP(0, SCMP_CMP_MASKED_EQ, UINT32_MAX, AF_UNIX);
	int err;

	err = allow(ctx, SCMP_SYS(mmap), &no_code);
	if (!err)
		err = allow(ctx, SCMP_SYS(mprotect), &no_code);
	/* other vCPUs' threads, out of KVM_RUN */
	if (!err && role & (VCPU | CONSOLE))
		err = allow(ctx, SCMP_SYS(tgkill), &self);
	if (!err && role & SERVICE)
		err = allow(ctx, SCMP_SYS(socket), &local);
	/* stdio asks what it writes to, by either call, and does without an answer */
	if (!err)
		err = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(newfstatat), 0);
	if (!err)
		err = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(fstat), 0);
	if (!err)
		err = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ESPIPE), SCMP_SYS(lseek), 0);
	for (size_t i = 0; !err && i < COUNT(calls); i++)
		if (calls[i].roles & role)
			err = allow(ctx, calls[i].number, NULL);
	for (size_t i = 0; !err && i < COUNT(ioctls); i++) {
		const struct scmp_arg_cmp request =
			SCMP_CMP(1, SCMP_CMP_MASKED_EQ, UINT32_MAX, ioctls[i].request);

		if (ioctls[i].roles & role)
			err = allow(ctx, SCMP_SYS(ioctl), &request);
	}
	return err;
}

int vmm_confine(enum vmm_role role)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int err;

	if (!ctx)
		return -ENOMEM;
	err = seccomp_attr_set(ctx, SCMP_FLTATR_API_SYSRAWRC, 1); /* the kernel's error */
	if (!err)
		err = add_rules(ctx, 1u << role);
	if (!err)
		err = seccomp_load(ctx); /* and no_new_privs, which it needs */
	seccomp_release(ctx);
	return err;
}
