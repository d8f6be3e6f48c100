// SPDX-License-Identifier: GPL-2.0-only
/* A guest whose TSC is not the host's: what it announces in next_event is still the right moment. A
 * real guest under KVM, the broker in a process of its own, hogs on the vCPU's CPU. */
/* timeout: 120, needs: /dev/kvm */
#include <helpers/threads.h>
#include <helpers/vmm_bed.h>

#include <fcntl.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <x86intrin.h>

#define PERIOD_MS 19 /* of no slice a multiple: else the vCPU may run at each of its timers */
#define HOGS	  3
#define CLOSE_MS  3
#define OFFSET	  (1ll << 46)
#define ANNOUNCED 60 /* boosts ahead of a timer, to be seen */
#define WATCHER	  10 /* above what is boosted */

static pid_t broker, hog[HOGS];

static int setup(void **state)
{
	struct pvsched_broker_opts o = { .print = bed_say };

	(void)state;
	broker = bed_start_broker(&o);
	for (int i = 0; i < HOGS; i++)
		hog[i] = bed_start_hog(bed_last_cpu());
	return broker > 0 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	for (int i = 0; i < HOGS; i++)
		bed_stop_child(&hog[i]);
	bed_stop_child(&broker);
	return 0;
}

/* What the guest reads now: as KVM computes it, with 32 binary places. */
static uint64_t guest_now(int64_t offset, uint32_t khz, uint32_t host_khz)
{
	uint64_t ratio = ((uint64_t)khz << 32) / host_khz;

	return (uint64_t)((unsigned __int128)__rdtsc() * ratio >> 32) + offset;
}

/* This thread; it sleeps between its looks. */
static void watch_as(int policy, int priority)
{
	struct sched_param param = { .sched_priority = priority };

	assert_int_equal(sched_setscheduler(0, policy, &param), 0);
}

/*
 * A busy guest beside hogs, with this clock: its timers are known ahead, so the vCPU is boosted
 * for them again and again, each time close to the timer. Were the time converted wrongly it would
 * seem to be seconds away, and no boost of that reason came; or past, and one came at any time.
 */
static void announced_timers_are_met(int64_t offset, uint32_t khz, uint32_t host_khz)
{
	unsigned int seen = 0, close = 0;
	uint64_t last = 0, end, next;
	struct vmm_bed bed;

	vmm_bed_init(&bed, 1, GUEST_BUSY, 0);
	bed.opts.pvsched = true;
	bed.opts.tsc_offset = offset;
	bed.opts.tsc_khz = khz == host_khz ? 0 : khz;
	bed.opts.vcpu[0].period_ns = PERIOD_MS * 1000000ull;
	bed.opts.vcpu[0].pinned = true;
	bed.opts.vcpu[0].cpu = bed_last_cpu();
	vmm_bed_run(&bed);
	WAIT_UNTIL((next = vmm_bed_info(&bed, 0).page.next_event));
	if (imaxabs((int64_t)(next - guest_now(offset, khz, host_khz))) > OFFSET / 2) {
		/* some take the offset and let the guest read the host's TSC nevertheless */
		vmm_destroy(bed.vm);
		print_message("this KVM does not give a guest a TSC of its own\n");
		skip();
	}
	/* a look that waits for a CPU misses the boosts, which last for less than that */
	watch_as(SCHED_FIFO, WATCHER);
	end = vmm_bed_now_ms() + BED_TIMEOUT_MS;
	while (seen < ANNOUNCED) {
		struct vmm_vcpu_info info;
		uint64_t flags, now;
		int64_t ahead;

		WAIT_UNTIL((info = vmm_bed_info(&bed, 0), info.page.boosts != last));
		now = guest_now(offset, khz, host_khz);
		last = info.page.boosts;
		flags = info.page.grant >> PVSCHED_TASK_FLAGS_SHIFT;
		if (vmm_bed_now_ms() > end)
			fail_msg("%u boosts ahead of a timer in %u ms, wanted %u", seen,
				 BED_TIMEOUT_MS, ANNOUNCED);
		if (!(flags & PVSCHED_GRANT_BOOSTED) ||
		    (flags & PVSCHED_GRANT_REASON) != PVSCHED_REASON_NEXT_EVENT)
			continue;
		seen++;
		/* a look that comes late sees the next timer already, a period ahead */
		ahead = (int64_t)(info.page.next_event - now);
		if (ahead > PERIOD_MS / 2 * (int64_t)khz)
			ahead -= PERIOD_MS * (int64_t)khz;
		close += imaxabs(ahead) < CLOSE_MS * (int64_t)khz;
	}
	watch_as(SCHED_OTHER, 0);
	/* at any time: 3 of 10 */
	if (close < seen * 3 / 4)
		fail_msg("%u of %u boosts were within %u ms of the timer that they were for", close,
			 seen, CLOSE_MS);
	vmm_destroy(bed.vm);
}

static uint32_t host_khz(void)
{
	struct vmm_bed bed;
	uint32_t khz;

	vmm_bed_init(&bed, 1, GUEST_IDLE, 0);
	assert_int_equal(vmm_create(&bed.opts, &bed.vm), 0);
	khz = vmm_tsc_khz(bed.vm);
	vmm_destroy(bed.vm);
	return khz;
}

static void next_event_with_equal_clocks_is_met(void **state)
{
	(void)state;
	announced_timers_are_met(0, host_khz(), host_khz());
}

static void next_event_of_a_guest_ahead_is_met(void **state)
{
	(void)state;
	announced_timers_are_met(OFFSET, host_khz(), host_khz());
}

static void next_event_of_a_guest_behind_is_met(void **state)
{
	(void)state;
	announced_timers_are_met(-OFFSET, host_khz(), host_khz());
}

static void next_event_of_a_slower_guest_is_met(void **state)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), scales;
	uint32_t khz;

	(void)state;
	scales = ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL);
	close(kvm);
	if (scales <= 0) {
		print_message("this KVM cannot scale the TSC\n");
		skip();
	}
	khz = host_khz();
	announced_timers_are_met(OFFSET, khz / 4 * 3, khz);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(next_event_with_equal_clocks_is_met),
		cmocka_unit_test(next_event_of_a_guest_ahead_is_met),
		cmocka_unit_test(next_event_of_a_guest_behind_is_met),
		cmocka_unit_test(next_event_of_a_slower_guest_is_met),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
