// SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
/*
 * The register device: what each access does, and to which page. State belongs to the caller,
 * who serialises calls. Every value comes from a guest: an access that makes no sense is refused
 * with a result code and counted, and nothing else happens.
 */
#include <core/device.h>
#include <core/page.h>

#define GFN_MAX ((1ull << 52) - 1) /* a guest physical address has at most 64 bits */

/* The states in which only a reset helps. */
#define S_STUCK (PVSCHED_S_NEEDS_RESET | PVSCHED_S_FAILED)

static const struct {
	uint32_t id, version;
} protocols[] = {
	{ PVSCHED_PROTO_BASE, PVSCHED_PROTO_BASE_VERSION },
};

#define PROTO_COUNT ((uint32_t)(sizeof(protocols) / sizeof(protocols[0])))

static void count(struct pvsched_device *d, uint32_t result)
{
	d->errors[result]++;
}

static void refuse(struct pvsched_device *d, uint32_t result)
{
	count(d, result);
	d->error = result;
}

static uint32_t low_half(uint64_t value)
{
	return (uint32_t)value;
}

static uint32_t high_half(uint64_t value)
{
	return value >> 32;
}

static void set_low_half(uint64_t *value, uint32_t half)
{
	*value = (*value & 0xffffffff00000000ull) | half;
}

static void set_high_half(uint64_t *value, uint32_t half)
{
	*value = (*value & 0xffffffffull) | (uint64_t)half << 32;
}

/* NULL: the guest selected a vCPU that does not exist. */
static struct pvsched_device_vcpu *selected(struct pvsched_device *d)
{
	return d->vcpu_select < d->vcpus ? &d->vcpu[d->vcpu_select] : NULL;
}

static void detach(struct pvsched_device *d, unsigned int index)
{
	struct pvsched_device_vcpu *v = &d->vcpu[index];

	if (v->page == PVSCHED_PAGE_OFF)
		return;
	d->ops->detach(d->ctx, index);
	v->page = PVSCHED_PAGE_OFF;
	v->nonce = 0;
}

static void detach_all(struct pvsched_device *d)
{
	unsigned int i;

	for (i = 0; i < d->vcpus; i++)
		detach(d, i);
}

static bool gfn_in_use(const struct pvsched_device *d, uint64_t gfn)
{
	unsigned int i;

	for (i = 0; i < d->vcpus; i++) {
		if (d->vcpu[i].page != PVSCHED_PAGE_OFF && d->vcpu[i].gfn == gfn)
			return true;
	}
	return false;
}

static bool on_offer(uint32_t id, uint32_t version)
{
	uint32_t i;

	for (i = 0; i < PROTO_COUNT; i++) {
		if (protocols[i].id == id && protocols[i].version == version)
			return true;
	}
	return false;
}

/* Cheap checks first, the rate limit before the first look at guest memory. */
static uint32_t command_register(struct pvsched_device *d, struct pvsched_device_vcpu *v)
{
	struct pvsched_page line0 = { 0 };
	uint64_t nonce;
	uint32_t r;

	if (!d->bus_master)
		return PVSCHED_R_NO_DMA;
	if (v->page != PVSCHED_PAGE_OFF)
		return PVSCHED_R_IN_USE;
	if (v->gfn > GFN_MAX)
		return PVSCHED_R_BAD_GFN;
	if (gfn_in_use(d, v->gfn))
		return PVSCHED_R_IN_USE;
	r = d->ops->may_register(d->ctx);
	if (r != PVSCHED_R_OK)
		return r;
	r = d->ops->read_header(d->ctx, v->gfn, &line0);
	if (r != PVSCHED_R_OK)
		return r;
	r = pvsched_header_check(&line0, d->vcpu_select, d->choice_id, d->choice_version,
				 d->guest_features);
	if (r != PVSCHED_R_OK)
		return r;
	/* 0 is what a guest that never saw the page would echo. */
	nonce = d->ops->nonce(d->ctx);
	if (!nonce)
		return PVSCHED_R_HOST;
	r = d->ops->attach(d->ctx, d->vcpu_select, v->gfn, nonce);
	if (r != PVSCHED_R_OK)
		return r;
	v->page = PVSCHED_PAGE_ATTACHED;
	v->nonce = nonce;
	v->nonce_in = 0;
	return PVSCHED_R_OK;
}

/* Whatever goes wrong once the page is attached detaches it: one try per nonce. */
static uint32_t command_enable(struct pvsched_device *d, struct pvsched_device_vcpu *v)
{
	uint32_t r = PVSCHED_R_BAD_NONCE;

	if (!d->bus_master)
		return PVSCHED_R_NO_DMA;
	if (v->page == PVSCHED_PAGE_OFF)
		return PVSCHED_R_NOT_REGISTERED;
	if (v->page == PVSCHED_PAGE_ENABLED)
		return PVSCHED_R_BAD_STATUS;
	if (v->nonce_in == v->nonce)
		r = d->ops->enable(d->ctx, d->vcpu_select, d->guest_features);
	if (r == PVSCHED_R_OK) {
		v->page = PVSCHED_PAGE_ENABLED;
		v->nonce = 0;
	} else {
		detach(d, d->vcpu_select);
	}
	return r;
}

static uint32_t command_unregister(struct pvsched_device *d, struct pvsched_device_vcpu *v)
{
	if (v->page == PVSCHED_PAGE_OFF)
		return PVSCHED_R_NOT_REGISTERED;
	detach(d, d->vcpu_select);
	return PVSCHED_R_OK;
}

static void command(struct pvsched_device *d, uint32_t value)
{
	struct pvsched_device_vcpu *v = selected(d);
	uint32_t r = PVSCHED_R_BAD_COMMAND;

	if (!v) {
		refuse(d, PVSCHED_R_BAD_VCPU);
		return;
	}
	if (!(d->status & PVSCHED_S_FEATURES_OK) || (d->status & S_STUCK))
		r = PVSCHED_R_BAD_STATUS;
	else if (value == PVSCHED_CMD_REGISTER)
		r = command_register(d, v);
	else if (value == PVSCHED_CMD_ENABLE)
		r = command_enable(d, v);
	else if (value == PVSCHED_CMD_UNREGISTER)
		r = command_unregister(d, v);
	/* A code that a later transport invented is no index. */
	if (r >= PVSCHED_R_MAX)
		r = PVSCHED_R_HOST;
	v->result = r;
	if (r != PVSCHED_R_OK)
		refuse(d, r);
}

/* The one bit that may be set next; 0 after the last. */
static uint32_t next_step(uint32_t status)
{
	if (!(status & PVSCHED_S_ACKNOWLEDGE))
		return PVSCHED_S_ACKNOWLEDGE;
	if (!(status & PVSCHED_S_DRIVER))
		return PVSCHED_S_DRIVER;
	if (!(status & PVSCHED_S_FEATURES_OK))
		return PVSCHED_S_FEATURES_OK;
	if (!(status & PVSCHED_S_DRIVER_OK))
		return PVSCHED_S_DRIVER_OK;
	return 0;
}

static void write_status(struct pvsched_device *d, uint32_t value)
{
	uint32_t added = value & ~d->status;

	if (value == 0) {
		pvsched_device_reset(d);
		return;
	}
	if ((d->status & S_STUCK) || (value & d->status) != d->status) {
		refuse(d, PVSCHED_R_BAD_STATUS);
	} else if (added == PVSCHED_S_FAILED) {
		detach_all(d);
		d->status = value;
	} else if (added && added != next_step(d->status)) {
		refuse(d, PVSCHED_R_BAD_STATUS);
	} else if (added == PVSCHED_S_FEATURES_OK && (d->guest_features & ~d->host_features)) {
		refuse(d, PVSCHED_R_BAD_FEATURES);
	} else if (added == PVSCHED_S_FEATURES_OK && !on_offer(d->choice_id, d->choice_version)) {
		refuse(d, PVSCHED_R_BAD_PROTOCOL);
	} else {
		d->status = value;
	}
}

/* Registers of the negotiation, frozen by FEATURES_OK. */
static void write_negotiation(struct pvsched_device *d, uint64_t offset, uint32_t value)
{
	if (d->status & (PVSCHED_S_FEATURES_OK | S_STUCK))
		refuse(d, PVSCHED_R_BAD_STATUS);
	else if (offset == PVSCHED_REG_GUEST_FEATURES)
		set_low_half(&d->guest_features, value);
	else if (offset == PVSCHED_REG_GUEST_FEATURES + 4)
		set_high_half(&d->guest_features, value);
	else if (offset == PVSCHED_REG_CHOICE_ID)
		d->choice_id = value;
	else
		d->choice_version = value;
}

/* Registers of the selected vCPU. */
static void write_vcpu(struct pvsched_device *d, uint64_t offset, uint32_t value)
{
	struct pvsched_device_vcpu *v = selected(d);
	bool nonce = offset >= PVSCHED_REG_VCPU_NONCE;

	if (!v)
		refuse(d, PVSCHED_R_BAD_VCPU);
	else if (!nonce && v->page != PVSCHED_PAGE_OFF)
		refuse(d, PVSCHED_R_IN_USE);
	else if (offset & 4)
		set_high_half(nonce ? &v->nonce_in : &v->gfn, value);
	else
		set_low_half(nonce ? &v->nonce_in : &v->gfn, value);
}

/* Any vCPU may ring at any time: only counted, so that the others' ERROR and RESULT stand. */
static void ring(struct pvsched_device *d, uint64_t index)
{
	if (index >= d->vcpus)
		count(d, PVSCHED_R_BAD_VCPU);
	else if (d->vcpu[index].page != PVSCHED_PAGE_ENABLED)
		count(d, PVSCHED_R_NOT_REGISTERED);
	else
		d->ops->doorbell(d->ctx, index);
}

static bool access_ok(uint64_t offset, size_t size)
{
	return size == 4 && offset % 4 == 0 && offset < PVSCHED_BAR_SIZE;
}

uint32_t pvsched_device_read(struct pvsched_device *d, uint64_t offset, size_t size)
{
	const struct pvsched_device_vcpu *v = selected(d);

	if (!access_ok(offset, size)) {
		refuse(d, PVSCHED_R_BAD_ACCESS);
		return 0;
	}
	switch (offset) {
	case PVSCHED_REG_MAGIC:
		return PVSCHED_MAGIC;
	case PVSCHED_REG_VERSION:
		return PVSCHED_ABI_VERSION;
	case PVSCHED_REG_STATUS:
		return d->status;
	case PVSCHED_REG_ERROR:
		return d->error;
	case PVSCHED_REG_HOST_FEATURES:
		return low_half(d->host_features);
	case PVSCHED_REG_HOST_FEATURES + 4:
		return high_half(d->host_features);
	case PVSCHED_REG_GUEST_FEATURES:
		return low_half(d->guest_features);
	case PVSCHED_REG_GUEST_FEATURES + 4:
		return high_half(d->guest_features);
	case PVSCHED_REG_PROTO_COUNT:
		return PROTO_COUNT;
	case PVSCHED_REG_PROTO_SELECT:
		return d->proto_select;
	case PVSCHED_REG_PROTO_ID:
		return d->proto_select < PROTO_COUNT ? protocols[d->proto_select].id : 0;
	case PVSCHED_REG_PROTO_VERSION:
		return d->proto_select < PROTO_COUNT ? protocols[d->proto_select].version : 0;
	case PVSCHED_REG_CHOICE_ID:
		return d->choice_id;
	case PVSCHED_REG_CHOICE_VERSION:
		return d->choice_version;
	case PVSCHED_REG_VCPU_COUNT:
		return d->vcpus;
	case PVSCHED_REG_VCPU_SELECT:
		return d->vcpu_select;
	case PVSCHED_REG_VCPU_GFN:
		return v ? low_half(v->gfn) : 0;
	case PVSCHED_REG_VCPU_GFN + 4:
		return v ? high_half(v->gfn) : 0;
	case PVSCHED_REG_VCPU_RESULT:
		return v ? v->result : PVSCHED_R_BAD_VCPU;
	case PVSCHED_REG_VCPU_STATE:
		return v ? v->page : PVSCHED_PAGE_OFF;
	case PVSCHED_REG_EPOCH:
		return d->epoch;
	default: /* write-only, doorbells, reserved */
		return 0;
	}
}

void pvsched_device_write(struct pvsched_device *d, uint64_t offset, size_t size, uint32_t value)
{
	if (!access_ok(offset, size)) {
		refuse(d, PVSCHED_R_BAD_ACCESS);
		return;
	}
	if (offset >= PVSCHED_REG_DOORBELL) {
		ring(d, (offset - PVSCHED_REG_DOORBELL) / 4);
		return;
	}
	if (offset >= PVSCHED_REG_END)
		return;
	switch (offset) {
	case PVSCHED_REG_STATUS:
		write_status(d, value);
		break;
	case PVSCHED_REG_GUEST_FEATURES:
	case PVSCHED_REG_GUEST_FEATURES + 4:
	case PVSCHED_REG_CHOICE_ID:
	case PVSCHED_REG_CHOICE_VERSION:
		write_negotiation(d, offset, value);
		break;
	case PVSCHED_REG_PROTO_SELECT:
		d->proto_select = value;
		break;
	case PVSCHED_REG_VCPU_SELECT:
		d->vcpu_select = value;
		break;
	case PVSCHED_REG_VCPU_GFN:
	case PVSCHED_REG_VCPU_GFN + 4:
	case PVSCHED_REG_VCPU_NONCE:
	case PVSCHED_REG_VCPU_NONCE + 4:
		write_vcpu(d, offset, value);
		break;
	case PVSCHED_REG_VCPU_COMMAND:
		command(d, value);
		break;
	default: /* read-only */
		refuse(d, PVSCHED_R_BAD_ACCESS);
		break;
	}
}

void pvsched_device_init(struct pvsched_device *d, const struct pvsched_device_ops *ops, void *ctx,
			 unsigned int vcpus, uint64_t host_features)
{
	__builtin_memset(d, 0, sizeof(*d));
	d->ops = ops;
	d->ctx = ctx;
	d->vcpus = vcpus < PVSCHED_VCPUS_MAX ? vcpus : PVSCHED_VCPUS_MAX;
	d->host_features = host_features;
}

void pvsched_device_set_bus_master(struct pvsched_device *d, bool on)
{
	if (d->bus_master == on)
		return;
	d->bus_master = on;
	if (on)
		return;
	detach_all(d);
	/* The driver believes its pages are alive; before DRIVER_OK it is still setting up. */
	if (d->status & PVSCHED_S_DRIVER_OK)
		d->status |= PVSCHED_S_NEEDS_RESET;
}

void pvsched_device_reset(struct pvsched_device *d)
{
	detach_all(d);
	d->guest_features = 0;
	d->status = 0;
	d->error = PVSCHED_R_OK;
	d->proto_select = 0;
	d->choice_id = 0;
	d->choice_version = 0;
	d->vcpu_select = 0;
	d->epoch++;
	__builtin_memset(d->vcpu, 0, sizeof(d->vcpu));
}

void pvsched_device_detach(struct pvsched_device *d, unsigned int vcpu)
{
	detach(d, vcpu);
}

void pvsched_device_host_gone(struct pvsched_device *d)
{
	detach_all(d);
	d->status |= PVSCHED_S_NEEDS_RESET;
}
