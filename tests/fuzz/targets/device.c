// SPDX-License-Identifier: GPL-2.0-only
/*
 * The register device under any sequence of accesses, resets and host events, over a transport
 * whose every call may fail. After each step the device is compared with what the transport was
 * told: spec/protocol.md, section "Device".
 */
#include <helpers/fuzz.h>

#include <core/device.h>

#define VCPUS_USED 4 /* that the short steps reach */

static struct world {
	struct pvsched_device d;
	struct { /* as it was a step ago */
		uint32_t status, epoch;
		uint64_t features, errors[PVSCHED_R_MAX];
	} before;
	uint32_t header_answer, attach_answer, enable_answer, rate_answer;
	uint16_t header_flip; /* bit of line 0 that is wrong; from 512 on none */
	uint64_t next_nonce;
	bool attached[PVSCHED_VCPUS_MAX], enabled[PVSCHED_VCPUS_MAX];
	uint64_t gfn[PVSCHED_VCPUS_MAX], nonce[PVSCHED_VCPUS_MAX];
	uint32_t resets;
	bool inside; /* an op runs: the device must not be entered */
} w;

static uint32_t read_header(void *ctx, uint64_t gfn, struct pvsched_page *ret_line0)
{
	FUZZ_CHECK(ctx == &w && w.d.bus_master && gfn < 1ull << 52);
	ret_line0->magic = PVSCHED_MAGIC;
	ret_line0->abi_version = PVSCHED_ABI_VERSION;
	ret_line0->protocol = w.d.choice_id;
	ret_line0->protocol_version = w.d.choice_version;
	ret_line0->features = w.d.guest_features;
	ret_line0->vcpu_id = w.d.vcpu_select;
	if (w.header_flip < 8 * PVSCHED_LINE)
		((uint8_t *)ret_line0)[w.header_flip / 8] ^= 1 << w.header_flip % 8;
	return w.header_answer;
}

static uint32_t attach(void *ctx, unsigned int vcpu, uint64_t gfn, uint64_t nonce)
{
	FUZZ_CHECK(ctx == &w && vcpu < w.d.vcpus && !w.attached[vcpu] && nonce);
	FUZZ_CHECK(w.d.bus_master && w.header_flip >= 8 * PVSCHED_LINE);
	for (unsigned int i = 0; i < w.d.vcpus; i++)
		FUZZ_CHECK(!w.attached[i] || w.gfn[i] != gfn);
	if (w.attach_answer != PVSCHED_R_OK)
		return w.attach_answer;
	w.attached[vcpu] = true;
	w.gfn[vcpu] = gfn;
	w.nonce[vcpu] = nonce;
	return PVSCHED_R_OK;
}

static uint32_t enable(void *ctx, unsigned int vcpu, uint64_t features)
{
	FUZZ_CHECK(ctx == &w && w.attached[vcpu] && !w.enabled[vcpu]);
	FUZZ_CHECK(!(features & ~w.d.host_features) && w.d.vcpu[vcpu].nonce_in == w.nonce[vcpu]);
	w.enabled[vcpu] = w.enable_answer == PVSCHED_R_OK;
	return w.enable_answer;
}

static void detach(void *ctx, unsigned int vcpu)
{
	FUZZ_CHECK(ctx == &w && w.attached[vcpu]); /* once per attach */
	w.attached[vcpu] = w.enabled[vcpu] = false;
}

static uint64_t make_nonce(void *ctx)
{
	FUZZ_CHECK(ctx == &w);
	return w.next_nonce;
}

static uint32_t may_register(void *ctx)
{
	FUZZ_CHECK(ctx == &w);
	return w.rate_answer;
}

static void doorbell(void *ctx, unsigned int vcpu)
{
	FUZZ_CHECK(ctx == &w && vcpu < w.d.vcpus && w.enabled[vcpu]);
}

static const struct pvsched_device_ops ops = {
	.read_header = read_header,
	.attach = attach,
	.enable = enable,
	.detach = detach,
	.nonce = make_nonce,
	.may_register = may_register,
	.doorbell = doorbell,
};

static bool is_life_cycle(uint32_t steps)
{
	static const uint32_t order[] = { PVSCHED_S_ACKNOWLEDGE, PVSCHED_S_DRIVER,
					  PVSCHED_S_FEATURES_OK, PVSCHED_S_DRIVER_OK };
	uint32_t so_far = 0;

	for (unsigned int i = 0; i < 4 && steps != so_far; i++)
		so_far |= order[i];
	return steps == so_far;
}

static void check_vcpu(unsigned int i)
{
	const struct pvsched_device_vcpu *v = &w.d.vcpu[i];

	FUZZ_CHECK(v->page == PVSCHED_PAGE_OFF || v->page == PVSCHED_PAGE_ATTACHED ||
		   v->page == PVSCHED_PAGE_ENABLED);
	FUZZ_CHECK(w.attached[i] == (v->page != PVSCHED_PAGE_OFF));
	FUZZ_CHECK(w.enabled[i] == (v->page == PVSCHED_PAGE_ENABLED));
	FUZZ_CHECK((v->nonce != 0) == (v->page == PVSCHED_PAGE_ATTACHED));
	FUZZ_CHECK(!w.attached[i] || v->gfn == w.gfn[i]);
	FUZZ_CHECK(v->result < PVSCHED_R_MAX);
	if (w.attached[i])
		FUZZ_CHECK(w.d.bus_master && w.d.status & PVSCHED_S_FEATURES_OK &&
			   !(w.d.status & (PVSCHED_S_NEEDS_RESET | PVSCHED_S_FAILED)));
}

static void check(void)
{
	const uint32_t stuck = PVSCHED_S_NEEDS_RESET | PVSCHED_S_FAILED;
	const struct pvsched_device *d = &w.d;
	bool agreed = d->status & PVSCHED_S_FEATURES_OK;

	FUZZ_CHECK(is_life_cycle(d->status & ~stuck));
	FUZZ_CHECK(d->error < PVSCHED_R_MAX);
	FUZZ_CHECK(d->epoch == w.resets);
	for (unsigned int i = 0; i < PVSCHED_R_MAX; i++)
		FUZZ_CHECK(d->errors[i] >= w.before.errors[i]);
	FUZZ_CHECK(d->errors[PVSCHED_R_OK] == 0);
	for (unsigned int i = 0; i < VCPUS_USED && i < d->vcpus; i++)
		check_vcpu(i);
	if (d->vcpu_select < d->vcpus)
		check_vcpu(d->vcpu_select);
	if (agreed) {
		FUZZ_CHECK(!(d->guest_features & ~d->host_features));
		FUZZ_CHECK(d->choice_id == PVSCHED_PROTO_BASE &&
			   d->choice_version == PVSCHED_PROTO_BASE_VERSION);
		if (d->epoch == w.before.epoch && w.before.status & PVSCHED_S_FEATURES_OK)
			FUZZ_CHECK(d->guest_features == w.before.features);
	}
	w.before.status = d->status;
	w.before.epoch = d->epoch;
	w.before.features = d->guest_features;
	memcpy(w.before.errors, d->errors, sizeof(d->errors));
}

static void write32(uint64_t offset, uint32_t value)
{
	pvsched_device_write(&w.d, offset, 4, value);
	w.resets += offset == PVSCHED_REG_STATUS && !value;
	fuzz_steps++;
}

static void negotiate(struct fuzz *f)
{
	write32(PVSCHED_REG_GUEST_FEATURES, w.d.host_features & fuzz_u8(f));
	write32(PVSCHED_REG_CHOICE_ID, PVSCHED_PROTO_BASE);
	write32(PVSCHED_REG_CHOICE_VERSION, PVSCHED_PROTO_BASE_VERSION);
	write32(PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE);
	write32(PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER);
	write32(PVSCHED_REG_STATUS,
		PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER | PVSCHED_S_FEATURES_OK);
}

static void enable_page(uint32_t vcpu)
{
	uint64_t nonce = vcpu < w.d.vcpus ? w.nonce[vcpu] : 0;

	write32(PVSCHED_REG_VCPU_SELECT, vcpu);
	write32(PVSCHED_REG_VCPU_NONCE, (uint32_t)nonce);
	write32(PVSCHED_REG_VCPU_NONCE + 4, nonce >> 32);
	write32(PVSCHED_REG_VCPU_COMMAND, PVSCHED_CMD_ENABLE);
}

static void step(struct fuzz *f)
{
	uint8_t op = fuzz_u8(f), low = op >> 4;
	uint64_t offset;
	uint32_t value;

	switch (op & 15) {
	case 0: /* any access */
		offset = fuzz_number(f);
		value = fuzz_u32(f);
		pvsched_device_write(&w.d, offset, low, value);
		w.resets += low == 4 && offset == PVSCHED_REG_STATUS && !value;
		break;
	case 1:
		pvsched_device_read(&w.d, fuzz_number(f), low);
		break;
	case 2: /* a register, a small value */
	case 3:
		write32(fuzz_u8(f) % (PVSCHED_REG_END / 4) * 4, low);
		break;
	case 4: /* the same, any value */
		write32(fuzz_u8(f) % (PVSCHED_REG_END / 4) * 4, fuzz_u32(f));
		break;
	case 5:
		write32(PVSCHED_REG_STATUS, fuzz_u8(f));
		break;
	case 6:
		write32(PVSCHED_REG_VCPU_SELECT, low % (VCPUS_USED + 1));
		break;
	case 7:
		write32(PVSCHED_REG_VCPU_COMMAND, low);
		break;
	case 8:
		write32(PVSCHED_REG_VCPU_GFN, low % 3);
		write32(PVSCHED_REG_VCPU_GFN + 4, low & 8 ? fuzz_u32(f) : 0);
		break;
	case 9:
		write32(PVSCHED_REG_DOORBELL + 4 * low, 1);
		break;
	case 10:
		pvsched_device_set_bus_master(&w.d, low & 3);
		break;
	case 11:
		negotiate(f);
		break;
	case 12:
		enable_page(low % VCPUS_USED);
		break;
	case 13: /* what the transport answers from now on; any code, also none of ours */
		*(uint32_t *[]){ &w.header_answer, &w.attach_answer, &w.enable_answer,
				 &w.rate_answer }[low % 4] = low & 8 ? fuzz_u32(f) : 0;
		break;
	case 14:
		w.header_flip = low & 1 ? fuzz_u16(f) : UINT16_MAX;
		w.next_nonce = low & 2 ? fuzz_u64(f) : 0x1122334455667788;
		break;
	case 15:
		if (low == 0) {
			pvsched_device_host_gone(&w.d);
		} else if (low == 1) {
			pvsched_device_reset(&w.d);
			w.resets++;
		} else if (w.d.vcpus) {
			pvsched_device_detach(&w.d, low % w.d.vcpus);
		}
		break;
	}
	fuzz_steps++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { data, data + size };
	unsigned int vcpus = fuzz_u8(&f);

	memset(&w, 0, sizeof(w));
	w.header_flip = UINT16_MAX;
	w.next_nonce = 1;
	/* most inputs: as many as are used; else a size of its own, also one that is too large */
	vcpus = vcpus < 192 ? VCPUS_USED : (vcpus - 192) * 5;
	pvsched_device_init(&w.d, &ops, &w, vcpus, fuzz_u8(&f));
	FUZZ_CHECK(w.d.vcpus <= PVSCHED_VCPUS_MAX);
	check();
	while (fuzz_left(&f)) {
		step(&f);
		check();
	}
	for (unsigned int i = 0; i < w.d.vcpus; i++)
		check_vcpu(i);
	pvsched_device_reset(&w.d);
	for (unsigned int i = 0; i < PVSCHED_VCPUS_MAX; i++)
		FUZZ_CHECK(!w.attached[i]);
	return 0;
}
