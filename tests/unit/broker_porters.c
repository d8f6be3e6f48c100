// SPDX-License-Identifier: GPL-2.0-only
/* Two threads that each have sockets closed by porters of their own, in a process with a large table; and a
 * porter that cannot say at once that it is back. */
#include <helpers/passing.h>
#include <helpers/unit.h>

#include <helpers/fail.h>

#include <actuator/monotonic.h>
#include <broker/porters.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>

#define ROUNDS 40
#define TABLE                                                                                      \
	15000 /* descriptors, where so many are allowed: to copy them takes long enough to meet */
#define AT_MOST_NS 20000000000ull /* to bury; the last close would take a minute */

struct digger {
	struct pvsched_porters porters;
	pthread_barrier_t *together;
	int socket[ROUNDS];
	uint64_t longest_ns;
};

static void *dig(void *arg)
{
	struct digger *d = arg;
	uint64_t from, ns;

	for (int i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(d->together);
		from = now_ns();
		pvsched_porters_bury(&d->porters, d->socket[i], geteuid());
		ns = now_ns() - from;
		d->longest_ns = ns > d->longest_ns ? ns : d->longest_ns;
	}
	return NULL;
}

/* A socket with a message that nobody took, whose descriptor lingers. */
static int loaded(int *ret_peer)
{
	int fds[2], lingers = passing_lingering(ret_peer);

	assert_true(lingers >= 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(passing_send(fds[1], "x", 1, &lingers, 1), 1);
	close(lingers);
	close(fds[1]);
	return fds[0];
}

static void porters_of_two_threads_keep_neither_waiting(void **state)
{
	static struct digger digger[2];
	static int peer[2][ROUNDS], table[TABLE];
	struct rlimit most;
	int size = TABLE;
	pthread_barrier_t together;
	pthread_t thread[2];

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &most), 0);
	most.rlim_cur = most.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &most), 0);
	if (most.rlim_max < TABLE + 1000)
		size = most.rlim_max - 500;
	for (int i = 0; i < size; i++)
		assert_true((table[i] = dup(0)) >= 0);
	pthread_barrier_init(&together, NULL, 2);
	for (int t = 0; t < 2; t++) {
		assert_int_equal(pvsched_porters_open(&digger[t].porters), 0);
		digger[t].together = &together;
		for (int i = 0; i < ROUNDS; i++)
			digger[t].socket[i] = loaded(&peer[t][i]);
	}
	for (int t = 0; t < 2; t++)
		assert_int_equal(pthread_create(&thread[t], NULL, dig, &digger[t]), 0);
	for (int t = 0; t < 2; t++)
		pthread_join(thread[t], NULL);
	for (int t = 0; t < 2; t++) {
		for (int i = 0; i < ROUNDS; i++)
			close(peer[t][i]);
		pvsched_porters_close(&digger[t].porters);
		print_message("longest: %llu us\n",
			      (unsigned long long)digger[t].longest_ns / 1000);
		assert_in_range(digger[t].longest_ns, 0, AT_MOST_NS);
	}
	for (int i = 0; i < size; i++)
		close(table[i]);
	pthread_barrier_destroy(&together);
}

static void porters_one_that_could_not_say_that_it_is_back_is_back_later(void **state)
{
	uint64_t end = now_ns() + AT_MOST_NS;
	struct pvsched_porters p;
	int peer, fd = loaded(&peer);

	(void)state;
	assert_int_equal(pvsched_porters_open(&p), 0);
	close(peer); /* nothing lingers: it does not wait */
	fail.everyone = true;
	fail.thread = "pvsched-porter";
	fail_arm_kind("sendmsg", 1);
	pvsched_porters_bury(&p, fd, geteuid());
	assert_int_not_equal(pvsched_porters_timeout(&p), -1);
	while (pvsched_porters_timeout(&p) != -1 && now_ns() < end) {
		poll(&(struct pollfd){ .fd = p.home_fd, .events = POLLIN }, 1, 100);
		pvsched_porters_reap(&p);
	}
	assert_true(fail_disarm());
	fail.everyone = false;
	assert_int_equal(pvsched_porters_timeout(&p), -1);
	pvsched_porters_close(&p);
}

/* Closed where it was: nobody is sent out for it. */
static void porters_connection_that_brings_nothing_needs_none(void **state)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET };
	struct pvsched_porters p;

	(void)state;
	assert_int_equal(pvsched_porters_open(&p), 0);
	for (unsigned int i = 0; i < 4; i++) {
		int fds[2];

		assert_int_equal(socketpair(AF_UNIX, types[i / 2] | SOCK_CLOEXEC, 0, fds), 0);
		if (i % 2) /* and something that nobody has read */
			assert_int_equal(write(fds[1], "unread", 6), 6);
		close(fds[1]);
		pvsched_porters_bury(&p, fds[0], geteuid());
		assert_int_equal(fcntl(fds[0], F_GETFD), -1);
		for (int n = 0; n < PVSCHED_PORTERS; n++)
			assert_false(p.porter[n].out);
	}
	pvsched_porters_close(&p);
}

static void has_one(size_t before, int flags, size_t after)
{
	int fds[2], peer, lingers = passing_lingering(&peer), out = 0;
	char data[5000] = "";
	struct pvsched_porters p;

	assert_int_equal(pvsched_porters_open(&p), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_true(!before || write(fds[1], data, before) == (ssize_t)before);
	if (passing_send_flags(fds[1], "x", 1, &lingers, 1, flags) < 0 && errno == EOPNOTSUPP) {
		print_message("needs CONFIG_AF_UNIX_OOB\n");
		skip();
	}
	assert_true(!after || write(fds[1], data, after) == (ssize_t)after);
	close(lingers);
	close(fds[1]);
	pvsched_porters_bury(&p, fds[0], geteuid());
	for (int n = 0; n < PVSCHED_PORTERS; n++)
		out += p.porter[n].out;
	assert_int_equal(out, 1);
	close(peer);
	pvsched_porters_close(&p);
}

static void porters_stream_whose_last_byte_brings_something_has_one(void **state)
{
	(void)state;
	has_one(5000, 0, 0);
}

static void porters_stream_whose_byte_out_of_band_brings_something_has_one(void **state)
{
	(void)state;
	has_one(0, MSG_OOB, 0);
	has_one(0, MSG_OOB, 5);
	has_one(5000, MSG_OOB, 0);
}

/* One user's threads that have left keep nobody from coming in. */
static void porters_room_of_sockets_is_not_for_what_was_passed(void **state)
{
	static struct pvsched_porters p;

	(void)state;
	for (int i = 0; i < PVSCHED_GRAVES_PASSED - 3; i++)
		pvsched_porters_lay_down(&p, 1000000, 65534);
	assert_true(pvsched_porters_has_room(&p, PVSCHED_GRAVES_SOCKETS - 1));
	assert_false(pvsched_porters_has_room(&p, PVSCHED_GRAVES_SOCKETS));
	assert_true(pvsched_porters_has_room_for_passed(&p, 3));
	assert_false(pvsched_porters_has_room_for_passed(&p, 4));
	assert_int_equal(pvsched_porters_graves(&p, 65534, false), 0);
	assert_int_equal(pvsched_porters_graves(&p, 65534, true), PVSCHED_GRAVES_PASSED - 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(porters_of_two_threads_keep_neither_waiting),
		cmocka_unit_test(porters_one_that_could_not_say_that_it_is_back_is_back_later),
		cmocka_unit_test(porters_connection_that_brings_nothing_needs_none),
		cmocka_unit_test(porters_room_of_sockets_is_not_for_what_was_passed),
		cmocka_unit_test(porters_stream_whose_last_byte_brings_something_has_one),
		cmocka_unit_test(porters_stream_whose_byte_out_of_band_brings_something_has_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
