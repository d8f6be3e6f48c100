// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guests that do it wrong, under KVM: each case is a script of accesses that the guest executes in
 * place of its handshake. A result code, a counter, and the host goes on: every script ends with a
 * whole handshake, and the guest runs its workload. Hugetlb needs root.
 */
/* timeout: 120, needs: /dev/kvm */
#include <helpers/huge.h>
#include <helpers/vmm_peer.h>

#define SCRATCH_GPA 0x180000ull /* RAM that the guest does not use */

static long huge_pages_were = -1; /* to be restored */

static int teardown(void **state)
{
	int ret = vmm_peer_teardown(state);

	if (huge_pages_were >= 0)
		huge_pages(huge_pages_were);
	huge_pages_were = -1;
	return ret;
}

#define W(offset, v)                                                                               \
	{                                                                                          \
		.op = GUEST_OP_BAR_WRITE, .size = 4, .address = (offset), .value = (v)             \
	}
#define R(offset, v)                                                                               \
	{                                                                                          \
		.op = GUEST_OP_BAR_READ, .size = 4, .address = (offset), .expect = (v),            \
		.mask = ~0ull                                                                      \
	}
#define SELECT(i)     W(PVSCHED_REG_VCPU_SELECT, i)
#define GFN(gpa)      W(PVSCHED_REG_VCPU_GFN, (gpa) / PVSCHED_PAGE_SIZE), W(PVSCHED_REG_VCPU_GFN + 4, 0)
#define COMMAND(c, r) W(PVSCHED_REG_VCPU_COMMAND, c), R(PVSCHED_REG_VCPU_RESULT, r)
#define HEADER(gpa, i)                                                                             \
	{                                                                                          \
		.op = GUEST_OP_HEADER, .address = (gpa), .value = (i)                              \
	}
#define HANDSHAKE(r)                                                                               \
	{                                                                                          \
		.op = GUEST_OP_HANDSHAKE, .expect = (r), .mask = ~0ull                             \
	}
#define MEM(gpa, n, v)                                                                             \
	{                                                                                          \
		.op = GUEST_OP_MEM_WRITE, .size = (n), .address = (gpa), .value = (v)              \
	}
#define STATUS(s)  W(PVSCHED_REG_STATUS, s)
#define S_DRIVER   (PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER)
#define S_FEATURES (S_DRIVER | PVSCHED_S_FEATURES_OK)
#define NEGOTIATE                                                                                  \
	STATUS(0), STATUS(PVSCHED_S_ACKNOWLEDGE), STATUS(S_DRIVER),                                \
		W(PVSCHED_REG_GUEST_FEATURES, PEER_FEATURES),                                      \
		W(PVSCHED_REG_CHOICE_ID, PVSCHED_PROTO_BASE),                                      \
		W(PVSCHED_REG_CHOICE_VERSION, PVSCHED_PROTO_BASE_VERSION), STATUS(S_FEATURES),     \
		R(PVSCHED_REG_STATUS, S_FEATURES)
/* the header's features are those of the last whole handshake */
#define BEGIN HANDSHAKE(PVSCHED_R_OK), NEGOTIATE, HEADER(SCRATCH_GPA, 0), SELECT(0)
/* whatever came before, the host goes on */
#define END HANDSHAKE(PVSCHED_R_OK)

static void run_script(const struct guest_step *script, unsigned int steps, unsigned int vcpus)
{
	struct vmm_guest_info info;
	struct guest_step step;

	vmm_peer_init(vcpus, GUEST_CRITICAL, 20);
	bed.opts.script = script;
	bed.opts.steps = steps;
	bed.opts.readonly_slot = true;
	vmm_bed_boot(&bed);
	assert_int_equal(vmm_guest_info(bed.vm, &info), 0);
	assert_int_equal(info.device, GUEST_DEVICE_SCRIPTED);
	assert_int_equal(info.steps_done, steps);
	for (unsigned int i = 0; i < steps; i++) {
		assert_int_equal(vmm_step(bed.vm, i, &step), 0);
		if ((step.result ^ step.expect) & step.mask)
			fail_msg("step %u (op %u at 0x%llx): 0x%llx, not 0x%llx", i, step.op,
				 (unsigned long long)step.address, (unsigned long long)step.result,
				 (unsigned long long)step.expect);
	}
	assert_int_equal(info.mismatches, 0);
	/* and the guest still runs, with its pages */
	assert_int_equal(vmm_go(bed.vm), 0);
	assert_int_equal(vmm_wait(bed.vm, BED_TIMEOUT_MS), 0);
	assert_int_equal(bed.errors, 0);
}

#define REFUSED(code, vcpus, ...)                                                                  \
	do {                                                                                       \
		static const struct guest_step script[] = { __VA_ARGS__ };                         \
		run_script(script, ARRAY_SIZE(script), vcpus);                                     \
		assert_true(device_stats().errors[code] > 0);                                      \
	} while (0)

static void gfn_outside_memory_is_refused(void **state)
{
	(void)state;
	REFUSED(PVSCHED_R_BAD_GFN, 1, BEGIN, GFN(0x7f000000ull),
		COMMAND(PVSCHED_CMD_REGISTER, PVSCHED_R_BAD_GFN), R(PVSCHED_REG_VCPU_STATE, 0),
		END);
}

static void gfn_beyond_any_address_is_refused(void **state)
{
	(void)state;
	REFUSED(PVSCHED_R_BAD_GFN, 1, BEGIN, W(PVSCHED_REG_VCPU_GFN, 0xffffffff),
		W(PVSCHED_REG_VCPU_GFN + 4, 0xffffffff),
		COMMAND(PVSCHED_CMD_REGISTER, PVSCHED_R_BAD_GFN), END);
}

static void gfn_in_mmio_is_refused(void **state)
{
	(void)state;
	REFUSED(PVSCHED_R_BAD_GFN, 2, BEGIN, GFN((uint64_t)GUEST_BAR_GPA),
		COMMAND(PVSCHED_CMD_REGISTER, PVSCHED_R_BAD_GFN), GFN(0xfee00000ull),
		COMMAND(PVSCHED_CMD_REGISTER, PVSCHED_R_BAD_GFN), END);
}

static void gfn_in_read_only_memory_is_refused(void **state)
{
	(void)state;
	REFUSED(PVSCHED_R_READ_ONLY, 1, BEGIN, GFN(VMM_READONLY_GPA),
		COMMAND(PVSCHED_CMD_REGISTER, PVSCHED_R_READ_ONLY), END);
}

static void gfn_of_another_vcpu_is_refused(void **state)
{
	(void)state;
	REFUSED(PVSCHED_R_IN_USE, 2, BEGIN, GFN(SCRATCH_GPA),
		COMMAND(PVSCHED_CMD_REGISTER, PVSCHED_R_OK), SELECT(1), GFN(SCRATCH_GPA),
		COMMAND(PVSCHED_CMD_REGISTER, PVSCHED_R_IN_USE), SELECT(0),
		R(PVSCHED_REG_VCPU_STATE, PVSCHED_PAGE_ATTACHED), END);
}

static void register_twice_is_refused(void **state)
{
	(void)state;
	REFUSED(PVSCHED_R_IN_USE, 1, BEGIN, GFN(SCRATCH_GPA),
		COMMAND(PVSCHED_CMD_REGISTER, PVSCHED_R_OK),
		COMMAND(PVSCHED_CMD_REGISTER, PVSCHED_R_IN_USE),
		R(PVSCHED_REG_VCPU_STATE, PVSCHED_PAGE_ATTACHED), END);
}

static void protocol_unknown_is_refused(void **state)
{
	(void)state;
	REFUSED(PVSCHED_R_BAD_PROTOCOL, 1, STATUS(0), STATUS(PVSCHED_S_ACKNOWLEDGE),
		STATUS(S_DRIVER), W(PVSCHED_REG_CHOICE_ID, 0x12345678),
		W(PVSCHED_REG_CHOICE_VERSION, 1), STATUS(S_FEATURES),
		R(PVSCHED_REG_STATUS, S_DRIVER), R(PVSCHED_REG_ERROR, PVSCHED_R_BAD_PROTOCOL), END);
}

static void feature_unknown_is_refused(void **state)
{
	(void)state;
	REFUSED(PVSCHED_R_BAD_FEATURES, 1, STATUS(0), STATUS(PVSCHED_S_ACKNOWLEDGE),
		STATUS(S_DRIVER), W(PVSCHED_REG_GUEST_FEATURES + 4, 0x80000000),
		W(PVSCHED_REG_CHOICE_ID, PVSCHED_PROTO_BASE),
		W(PVSCHED_REG_CHOICE_VERSION, PVSCHED_PROTO_BASE_VERSION), STATUS(S_FEATURES),
		R(PVSCHED_REG_STATUS, S_DRIVER), R(PVSCHED_REG_ERROR, PVSCHED_R_BAD_FEATURES), END);
}

static void header_of_another_abi_version_is_refused(void **state)
{
	(void)state;
	REFUSED(PVSCHED_R_BAD_HEADER, 1, BEGIN, MEM(SCRATCH_GPA + 4, 2, PVSCHED_ABI_VERSION + 1),
		GFN(SCRATCH_GPA), COMMAND(PVSCHED_CMD_REGISTER, PVSCHED_R_BAD_HEADER), END);
}

static void header_of_wrong_magic_is_refused(void **state)
{
	(void)state;
	REFUSED(PVSCHED_R_BAD_HEADER, 1, BEGIN, MEM(SCRATCH_GPA, 4, 0x41414141), GFN(SCRATCH_GPA),
		COMMAND(PVSCHED_CMD_REGISTER, PVSCHED_R_BAD_HEADER), END);
}

static void header_of_another_vcpu_is_refused(void **state)
{
	(void)state;
	REFUSED(PVSCHED_R_BAD_VCPU, 2, BEGIN, HEADER(SCRATCH_GPA, 1), GFN(SCRATCH_GPA),
		COMMAND(PVSCHED_CMD_REGISTER, PVSCHED_R_BAD_VCPU), END);
}

static void vcpu_index_out_of_range_is_refused(void **state)
{
	(void)state;
	REFUSED(PVSCHED_R_BAD_VCPU, 1, BEGIN, SELECT(1), GFN(SCRATCH_GPA),
		COMMAND(PVSCHED_CMD_REGISTER, PVSCHED_R_BAD_VCPU), SELECT(0xffffffff),
		COMMAND(PVSCHED_CMD_REGISTER, PVSCHED_R_BAD_VCPU),
		W(PVSCHED_REG_DOORBELL + 4 * 200, 1), END);
}

static void command_before_negotiation_is_refused(void **state)
{
	(void)state;
	REFUSED(PVSCHED_R_BAD_STATUS, 1, HANDSHAKE(PVSCHED_R_OK), STATUS(0), SELECT(0),
		HEADER(SCRATCH_GPA, 0), GFN(SCRATCH_GPA),
		COMMAND(PVSCHED_CMD_REGISTER, PVSCHED_R_BAD_STATUS), STATUS(PVSCHED_S_DRIVER_OK),
		R(PVSCHED_REG_STATUS, 0), END);
}

static void access_of_another_size_is_refused(void **state)
{
	(void)state;
	REFUSED(PVSCHED_R_BAD_ACCESS, 1, HANDSHAKE(PVSCHED_R_OK),
		{ .op = GUEST_OP_BAR_READ, .size = 1, .address = 0, .mask = 0xff },
		{ .op = GUEST_OP_BAR_READ, .size = 2, .address = 0, .mask = 0xffff },
		{ .op = GUEST_OP_BAR_READ, .size = 8, .address = 0, .mask = ~0ull },
		{ .op = GUEST_OP_BAR_READ, .size = 4, .address = 1, .mask = 0xffffffff },
		{ .op = GUEST_OP_BAR_WRITE, .size = 1, .address = PVSCHED_REG_STATUS },
		{ .op = GUEST_OP_BAR_WRITE, .size = 8, .address = PVSCHED_REG_STATUS },
		{ .op = GUEST_OP_BAR_WRITE, .size = 2, .address = PVSCHED_REG_DOORBELL },
		R(PVSCHED_REG_STATUS, S_FEATURES | PVSCHED_S_DRIVER_OK), END);
}

static void nonce_wrong_is_refused_and_detaches(void **state)
{
	(void)state;
	REFUSED(PVSCHED_R_BAD_NONCE, 1, BEGIN, GFN(SCRATCH_GPA),
		COMMAND(PVSCHED_CMD_REGISTER, PVSCHED_R_OK), W(PVSCHED_REG_VCPU_NONCE, 1),
		W(PVSCHED_REG_VCPU_NONCE + 4, 2), COMMAND(PVSCHED_CMD_ENABLE, PVSCHED_R_BAD_NONCE),
		R(PVSCHED_REG_VCPU_STATE, PVSCHED_PAGE_OFF), END);
}

static void bus_master_clear_is_refused(void **state)
{
	(void)state;
	REFUSED(PVSCHED_R_NO_DMA, 1, BEGIN, GFN(SCRATCH_GPA),
		{ .op = GUEST_OP_CFG_WRITE, .size = 2, .address = 4, .value = 2 },
		COMMAND(PVSCHED_CMD_REGISTER, PVSCHED_R_NO_DMA),
		{ .op = GUEST_OP_CFG_WRITE, .size = 2, .address = 4, .value = 6 }, END);
}

static void reset_in_the_middle_gives_the_page_back(void **state)
{
	static const struct guest_step script[] = {
		BEGIN,
		GFN(SCRATCH_GPA),
		COMMAND(PVSCHED_CMD_REGISTER, PVSCHED_R_OK),
		MEM(SCRATCH_GPA + 128, 8, 0x1122334455667788),
		STATUS(0),
		R(PVSCHED_REG_VCPU_STATE, PVSCHED_PAGE_OFF),
		R(PVSCHED_REG_STATUS, 0),
		/* the guest's again, with what it had written, host lines zero */
		{ .op = GUEST_OP_MEM_READ,
		  .size = 8,
		  .address = SCRATCH_GPA + 128,
		  .expect = 0x1122334455667788,
		  .mask = ~0ull },
		{ .op = GUEST_OP_MEM_READ, .size = 8, .address = SCRATCH_GPA + 192, .mask = ~0ull },
		{ .op = GUEST_OP_MEM_READ, .size = 8, .address = SCRATCH_GPA + 200, .mask = ~0ull },
		END,
	};

	(void)state;
	run_script(script, ARRAY_SIZE(script), 1);
	assert_int_equal(device_stats().epoch, 4); /* two handshakes begin with one, too */
}

static void scripted_nonce_echo_enables(void **state)
{
	static const struct guest_step script[] = {
		BEGIN,
		GFN(SCRATCH_GPA),
		COMMAND(PVSCHED_CMD_REGISTER, PVSCHED_R_OK),
		{ .op = GUEST_OP_BAR_WRITE_MEM,
		  .address = PVSCHED_REG_VCPU_NONCE,
		  .value = SCRATCH_GPA + 200 },
		COMMAND(PVSCHED_CMD_ENABLE, PVSCHED_R_OK),
		R(PVSCHED_REG_VCPU_STATE, PVSCHED_PAGE_ENABLED),
		COMMAND(PVSCHED_CMD_UNREGISTER, PVSCHED_R_OK),
		R(PVSCHED_REG_VCPU_STATE, PVSCHED_PAGE_OFF),
		END,
	};

	(void)state;
	run_script(script, ARRAY_SIZE(script), 1);
}

#define NEW_BAR 0xd0000000ull
#define CFG32(a, v)                                                                                \
	{                                                                                          \
		.op = GUEST_OP_CFG_WRITE, .size = 4, .address = (a), .value = (v)                  \
	}
#define AT(gpa, v)                                                                                 \
	{                                                                                          \
		.op = GUEST_OP_MEM_READ, .size = 4, .address = (gpa), .expect = (v), .mask = ~0ull \
	}

static void bar_moved_takes_registers_and_doorbells_along(void **state)
{
	static const struct guest_step script[] = {
		HANDSHAKE(PVSCHED_R_OK),
		W(PVSCHED_REG_DOORBELL, 1),
		CFG32(0x10, NEW_BAR),
		AT(NEW_BAR, PVSCHED_MAGIC),
		AT(GUEST_BAR_GPA, 0xffffffff),
		W(PVSCHED_REG_DOORBELL, 1), /* nobody there any more */
		MEM(NEW_BAR + PVSCHED_REG_DOORBELL, 4, 1),
		CFG32(0x10, GUEST_BAR_GPA),
		AT(GUEST_BAR_GPA, PVSCHED_MAGIC),
		AT(NEW_BAR, 0xffffffff),
		MEM(NEW_BAR + PVSCHED_REG_DOORBELL, 4, 1),
		W(PVSCHED_REG_DOORBELL, 1),
		END,
	};

	(void)state;
	run_script(script, ARRAY_SIZE(script), 1);
	assert_int_equal(rings(0), 3);
}

static void guest_that_faults_is_reported_in_one_line(void **state)
{
	static const struct guest_step script[] = { MEM(1ull << 40, 4, 1) };

	(void)state;
	vmm_peer_init(2, GUEST_BUSY, 0);
	bed.opts.script = script;
	bed.opts.steps = 1;
	assert_int_equal(vmm_create(&bed.opts, &bed.vm), 0);
	assert_int_equal(vmm_start(bed.vm), 0);
	assert_int_equal(vmm_wait_ready(bed.vm, BED_TIMEOUT_MS), -EIO);
	assert_int_equal(vmm_wait(bed.vm, BED_TIMEOUT_MS), -EIO);
	assert_int_equal(bed.errors, 1);
	assert_non_null(strstr(bed.last, "exception 14"));
	assert_int_equal(vmm_bed_info(&bed, 0).state, GUEST_FAULT);
}

static void guest_may_be_reset_while_others_run(void **state)
{
	static const struct guest_step script[] = {
		HANDSHAKE(PVSCHED_R_OK),
		{ .op = GUEST_OP_RELEASE },
		{ .op = GUEST_OP_DELAY, .value = 20000000 },
		STATUS(0),
		{ .op = GUEST_OP_DELAY, .value = 20000000 },
	};
	struct vmm_guest_info info;

	(void)state;
	vmm_peer_init(2, GUEST_CRITICAL, 0);
	bed.opts.guest_flags = 0;
	bed.opts.vcpu[1].iterations = 10000; /* at work at once */
	bed.opts.script = script;
	bed.opts.steps = ARRAY_SIZE(script);
	assert_int_equal(vmm_create(&bed.opts, &bed.vm), 0);
	assert_int_equal(vmm_start(bed.vm), 0);
	WAIT_UNTIL(!vmm_guest_info(bed.vm, &info) && info.steps_done == ARRAY_SIZE(script));
	assert_int_equal(peer->count[PVSCHED_MSG_DISABLE], 2);
	WAIT_UNTIL(vmm_bed_info(&bed, 1).sections > 0);
	assert_int_equal(device_stats().status, 0);
	assert_int_equal(bed.errors, 0);
}

static void broker_that_dies_leaves_the_guest_running(void **state)
{
	uint64_t sections;

	(void)state;
	vmm_peer_init(2, GUEST_CRITICAL, 0);
	vmm_bed_run(&bed);
	WAIT_UNTIL(vmm_bed_info(&bed, 0).sections > 10);
	peer->hang_up[PVSCHED_MSG_HELLO] = true; /* and nobody takes its place */
	peer_hang_up(peer);
	WAIT_UNTIL(vmm_bed_info(&bed, 0).page.status == PVSCHED_PAGE_PAUSED);
	sections = vmm_bed_info(&bed, 0).sections;
	WAIT_UNTIL(vmm_bed_info(&bed, 0).sections > sections + 100);
	assert_int_equal(peer->count[PVSCHED_MSG_ENABLE], 2);
	/* until there is another one */
	peer->hang_up[PVSCHED_MSG_HELLO] = false;
	WAIT_UNTIL(peer->count[PVSCHED_MSG_ENABLE] == 4);
	WAIT_UNTIL(vmm_bed_info(&bed, 1).page.status == PVSCHED_PAGE_ENABLED);
	sections = vmm_bed_info(&bed, 1).sections;
	WAIT_UNTIL(vmm_bed_info(&bed, 1).sections > sections + 100);
	assert_false(device_stats().status & PVSCHED_S_NEEDS_RESET);
	vmm_stop(bed.vm);
}

static void memory_of_hugetlb_is_refused_and_the_guest_runs(void **state)
{
	struct vmm_guest_info info;

	(void)state;
	huge_pages_were = huge_pages(-1);
	if (huge_pages_were >= 0)
		huge_pages(huge_pages_were + 16);
	vmm_peer_init(1, GUEST_CRITICAL, 50);
	bed.opts.memory = VMM_MEMORY_HUGETLB;
	if (vmm_create(&bed.opts, &bed.vm)) {
		print_message("# no huge pages to be had: %s\n", bed.last);
		skip();
	}
	assert_int_equal(vmm_start(bed.vm), 0);
	assert_int_equal(vmm_wait_ready(bed.vm, BED_TIMEOUT_MS), 0);
	assert_int_equal(vmm_guest_info(bed.vm, &info), 0);
	assert_int_equal(info.device, GUEST_DEVICE_REFUSED);
	assert_int_equal(info.result, PVSCHED_R_HUGETLB);
	assert_true(device_stats().errors[PVSCHED_R_HUGETLB] > 0);
	assert_int_equal(vmm_go(bed.vm), 0);
	assert_int_equal(vmm_wait(bed.vm, BED_TIMEOUT_MS), 0);
}

static void memory_of_huge_pages_and_memfd_is_shared(void **state)
{
	static const enum vmm_memory kinds[] = { VMM_MEMORY_THP, VMM_MEMORY_MEMFD };
	struct vmm_guest_info info;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		vmm_peer_init(2, GUEST_CRITICAL, 20);
		bed.opts.memory = kinds[i];
		vmm_bed_run(&bed);
		assert_int_equal(vmm_guest_info(bed.vm, &info), 0);
		assert_int_equal(info.device, GUEST_DEVICE_ON);
		assert_int_equal(vmm_wait(bed.vm, BED_TIMEOUT_MS), 0);
		assert_true(seen(&peer->page[1]->context) & PVSCHED_CTX_IDLE);
		vmm_destroy(bed.vm);
		bed.vm = NULL;
	}
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, vmm_peer_setup, teardown)

int main(void)
{
	const struct CMUnitTest cases[] = {
		CASE(gfn_outside_memory_is_refused),
		CASE(gfn_beyond_any_address_is_refused),
		CASE(gfn_in_mmio_is_refused),
		CASE(gfn_in_read_only_memory_is_refused),
		CASE(gfn_of_another_vcpu_is_refused),
		CASE(register_twice_is_refused),
		CASE(protocol_unknown_is_refused),
		CASE(feature_unknown_is_refused),
		CASE(header_of_another_abi_version_is_refused),
		CASE(header_of_wrong_magic_is_refused),
		CASE(header_of_another_vcpu_is_refused),
		CASE(vcpu_index_out_of_range_is_refused),
		CASE(command_before_negotiation_is_refused),
		CASE(access_of_another_size_is_refused),
		CASE(nonce_wrong_is_refused_and_detaches),
		CASE(bus_master_clear_is_refused),
		CASE(reset_in_the_middle_gives_the_page_back),
		CASE(scripted_nonce_echo_enables),
		CASE(bar_moved_takes_registers_and_doorbells_along),
		CASE(guest_that_faults_is_reported_in_one_line),
		CASE(guest_may_be_reset_while_others_run),
		CASE(broker_that_dies_leaves_the_guest_running),
		CASE(memory_of_hugetlb_is_refused_and_the_guest_runs),
		CASE(memory_of_huge_pages_and_memfd_is_shared),
	};

	return cmocka_run_group_tests(cases, NULL, NULL);
}
