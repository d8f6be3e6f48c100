// SPDX-License-Identifier: GPL-2.0-only
/* A change of what the options say while VMs are served, over maps and programs that are memory. The test is
 * the main thread. */
#include <helpers/unit.h>

#include <helpers/bpf_edge.h>

#include <broker/instance.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>

#define PATIENCE_S 10

static struct pvsched_broker bed;

/* --- what else a broker is */

void pvsched_broker_say(struct pvsched_broker *b, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(b->server.said, sizeof(b->server.said), fmt, args);
	va_end(args);
}

int pvsched_broker_find_vms(struct pvsched_broker *b, const char *policy)
{
	assert_ptr_equal(b, &bed);
	assert_null(policy);
	return 0;
}

int pvsched_broker_no_finding(struct pvsched_broker *b, const struct pvsched_actuator *a)
{
	assert_ptr_equal(b, &bed);
	return a ? -ENOTSUP : -EINVAL;
}

bool pvsched_actuator_has_bpf(const struct pvsched_actuator *a)
{
	assert_null(a);
	return true;
}

int pvsched_actuation_standard(void *ctx, struct pvsched_programs *p)
{
	assert_ptr_equal(ctx, &bed);
	assert_non_null(p);
	return 0;
}

void pvsched_ports_end(struct pvsched_ports *p)
{
	assert_ptr_equal(p, &bed.ports);
}

void pvsched_found_close(struct pvsched_found_vms *f)
{
	assert_ptr_equal(f, &bed.found);
}

void pvsched_found_again(struct pvsched_found_vms *f)
{
	assert_ptr_equal(f, &bed.found);
}

void pvsched_found_drop(struct pvsched_found_vms *f, int place)
{
	assert_ptr_equal(f, &bed.found);
	assert_in_range(place, 0, PVSCHED_VMS - 1);
}

/* --- */

static void say(void *ctx, const char *line)
{
	pvsched_broker_say(ctx, "%s", line);
}

static int setup(void **state)
{
	struct pvsched_server *s = &bed.server;

	(void)state;
	memset(&bed, 0, sizeof(bed));
	edge_open();
	bed.policies.say = say;
	bed.policies.ctx = &bed;
	if (pvsched_policies_open(&bed.policies, "latency", -1) ||
	    pvsched_registry_open(&bed.reg, pvsched_policies_base(&bed.policies)))
		return -1;
	bed.programs = pvsched_policies_base(&bed.policies);
	pthread_mutex_init(&bed.mutex, NULL);
	*s = (struct pvsched_server){ .reg = &bed.reg,
				      .policies = &bed.policies,
				      .mutex = &bed.mutex,
				      .listen_fd = -1,
				      .spare_fd = -1,
				      .ceiling = bed.reg.host.value[PVSCHED_BUDGET_CEILING] };
	s->pending.operator= s->pending.target = - 1;
	for (int i = 0; i < PVSCHED_PLACES; i++)
		s->client[i].fd = s->client[i].pidfd = -1;
	bed.configure_fd = eventfd(0, EFD_CLOEXEC);
	bed.configured_fd = eventfd(0, EFD_CLOEXEC);
	bed.ended_fd = eventfd(0, EFD_CLOEXEC);
	bed.running = true;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (int place = 0; place < PVSCHED_VMS; place++)
		pvsched_server_drop(&bed.server, place);
	close(bed.configure_fd);
	close(bed.configured_fd);
	close(bed.ended_fd);
	pvsched_registry_close(&bed.reg);
	pvsched_policies_close(&bed.policies);
	edge_close();
	assert_int_equal(edge.programs, 0);
	return 0;
}

static bool is_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, PATIENCE_S * 1000) == 1;
}

/* --- whoever waits is answered */

struct change {
	struct pvsched_broker_opts o;
	int err;
};

static void *configure(void *arg)
{
	struct change *c = arg;

	c->err = pvsched_broker__configure(&bed, &c->o);
	return NULL;
}

/* Or hangs for ever. */
static void expect_end(pthread_t thread)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += PATIENCE_S;
	assert_int_equal(pthread_timedjoin_np(thread, NULL, &end), 0);
}

static void settings_are_refused_when_the_main_thread_has_ended(void **state)
{
	struct change c = { 0 };
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, configure, &c), 0);
	assert_true(is_readable(bed.configure_fd)); /* it waits */
	pvsched_settings_end(&bed);
	expect_end(thread);
	assert_int_equal(c.err, -EPIPE);
	/* and whoever comes later */
	c.err = 0;
	assert_int_equal(pthread_create(&thread, NULL, configure, &c), 0);
	expect_end(thread);
	assert_int_equal(c.err, -EPIPE);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(settings_are_refused_when_the_main_thread_has_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
