// SPDX-License-Identifier: GPL-2.0-only
/* Which VM an operand names, by a broker that is a thread of the test and lists what the test wants. */
#include <helpers/unit.h>

#include <cli/operator.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define PLACES 4
#define LONG   "a-name-of-63-characters-which-is-all-that-a-client-may-have-123"

static struct bed {
	int fd, broker_fd;
	pthread_t broker;
	const char *name[PLACES]; /* NULL = nobody */
	int fails; /* what the broker answers anything with; 0 = with the list */
} bed;

static void *be_broker(void *arg)
{
	struct pvsched_msg m;

	while (recv(bed.broker_fd, &m, sizeof(m), 0) == sizeof(m)) {
		m.error = bed.fails	      ? bed.fails
			  : m.index >= PLACES ? -ERANGE
			  : bed.name[m.index] ? 0
					      : -ENOENT;
		if (!m.error) /* as the broker has it */
			snprintf(m.list.name, sizeof(m.list.name), "%s", bed.name[m.index]);
		if (send(bed.broker_fd, &m, sizeof(m), MSG_NOSIGNAL) != sizeof(m))
			break;
	}
	return arg;
}

static int setup(void **state)
{
	int pair[2];

	(void)state;
	memset(&bed, 0, sizeof(bed));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -1;
	bed.fd = pair[0];
	bed.broker_fd = pair[1];
	return pthread_create(&bed.broker, NULL, be_broker, NULL);
}

static int teardown(void **state)
{
	(void)state;
	close(bed.fd);
	pthread_join(bed.broker, NULL);
	close(bed.broker_fd);
	return 0;
}

static void expect_vm(const char *operand, uint32_t vm)
{
	uint32_t found = 1000;

	assert_int_equal(operator_find_vm(bed.fd, operand, &found), 0);
	assert_int_equal(found, vm);
}

static void expect_error(const char *operand, int err)
{
	uint32_t found = 1000;

	assert_int_equal(operator_find_vm(bed.fd, operand, &found), err);
	assert_int_equal(found, 1000);
}

static void operator_number_is_a_vm_whatever_names_there_are(void **state)
{
	(void)state;
	bed.name[0] = "3";
	expect_vm("3", 3);
}

static void operator_name_of_one_vm_is_found_at_any_place(void **state)
{
	(void)state;
	bed.name[1] = "web";
	bed.name[3] = "web2";
	expect_vm("web", 1);
	expect_vm("web2", 3);
	expect_error("we", -ENOENT);
	expect_error("", -ENOENT);
}

/* The one at the lower place may be anybody's. */
static void operator_name_of_two_vms_is_refused(void **state)
{
	(void)state;
	bed.name[0] = bed.name[2] = "web";
	bed.name[3] = "db";
	expect_error("web", -ENOTUNIQ);
	assert_non_null(strstr(operator_why(-ENOTUNIQ), "several VMs have this name"));
	expect_vm("db", 3);
}

static void operator_long_name_is_found(void **state)
{
	char other[] = LONG;

	(void)state;
	assert_int_equal(strlen(LONG), 63);
	bed.name[2] = LONG;
	expect_vm(LONG, 2);
	expect_error("a-name-of-63-characters", -ENOENT);
	/* who differs late is somebody else, and alone not who is meant */
	other[60] = 'x';
	bed.name[3] = other;
	expect_vm(LONG, 2);
	expect_vm(other, 3);
	bed.name[2] = NULL;
	expect_error(LONG, -ENOENT);
}

static void operator_error_of_the_broker_is_told(void **state)
{
	(void)state;
	bed.fails = -EPERM;
	expect_error("web", -EPERM);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(operator_number_is_a_vm_whatever_names_there_are),
		CASE(operator_name_of_one_vm_is_found_at_any_place),
		CASE(operator_name_of_two_vms_is_refused),
		CASE(operator_long_name_is_found),
		CASE(operator_error_of_the_broker_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
