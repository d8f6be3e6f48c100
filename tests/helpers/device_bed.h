/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A register device over a transport that records what it is told and answers as the test says.
 * One bed per case, made anew by setup; nothing is shared.
 */
#ifndef PVSCHED_TESTS_DEVICE_BED_H
#define PVSCHED_TESTS_DEVICE_BED_H

#include <helpers/unit.h>

#include <core/device.h>

#define BED_VCPUS    4
#define BED_GFN	     0x1234567890ull /* needs both halves */
#define BED_FEATURES (PVSCHED_F_TICKET | PVSCHED_F_PENDING | 1ull << 40)
#define BED_READY    (PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER | PVSCHED_S_FEATURES_OK)

struct bed {
	struct pvsched_device device;
	struct pvsched_page header; /* what read_header finds */
	uint32_t on_read_header, on_attach, on_enable, on_may_register; /* their answers */
	uint64_t next_nonce;
	unsigned int read_headers, attaches, enables, detaches, may_registers;
	unsigned int rings[BED_VCPUS];
	bool attached[BED_VCPUS];
	uint64_t gfn, enabled_features, nonce; /* as last told */
};

static uint32_t bed_read_header(void *ctx, uint64_t gfn, struct pvsched_page *ret_line0)
{
	struct bed *bed = ctx;

	(void)gfn;
	bed->read_headers++;
	if (bed->on_read_header == PVSCHED_R_OK)
		*ret_line0 = bed->header;
	return bed->on_read_header;
}

static uint32_t bed_attach(void *ctx, unsigned int vcpu, uint64_t gfn, uint64_t nonce)
{
	struct bed *bed = ctx;

	bed->attaches++;
	assert_in_range(vcpu, 0, BED_VCPUS - 1);
	assert_false(bed->attached[vcpu]);
	if (bed->on_attach != PVSCHED_R_OK)
		return bed->on_attach;
	bed->attached[vcpu] = true;
	bed->gfn = gfn;
	bed->nonce = nonce;
	return PVSCHED_R_OK;
}

static uint32_t bed_enable(void *ctx, unsigned int vcpu, uint64_t features)
{
	struct bed *bed = ctx;

	bed->enables++;
	assert_true(bed->attached[vcpu]);
	bed->enabled_features = features;
	return bed->on_enable;
}

static void bed_detach(void *ctx, unsigned int vcpu)
{
	struct bed *bed = ctx;

	bed->detaches++;
	assert_true(bed->attached[vcpu]); /* never told of a page it does not have */
	bed->attached[vcpu] = false;
}

static uint64_t bed_nonce(void *ctx)
{
	return ((struct bed *)ctx)->next_nonce;
}

static uint32_t bed_may_register(void *ctx)
{
	struct bed *bed = ctx;

	bed->may_registers++;
	return bed->on_may_register;
}

static void bed_doorbell(void *ctx, unsigned int vcpu)
{
	((struct bed *)ctx)->rings[vcpu]++;
}

static const struct pvsched_device_ops bed_ops = {
	.read_header = bed_read_header,
	.attach = bed_attach,
	.enable = bed_enable,
	.detach = bed_detach,
	.nonce = bed_nonce,
	.may_register = bed_may_register,
	.doorbell = bed_doorbell,
};

static inline int bed_setup(void **state)
{
	static struct bed bed;

	bed = (struct bed){
		.header = {
			.magic = PVSCHED_MAGIC,
			.abi_version = PVSCHED_ABI_VERSION,
			.protocol = PVSCHED_PROTO_BASE,
			.protocol_version = PVSCHED_PROTO_BASE_VERSION,
			.features = PVSCHED_F_TICKET,
		},
		.next_nonce = 0xfeedfacecafef00dull,
	};
	pvsched_device_init(&bed.device, &bed_ops, &bed, BED_VCPUS, BED_FEATURES);
	*state = &bed;
	return 0;
}

static inline uint32_t bed_read(struct bed *bed, uint64_t offset)
{
	return pvsched_device_read(&bed->device, offset, 4);
}

static inline uint64_t bed_read64(struct bed *bed, uint64_t offset)
{
	return bed_read(bed, offset) | (uint64_t)bed_read(bed, offset + 4) << 32;
}

static inline void bed_write(struct bed *bed, uint64_t offset, uint32_t value)
{
	pvsched_device_write(&bed->device, offset, 4, value);
}

static inline void bed_write64(struct bed *bed, uint64_t offset, uint64_t value)
{
	bed_write(bed, offset, (uint32_t)value);
	bed_write(bed, offset + 4, value >> 32);
}

/* The life cycle up to FEATURES_OK, with one feature accepted and Bus Master Enable set. */
static inline void bed_negotiate(struct bed *bed)
{
	pvsched_device_set_bus_master(&bed->device, true);
	bed_write64(bed, PVSCHED_REG_GUEST_FEATURES, PVSCHED_F_TICKET);
	bed_write(bed, PVSCHED_REG_CHOICE_ID, PVSCHED_PROTO_BASE);
	bed_write(bed, PVSCHED_REG_CHOICE_VERSION, PVSCHED_PROTO_BASE_VERSION);
	bed_write(bed, PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE);
	bed_write(bed, PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER);
	bed_write(bed, PVSCHED_REG_STATUS, BED_READY);
	assert_int_equal(bed_read(bed, PVSCHED_REG_STATUS), BED_READY);
}

static inline uint32_t bed_command(struct bed *bed, unsigned int vcpu, uint32_t command)
{
	bed_write(bed, PVSCHED_REG_VCPU_SELECT, vcpu);
	bed_write(bed, PVSCHED_REG_VCPU_COMMAND, command);
	return bed_read(bed, PVSCHED_REG_VCPU_RESULT);
}

static inline uint32_t bed_register(struct bed *bed, unsigned int vcpu, uint64_t gfn)
{
	bed->header.vcpu_id = vcpu;
	bed_write(bed, PVSCHED_REG_VCPU_SELECT, vcpu);
	bed_write64(bed, PVSCHED_REG_VCPU_GFN, gfn);
	return bed_command(bed, vcpu, PVSCHED_CMD_REGISTER);
}

static inline uint32_t bed_enable_page(struct bed *bed, unsigned int vcpu, uint64_t nonce)
{
	bed_write(bed, PVSCHED_REG_VCPU_SELECT, vcpu);
	bed_write64(bed, PVSCHED_REG_VCPU_NONCE, nonce);
	return bed_command(bed, vcpu, PVSCHED_CMD_ENABLE);
}

/* A page in use on this vCPU. */
static inline void bed_bring_up(struct bed *bed, unsigned int vcpu)
{
	assert_int_equal(bed_register(bed, vcpu, BED_GFN + vcpu), PVSCHED_R_OK);
	assert_int_equal(bed_enable_page(bed, vcpu, bed->nonce), PVSCHED_R_OK);
}

static inline uint32_t bed_state(struct bed *bed, unsigned int vcpu)
{
	bed_write(bed, PVSCHED_REG_VCPU_SELECT, vcpu);
	return bed_read(bed, PVSCHED_REG_VCPU_STATE);
}

#endif
