/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Failures on demand: stands before the C library for every function through which broker and
 * libpvsched ask the system for something, and lets the N-th call fail with an error that it may
 * have. Each function of this program and of the libraries it links comes here, since the linker
 * prefers a program's own. Included by one file of a program.
 *
 * A thread's calls count when it says so (fail_mine), or all threads' but those that are spared.
 * Memory that is allocated and not freed is counted as well.
 */
#ifndef PVSCHED_TESTS_FAIL_H
#define PVSCHED_TESTS_FAIL_H

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static struct {
	int at; /* the call that fails; 0 = none does */
	int calls; /* that counted since it was armed */
	bool everyone; /* threads that do not say count, too */
	bool ours; /* only calls from this program's own text, not from libbpf's */
	const char *thread; /* only calls of threads of this name; NULL = of all that count */
	const char *failed; /* which it was; NULL = none yet */
	long allocated; /* blocks alive in the whole program */
} fail;

static _Thread_local bool fail_mine, fail_spared;

extern char __executable_start, etext;

static inline void fail_arm(int at)
{
	__atomic_store_n(&fail.calls, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&fail.failed, NULL, __ATOMIC_SEQ_CST);
	__atomic_store_n(&fail.at, at, __ATOMIC_SEQ_CST);
}

/* Returns whether a call failed since fail_arm(). */
static inline bool fail_disarm(void)
{
	__atomic_store_n(&fail.at, 0, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&fail.failed, __ATOMIC_SEQ_CST) != NULL;
}

static bool fail_now(const char *name, const void *caller)
{
	int at = __atomic_load_n(&fail.at, __ATOMIC_SEQ_CST);

	if (!at || fail_spared || !(fail_mine || fail.everyone))
		return false;
	if (fail.ours &&
	    !((const char *)caller >= &__executable_start && (const char *)caller < &etext))
		return false;
	if (fail.thread) {
		char self[16];

		prctl(PR_GET_NAME, self);
		if (strcmp(self, fail.thread))
			return false;
	}
	if (__atomic_add_fetch(&fail.calls, 1, __ATOMIC_SEQ_CST) != at)
		return false;
	__atomic_store_n(&fail.failed, name, __ATOMIC_SEQ_CST);
	return true;
}

/* By assembler name, so that neither <stdio.h>'s prototypes nor 64-bit aliases are in the way. */
#define FAIL_CALL(name, type, failure, error, parameters, arguments)                               \
	type fail_##name parameters __asm__(#name);                                                \
	type fail_##name parameters                                                                \
	{                                                                                          \
		static type(*real) parameters;                                                     \
		if (fail_now(#name, __builtin_return_address(0))) {                                \
			errno = (error);                                                           \
			return failure;                                                            \
		}                                                                                  \
		if (!real)                                                                         \
			real = (type(*) parameters)dlsym(RTLD_NEXT, #name);                        \
		return real arguments;                                                             \
	}

#define FAIL_INT(name, error, parameters, arguments)                                               \
	FAIL_CALL(name, int, -1, error, parameters, arguments)
#define FAIL_SIZE(name, error, parameters, arguments)                                              \
	FAIL_CALL(name, ssize_t, -1, error, parameters, arguments)

FAIL_INT(accept4, EMFILE, (int a, void *b, void *c, int d), (a, b, c, d))
FAIL_INT(bind, EADDRINUSE, (int a, const void *b, socklen_t c), (a, b, c))
FAIL_INT(chmod, EPERM, (const char *a, mode_t b), (a, b))
FAIL_INT(connect, EAGAIN, (int a, const void *b, socklen_t c), (a, b, c))
FAIL_INT(dup3, EMFILE, (int a, int b, int c), (a, b, c))
FAIL_INT(epoll_create1, EMFILE, (int a), (a))
FAIL_INT(epoll_ctl, ENOSPC, (int a, int b, int c, void *d), (a, b, c, d))
FAIL_INT(epoll_wait, EINTR, (int a, void *b, int c, int d), (a, b, c, d))
FAIL_INT(epoll_pwait2, EINTR, (int a, void *b, int c, void *d, void *e), (a, b, c, d, e))
FAIL_INT(eventfd, EMFILE, (unsigned int a, int b), (a, b))
FAIL_INT(fcntl64, EMFILE, (int a, int b, long c), (a, b, c))
FAIL_INT(flock, ENOLCK, (int a, int b), (a, b))
FAIL_INT(fstat64, ENOMEM, (int a, void *b), (a, b))
FAIL_INT(fstatfs64, ENOMEM, (int a, void *b), (a, b))
FAIL_INT(ftruncate64, ENOSPC, (int a, off_t b), (a, b))
FAIL_INT(getsockopt, ENOBUFS, (int a, int b, int c, void *d, void *e), (a, b, c, d, e))
FAIL_INT(listen, EADDRINUSE, (int a, int b), (a, b))
FAIL_INT(madvise, ENOMEM, (void *a, size_t b, int c), (a, b, c))
FAIL_INT(memfd_create, EMFILE, (const char *a, unsigned int b), (a, b))
FAIL_INT(mkdir, ENOSPC, (const char *a, mode_t b), (a, b))
FAIL_INT(mprotect, ENOMEM, (void *a, size_t b, int c), (a, b, c))
FAIL_INT(open64, EMFILE, (const char *a, int b, mode_t c), (a, b, c))
FAIL_INT(pipe2, EMFILE, (int *a, int b), (a, b))
FAIL_INT(poll, ENOMEM, (void *a, nfds_t b, int c), (a, b, c))
FAIL_INT(sched_getaffinity, ENOMEM, (pid_t a, size_t b, void *c), (a, b, c))
FAIL_INT(sched_setscheduler, EPERM, (pid_t a, int b, const void *c), (a, b, c))
FAIL_INT(setsockopt, ENOBUFS, (int a, int b, int c, const void *d, socklen_t e), (a, b, c, d, e))
FAIL_INT(socket, EMFILE, (int a, int b, int c), (a, b, c))
FAIL_CALL(fork, pid_t, -1, EAGAIN, (void), ())
FAIL_CALL(pthread_create, int, EAGAIN, EAGAIN,
	  (void *a, const void *b, void *(*c)(void *), void *d), (a, b, c, d))
FAIL_SIZE(getrandom, ENOSYS, (void *a, size_t b, unsigned int c), (a, b, c))
FAIL_SIZE(pread64, EIO, (int a, void *b, size_t c, off_t d), (a, b, c, d))
FAIL_SIZE(preadv64v2, EAGAIN, (int a, const void *b, int c, off_t d, int e), (a, b, c, d, e))
FAIL_SIZE(pwrite64, ENOSPC, (int a, const void *b, size_t c, off_t d), (a, b, c, d))
FAIL_SIZE(read, EIO, (int a, void *b, size_t c), (a, b, c))
FAIL_SIZE(recvmsg, ENOMEM, (int a, void *b, int c), (a, b, c))
FAIL_SIZE(sendmsg, ENOBUFS, (int a, const void *b, int c), (a, b, c))
FAIL_SIZE(write, ENOSPC, (int a, const void *b, size_t c), (a, b, c))
FAIL_CALL(fopen64, void *, NULL, EMFILE, (const char *a, const char *b), (a, b))
FAIL_CALL(mmap64, void *, MAP_FAILED, ENOMEM, (void *a, size_t b, int c, int d, int e, off_t f),
	  (a, b, c, d, e, f))
FAIL_CALL(mremap, void *, MAP_FAILED, ENOMEM, (void *a, size_t b, size_t c, int d, void *e),
	  (a, b, c, d, e))

static int fail_errno_of(long number)
{
	switch (number) {
	case SYS_pidfd_open:
	case SYS_perf_event_open:
		return EMFILE;
	case SYS_sched_getattr:
	case SYS_sched_setattr:
		return EPERM;
	case SYS_close_range:
		return ENOSYS;
	default: /* bpf() */
		return ENOMEM;
	}
}

FAIL_CALL(syscall, long, -1, fail_errno_of(number),
	  (long number, long a, long b, long c, long d, long e, long f), (number, a, b, c, d, e, f))

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);
void __libc_free(void *block);

static void *fail_count(void *block)
{
	__atomic_add_fetch(&fail.allocated, block != NULL, __ATOMIC_RELAXED);
	return block;
}

void *malloc(size_t size)
{
	if (fail_now("malloc", __builtin_return_address(0))) {
		errno = ENOMEM;
		return NULL;
	}
	return fail_count(__libc_malloc(size));
}

void *calloc(size_t n, size_t size)
{
	if (fail_now("calloc", __builtin_return_address(0))) {
		errno = ENOMEM;
		return NULL;
	}
	return fail_count(__libc_calloc(n, size));
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
		fail_count(block);
	else if (!block && !size)
		__atomic_sub_fetch(&fail.allocated, 1, __ATOMIC_RELAXED);
	return block;
}

void free(void *block)
{
	__atomic_sub_fetch(&fail.allocated, block != NULL, __ATOMIC_RELAXED);
	__libc_free(block);
}

#endif
