// SPDX-License-Identifier: GPL-2.0-only
/* vCPU threads without KVM: how they are scheduled, and who is kicked out of the guest. */
#include <helpers/unit.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmm/internal.h>

static struct vmm vm;

static int setup(void **state)
{
	(void)state;
	memset(&vm, 0, sizeof(vm));
	pthread_mutex_init(&vm.lock, NULL);
	pthread_cond_init(&vm.cond, NULL);
	vm.opts.vcpus = 1;
	vm.vcpu[0].vm = &vm;
	return 0;
}

static void keep_line(enum pvsched_log_level level, const char *line, void *ctx)
{
	(void)level;
	snprintf(ctx, 320, "%s", line);
}

static void vcpu_that_may_not_leave_the_nice_it_inherited_says_what_to_do(void **state)
{
	char *line = malloc(320);
	int status, pipes[2];
	pid_t pid;

	(void)state;
	assert_non_null(line);
	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		struct rlimit none = { 0 };

		*line = '\0';
		if (setpriority(PRIO_PROCESS, 0, 19) || setrlimit(RLIMIT_NICE, &none) ||
		    (!geteuid() && setuid(65534)))
			_exit(1);
		vm.opts.print = keep_line;
		vm.opts.print_ctx = line;
		vm.stopping = vm.may_exit = true;
		vmm_vcpu_thread(&vm.vcpu[0]);
		if (write(pipes[1], line, 320) != 320)
			_exit(1);
		_exit(vm.vcpu[0].setup_error ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(read(pipes[0], line, 320), 320);
	assert_string_equal(
		line, "vCPU 0: nice 0 (start it without nice 19, or as root): Permission denied");
	close(pipes[0]);
	close(pipes[1]);
	free(line);
}

/* This thread stands for a vCPU's. */
static bool is_kicked(void)
{
	const struct timespec now = { 0 };
	sigset_t kick;

	sigemptyset(&kick);
	sigaddset(&kick, VMM_KICK);
	assert_int_equal(pthread_sigmask(SIG_BLOCK, &kick, NULL), 0);
	vm.vcpu[0].thread = pthread_self();
	vm.vcpu[0].has_thread = true;
	vmm_machine_end(&vm, VMM_MACHINE_OFF);
	assert_true(vm.off);
	return sigtimedwait(&kick, NULL, &now) == VMM_KICK;
}

static void machine_that_ends_kicks_its_vcpus(void **state)
{
	(void)state;
	assert_true(is_kicked());
}

static void machine_that_ends_while_it_stops_kicks_no_thread_that_may_be_gone(void **state)
{
	(void)state;
	vm.stopping = true;
	assert_false(is_kicked());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(
			vcpu_that_may_not_leave_the_nice_it_inherited_says_what_to_do, setup),
		cmocka_unit_test_setup(machine_that_ends_kicks_its_vcpus, setup),
		cmocka_unit_test_setup(
			machine_that_ends_while_it_stops_kicks_no_thread_that_may_be_gone, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
