// SPDX-License-Identifier: GPL-2.0-only
/* The register device over a byte stream: frames in any pieces, and what is none. */
#include <helpers/unit.h>

#include <endian.h>

#include <helpers/device_bed.h>

#include <transport/stream.h>

#define ANSWERS 64

struct port {
	struct bed bed;
	struct pvsched_stream stream;
	struct pvsched_frame answer[ANSWERS];
	unsigned int answers;
};

static int setup(void **state)
{
	static struct port port;

	memset(&port, 0, sizeof(port));
	pvsched_device_init(&port.bed.device, &bed_ops, &port.bed, BED_VCPUS, BED_FEATURES);
	pvsched_stream_init(&port.stream, &port.bed.device);
	*state = &port;
	return 0;
}

static void keep(void *ctx, const struct pvsched_frame *answer)
{
	struct port *port = ctx;

	assert_true(port->answers < ANSWERS);
	port->answer[port->answers++] = *answer;
}

static void say(struct port *port, uint32_t op, uint32_t offset, uint32_t value)
{
	struct pvsched_frame f = { htole32(op), htole32(offset), htole32(value) };

	pvsched_stream_take(&port->stream, &f, sizeof(f), keep, port);
}

static void sync_up(struct port *port)
{
	say(port, PVSCHED_FRAME_SYNC, 7, ~7u);
	assert_int_equal(port->answers, 1);
	port->answers = 0;
}

static void expect_answer(struct port *port, uint32_t op, uint32_t offset, uint32_t value)
{
	assert_int_equal(port->answers, 1);
	assert_int_equal(le32toh(port->answer[0].op), op);
	assert_int_equal(le32toh(port->answer[0].offset), offset);
	assert_int_equal(le32toh(port->answer[0].value), value);
	port->answers = 0;
}

static void stream_nothing_is_done_before_sync(void **state)
{
	struct port *port = *state;

	say(port, PVSCHED_FRAME_WRITE, PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE);
	say(port, PVSCHED_FRAME_READ, PVSCHED_REG_MAGIC, 0);
	assert_int_equal(port->answers, 0);
	assert_int_equal(port->bed.device.status, 0);
}

static void stream_sync_is_answered_and_changes_nothing(void **state)
{
	struct port *port = *state;

	sync_up(port);
	say(port, PVSCHED_FRAME_WRITE, PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE);
	say(port, PVSCHED_FRAME_SYNC, 99, ~99u);
	expect_answer(port, PVSCHED_FRAME_SYNC, 99, ~99u);
	say(port, PVSCHED_FRAME_READ, PVSCHED_REG_STATUS, 0);
	expect_answer(port, PVSCHED_FRAME_READ, PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE);
}

static void stream_read_and_write_are_register_accesses(void **state)
{
	struct port *port = *state;

	sync_up(port);
	say(port, PVSCHED_FRAME_READ, PVSCHED_REG_MAGIC, 0);
	expect_answer(port, PVSCHED_FRAME_READ, PVSCHED_REG_MAGIC, PVSCHED_MAGIC);
	say(port, PVSCHED_FRAME_READ, 0x12345671, 0); /* not aligned, beyond all */
	expect_answer(port, PVSCHED_FRAME_READ, 0x12345671, 0);
	say(port, PVSCHED_FRAME_WRITE, PVSCHED_REG_DOORBELL + 4, 1);
	assert_int_equal(port->answers, 0);
}

static void stream_frames_come_in_any_pieces(void **state)
{
	struct port *port = *state;
	struct pvsched_frame f[3] = {
		{ htole32(PVSCHED_FRAME_SYNC), htole32(5), htole32(~5u) },
		{ htole32(PVSCHED_FRAME_READ), htole32(PVSCHED_REG_MAGIC), 0 },
		{ htole32(PVSCHED_FRAME_READ), htole32(PVSCHED_REG_VERSION), 0 },
	};

	for (size_t piece = 1; piece <= sizeof(f); piece++) {
		setup(state);
		for (size_t at = 0; at < sizeof(f); at += piece)
			pvsched_stream_take(&port->stream, (char *)f + at,
					    piece < sizeof(f) - at ? piece : sizeof(f) - at, keep,
					    port);
		assert_int_equal(port->answers, 3);
		assert_int_equal(le32toh(port->answer[1].value), PVSCHED_MAGIC);
		assert_int_equal(le32toh(port->answer[2].value), PVSCHED_ABI_VERSION);
	}
}

/* The half of a frame, as a daemon leaves it that is killed; or any bytes. */
static void stream_what_is_no_frame_is_skipped_until_sync(void **state)
{
	struct port *port = *state;
	unsigned char junk[1024];

	sync_up(port);
	for (size_t i = 0; i < sizeof(junk); i++)
		junk[i] = i * 37 + 11;
	for (size_t n = 1; n < sizeof(struct pvsched_frame) * 3; n++) {
		pvsched_stream_take(&port->stream, junk, n, keep, port);
		assert_int_equal(port->answers, 0);
		/* a frame of which the beginning is what was left is void, and those after it until here */
		say(port, PVSCHED_FRAME_SYNC, n, ~(uint32_t)n);
		expect_answer(port, PVSCHED_FRAME_SYNC, n, ~(uint32_t)n);
		say(port, PVSCHED_FRAME_READ, PVSCHED_REG_MAGIC, 0);
		expect_answer(port, PVSCHED_FRAME_READ, PVSCHED_REG_MAGIC, PVSCHED_MAGIC);
	}
	assert_true(port->stream.skipped > 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
		CASE(stream_nothing_is_done_before_sync),
		CASE(stream_sync_is_answered_and_changes_nothing),
		CASE(stream_read_and_write_are_register_accesses),
		CASE(stream_frames_come_in_any_pieces),
		CASE(stream_what_is_no_frame_is_skipped_until_sync),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
