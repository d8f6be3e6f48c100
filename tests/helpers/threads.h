/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Threads that stand where vCPUs would: registered through libpvsched, pinned beside a hog, with
 * a page enabled by the real handshake. What the host does is real (programs, broker, agents,
 * scheduling); only KVM is not on the path. Guests under KVM are in the vmm_* tests.
 */
#ifndef PVSCHED_TESTS_THREADS_H
#define PVSCHED_TESTS_THREADS_H

#include <actuator/actuator.h>
#include <broker/broker.h>
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <core/page.h>

#include "lib_guest.h"

#define BED_VCPUS 2

enum bed_mode {
	BED_SLEEP,
	BED_SPIN, /* CPU-bound, nothing urgent */
	BED_CRITICAL, /* CPU-bound, critical for ever: never rings */
	BED_SECTIONS, /* 50 us critical, 50 us not, by the protocol */
	BED_HARM, /* what `harm` does */
	BED_GREEDY, /* CPU-bound; every word asks for all that there is, for ever; never rings */
	BED_STOP,
};

struct bed_vcpu {
	struct threads_bed *bed;
	unsigned int index;
	pthread_t thread;
	pid_t tid;
	int mode; /* enum bed_mode, atomic */
	int seen; /* the mode that the thread is in, atomic */
	uint32_t gen;
	uint64_t sections, rings;
	void (*harm)(struct bed_vcpu *v); /* a moment of it */
	uint64_t seed, reached; /* of `harm` */
	struct pvsched_page *page;
};

struct threads_bed {
	struct pvsched_vm *vm;
	char *mem;
	int cpu;
	pid_t hog;
	struct bed_vcpu vcpu[BED_VCPUS];
};

static inline uint64_t bed_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static inline void bed_sleep_ms(unsigned int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000l };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

static inline void bed_say(enum pvsched_log_level level, const char *line, void *ctx)
{
	(void)level;
	(void)ctx;
	printf("# %s\n", line);
	fflush(stdout);
}

/* The same each time: a test that stands aside narrows its own affinity afterwards. */
static inline int bed_last_cpu(void)
{
	static int last = -1;
	cpu_set_t set;

	if (last >= 0)
		return last;
	last = 0;
	sched_getaffinity(0, sizeof(set), &set);
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &set))
			last = i;
	return last;
}

static inline void bed_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static inline void bed_work(uint64_t ns)
{
	uint64_t end = bed_now() + ns;

	while (bed_now() < end)
		;
}

static inline void bed_publish(struct bed_vcpu *v, uint8_t flags)
{
	__atomic_store_n(&v->page->context, flags | (uint64_t)++v->gen << PVSCHED_CTX_GEN_SHIFT,
			 __ATOMIC_SEQ_CST);
}

static inline void bed_end_urgency(struct bed_vcpu *v)
{
	bed_publish(v, 0);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&v->page->grant, __ATOMIC_ACQUIRE) >> PVSCHED_TASK_FLAGS_SHIFT &
	    PVSCHED_GRANT_BOOSTED) {
		eventfd_write(pvsched_vm__doorbell_fd(v->bed->vm, v->index), 1);
		v->rings++;
	}
}

static inline void bed_ask_for_everything(struct bed_vcpu *v)
{
	uint64_t task = pvsched_task_word(SCHED_FIFO, 0, 99,
					  PVSCHED_TASK_LATENCY | PVSCHED_TASK_VALID, v->gen + 1);

	__atomic_store_n(&v->page->current_task, task, __ATOMIC_RELAXED);
	__atomic_store_n(&v->page->pending, task, __ATOMIC_RELAXED);
	__atomic_store_n(&v->page->next_event, 1, __ATOMIC_RELAXED); /* long past */
	__atomic_store_n(&v->page->ack, ~0ull, __ATOMIC_RELAXED);
	bed_publish(v, PVSCHED_CTX_URGENT);
}

static inline void *bed_thread(void *arg)
{
	struct bed_vcpu *v = arg;
	int mode;

	bed_pin(v->bed->cpu);
	__atomic_store_n(&v->tid, gettid(), __ATOMIC_RELEASE);
	while ((mode = __atomic_load_n(&v->mode, __ATOMIC_ACQUIRE)) != BED_STOP) {
		__atomic_store_n(&v->seen, mode, __ATOMIC_RELEASE);
		switch (mode) {
		case BED_SPIN:
			bed_work(50000);
			break;
		case BED_CRITICAL:
			bed_publish(v, PVSCHED_CTX_CRITICAL);
			bed_work(50000);
			break;
		case BED_HARM:
			v->harm(v);
			v->sections++;
			break;
		case BED_GREEDY:
			bed_ask_for_everything(v);
			bed_work(50000);
			v->sections++;
			break;
		case BED_SECTIONS:
			bed_publish(v, PVSCHED_CTX_CRITICAL);
			bed_work(50000);
			bed_end_urgency(v);
			v->sections++;
			bed_work(50000);
			break;
		default:
			bed_sleep_ms(1);
		}
	}
	return NULL;
}

static inline pid_t bed_start_hog(int cpu)
{
	pid_t parent = getpid(), pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent) /* killed meanwhile: there is no signal to come */
		_exit(1);
	/* a BPF link lives as long as anybody has it open: the broker's, which may be in this process */
	close_range(3, ~0u, 0);
	bed_pin(cpu);
	for (;;)
		bed_work(1000000);
}

static inline void bed_stop_child(pid_t *pid)
{
	if (*pid <= 0)
		return;
	kill(*pid, SIGKILL);
	waitpid(*pid, NULL, 0);
	*pid = 0;
}

/* The library wants the vCPU's fd for its owner only; any open one serves. */
/* A VM of BED_VCPUS threads; pages enabled. Returns 0 or -errno. rejoin: as pvsched_vm_opts. */
static inline int bed_open_as(struct threads_bed *b, const char *name, const char *socket,
			      bool rejoin)
{
	struct pvsched_vm_opts o = { .sz = sizeof(o),
				     .name = name,
				     .socket = socket,
				     .vcpus = BED_VCPUS,
				     .print = bed_say,
				     .rejoin = rejoin };
	int err;

	memset(b, 0, sizeof(*b));
	b->cpu = bed_last_cpu();
	b->mem = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	b->vm = pvsched_vm__open(&o);
	if (!b->vm)
		return -errno;
	err = pvsched_vm__add_memory(b->vm, 0, 1 << 20, b->mem, -1, 0, 0);
	for (unsigned int i = 0; i < BED_VCPUS && !err; i++) {
		struct bed_vcpu *v = &b->vcpu[i];

		v->bed = b;
		v->index = i;
		v->page = (void *)(b->mem + (16 + i) * 4096);
		pthread_create(&v->thread, NULL, bed_thread, v);
		while (!__atomic_load_n(&v->tid, __ATOMIC_ACQUIRE))
			bed_sleep_ms(1);
		err = pvsched_vm__add_vcpu(b->vm, i, v->tid, i, STDOUT_FILENO);
	}
	if (err)
		return err;
	guest_negotiate(b->vm);
	for (unsigned int i = 0; i < BED_VCPUS; i++) {
		guest_prepare(b->vm, b->vcpu[i].page, i);
		b->vcpu[i].page->current_task = 0;
		b->vcpu[i].page->pending = 0;
		if (guest_register(b->vm, i, 16 + i) != PVSCHED_R_OK ||
		    guest_enable(b->vm, i, b->vcpu[i].page) != PVSCHED_R_OK)
			return -EPROTO;
	}
	guest_write(b->vm, PVSCHED_REG_STATUS,
		    guest_read(b->vm, PVSCHED_REG_STATUS) | PVSCHED_S_DRIVER_OK);
	return 0;
}

static inline int bed_open(struct threads_bed *b, const char *socket)
{
	return bed_open_as(b, "bed", socket, false);
}

static inline void bed_mode(struct bed_vcpu *v, enum bed_mode mode)
{
	__atomic_store_n(&v->mode, mode, __ATOMIC_RELEASE);
}

static inline void bed_close(struct threads_bed *b)
{
	for (unsigned int i = 0; i < BED_VCPUS; i++) {
		bed_mode(&b->vcpu[i], BED_STOP);
		if (b->vcpu[i].tid)
			pthread_join(b->vcpu[i].thread, NULL);
	}
	pvsched_vm__close(b->vm);
	bed_stop_child(&b->hog);
	munmap(b->mem, 1 << 20);
}

static inline struct pvsched_vcpu_stats bed_stats(struct bed_vcpu *v)
{
	struct pvsched_vcpu_stats s = { .sz = sizeof(s) };

	pvsched_vm__vcpu_stats(v->bed->vm, v->index, &s);
	return s;
}

/* A boost is not inherited: the kernel adds SCHED_RESET_ON_FORK to the policy. */
static inline bool bed_tid_is_boosted(pid_t tid)
{
	return (sched_getscheduler(tid) & ~SCHED_RESET_ON_FORK) == SCHED_FIFO;
}

static inline bool bed_is_boosted(const struct bed_vcpu *v)
{
	return bed_tid_is_boosted(v->tid);
}

/* Until the thread is (not) boosted; false after ms. Polls: what is awaited has no event. */
static inline bool bed_await_boosted(const struct bed_vcpu *v, bool boosted, unsigned int ms)
{
	uint64_t end = bed_now() + ms * 1000000ull;

	while (bed_is_boosted(v) != boosted)
		if (bed_now() > end)
			return false;
	return true;
}

/* One broker per host: if another test's, or somebody's, runs, waits its turn. */
#define BED_TURN_MS 100000

struct bed_queue {
	pvsched_print_fn print;
	void *ctx;
	unsigned int waited; /* times refused because another runs: said once */
};

static inline void bed_queue_print(enum pvsched_log_level level, const char *line, void *ctx)
{
	struct bed_queue *q = ctx;

	if (q->print && (!q->waited || !strstr(line, "a broker runs on this host already")))
		q->print(level, line, q->ctx);
}

/* Starts a broker here, with the actuator of PVSCHED_TEST_ACTUATOR where that is set. */
static inline int bed_broker(const struct pvsched_broker_opts *opts, struct pvsched_broker **ret)
{
	static struct bed_queue queue; /* one broker at a time, which may print till it ends */
	struct pvsched_broker_opts o = *opts;
	int err = -EEXIST;

	queue = (struct bed_queue){ opts->print, opts->print_ctx, 0 };
	o.print = bed_queue_print;
	o.print_ctx = &queue;
	if (!o.actuator)
		o.actuator = getenv("PVSCHED_TEST_ACTUATOR");
	for (; queue.waited < BED_TURN_MS / 100; queue.waited++) {
		err = pvsched_broker__start(&o, ret);
		if (err != -EEXIST)
			break;
		bed_sleep_ms(100);
	}
	queue.waited = 0;
	return err;
}

static inline const struct pvsched_actuator *bed_actuator(void)
{
	const char *name = getenv("PVSCHED_TEST_ACTUATOR");

	return name ? pvsched_actuator_find(name) : &pvsched_actuator_agent;
}

/* Does the broker load programs, and has it a guardian? */
static inline bool bed_has_bpf(void)
{
	return pvsched_actuator_has_bpf(bed_actuator());
}

/* A broker in a process of its own, as `pvsched serve` is; returns its pid when it listens. */
static inline pid_t bed_start_broker(const struct pvsched_broker_opts *opts)
{
	struct pvsched_broker *broker;
	int ready[2];
	pid_t pid;
	char c;

	if (pipe(ready))
		return -errno;
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (bed_broker(opts, &broker))
			_exit(1);
		if (write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	if (read(ready[0], &c, 1) != 1) {
		waitpid(pid, NULL, 0);
		pid = -ECHILD;
	}
	close(ready[0]);
	return pid;
}

/* The broker's one child. /proc lists children by the thread that forked them. */
static inline pid_t bed_guardian_of(pid_t broker)
{
	char pattern[64], name[32] = "";
	glob_t files = { 0 };
	int pid = 0;
	FILE *f;

	snprintf(pattern, sizeof(pattern), "/proc/%d/task/*/children", broker);
	glob(pattern, 0, NULL, &files);
	for (size_t i = 0; i < files.gl_pathc && !pid; i++) {
		f = fopen(files.gl_pathv[i], "re");
		if (f && fscanf(f, "%d", &pid) != 1)
			pid = 0;
		if (f)
			fclose(f);
	}
	globfree(&files);
	snprintf(pattern, sizeof(pattern), "/proc/%d/comm", pid);
	f = fopen(pattern, "re");
	if (!f || fscanf(f, "%31s", name) != 1 || strcmp(name, "pvsched-guard"))
		pid = 0;
	if (f)
		fclose(f);
	return pid;
}

/* The agent of that CPU; 0 = none. */
static inline pid_t bed_agent_of(pid_t broker, int cpu)
{
	char path[300], comm[32] = "";
	pid_t found = 0;
	struct dirent *e;
	cpu_set_t set;
	DIR *dir;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task", broker);
	dir = opendir(path);
	while (dir && !found && (e = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%d/task/%s/comm", broker, e->d_name);
		f = fopen(path, "re");
		if (f && fgets(comm, sizeof(comm), f) && !strcmp(comm, "pvsched-agent\n") &&
		    !sched_getaffinity(atoi(e->d_name), sizeof(set), &set) &&
		    CPU_COUNT(&set) == 1 && CPU_ISSET(cpu, &set))
			found = atoi(e->d_name);
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return found;
}

#endif
