/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Failures on demand: stands before the C library for every function through which broker and
 * libpvsched ask the system for something, and lets the N-th call fail with an error that it may
 * have. Each function of this program and of the libraries it links comes here, since the linker
 * prefers a program's own. Included by one file of a program.
 *
 * A thread's calls count when it says so (fail_mine), or all threads' but those that are spared; those
 * of a process that is forked, too. What was called is kept, so that a sample can have each kind of call once.
 * Memory that is allocated and not freed is counted as well. tests/spec/sweep.py compares with what the
 * objects ask the system for.
 */
#ifndef PVSCHED_TESTS_FAIL_H
#define PVSCHED_TESTS_FAIL_H

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define FAIL_LOG   8192
#define FAIL_KINDS 96

static struct {
	bool everyone; /* threads that do not say count, too */
	bool ours; /* only calls from this program's own text, not from libbpf's */
	const char *thread; /* only calls of threads of this name; NULL = of all that count */
	long allocated; /* blocks alive in the whole program */
	/* shared with processes that are forked */
	struct {
		int at; /* the call that fails; 0 = none does */
		int more; /* that fail, too, after that one */
		int calls; /* that counted since it was armed */
		const char *kind; /* only calls of this one; NULL = all */
		const char *failed; /* which it was; NULL = none yet */
		const char *log[FAIL_LOG]; /* of those that counted */
	} * line;
} fail;

/* What a sample fails: of each kind the first calls. */
static struct {
	int n;
	struct {
		const char *kind;
		int nth;
	} turn[FAIL_KINDS * 2];
} fail_sample;

static _Thread_local bool fail_mine, fail_spared;

/* ld.so's text: what it allocates for a thread stays with the thread's stack, which is kept for the next one. */
static const char *fail_linker, *fail_linker_end;

extern char __executable_start, etext;

static inline void fail_arm_kind(const char *kind, int at)
{
	__atomic_store_n(&fail.line->at, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&fail.line->kind, kind, __ATOMIC_SEQ_CST);
	__atomic_store_n(&fail.line->more, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&fail.line->calls, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&fail.line->failed, NULL, __ATOMIC_SEQ_CST);
	__atomic_store_n(&fail.line->at, at, __ATOMIC_SEQ_CST);
}

static inline void fail_arm(int at)
{
	fail_arm_kind(NULL, at);
}

/* Which call failed since it was armed; NULL = none. */
static inline const char *fail_what(void)
{
	return __atomic_load_n(&fail.line->failed, __ATOMIC_SEQ_CST);
}

/* Returns whether a call failed since fail_arm(). */
static inline bool fail_disarm(void)
{
	__atomic_store_n(&fail.line->at, 0, __ATOMIC_SEQ_CST);
	return fail_what() != NULL;
}

/* Counts, and lets nothing fail, until fail_take_sample(). */
static inline void fail_watch(void)
{
	fail_arm(INT_MAX);
}

/* each: 1 or 2 of a kind. */
static inline void fail_take_sample(int each)
{
	int calls = fail.line->calls < FAIL_LOG ? fail.line->calls : FAIL_LOG, k;
	struct {
		const char *kind;
		int n;
	} seen[FAIL_KINDS];
	int kinds = 0;

	fail_disarm();
	for (int i = 0; i < calls; i++) {
		const char *kind = fail.line->log[i];

		for (k = 0; k < kinds && (!kind || strcmp(seen[k].kind, kind)); k++)
			;
		if (!kind || k == FAIL_KINDS)
			continue;
		if (k == kinds) {
			seen[kinds].n = 0;
			seen[kinds++].kind = kind;
		}
		seen[k].n++;
	}
	fail_sample.n = 0;
	for (k = 0; k < kinds; k++)
		for (int i = 1; i <= each && i <= seen[k].n; i++) {
			fail_sample.turn[fail_sample.n].kind = seen[k].kind;
			fail_sample.turn[fail_sample.n++].nth = i;
		}
}

static int fail_find_linker(struct dl_phdr_info *info, size_t size, void *arg)
{
	const char *base = (const char *)info->dlpi_addr;

	(void)size;
	(void)arg;
	if (info->dlpi_addr != getauxval(AT_BASE))
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X) {
			fail_linker = base + info->dlpi_phdr[i].p_vaddr;
			fail_linker_end = fail_linker + info->dlpi_phdr[i].p_memsz;
		}
	return 1;
}

__attribute__((constructor)) static void fail_share(void)
{
	fail.line = mmap(NULL, sizeof(*fail.line), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fail.line == MAP_FAILED)
		abort();
	dl_iterate_phdr(fail_find_linker, NULL);
}

static bool fail_is_linkers(const void *caller)
{
	return (const char *)caller >= fail_linker && (const char *)caller < fail_linker_end;
}

static bool fail_now(const char *name, const void *caller)
{
	int at = fail.line ? __atomic_load_n(&fail.line->at, __ATOMIC_SEQ_CST) : 0, n;
	const char *kind;

	if (!at || fail_spared || !(fail_mine || fail.everyone))
		return false;
	if (fail.ours &&
	    !((const char *)caller >= &__executable_start && (const char *)caller < &etext))
		return false;
	if (fail.thread) {
		char self[16];

		/* glibc's own prctl(), which does not come here */
		if (pthread_getname_np(pthread_self(), self, sizeof(self)) ||
		    strcmp(self, fail.thread))
			return false;
	}
	kind = __atomic_load_n(&fail.line->kind, __ATOMIC_SEQ_CST);
	if (kind && strcmp(kind, name))
		return false;
	n = __atomic_add_fetch(&fail.line->calls, 1, __ATOMIC_SEQ_CST);
	if (n <= FAIL_LOG)
		fail.line->log[n - 1] = name;
	if (n < at || n - at > __atomic_load_n(&fail.line->more, __ATOMIC_SEQ_CST))
		return false;
	__atomic_store_n(&fail.line->failed, name, __ATOMIC_SEQ_CST);
	return true;
}

/* By assembler name, so that neither <stdio.h>'s prototypes nor 64-bit aliases are in the way. */
#define FAIL_KIND(name, kind, type, failure, error, parameters, arguments)                         \
	type fail_##name parameters __asm__(#name);                                                \
	static type(*fail_real_##name) parameters;                                                 \
	/* beforehand: the linker's lock may be held where a process is copied */                  \
	__attribute__((constructor)) static void fail_find_##name(void)                            \
	{                                                                                          \
		fail_real_##name = (type(*) parameters)dlsym(RTLD_NEXT, #name);                    \
	}                                                                                          \
	type fail_##name parameters                                                                \
	{                                                                                          \
		if (fail_now(kind, __builtin_return_address(0))) {                                 \
			errno = (error);                                                           \
			return failure;                                                            \
		}                                                                                  \
		if (!fail_real_##name)                                                             \
			fail_find_##name();                                                        \
		return fail_real_##name arguments;                                                 \
	}

#define FAIL_CALL(name, type, failure, error, parameters, arguments)                               \
	FAIL_KIND(name, #name, type, failure, error, parameters, arguments)
/* of those that return the error */
#define FAIL_ERROR(name, error, parameters, arguments)                                             \
	FAIL_CALL(name, int, (error), errno, parameters, arguments)

#define FAIL_INT(name, error, parameters, arguments)                                               \
	FAIL_CALL(name, int, -1, error, parameters, arguments)
#define FAIL_SIZE(name, error, parameters, arguments)                                              \
	FAIL_CALL(name, ssize_t, -1, error, parameters, arguments)

FAIL_INT(__isoc99_fscanf, EIO, (void *a, const char *b, void *c, void *d), (a, b, c, d))
FAIL_INT(accept4, EMFILE, (int a, void *b, void *c, int d), (a, b, c, d))
FAIL_INT(access, ENOMEM, (const char *a, int b), (a, b))
FAIL_INT(bind, EADDRINUSE, (int a, const void *b, socklen_t c), (a, b, c))
FAIL_INT(chmod, EPERM, (const char *a, mode_t b), (a, b))
FAIL_INT(connect, EAGAIN, (int a, const void *b, socklen_t c), (a, b, c))
FAIL_INT(dup3, EMFILE, (int a, int b, int c), (a, b, c))
FAIL_INT(epoll_create1, EMFILE, (int a), (a))
FAIL_INT(epoll_ctl, ENOSPC, (int a, int b, int c, void *d), (a, b, c, d))
FAIL_INT(epoll_wait, EINTR, (int a, void *b, int c, int d), (a, b, c, d))
FAIL_INT(epoll_pwait2, EINTR, (int a, void *b, int c, void *d, void *e), (a, b, c, d, e))
FAIL_INT(eventfd, EMFILE, (unsigned int a, int b), (a, b))
FAIL_INT(eventfd_read, EINTR, (int a, void *b), (a, b))
FAIL_INT(fchmod, EPERM, (int a, mode_t b), (a, b))
FAIL_INT(fcntl64, EMFILE, (int a, int b, long c), (a, b, c))
FAIL_INT(flock, ENOLCK, (int a, int b), (a, b))
FAIL_INT(fstat64, ENOMEM, (int a, void *b), (a, b))
FAIL_INT(fstatfs64, ENOMEM, (int a, void *b), (a, b))
FAIL_INT(ftruncate64, ENOSPC, (int a, off_t b), (a, b))
FAIL_INT(getpriority, ESRCH, (int a, id_t b), (a, b))
FAIL_INT(getsockopt, ENOBUFS, (int a, int b, int c, void *d, void *e), (a, b, c, d, e))
FAIL_INT(ioctl, ENOMEM, (int a, unsigned long b, long c), (a, b, c))
FAIL_INT(kill, EPERM, (pid_t a, int b), (a, b))
FAIL_INT(listen, EADDRINUSE, (int a, int b), (a, b))
FAIL_INT(lstat64, ENOMEM, (const char *a, void *b), (a, b))
FAIL_INT(madvise, ENOMEM, (void *a, size_t b, int c), (a, b, c))
FAIL_INT(memfd_create, EMFILE, (const char *a, unsigned int b), (a, b))
FAIL_INT(mkdir, ENOSPC, (const char *a, mode_t b), (a, b))
FAIL_INT(mount, ENOMEM, (const char *a, const char *b, const char *c, unsigned long d, void *e),
	 (a, b, c, d, e))
FAIL_INT(mprotect, ENOMEM, (void *a, size_t b, int c), (a, b, c))
FAIL_INT(nanosleep, EINTR, (const void *a, void *b), (a, b))
FAIL_INT(open64, EMFILE, (const char *a, int b, mode_t c), (a, b, c))
FAIL_INT(pipe2, EMFILE, (int *a, int b), (a, b))
FAIL_INT(poll, ENOMEM, (void *a, nfds_t b, int c), (a, b, c))
FAIL_INT(prctl, EPERM, (int a, long b, long c, long d, long e), (a, b, c, d, e))
FAIL_INT(rmdir, EBUSY, (const char *a), (a))
FAIL_INT(sched_getaffinity, ENOMEM, (pid_t a, size_t b, void *c), (a, b, c))
FAIL_INT(sched_setaffinity, EINVAL, (pid_t a, size_t b, const void *c), (a, b, c))
FAIL_INT(setpriority, EPERM, (__priority_which_t a, id_t b, int c), (a, b, c))
FAIL_INT(sched_setscheduler, EPERM, (pid_t a, int b, const void *c), (a, b, c))
FAIL_INT(sem_wait, EINTR, (void *a), (a))
FAIL_INT(setsid, EPERM, (void), ())
FAIL_INT(setsockopt, ENOBUFS, (int a, int b, int c, const void *d, socklen_t e), (a, b, c, d, e))
FAIL_INT(shutdown, ENOTCONN, (int a, int b), (a, b))
FAIL_INT(signalfd, EMFILE, (int a, const void *b, int c), (a, b, c))
FAIL_INT(socket, EMFILE, (int a, int b, int c), (a, b, c))
FAIL_INT(socketpair, EMFILE, (int a, int b, int c, int *d), (a, b, c, d))
FAIL_INT(stat64, ENOMEM, (const char *a, void *b), (a, b))
FAIL_INT(statfs64, ENOMEM, (const char *a, void *b), (a, b))
FAIL_INT(unlink, EROFS, (const char *a), (a))
FAIL_INT(unshare, ENOMEM, (int a), (a))
FAIL_INT(vasprintf, ENOMEM, (char **a, const char *b, va_list c), (a, b, c))
FAIL_INT(waitpid, EINTR, (pid_t a, int *b, int c), (a, b, c))
FAIL_CALL(fork, pid_t, -1, EAGAIN, (void), ())
FAIL_ERROR(pthread_attr_setaffinity_np, ENOMEM, (void *a, size_t b, const void *c), (a, b, c))
FAIL_ERROR(pthread_create, EAGAIN, (void *a, const void *b, void *(*c)(void *), void *d),
	   (a, b, c, d))
FAIL_ERROR(pthread_mutex_clocklock, ETIMEDOUT, (void *a, int b, const void *c), (a, b, c))
FAIL_ERROR(pthread_mutex_trylock, EBUSY, (void *a), (a))
FAIL_ERROR(pthread_setname_np, EMFILE, (pthread_t a, const char *b), (a, b))
FAIL_ERROR(pthread_setschedparam, EPERM, (pthread_t a, int b, const void *c), (a, b, c))
FAIL_ERROR(pthread_setschedprio, EPERM, (pthread_t a, int b), (a, b))
FAIL_SIZE(getrandom, ENOSYS, (void *a, size_t b, unsigned int c), (a, b, c))
FAIL_SIZE(pread64, EIO, (int a, void *b, size_t c, off_t d), (a, b, c, d))
FAIL_SIZE(preadv64v2, EAGAIN, (int a, const void *b, int c, off_t d, int e), (a, b, c, d, e))
FAIL_SIZE(pwrite64, ENOSPC, (int a, const void *b, size_t c, off_t d), (a, b, c, d))
FAIL_SIZE(read, EIO, (int a, void *b, size_t c), (a, b, c))
FAIL_SIZE(readlink, ENOMEM, (const char *a, char *b, size_t c), (a, b, c))
FAIL_SIZE(recv, ENOMEM, (int a, void *b, size_t c, int d), (a, b, c, d))
FAIL_SIZE(recvmsg, ENOMEM, (int a, void *b, int c), (a, b, c))
FAIL_SIZE(send, ENOBUFS, (int a, const void *b, size_t c, int d), (a, b, c, d))
FAIL_SIZE(sendmsg, ENOBUFS, (int a, const void *b, int c), (a, b, c))
FAIL_SIZE(write, ENOSPC, (int a, const void *b, size_t c), (a, b, c))
FAIL_CALL(fgets, char *, NULL, EIO, (char *a, int b, void *c), (a, b, c))
FAIL_CALL(fopen64, void *, NULL, EMFILE, (const char *a, const char *b), (a, b))
FAIL_CALL(fopencookie, void *, NULL, ENOMEM, (void *a, const char *b, cookie_io_functions_t c),
	  (a, b, c))
FAIL_CALL(getpwnam, void *, NULL, EMFILE, (const char *a), (a))
FAIL_CALL(mmap64, void *, MAP_FAILED, ENOMEM, (void *a, size_t b, int c, int d, int e, off_t f),
	  (a, b, c, d, e, f))
FAIL_CALL(mremap, void *, MAP_FAILED, ENOMEM, (void *a, size_t b, size_t c, int d, void *e),
	  (a, b, c, d, e))
FAIL_CALL(opendir, void *, NULL, EMFILE, (const char *a), (a))
FAIL_CALL(readdir64, void *, NULL, EIO, (void *a), (a))

/* What was written may not all be there; it is closed all the same. */
FAIL_CALL(fclose, int, (fail_real_fclose(a), errno = ENOSPC, EOF), ENOSPC, (void *a), (a))

static int fail_errno_of(long number)
{
	switch (number) {
	case SYS_pidfd_open:
	case SYS_perf_event_open:
		return EMFILE;
	case SYS_capget:
	case SYS_capset:
	case SYS_sched_getattr:
	case SYS_sched_setattr:
		return EPERM;
	case SYS_close_range:
		return ENOSYS;
	default: /* bpf() */
		return ENOMEM;
	}
}

static const char *fail_name_of(long number)
{
	switch (number) {
	case SYS_bpf:
		return "bpf";
	case SYS_capget:
		return "capget";
	case SYS_capset:
		return "capset";
	case SYS_close_range:
		return "close_range";
	case SYS_perf_event_open:
		return "perf_event_open";
	case SYS_pidfd_open:
		return "pidfd_open";
	case SYS_sched_getattr:
		return "sched_getattr";
	case SYS_sched_setattr:
		return "sched_setattr";
	default:
		return "syscall";
	}
}

FAIL_KIND(syscall, fail_name_of(number), long, -1, fail_errno_of(number),
	  (long number, long a, long b, long c, long d, long e, long f), (number, a, b, c, d, e, f))

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);
void __libc_free(void *block);

static void *fail_count(void *block, const void *caller)
{
	if (block && !fail_is_linkers(caller))
		__atomic_add_fetch(&fail.allocated, 1, __ATOMIC_RELAXED);
	return block;
}

void *malloc(size_t size)
{
	if (fail_now("malloc", __builtin_return_address(0))) {
		errno = ENOMEM;
		return NULL;
	}
	return fail_count(__libc_malloc(size), __builtin_return_address(0));
}

void *calloc(size_t n, size_t size)
{
	if (fail_now("calloc", __builtin_return_address(0))) {
		errno = ENOMEM;
		return NULL;
	}
	return fail_count(__libc_calloc(n, size), __builtin_return_address(0));
}

void *realloc(void *old, size_t size)
{
	void *block;

	if (fail_now("realloc", __builtin_return_address(0))) {
		errno = ENOMEM;
		return NULL;
	}
	block = __libc_realloc(old, size);
	if (!old)
		fail_count(block, __builtin_return_address(0));
	else if (!block && !size)
		__atomic_sub_fetch(&fail.allocated, 1, __ATOMIC_RELAXED);
	return block;
}

void free(void *block)
{
	if (block && !fail_is_linkers(__builtin_return_address(0)))
		__atomic_sub_fetch(&fail.allocated, 1, __ATOMIC_RELAXED);
	__libc_free(block);
}

#endif
