// SPDX-License-Identifier: GPL-2.0-only
/* The VMM's filters, each in a process of its own: what a thread of a role may not ask for ends it. */
#include <helpers/unit.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmm/confine.h>

#define CODE(prot) mmap(NULL, 4096, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)

enum ask {
	OPEN,
	EXECUTE,
	FORK,
	START_THREAD,
	TRACE,
	MAP_CODE,
	MAKE_CODE,
	OTHER_IOCTL,
	CREATE_VM,
	KILL_ANOTHER,
	INTERNET,
	LOCAL_SOCKET,
	PIDFD,
	READ,
	MOVE_PAGE,
	RUN_VCPU,
	SEND_INTERRUPT,
	SERIAL_INTERRUPT,
	KICK,
	SAY,
	STAT,
	STAT_AT,
};

static void *nothing(void *arg)
{
	return arg;
}

/* Whatever comes of it: the filter acts before the call does. */
static void do_ask(enum ask ask)
{
	static char *const none[] = { NULL };
	struct stat st;
	pthread_t thread;
	void *page;
	char c;

	switch (ask) {
	case OPEN:
		open("/proc/self/mem", O_RDWR);
		break;
	case EXECUTE:
		execve("/bin/true", none, none);
		break;
	case FORK:
		syscall(SYS_fork);
		break;
	case START_THREAD:
		pthread_create(&thread, NULL, nothing, NULL);
		break;
	case TRACE:
		syscall(SYS_ptrace, 16, getppid(), 0, 0);
		break;
	case MAP_CODE:
		CODE(PROT_READ | PROT_EXEC);
		break;
	case MAKE_CODE:
		page = CODE(PROT_READ | PROT_WRITE);
		mprotect(page, 4096, PROT_READ | PROT_EXEC);
		break;
	case OTHER_IOCTL:
		ioctl(0, 0x5412 /* TIOCSTI */, "x");
		break;
	case CREATE_VM:
		ioctl(0, KVM_CREATE_VM, 0);
		break;
	case KILL_ANOTHER:
		syscall(SYS_tgkill, getppid(), getppid(), 0);
		break;
	case INTERNET:
		socket(AF_INET, SOCK_STREAM, 0);
		break;
	case LOCAL_SOCKET:
		socket(AF_UNIX, SOCK_SEQPACKET, 0);
		break;
	case PIDFD:
		syscall(SYS_pidfd_open, getpid(), 0);
		break;
	case READ:
		if (read(-1, &c, 1))
			break;
		break;
	case MOVE_PAGE:
		page = CODE(PROT_READ | PROT_WRITE);
		mremap(page, 4096, 4096, MREMAP_MAYMOVE | 4 /* DONTUNMAP */);
		break;
	case RUN_VCPU:
		ioctl(0, KVM_RUN, 0);
		break;
	case SEND_INTERRUPT:
		ioctl(0, KVM_SIGNAL_MSI, NULL);
		break;
	case SERIAL_INTERRUPT:
		ioctl(0, KVM_IRQ_LINE, NULL);
		break;
	case KICK:
		syscall(SYS_tgkill, getpid(), getpid(), 0);
		break;
	/* glibc's stdio makes either, by its version */
	case STAT:
		if (syscall(SYS_fstat, 1, &st) != -1 || errno != EPERM)
			_exit(2);
		break;
	case STAT_AT:
		if (syscall(SYS_newfstatat, 1, "", &st, AT_EMPTY_PATH) != -1 || errno != EPERM)
			_exit(2);
		break;
	default:
		dprintf(1, "# said\n");
		free(malloc(1 << 20));
	}
}

/* The child is a process of one thread, so what kills the process is seen here. */
static bool is_killed(enum vmm_role role, enum ask ask)
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		struct rlimit no_core = { 0 };

		setrlimit(RLIMIT_CORE, &no_core);
		if (vmm_confine(role))
			_exit(1);
		do_ask(ask);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status)) {
		assert_int_equal(WTERMSIG(status), SIGSYS);
		return true;
	}
	assert_int_equal(status, 0);
	return false;
}

static void confined_thread_that_asks_for_what_none_needs_is_killed(void **state)
{
	(void)state;
	for (int role = 0; role < VMM_ROLES; role++)
		for (int ask = OPEN; ask <= INTERNET; ask++)
			assert_true(is_killed(role, ask));
}

static void confined_thread_that_asks_what_a_file_is_gets_no_answer(void **state)
{
	(void)state;
	for (int role = 0; role < VMM_ROLES; role++) {
		assert_false(is_killed(role, STAT));
		assert_false(is_killed(role, STAT_AT));
	}
}

static void confined_thread_may_ask_for_what_its_role_needs(void **state)
{
	static const bool may[VMM_ROLES][STAT] = {
		[VMM_ROLE_VCPU] = { [MOVE_PAGE] = true,
				    [RUN_VCPU] = true,
				    [SERIAL_INTERRUPT] = true,
				    [KICK] = true,
				    [SAY] = true },
		[VMM_ROLE_SERVICE] = { [LOCAL_SOCKET] = true,
				       [PIDFD] = true,
				       [MOVE_PAGE] = true,
				       [SAY] = true },
		[VMM_ROLE_INJECTOR] = { [SEND_INTERRUPT] = true, [SAY] = true },
		[VMM_ROLE_CONSOLE] = { [READ] = true,
				       [SERIAL_INTERRUPT] = true,
				       [KICK] = true,
				       [SAY] = true },
	};

	(void)state;
	for (int role = 0; role < VMM_ROLES; role++)
		for (int ask = LOCAL_SOCKET; ask < STAT; ask++) {
			bool killed = is_killed(role, ask);

			if (killed == may[role][ask])
				fail_msg("role %d, call %d: %s", role, ask,
					 killed ? "killed" : "not killed");
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(confined_thread_that_asks_for_what_none_needs_is_killed),
		cmocka_unit_test(confined_thread_that_asks_what_a_file_is_gets_no_answer),
		cmocka_unit_test(confined_thread_may_ask_for_what_its_role_needs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
