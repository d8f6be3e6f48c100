// SPDX-License-Identifier: GPL-2.0-only
/* A change of what the options say while VMs are served, over maps and programs that are memory. The test is
 * the main thread. */
#include <helpers/unit.h>

#include <helpers/bpf_edge.h>

#include <broker/instance.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>

#define PATIENCE_S 10

static struct pvsched_broker bed;
static struct pvsched_conf conf;
static char dir[128];

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

/* What an actuator goes by until it is told of another, and whether that was freed before. */
static struct pvsched_programs *acts_by;
static bool was_freed;

static bool is_loaded(const struct pvsched_programs *p)
{
	bool is = false;

	for (int i = 0; i < PVSCHED_POLICIES_MAX; i++)
		is |= bed.policies.set[i].programs == p;
	return is;
}

int pvsched_actuation_standard(void *ctx, struct pvsched_programs *p)
{
	assert_ptr_equal(ctx, &bed);
	assert_true(is_loaded(p));
	was_freed |= !is_loaded(acts_by);
	acts_by = p;
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
	strcpy(dir, "/tmp/pvsched-conf-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	edge_open();
	bed.policies.say = say;
	bed.policies.ctx = &bed;
	if (pvsched_policies_open(&bed.policies, "latency", -1) ||
	    pvsched_registry_open(&bed.reg, pvsched_policies_base(&bed.policies)))
		return -1;
	bed.programs = acts_by = pvsched_policies_base(&bed.policies);
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
	return rmdir(dir);
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

/* --- policies from files */

#define PROGRAMS 2 /* that are always there: the first one's, and off */

static const char *path_of(const char *name) /* "a", "b" */
{
	static char path[2][160];
	char *p = path[name[0] - 'a'];

	snprintf(p, sizeof(path[0]), "%s/%s.bpf.o", dir, name);
	return p;
}

/* As a build leaves it: the name is another file's. */
static void build(const char *name)
{
	char made[160];
	int fd;

	snprintf(made, sizeof(made), "%s/made", dir);
	fd = open(made, O_CREAT | O_EXCL | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(rename(made, path_of(name)), 0);
}

static struct timespec changed(const char *name)
{
	struct stat st;

	assert_int_equal(stat(path_of(name), &st), 0);
	return st.st_ctim;
}

/* In place; at another time, as the kernel's clock has it. */
static void write_again(const char *name)
{
	struct timespec old = changed(name), now;

	do {
		assert_int_equal(utimensat(AT_FDCWD, path_of(name), NULL, 0), 0);
		now = changed(name);
	} while (!memcmp(&old, &now, sizeof(old)));
}

/* `a` for all, and for the VM "one" by name; `b` for the VM "two", if it is said. */
static int reload(bool two)
{
	struct pvsched_broker_opts o = { .policy = path_of("a"), .conf = &conf };
	char text[512], why[256];
	eventfd_t done;

	snprintf(text, sizeof(text), "[vm one]\npolicy = %s\n", path_of("a"));
	if (two)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 "[vm two]\npolicy = %s\n", path_of("b"));
	assert_int_equal(pvsched_conf_parse(text, "test", &conf, why, sizeof(why)), 0);
	bed.reload.opts = &o;
	pvsched_settings_again(&bed);
	while (bed.reload.opts) {
		assert_true(is_readable(bed.policies.loading.done_fd));
		pvsched_settings_loaded(&bed);
	}
	assert_int_equal(eventfd_read(bed.configured_fd, &done), 0);
	return bed.reload.err;
}

/* One that was found and whose guest speaks: it is served as clients are. */
static int add_vm(const char *name)
{
	int place = pvsched_server_place(&bed.server, getuid());
	struct pvsched_client *c = &bed.server.client[place];

	assert_true(place >= 0);
	c->pid = getpid();
	c->kvm = 0x1000 + place;
	c->speaks = true;
	strcpy(c->name, name);
	c->policy = pvsched_server_choose(&bed.server, c);
	assert_true(c->policy >= 0);
	assert_int_equal(pvsched_server_admit(&bed.server, c), 0);
	c->hello = true;
	return place;
}

static uint32_t id_of(int place)
{
	return bed.policies.set[bed.server.client[place].policy].id;
}

static void settings_policy_file_that_was_rebuilt_is_loaded_anew(void **state)
{
	uint32_t id;
	int vm[2];

	(void)state;
	build("a");
	assert_int_equal(reload(false), 0);
	vm[0] = add_vm("one");
	vm[1] = add_vm("other");
	for (int i = 0; i < 4; i++) {
		id = id_of(vm[0]);
		assert_int_equal(id_of(vm[1]), id);
		assert_int_equal(edge.programs, PROGRAMS + 1);
		if (i % 2)
			write_again("a");
		else
			build("a");
		assert_int_equal(reload(false), 0);
		assert_int_equal(bed.policies.next_id, id + 1); /* once for all */
		assert_int_equal(id_of(vm[0]), id + 1);
		assert_int_equal(id_of(vm[1]), id + 1);
		assert_int_equal(id_of(add_vm("one")), id + 1);
		assert_int_equal(edge.programs, PROGRAMS + 1);
	}
	assert_false(was_freed);
	unlink(path_of("a"));
}

/* As the main thread does when it is told. */
static void be_told(void)
{
	eventfd_t n;

	assert_int_equal(eventfd_read(bed.configure_fd, &n), 0);
	pvsched_settings_asked(&bed);
}

static void settings_asked_for_as_a_policy_is_loaded_are_taken_once(void **state)
{
	struct change c = { .o = { .policy = path_of("a") } };
	struct pollfd answered = { .events = POLLIN };
	pthread_t thread;
	uint32_t id;

	(void)state;
	build("a");
	build("b");
	assert_int_equal(reload(false), 0);
	id = bed.policies.next_id;
	/* an operator's, which ends just as somebody asks */
	bed.server.pending = (struct pvsched_pending){ .operator= - 1, .target = -1, .all = true };
	assert_int_equal(pvsched_policies_begin(&bed.policies, path_of("b"), -1), 0);
	assert_true(is_readable(bed.policies.loading.done_fd));
	assert_int_equal(pthread_create(&thread, NULL, configure, &c), 0);
	assert_true(is_readable(bed.configure_fd));
	pvsched_settings_loaded(&bed);
	be_told();
	expect_end(thread);
	assert_int_equal(c.err, 0);
	assert_int_equal(bed.policies.next_id, id + 1);
	answered.fd = bed.configured_fd;
	assert_int_equal(poll(&answered, 1, 0), 0); /* nobody else is */
	unlink(path_of("a"));
	unlink(path_of("b"));
}

/* `policy --all off` is answered while they are loaded: who asks last is served. */
static void settings_that_are_loaded_leave_a_kill_switch_on(void **state)
{
	struct change c = { .o = { .policy = path_of("b") } };
	pthread_t thread;
	int vm, off;

	(void)state;
	build("a");
	build("b");
	assert_int_equal(reload(false), 0);
	vm = add_vm("other");
	assert_int_equal(pthread_create(&thread, NULL, configure, &c), 0);
	assert_true(is_readable(bed.configure_fd));
	be_told();
	assert_true(bed.reload.loading);
	off = pvsched_policies_find(&bed.policies, "off");
	assert_true(off >= 0);
	bed.server.overruled = bed.server.overruled_since = true;
	pvsched_server_move(&bed.server, &bed.server.client[vm], off);
	bed.policies.standard = off;
	assert_true(is_readable(bed.policies.loading.done_fd));
	pvsched_settings_loaded(&bed);
	expect_end(thread);
	assert_int_equal(c.err, 0);
	assert_int_equal(bed.server.client[vm].policy, off);
	assert_int_equal(bed.policies.standard, off);
	unlink(path_of("a"));
	unlink(path_of("b"));
}

static void settings_policy_file_that_is_the_same_stays(void **state)
{
	uint32_t id;
	int vm;

	(void)state;
	build("a");
	assert_int_equal(reload(false), 0);
	vm = add_vm("one");
	id = id_of(vm);
	assert_int_equal(reload(false), 0);
	assert_int_equal(id_of(vm), id);
	bed.server.fixed_policy = true;
	assert_int_equal(reload(false), 0);
	assert_int_equal(id_of(vm), id);
	assert_int_equal(bed.policies.next_id, id);
	/* what cannot be loaded is not said to be in force */
	build("a");
	assert_int_equal(reload(false), -EPERM);
	assert_non_null(strstr(bed.server.said, "--fixed-policy"));
	assert_int_equal(id_of(vm), id);
	unlink(path_of("a"));
}

/* A name is no shorter where it is kept than where it was said. */
static void settings_policy_file_of_a_long_path_is_loaded_once(void **state)
{
	char deep[sizeof(dir)], outer[32];
	uint32_t id;
	int vm;

	(void)state;
	strcpy(outer, dir);
	snprintf(deep, sizeof(deep), "%s/%080d", outer, 0);
	assert_int_equal(mkdir(deep, 0700), 0);
	strcpy(dir, deep);
	build("a");
	assert_int_equal(reload(false), 0);
	vm = add_vm("one");
	id = id_of(vm);
	assert_int_equal(reload(false), 0);
	assert_int_equal(id_of(vm), id);
	assert_int_equal(bed.policies.next_id, id);
	unlink(path_of("a"));
	assert_int_equal(rmdir(dir), 0);
	strcpy(dir, outer);
}

static void settings_that_fail_leave_the_old_file_in_force(void **state)
{
	uint32_t id;
	int vm;

	(void)state;
	build("a");
	assert_int_equal(reload(false), 0);
	vm = add_vm("one");
	id = id_of(vm);
	build("a");
	assert_int_equal(reload(true), -ENOENT); /* there is no b; a was loaded */
	assert_int_equal(id_of(vm), id);
	assert_int_equal(id_of(add_vm("one")), id);
	assert_int_equal(edge.programs, PROGRAMS + 1);
	build("b");
	assert_int_equal(reload(true), 0);
	assert_true(id_of(vm) > id);
	assert_int_equal(edge.programs, PROGRAMS + 2);
	unlink(path_of("a"));
	assert_int_equal(reload(true), -ENOENT);
	unlink(path_of("b"));
}

/* A VM that comes while the rest is loaded belongs to what is in force. */
static void settings_new_file_is_no_vms_before_all_are_loaded(void **state)
{
	struct pvsched_broker_opts o = { .policy = path_of("a"), .conf = &conf };
	uint32_t id;

	(void)state;
	build("a");
	assert_int_equal(reload(false), 0);
	id = id_of(add_vm("one"));
	build("a");
	assert_int_equal(pvsched_settings_hold(&bed, &o), -EBUSY);
	assert_true(is_readable(bed.policies.loading.done_fd));
	bed.reload.held[bed.reload.n++] = pvsched_policies_end(&bed.policies);
	bed.reload.loading = false;
	assert_int_equal(id_of(add_vm("one")), id);
	assert_int_equal(id_of(add_vm("other")), id);
	assert_int_equal(pvsched_settings_hold(&bed, &o), 0);
	pvsched_settings_take(&bed, &o);
	for (int place = 0; place < 3; place++)
		assert_int_equal(id_of(place), id + 1);
	unlink(path_of("a"));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(settings_are_refused_when_the_main_thread_has_ended),
		CASE(settings_policy_file_that_was_rebuilt_is_loaded_anew),
		CASE(settings_policy_file_that_is_the_same_stays),
		CASE(settings_asked_for_as_a_policy_is_loaded_are_taken_once),
		CASE(settings_that_are_loaded_leave_a_kill_switch_on),
		CASE(settings_policy_file_of_a_long_path_is_loaded_once),
		CASE(settings_that_fail_leave_the_old_file_in_force),
		CASE(settings_new_file_is_no_vms_before_all_are_loaded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
