// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's daemon without a device: which CPUs it shares, and what it does about those that the host
 * refuses. The device, the publisher and three CPUs are this test's; the look every four seconds comes
 * each 10 ms.
 */
#include <helpers/unit.h>

#include <cmd.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "../../src/guest/linux/clock.h"
#include "../../src/guest/linux/declared.h"
#include "../../src/guest/linux/device.h"
#include "../../src/guest/linux/publisher.h"

extern const struct cmd cmd_guest_run;

#define CPUS  3
#define LOOKS 20 /* after so many it ends by itself: 200 ms */

/* as cmd_run.c's */
struct values {
	bool quiet;
	uint64_t features, protocol;
};

static struct pvsched_page pages[CPUS];
static struct publish_state state_page;
static unsigned int asked[CPUS]; /* how often each page was shared, or refused */
static unsigned int refusals[CPUS]; /* that are still to come */
static unsigned int looks, settled, handshakes;
static int settle_error;
static uint64_t status_after; /* of every page, from the second look on; 0 = it stays */

FILE *__real_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode)
{
	static char cpus[] =
		"processor : 0\ninitial apicid : 0\nprocessor : 1\ninitial apicid : 1\n"
		"processor : 2\ninitial apicid : 2\n";

	if (strcmp(path, "/proc/cpuinfo"))
		return __real_fopen64(path, mode);
	return fmemopen(cpus, strlen(cpus), "r");
}

int __real_timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old)
{
	const struct itimerspec soon = { { 0, 10000000 }, { 0, 10000000 } };

	(void)new;
	return __real_timerfd_settime(fd, flags, &soon, old);
}

int libbpf_num_possible_cpus(void);
int libbpf_num_possible_cpus(void)
{
	return CPUS;
}

void clock_start(struct publish_clock *c)
{
	(void)c;
}

void clock_update(struct publish_clock *c)
{
	(void)c;
	if (++looks == LOOKS)
		kill(getpid(), SIGTERM);
	for (unsigned int i = 0; status_after && looks == 2 && i < CPUS; i++)
		pages[i].status = status_after;
}

int device_open(struct device *d, struct cli_error *e)
{
	(void)e;
	*d = (struct device){ .config = -1, .stream = -1, .vcpus = CPUS };
	return 0;
}

bool device_is_open(const struct device *d)
{
	(void)d;
	return true;
}

bool device_is_connected(const struct device *d)
{
	(void)d;
	return true;
}

void device_close(struct device *d)
{
	(void)d;
}

int device_enable(struct device *d, struct cli_error *e)
{
	(void)d, (void)e;
	return 0;
}

int device_negotiate(struct device *d, uint32_t version, uint64_t features, struct cli_error *e)
{
	(void)d, (void)version, (void)features, (void)e;
	handshakes++;
	return 0;
}

int device_share(struct device *d, uint32_t vcpu, uint64_t gfn, struct pvsched_page *page,
		 struct cli_error *e)
{
	(void)d, (void)gfn;
	asked[vcpu]++;
	if (refusals[vcpu]) {
		refusals[vcpu]--;
		return cli_fail(e, CLI_FAILED, "share a page", "vCPU", NULL, "refused");
	}
	page->status = PVSCHED_PAGE_ENABLED;
	return 0;
}

uint32_t device_unshare(struct device *d, uint32_t vcpu)
{
	(void)d, (void)vcpu;
	return PVSCHED_R_OK;
}

bool device_has_page(struct device *d, uint32_t vcpu, const struct pvsched_page *page)
{
	(void)d, (void)vcpu;
	return page->status == PVSCHED_PAGE_ENABLED;
}

int device_ready(struct device *d, struct cli_error *e)
{
	(void)d, (void)e;
	return 0;
}

static bool deaf;

bool device_reset(struct device *d)
{
	(void)d;
	return !deaf;
}

void device_ring(struct device *d, uint32_t vcpu)
{
	(void)d, (void)vcpu;
}

/* Pinned from publisher_open() on. */
static bool pinned;

bool publisher_left_over(void)
{
	return pinned;
}

void publisher_unpin(void)
{
	pinned = false;
}

int publisher_open(struct publisher *p, unsigned int cpus,
		   void (*ring)(void *ctx, unsigned int cpu), void *ctx, struct cli_error *e)
{
	(void)ring, (void)ctx, (void)e;
	*p = (struct publisher){ .cpus = cpus, .pages = pages, .state = &state_page };
	pinned = true;
	return 0;
}

int publisher_fd(const struct publisher *p)
{
	(void)p;
	return -1;
}

void publisher_poll(struct publisher *p)
{
	(void)p;
}

void publisher_close(struct publisher *p)
{
	(void)p;
}

uint64_t publisher_gfn(const struct publisher *p, unsigned int cpu)
{
	(void)p;
	return 100 + cpu;
}

int publisher_settle(void)
{
	settled++;
	return settle_error;
}

int declared_forget_ended(struct cli_error *e)
{
	(void)e;
	return 0;
}

int declared_recount(struct cli_error *e)
{
	(void)e;
	return 0;
}

static int setup(void **state)
{
	(void)state;
	memset(pages, 0, sizeof(pages));
	memset(&state_page, 0, sizeof(state_page));
	memset(asked, 0, sizeof(asked));
	memset(refusals, 0, sizeof(refusals));
	deaf = pinned = false;
	looks = settled = handshakes = 0;
	settle_error = 0;
	status_after = 0;
	return 0;
}

/* Until it ends by itself; what it says on stderr stays in the file, which the caller closes. */
static int run(FILE **ret_said, struct cli_error *e)
{
	const struct values values = { .quiet = true, .protocol = 1 };
	const struct timespec now = { 0 };
	int kept = dup(STDERR_FILENO), status;
	sigset_t term;

	*ret_said = tmpfile();
	assert_true(*ret_said && kept >= 0);
	dup2(fileno(*ret_said), STDERR_FILENO);
	status = cmd_guest_run.run(&values, NULL, 0, e);
	fflush(stderr);
	dup2(kept, STDERR_FILENO);
	close(kept);
	rewind(*ret_said);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigtimedwait(&term, NULL, &now); /* it has seen it, not taken it */
	return status;
}

static unsigned int lines(FILE *f)
{
	unsigned int n = 0;
	int c;

	while ((c = fgetc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

static void guest_cpu_refused_at_first_is_shared_later(void **state)
{
	struct cli_error e = { 0 };
	FILE *said;

	(void)state;
	refusals[0] = 3;
	assert_int_equal(run(&said, &e), 0);
	assert_int_equal(asked[0], 4); /* at the start, then at each look until it is */
	assert_int_equal(asked[1], 1);
	assert_int_equal(asked[2], 1);
	assert_int_equal(lines(said), 1); /* and told once */
}

static void guest_cpu_refused_for_ever_leaves_the_others_theirs(void **state)
{
	struct cli_error e = { 0 };
	FILE *said;

	(void)state;
	refusals[1] = -1u;
	assert_int_equal(run(&said, &e), 0);
	assert_int_equal(asked[0], 1);
	assert_true(asked[1] > 2);
	assert_int_equal(asked[2], 1);
	assert_int_equal(handshakes, 1);
	assert_int_equal(lines(said), 1);
}

static void guest_without_any_page_says_why(void **state)
{
	struct cli_error e = { 0 };
	FILE *said;

	(void)state;
	for (unsigned int i = 0; i < CPUS; i++)
		refusals[i] = -1u;
	assert_int_equal(run(&said, &e), CLI_FAILED);
	assert_string_equal(e.why, "refused");
	assert_int_equal(lines(said), 0);
}

static void guest_pages_given_up_are_shared_again(void **state)
{
	struct cli_error e = { 0 };
	FILE *said;

	(void)state;
	status_after = PVSCHED_PAGE_DEAD;
	assert_int_equal(run(&said, &e), 0);
	assert_int_equal(handshakes, 2);
	assert_int_equal(settled, 1);
	assert_int_equal(asked[2], 2);
	assert_int_equal(lines(said), 0);
}

/* As it was when the last page went, which may have been while it idled or had an interrupt. */
static void guest_pages_that_are_new_forget_what_their_cpu_was_in(void **state)
{
	struct publish_cpu was = { .plain = 120, .idle = 1, .hardirq = 1, .softirq = 1 };
	struct cli_error e = { 0 };
	FILE *said;

	(void)state;
	status_after = PVSCHED_PAGE_DEAD;
	state_page.cpu[0] = state_page.cpu[2] = was;
	assert_int_equal(run(&said, &e), 0);
	for (unsigned int i = 0; i < 3; i += 2) {
		struct publish_cpu *c = &state_page.cpu[i];

		assert_int_equal(c->plain | c->idle | c->hardirq | c->softirq, 0);
	}
}

/* The host may still write them: memory of the kernel's own, were they freed. */
static void guest_pages_of_a_function_that_does_not_answer_stay_pinned(void **state)
{
	struct cli_error e = { 0 };
	FILE *said;

	(void)state;
	assert_int_equal(run(&said, &e), 0);
	assert_int_equal(lines(said), 0);
	assert_false(pinned);
	looks = 0;
	deaf = true;
	assert_int_equal(run(&said, &e), 0);
	assert_int_equal(lines(said), 1);
	assert_true(pinned);
	/* nor does the next one take them for its own */
	looks = 0;
	assert_int_equal(run(&said, &e), CLI_FAILED);
	assert_true(pinned);
}

/* INIT-8: a program that still stores would do it while the host copies the page. */
static void guest_that_cannot_wait_for_its_programs_does_not_share(void **state)
{
	struct cli_error e = { 0 };
	FILE *said;

	(void)state;
	status_after = PVSCHED_PAGE_DEAD;
	settle_error = -ENOMEM;
	assert_int_equal(run(&said, &e), 0);
	assert_int_equal(handshakes, 1);
	assert_int_equal(asked[0], 1);
	assert_true(settled > 2);
	assert_int_equal(lines(said), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(guest_cpu_refused_at_first_is_shared_later, setup),
		cmocka_unit_test_setup(guest_cpu_refused_for_ever_leaves_the_others_theirs, setup),
		cmocka_unit_test_setup(guest_without_any_page_says_why, setup),
		cmocka_unit_test_setup(guest_pages_given_up_are_shared_again, setup),
		cmocka_unit_test_setup(guest_pages_of_a_function_that_does_not_answer_stay_pinned,
				       setup),
		cmocka_unit_test_setup(guest_pages_that_are_new_forget_what_their_cpu_was_in,
				       setup),
		cmocka_unit_test_setup(guest_that_cannot_wait_for_its_programs_does_not_share,
				       setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
