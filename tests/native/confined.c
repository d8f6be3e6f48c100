// SPDX-License-Identifier: GPL-2.0-only
/*
 * libpvsched under the reference VMM's filters: a thread that is confined as a vCPU's does the whole
 * handshake, and one that is confined as the service's joins the next broker. Every other thread of the
 * process is as it was.
 */
#include <helpers/threads.h>
#include <helpers/unit.h>

#include <vmm/confine.h>

#define PATIENCE_MS 20000

struct scene {
	pid_t broker;
	struct threads_bed bed;
	int result;
};

static const struct pvsched_broker_opts defaults = { .print = bed_say };

static int setup(void **state)
{
	static struct scene s;

	*state = &s;
	memset(&s, 0, sizeof(s));
	s.broker = bed_start_broker(&defaults);
	return s.broker > 0 ? bed_open_as(&s.bed, "confined", NULL, true) : -1;
}

static int teardown(void **state)
{
	struct scene *s = *state;

	bed_close(&s->bed);
	bed_stop_child(&s->broker);
	return 0;
}

/* In a thread of its own, which ends confined. What is forbidden kills the test. */
static int confined(struct scene *s, void *(*does)(void *))
{
	pthread_t thread;

	s->result = -ECHILD;
	assert_int_equal(pthread_create(&thread, NULL, does, s), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	return s->result;
}

static void *attach_anew(void *arg)
{
	struct scene *s = arg;
	struct pvsched_vm *vm = s->bed.vm;
	struct bed_vcpu *v = &s->bed.vcpu[0];

	s->result = vmm_confine(VMM_ROLE_VCPU);
	if (s->result)
		return NULL;
	pvsched_vm__reset(vm);
	pvsched_vm__set_bus_master(vm, true);
	guest_negotiate(vm);
	guest_prepare(vm, v->page, 0);
	s->result = guest_register(vm, 0, 16);
	if (!s->result)
		s->result = guest_enable(vm, 0, v->page);
	if (!s->result)
		s->result = guest_command(vm, 0, PVSCHED_CMD_UNREGISTER);
	guest_prepare(vm, v->page, 0);
	if (!s->result)
		s->result = guest_register(vm, 0, 16);
	if (!s->result)
		s->result = guest_enable(vm, 0, v->page);
	pvsched_vm__bar_write(vm, PVSCHED_REG_DOORBELL, &(uint32_t){ 1 }, 4);
	return NULL;
}

static void *join_the_next(void *arg)
{
	struct scene *s = arg;
	uint64_t end = bed_now() + PATIENCE_MS * 1000000ull;

	s->result = vmm_confine(VMM_ROLE_SERVICE);
	if (s->result)
		return NULL;
	s->result = pvsched_vm__dispatch(s->bed.vm) == -EPIPE ? 0 : -EBUSY;
	while (!s->result && pvsched_vm__rejoin(s->bed.vm))
		if (bed_now() > end)
			s->result = -ETIMEDOUT;
	return NULL;
}

static void confined_vcpu_thread_does_the_handshake(void **state)
{
	struct scene *s = *state;

	assert_int_equal(confined(s, attach_anew), PVSCHED_R_OK);
	assert_int_equal(s->bed.vcpu[0].page->status, PVSCHED_PAGE_ENABLED);
}

static void confined_service_thread_joins_the_next_broker(void **state)
{
	struct scene *s = *state;

	bed_stop_child(&s->broker);
	s->broker = bed_start_broker(&defaults);
	assert_true(s->broker > 0);
	assert_int_equal(confined(s, join_the_next), 0);
	assert_int_equal(s->bed.vcpu[0].page->status, PVSCHED_PAGE_ENABLED);
	/* and is served */
	s->bed.hog = bed_start_hog(s->bed.cpu);
	bed_mode(&s->bed.vcpu[0], BED_CRITICAL);
	assert_true(bed_await_boosted(&s->bed.vcpu[0], true, PATIENCE_MS));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(confined_vcpu_thread_does_the_handshake),
		CASE(confined_service_thread_joins_the_next_broker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
