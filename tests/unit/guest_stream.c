// SPDX-License-Identifier: GPL-2.0-only
/* The guest's end of the stream against the host's, over a pair of sockets. */
#include <helpers/unit.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <helpers/device_bed.h>

#include <guest/linux/stream.h>
#include <transport/stream.h>

struct line {
	struct bed bed;
	struct pvsched_stream stream;
	int guest, host;
	pthread_t thread;
};

static void answer(void *ctx, const struct pvsched_frame *f)
{
	struct line *l = ctx;

	assert_int_equal(write(l->host, f, sizeof(*f)), sizeof(*f));
}

static void *host(void *arg)
{
	struct line *l = arg;
	char data[7]; /* pieces */
	ssize_t n;

	while ((n = read(l->host, data, sizeof(data))) > 0)
		pvsched_stream_take(&l->stream, data, n, answer, l);
	return NULL;
}

static int setup(void **state)
{
	static struct line line;
	int fd[2];

	memset(&line, 0, sizeof(line));
	pvsched_device_init(&line.bed.device, &bed_ops, &line.bed, BED_VCPUS, BED_FEATURES);
	pvsched_stream_init(&line.stream, &line.bed.device);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd))
		return -1;
	line.guest = fd[0];
	line.host = fd[1];
	fcntl(line.guest, F_SETFL, O_NONBLOCK);
	*state = &line;
	return pthread_create(&line.thread, NULL, host, &line);
}

static int teardown(void **state)
{
	struct line *l = *state;

	close(l->guest);
	pthread_join(l->thread, NULL);
	close(l->host);
	return 0;
}

static void guest_stream_reads_and_writes_registers(void **state)
{
	struct line *l = *state;
	uint32_t value;

	assert_int_equal(stream_sync(l->guest), 0);
	assert_int_equal(stream_read(l->guest, PVSCHED_REG_MAGIC, &value), 0);
	assert_int_equal(value, PVSCHED_MAGIC);
	assert_int_equal(stream_write(l->guest, PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE), 0);
	assert_int_equal(stream_read(l->guest, PVSCHED_REG_STATUS, &value), 0);
	assert_int_equal(value, PVSCHED_S_ACKNOWLEDGE);
	assert_true(stream_is_connected(l->guest));
}

/* A daemon before this one sent half a frame, and had answers on their way. */
static void guest_stream_sync_drops_what_was_before(void **state)
{
	struct line *l = *state;
	struct pvsched_frame f = { PVSCHED_FRAME_READ, PVSCHED_REG_MAGIC, 0 };
	uint32_t value;

	assert_int_equal(stream_sync(l->guest), 0);
	for (int i = 0; i < 20; i++)
		assert_int_equal(write(l->guest, &f, sizeof(f)), sizeof(f));
	assert_int_equal(write(l->guest, &f, 5), 5);
	assert_int_equal(stream_sync(l->guest), 0);
	assert_int_equal(stream_read(l->guest, PVSCHED_REG_VERSION, &value), 0);
	assert_int_equal(value, PVSCHED_ABI_VERSION);
}

static void guest_stream_host_that_is_gone_fails_it(void **state)
{
	struct line *l = *state;
	uint32_t value = 77;

	assert_int_equal(stream_sync(l->guest), 0);
	shutdown(l->host, SHUT_RDWR);
	assert_true(stream_read(l->guest, PVSCHED_REG_MAGIC, &value) < 0);
	assert_int_equal(value, 77);
	assert_false(stream_is_connected(l->guest));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(guest_stream_reads_and_writes_registers),
		CASE(guest_stream_sync_drops_what_was_before),
		CASE(guest_stream_host_that_is_gone_fails_it),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
