// SPDX-License-Identifier: GPL-2.0-only
/*
 * pvsched-guest run: the handshake, then a loop that sleeps: a doorbell that a program asks for, a
 * CPU that comes or goes, every four seconds the clock and whether the pages live, a signal to end.
 * Over a stream a second thread renews the lease.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "clock.h"
#include "cmd.h"
#include "declared.h"
#include "device.h"
#include "publisher.h"

struct values {
	bool quiet;
	uint64_t features, protocol;
};

/* by their bits, PVSCHED_F_* */
static const char *const feature_names[] = { "ticket", "next_event", "pending", "placement", NULL };

static const struct option options[] = {
	{ "quiet", OPTION_FLAG, offsetof(struct values, quiet), NULL, NULL,
	  "say nothing when all is well", 0, 0, NULL },
	{ "features", OPTION_SET, offsetof(struct values, features), "LIST", "all",
	  "accept only these of the host's", 0, 0, feature_names },
	{ "protocol", OPTION_NUMBER, offsetof(struct values, protocol), "VERSION", "1",
	  "of BASE: another than 1 is for tests of hosts that do not offer it", 0, UINT32_MAX,
	  NULL },
	OPTIONS_END
};

struct daemon {
	struct device device;
	struct publisher publisher;
	int vcpu[PVSCHED_VCPUS_MAX]; /* of a CPU: its number in the device; -1 = has no page */
	const struct values *v;
	int lease_fd; /* ends the thread that renews the lease; -1 = there is none */
	pthread_t lease;
	bool lost; /* the host took the pages, and does not give them back yet */
	unsigned int
		unserved; /* CPUs online without a page, or offline with one, at the last look */
	double handshake_ms; /* from the device's reset to DRIVER_OK */
};

/* Linux CPU -> initial APIC id, of the CPUs that are online; -1 for the others. */
static int read_cpus(int *id, struct cli_error *e)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[512];
	int cpu = -1, n;

	for (unsigned int i = 0; i < PVSCHED_VCPUS_MAX; i++)
		id[i] = -1;
	if (!f)
		return cli_fail(e, CLI_FAILED, "read the CPUs", "/proc/cpuinfo", "mount /proc",
				"%s", strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "processor : %d", &n) == 1)
			cpu = n;
		else if (sscanf(line, "initial apicid : %d", &n) == 1 && cpu >= 0 &&
			 cpu < PVSCHED_VCPUS_MAX)
			id[cpu] = n;
	}
	fclose(f);
	return 0;
}

/* A page as new says nothing, and what the CPU was in when its last page went, nobody has followed since. No
 * program is at it: none was when it was off, or publisher_settle() has waited for those that were. */
static void begin_anew(struct publish_cpu *c)
{
	c->plain = c->idle = c->hardirq = c->softirq = 0;
	*(volatile uint32_t *)&c->on = 1;
}

static int share(struct daemon *d, unsigned int cpu, int vcpu, struct cli_error *e)
{
	uint64_t gfn = publisher_gfn(&d->publisher, cpu);

	if (!gfn)
		return cli_fail(e, CLI_FAILED, "find the page's frame", "/proc/self/pagemap",
				"run as root", "%s", strerror(errno));
	if (device_share(&d->device, vcpu, gfn, &d->publisher.pages[cpu], e))
		return e->exit;
	d->vcpu[cpu] = vcpu;
	begin_anew(&d->publisher.state->cpu[cpu]);
	return 0;
}

/* True: the page is the guest's alone. */
static bool take_back(struct daemon *d, unsigned int cpu)
{
	uint32_t result;

	if (d->vcpu[cpu] < 0)
		return true;
	*(volatile uint32_t *)&d->publisher.state->cpu[cpu].on = 0;
	result = device_unshare(&d->device, d->vcpu[cpu]);
	if (result != PVSCHED_R_OK && result != PVSCHED_R_NOT_REGISTERED)
		return false;
	d->vcpu[cpu] = -1;
	return true;
}

/*
 * Gives every CPU that is online a page, and takes it from those that are not. One that cannot be served
 * now is said, once, and waits for the next look; the others have theirs. Exit status: not 0 when none has.
 */
static int reconcile(struct daemon *d, struct cli_error *e)
{
	unsigned int shared = 0, unserved = 0;
	struct cli_error first = { 0 };
	int id[PVSCHED_VCPUS_MAX];

	if (read_cpus(id, e))
		return e->exit;
	for (unsigned int cpu = 0; cpu < d->publisher.cpus; cpu++) {
		bool stays = id[cpu] >= 0 && d->publisher.state->cpu[cpu].on;

		if ((!stays && !take_back(d, cpu)) ||
		    (id[cpu] >= 0 && d->vcpu[cpu] < 0 && share(d, cpu, id[cpu], &first)))
			unserved++;
		else
			shared += d->vcpu[cpu] >= 0;
	}
	if (first.exit && shared && unserved > d->unserved)
		cli_error_print(&first, stderr);
	d->unserved = unserved;
	if (first.exit && !shared)
		*e = first;
	return e->exit;
}

static void follow_cpus(struct daemon *d)
{
	unsigned int before = d->unserved;
	struct cli_error e = { 0 };

	if (reconcile(d, &e) && d->unserved > before)
		cli_error_print(&e, stderr);
}

static void ring(void *ctx, unsigned int cpu)
{
	struct daemon *d = ctx;

	if (cpu < PVSCHED_VCPUS_MAX && d->vcpu[cpu] >= 0)
		device_ring(&d->device, d->vcpu[cpu]);
}

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static int shake(struct daemon *d, struct cli_error *e)
{
	double from = now_ms();

	if (device_negotiate(&d->device, d->v->protocol, d->v->features, e) || reconcile(d, e) ||
	    device_ready(&d->device, e))
		return e->exit;
	d->handshake_ms = now_ms() - from;
	return 0;
}

/* A stream tells the host nothing of a daemon that died. A thread of its own: the other may wait for the
 * host, and the first page's lease runs while the last vCPU's is being shared. */
static void *renew_lease(void *arg)
{
	struct daemon *d = arg;
	struct pollfd ending = { .fd = d->lease_fd, .events = POLLIN };

	do
		for (unsigned int cpu = 0; cpu < d->publisher.cpus; cpu++)
			(*(volatile uint64_t *)&d->publisher.pages[cpu].lease)++;
	while (!poll(&ending, 1, PVSCHED_LEASE_MS / 4));
	return NULL;
}

static int start_lease(struct daemon *d, struct cli_error *e)
{
	int err;

	if (d->device.stream < 0)
		return 0;
	d->lease_fd = eventfd(0, EFD_CLOEXEC);
	err = d->lease_fd < 0 ? errno : pthread_create(&d->lease, NULL, renew_lease, d);
	if (err && d->lease_fd >= 0) {
		close(d->lease_fd);
		d->lease_fd = -1;
	}
	return err ? cli_fail(e, CLI_FAILED, "run", NULL, NULL, "the lease's thread: %s",
			      strerror(err))
		   : 0;
}

/* After a reset that the host did not answer: until it must have seen that the lease is over. */
static void end_lease(struct daemon *d)
{
	const struct timespec twice = { PVSCHED_LEASE_MS * 2 / 1000, 0 };

	if (d->lease_fd >= 0) {
		eventfd_write(d->lease_fd, 1);
		pthread_join(d->lease, NULL);
		close(d->lease_fd);
		d->lease_fd = -1;
	}
	if (!device_is_connected(&d->device))
		nanosleep(&twice, NULL);
}

static int start(struct daemon *d, struct cli_error *e)
{
	int cpus = libbpf_num_possible_cpus();

	if (cpus < 1 || cpus > PVSCHED_VCPUS_MAX)
		return cli_fail(e, CLI_FAILED, "run", NULL, NULL,
				"this guest may have %d CPUs, %d are served", cpus,
				PVSCHED_VCPUS_MAX);
	if (device_open(&d->device, e))
		return e->exit;
	if (publisher_left_over()) {
		/* a daemon was killed: from the reset on its pages are the guest's alone */
		if (!device_reset(&d->device))
			return cli_fail(e, CLI_FAILED, "take over", d->device.slot,
					"what the last daemon shared stays pinned",
					"the function does not answer");
		end_lease(d);
		publisher_unpin();
		if (!d->v->quiet)
			printf("took over from a daemon that did not end in good order\n");
	}
	if (publisher_open(&d->publisher, cpus, ring, d, e) || declared_forget_ended(e) ||
	    declared_recount(e))
		return e->exit;
	clock_start(&d->publisher.state->clock);
	return start_lease(d, e) || shake(d, e) ? e->exit : 0;
}

/* The pins go only when no page is attached any more: if the function cannot be told, they stay. */
static void end(struct daemon *d)
{
	struct cli_error e = { 0 };

	if (device_is_open(&d->device)) {
		device_enable(&d->device, &e); /* somebody may have switched its decoding off */
		for (unsigned int cpu = 0; cpu < PVSCHED_VCPUS_MAX; cpu++)
			take_back(d, cpu);
		if (device_reset(&d->device)) {
			end_lease(d);
			publisher_unpin();
		} else if (publisher_left_over()) {
			cli_fail(
				&e, CLI_FAILED, "end", d->device.slot,
				"its pages stay pinned: the next 'pvsched-guest run' takes them over",
				"the function does not answer");
			cli_error_print(&e, stderr);
		}
	}
	publisher_close(&d->publisher);
	device_close(&d->device);
}

/* A host to which the lease was not renewed in time, since this VM was stopped, writes nothing more,
 * not even that: it must be asked. */
static bool pages_live(struct daemon *d)
{
	for (unsigned int cpu = 0; cpu < d->publisher.cpus; cpu++)
		if (d->vcpu[cpu] >= 0 &&
		    !device_has_page(&d->device, d->vcpu[cpu], &d->publisher.pages[cpu]))
			return false;
	return true;
}

/* Bus Master was cleared, the device reset, or the broker has ended (spec END-6): once more from the
 * beginning. Where that fails it is tried again at the next look, and told only once. */
static void revive(struct daemon *d)
{
	struct cli_error e = { 0 };
	int err;

	if (!d->lost && device_is_connected(&d->device) && pages_live(d))
		return;
	for (unsigned int cpu = 0; cpu < d->publisher.cpus; cpu++) {
		*(volatile uint32_t *)&d->publisher.state->cpu[cpu].on = 0;
		d->vcpu[cpu] = -1;
	}
	if (!d->lost && !d->v->quiet)
		printf("the host has given the pages up: starting over\n");
	err = publisher_settle();
	if (err)
		cli_fail(&e, CLI_FAILED, "wait for the programs", NULL, NULL, "%s", strerror(-err));
	if (err || device_enable(&d->device, &e) || shake(d, &e)) {
		if (!d->lost)
			cli_error_print(&e, stderr);
		d->lost = true;
	} else {
		d->lost = false;
		if (!d->v->quiet)
			printf("shares its pages again\n");
	}
	fflush(stdout);
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static int open_clock(void)
{
	const struct itimerspec each = { { CLOCK_PERIOD_S, 0 }, { CLOCK_PERIOD_S, 0 } };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd >= 0)
		timerfd_settime(fd, 0, &each, NULL);
	return fd;
}

/* The kernel's events of devices: CPUs among them. */
static int open_uevents(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			NETLINK_KOBJECT_UEVENT);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static bool is_about_cpus(int fd)
{
	char event[4096];
	bool cpus = false;
	ssize_t n;

	while ((n = recv(fd, event, sizeof(event) - 1, 0)) > 0) {
		event[n] = '\0';
		cpus |= !!strstr(event, "/devices/system/cpu/cpu");
	}
	/* lost ones (ENOBUFS) may have been */
	return cpus || (n < 0 && errno == ENOBUFS);
}

/* What no event tells, or told in vain. */
static void look_again(struct daemon *d, bool events)
{
	struct cli_error e = { 0 };

	if (!d->lost && (d->unserved || !events))
		follow_cpus(d);
	if (d->publisher.state->declared)
		declared_recount(&e); /* if it fails, programs go on looking up what is not there */
}

static int loop(struct daemon *d, int signals, struct cli_error *e)
{
	struct pollfd fds[] = {
		{ .fd = signals, .events = POLLIN },
		{ .fd = publisher_fd(&d->publisher), .events = POLLIN },
		{ .fd = open_clock(), .events = POLLIN },
		{ .fd = open_uevents(), .events = POLLIN },
	};
	uint64_t ticks;
	int status = 0;

	if (fds[2].fd < 0)
		status = cli_fail(e, CLI_FAILED, "run", NULL, NULL, "%s", strerror(errno));
	while (!status) {
		if (poll(fds, sizeof(fds) / sizeof(*fds), -1) < 0 && errno != EINTR)
			status = cli_fail(e, CLI_FAILED, "run", NULL, NULL, "poll: %s",
					  strerror(errno));
		if (fds[0].revents)
			break;
		if (fds[1].revents)
			publisher_poll(&d->publisher);
		if (fds[2].revents && read(fds[2].fd, &ticks, sizeof(ticks)) == sizeof(ticks)) {
			clock_update(&d->publisher.state->clock);
			revive(d);
			look_again(d, fds[3].fd >= 0);
		}
		if (fds[3].revents && is_about_cpus(fds[3].fd) && !d->lost)
			follow_cpus(d);
	}
	for (unsigned int i = 2; i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i].fd >= 0)
			close(fds[i].fd);
	return status;
}

static int run(const void *values, const char **operands, unsigned int count, struct cli_error *e)
{
	const struct values *v = values;
	struct daemon *d = calloc(1, sizeof(*d));
	double from = now_ms();
	unsigned int shared = 0;
	int status, signals;

	(void)operands, (void)count;
	if (!d)
		return cli_fail(e, CLI_FAILED, "run", NULL, NULL, "out of memory");
	d->v = v;
	d->device.config = d->device.stream = d->lease_fd = -1;
	for (unsigned int i = 0; i < PVSCHED_VCPUS_MAX; i++)
		d->vcpu[i] = -1;
	/* from here on a signal waits until the pages are in order */
	signals = open_signals();
	status = signals < 0 ? cli_fail(e, CLI_FAILED, "run", NULL, NULL, "signalfd: %s",
					strerror(errno))
			     : start(d, e);
	if (!status) {
		for (unsigned int i = 0; i < PVSCHED_VCPUS_MAX; i++)
			shared += d->vcpu[i] >= 0;
		if (!v->quiet)
			printf("%u of %u CPUs share a page, %u programs, features %#llx; "
			       "handshake %.1f ms, all %.1f ms\n",
			       shared, d->publisher.cpus, d->publisher.attached,
			       (unsigned long long)d->device.features, d->handshake_ms,
			       now_ms() - from);
		fflush(stdout);
		status = loop(d, signals, e);
	}
	end(d);
	free(d);
	if (signals >= 0)
		close(signals);
	return status;
}

const struct cmd cmd_guest_run = {
	.name = "run",
	.summary = "share a page per CPU with the host and publish, until a signal ends it",
	.details =
		"Needs root, and a host that offers the pvsched function or the virtio-serial port\n"
		"org.pvsched.0. What was declared by 'pvsched-guest latency' outlives it. See\n"
		"pvsched-guest(8).\n",
	.options = options,
	.size = sizeof(struct values),
	.run = run,
};
