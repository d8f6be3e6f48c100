// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frames of a byte stream, and any bytes between them, in any pieces: src/transport/stream.c beside a
 * reader that has all bytes at once and a device of its own. After each piece both have read as far, said
 * the same, and their devices are alike.
 */
#include <helpers/fuzz.h>

#include <endian.h>

#include <transport/stream.h>

#define VCPUS	4
#define BYTES	65536 /* of one input, frames written out */
#define FRAME	sizeof(struct pvsched_frame)
#define ANSWERS (BYTES / FRAME)

static struct side {
	struct pvsched_device d;
	struct pvsched_frame said[ANSWERS];
	unsigned int n;
} real, naive;

static struct pvsched_stream stream;
static uint8_t all[BYTES];
static size_t size, read_to, skipped;
static bool synced;

static uint32_t read_header(void *ctx, uint64_t gfn, struct pvsched_page *ret_line0)
{
	const struct side *s = ctx;

	(void)gfn;
	ret_line0->magic = PVSCHED_MAGIC;
	ret_line0->abi_version = PVSCHED_ABI_VERSION;
	ret_line0->protocol = s->d.choice_id;
	ret_line0->protocol_version = s->d.choice_version;
	ret_line0->features = s->d.guest_features;
	ret_line0->vcpu_id = s->d.vcpu_select;
	return PVSCHED_R_OK;
}

static uint32_t attach(void *ctx, unsigned int vcpu, uint64_t gfn, uint64_t nonce)
{
	(void)ctx;
	(void)nonce;
	FUZZ_CHECK(vcpu < VCPUS);
	return gfn % 7 ? PVSCHED_R_OK : PVSCHED_R_BAD_GFN;
}

static uint32_t enable(void *ctx, unsigned int vcpu, uint64_t features)
{
	(void)ctx;
	(void)features;
	FUZZ_CHECK(vcpu < VCPUS);
	return PVSCHED_R_OK;
}

static void detach(void *ctx, unsigned int vcpu)
{
	(void)ctx;
	FUZZ_CHECK(vcpu < VCPUS);
}

static uint64_t make_nonce(void *ctx)
{
	(void)ctx;
	return 0x1122334455667788;
}

static uint32_t may_register(void *ctx)
{
	(void)ctx;
	return PVSCHED_R_OK;
}

static const struct pvsched_device_ops ops = {
	.read_header = read_header,
	.attach = attach,
	.enable = enable,
	.detach = detach,
	.nonce = make_nonce,
	.may_register = may_register,
	.doorbell = detach,
};

static void say(void *ctx, const struct pvsched_frame *answer)
{
	struct side *s = ctx;

	FUZZ_CHECK(s->n < ANSWERS);
	s->said[s->n++] = *answer;
}

static void naive_say(uint32_t op, uint32_t offset, uint32_t value)
{
	const struct pvsched_frame f = { htole32(op), htole32(offset), htole32(value) };

	say(&naive, &f);
}

/* spec/protocol.md, 7.2. */
static void read_all(void)
{
	for (; size - read_to >= FRAME; read_to += FRAME) {
		struct pvsched_frame f;
		uint32_t op, offset, value;

		memcpy(&f, all + read_to, FRAME);
		op = le32toh(f.op);
		offset = le32toh(f.offset);
		value = le32toh(f.value);
		if (op == PVSCHED_FRAME_SYNC && (offset ^ value) == UINT32_MAX) {
			synced = true;
			naive_say(op, offset, value);
			continue;
		}
		if (synced && op == PVSCHED_FRAME_READ) {
			naive_say(op, offset, pvsched_device_read(&naive.d, offset, 4));
			continue;
		}
		if (synced && op == PVSCHED_FRAME_WRITE) {
			pvsched_device_write(&naive.d, offset, 4, value);
			continue;
		}
		synced = false;
		skipped++;
		read_to -= FRAME - 1;
	}
}

static void check(void)
{
	FUZZ_CHECK(stream.synced == synced && stream.skipped == skipped);
	FUZZ_CHECK(stream.used == size - read_to && stream.used < FRAME);
	FUZZ_CHECK(real.n == naive.n);
	FUZZ_CHECK(!memcmp(real.said, naive.said, real.n * FRAME));
	FUZZ_CHECK(real.d.status == naive.d.status && real.d.epoch == naive.d.epoch &&
		   real.d.error == naive.d.error && real.d.vcpu_select == naive.d.vcpu_select);
	FUZZ_CHECK(!memcmp(real.d.vcpu, naive.d.vcpu, VCPUS * sizeof(real.d.vcpu[0])));
}

static void append(const void *data, size_t n)
{
	n = n < BYTES - size ? n : BYTES - size;
	memcpy(all + size, data, n);
	size += n;
}

static void frame(uint32_t op, uint32_t offset, uint32_t value)
{
	const struct pvsched_frame f = { htole32(op), htole32(offset), htole32(value) };

	append(&f, FRAME);
	fuzz_steps++;
}

static void write_register(uint32_t offset, uint32_t value)
{
	frame(PVSCHED_FRAME_WRITE, offset, value);
}

static void step(struct fuzz *f)
{
	uint8_t op = fuzz_u8(f), low = op >> 4, byte;
	uint32_t number;

	switch (op & 7) {
	case 0:
		number = fuzz_u16(f);
		frame(PVSCHED_FRAME_SYNC, number, low ? ~number : number);
		break;
	case 1:
		frame(PVSCHED_FRAME_READ, low < 12 ? fuzz_u8(f) * 4 : fuzz_number(f), 0);
		break;
	case 2:
		write_register(low < 12 ? fuzz_u8(f) * 4 : fuzz_number(f), fuzz_number(f));
		break;
	case 3: /* the handshake, up to a page that is enabled */
		write_register(PVSCHED_REG_CHOICE_ID, PVSCHED_PROTO_BASE);
		write_register(PVSCHED_REG_CHOICE_VERSION, PVSCHED_PROTO_BASE_VERSION);
		for (uint32_t status = 1; status < 8; status = status * 2 + 1)
			write_register(PVSCHED_REG_STATUS, status);
		break;
	case 4:
		write_register(PVSCHED_REG_VCPU_SELECT, low % (VCPUS + 1));
		write_register(PVSCHED_REG_VCPU_GFN, fuzz_u8(f));
		write_register(PVSCHED_REG_VCPU_COMMAND, 1 + low % 3);
		break;
	case 5: /* a frame of no kind, or one in a hurry */
		frame(fuzz_number(f), fuzz_u8(f), fuzz_u8(f));
		break;
	default: /* some bytes */
		for (; low && fuzz_left(f); low--) {
			byte = fuzz_u8(f);
			append(&byte, 1);
		}
		fuzz_steps++;
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct fuzz f = { data, data + n };
	uint8_t piece = fuzz_u8(&f);
	size_t from, part;

	memset(&real, 0, sizeof(real));
	memset(&naive, 0, sizeof(naive));
	size = read_to = skipped = 0;
	synced = false;
	pvsched_device_init(&real.d, &ops, &real, VCPUS, 7);
	pvsched_device_init(&naive.d, &ops, &naive, VCPUS, 7);
	pvsched_stream_init(&stream, &real.d);
	pvsched_device_set_bus_master(&naive.d, true);
	while (fuzz_left(&f) && size < BYTES) {
		from = size;
		step(&f);
		read_all();
		for (; from < size; from += part) {
			part = 1 + piece % 31;
			part = part < size - from ? part : size - from;
			pvsched_stream_take(&stream, all + from, part, say, &real);
		}
		check();
	}
	return 0;
}
