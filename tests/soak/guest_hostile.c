// SPDX-License-Identifier: GPL-2.0-only
/*
 * Root of a Linux guest that breaks the protocol's rules from user space, from two CPUs: one kind at a
 * time, or all of them. guest_hostile KIND SECONDS, or until SIGTERM; a static program for a guest in the
 * lab. At its end it says what came of it, by the device's own registers, and resets the device, so that the
 * memory which was shared is the guest's again before it is freed.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <pvsched/pvsched.h>

#include "guest/linux/device.h"

#define CPUS	2
#define PAGES	4
#define TAME_NS 400000000 /* of each second */
#define SOON	2000 /* ticks: about 1 us */

static struct device device;
static struct pvsched_page *page[PAGES];
static uint64_t gfn[PAGES];
static uint64_t rounds[CPUS], rings[CPUS], enabled;
static uint64_t results[PVSCHED_R_MAX]; /* of commands; CPU 0's */
static const struct kind *kind;
static time_t end;
static volatile sig_atomic_t told_to_end;

/* xorshift64: Marsaglia, "Xorshift RNGs", 2003 */
static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed >> 16;
}

static void put(uint32_t reg, uint32_t value)
{
	device.bar[reg / 4] = value;
}

static void put64(uint32_t reg, uint64_t value)
{
	put(reg, value);
	put(reg + 4, value >> 32);
}

static uint32_t get(uint32_t reg)
{
	return device.bar[reg / 4];
}

static uint32_t command(uint32_t vcpu, uint32_t what)
{
	put(PVSCHED_REG_VCPU_SELECT, vcpu);
	put(PVSCHED_REG_VCPU_COMMAND, what);
	return get(PVSCHED_REG_VCPU_RESULT);
}

static void any_access(uint64_t *seed)
{
	volatile uint8_t *bar = (volatile uint8_t *)device.bar;
	uint64_t x = next_random(seed), value = next_random(seed), at;
	uint16_t pci;

	at = (x >> 8) % PVSCHED_BAR_SIZE;
	switch (x % 8) {
	case 0:
		bar[at] = value;
		break;
	case 1:
		*(volatile uint16_t *)(bar + (at & ~1ull)) = value;
		break;
	case 2:
		*(volatile uint64_t *)(bar + (at & ~7ull)) = value;
		break;
	case 3:
		put(at & ~3ull, value);
		break;
	case 4:
		put((x >> 8) % (PVSCHED_REG_END / 4) * 4, value % 8);
		break;
	case 5:
		put(PVSCHED_REG_STATUS, value);
		break;
	case 6: /* Bus Master and memory off, and any other bit: not often, the VMM places doorbells anew */
		if (value >> 16 & 15)
			break;
		pci = value;
		if (pwrite(device.config, &pci, sizeof(pci), 4) != sizeof(pci))
			break;
		pci = 6;
		if (pwrite(device.config, &pci, sizeof(pci), 4) != sizeof(pci))
			break;
		break;
	default:
		value += *(volatile uint32_t *)(bar + (at & ~3ull));
	}
}

static void scribble(uint64_t *seed)
{
	for (unsigned int n = 0; n < PAGES; n++)
		for (size_t i = 0; i < sizeof(**page) / 8; i++)
			__atomic_store_n((uint64_t *)page[n] + i, next_random(seed),
					 __ATOMIC_RELAXED);
}

/* Urgent for ever, as far as the page goes. */
static void be_greedy(void)
{
	for (unsigned int n = 0; n < 500; n++)
		for (unsigned int i = 0; i < PAGES; i++)
			__atomic_store_n(&page[i]->context, (uint64_t)n << 32 | 0xff,
					 __ATOMIC_RELAXED);
}

/* A page anywhere, with a header that is anything, for a vCPU that may not be. */
static void share(uint64_t *seed)
{
	uint64_t x = next_random(seed);
	uint32_t vcpu = x % (CPUS + 1), i = (x >> 8) % PAGES;

	if (x & 1 << 16)
		page[i]->features = x;
	put(PVSCHED_REG_VCPU_SELECT, vcpu);
	put64(PVSCHED_REG_VCPU_GFN, x >> 17 & 3 ? gfn[i] : x >> 19 & 1 ? x : x >> 20 & 0xffff);
	if (command(vcpu, PVSCHED_CMD_REGISTER) != PVSCHED_R_OK)
		return;
	put64(PVSCHED_REG_VCPU_NONCE,
	      x >> 19 & 7 ? *(volatile uint64_t *)&page[i]->nonce : next_random(seed));
	command(vcpu, x >> 22 & 7 ? PVSCHED_CMD_ENABLE : PVSCHED_CMD_UNREGISTER);
}

/* As a driver does it, so that there is something to break. */
static void be_good(void)
{
	struct cli_error e = { 0 };

	if (device_enable(&device, &e) ||
	    device_negotiate(&device, PVSCHED_PROTO_BASE_VERSION, ~0ull, &e))
		return;
	for (unsigned int i = 0; i < CPUS; i++)
		if (!device_share(&device, i, gfn[i], page[i], &e))
			enabled++;
}

static void be_wild(uint64_t *seed)
{
	switch (next_random(seed) % 16) {
	case 0 ... 4:
		share(seed);
		break;
	case 5 ... 8:
		any_access(seed);
		break;
	case 9 ... 12:
		be_greedy();
		break;
	default:
		scribble(seed);
	}
}

static bool is_tame(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_nsec < TAME_NS;
}

/* Each second begins with pages as they should be, which then ask for everything. */
static void be_all(unsigned int cpu, uint64_t *seed)
{
	static bool shared[CPUS];
	bool tame = is_tame();

	if (!tame)
		be_wild(seed);
	else if (!cpu && !shared[cpu])
		be_good();
	else
		be_greedy();
	shared[cpu] = tame;
	for (unsigned int i = 0; i < 100; i++)
		device_ring(&device, i % CPUS);
	rings[cpu] += 100;
}

static void be_random(unsigned int cpu, uint64_t *seed)
{
	for (size_t i = 0; i < sizeof(**page) / 8; i++)
		__atomic_store_n((uint64_t *)page[cpu] + i, next_random(seed), __ATOMIC_RELAXED);
}

static void say_word(__u64 *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static void be_critical(unsigned int cpu, uint64_t *seed)
{
	say_word(&page[cpu]->context, next_random(seed) << 32 | PVSCHED_CTX_CRITICAL);
}

/* All of line 0, which the host has read. */
static void be_rewritten(unsigned int cpu, uint64_t *seed)
{
	for (size_t i = 0; i < PVSCHED_LINE / 8; i++)
		say_word((__u64 *)page[cpu] + i, next_random(seed));
	be_critical(cpu, seed);
}

/* It computes and takes its interrupts, and says nothing, of what they brought neither. */
static void be_silent(unsigned int cpu, uint64_t *seed)
{
	(void)cpu;
	for (unsigned int i = 0; i < 1000; i++)
		next_random(seed);
}

static void be_loud(unsigned int cpu, uint64_t *seed)
{
	be_critical(cpu, seed);
	for (unsigned int i = 0; i < 1000; i++)
		device_ring(&device, cpu);
	rings[cpu] += 1000;
}

static void be_early(unsigned int cpu, uint64_t *seed)
{
	uint64_t n = next_random(seed);

	say_word(&page[cpu]->next_event, n % 64 == 0   ? n
					 : n % 64 == 1 ? ~0ull
					 : n % 4 == 2  ? __builtin_ia32_rdtsc() - 50 * SOON
						       : __builtin_ia32_rdtsc() + SOON);
}

static void be_nosy(unsigned int cpu, uint64_t *seed)
{
	struct cli_error e = { 0 };

	if (!cpu && !(rounds[cpu] % 64))
		device_negotiate(&device, PVSCHED_PROTO_BASE_VERSION, ~0ull, &e);
	any_access(seed);
}

static void write_header(unsigned int i, uint32_t vcpu)
{
	*page[i] = (struct pvsched_page){
		.magic = PVSCHED_MAGIC,
		.abi_version = PVSCHED_ABI_VERSION,
		.protocol = PVSCHED_PROTO_BASE,
		.protocol_version = PVSCHED_PROTO_BASE_VERSION,
		.features = device.features,
		.vcpu_id = vcpu,
	};
}

/* Without waiting for the limit of its rate. Counted. */
static uint32_t enroll(uint32_t vcpu, uint64_t where)
{
	uint32_t result;

	put(PVSCHED_REG_VCPU_SELECT, vcpu);
	put64(PVSCHED_REG_VCPU_GFN, where);
	result = command(vcpu, PVSCHED_CMD_REGISTER);
	results[result < PVSCHED_R_MAX ? result : PVSCHED_R_HOST]++;
	return result;
}

/* Registers are for one at a time: the other CPU only wants to be heard. */
static bool is_others(unsigned int cpu, uint64_t *seed)
{
	if (cpu)
		be_critical(cpu, seed);
	return cpu;
}

/* Bits and numbers that mean nothing, and nothing else: of a header on the one CPU, in words on the other. */
static void be_reserved(unsigned int cpu, uint64_t *seed)
{
	uint64_t x = next_random(seed), gen = x << PVSCHED_TASK_GEN_SHIFT;

	if (!cpu) {
		write_header(0, 0);
		((__u8 *)page[0])[x % 4 ? 32 + (x >> 2) % 32 : 28] = 1u << (x >> 8) % 8;
		enroll(0, gfn[0]);
		return;
	}
	say_word(&page[1]->current_task,
		 gen | (x & 1 << 20 ? 4 : 0x7eull << PVSCHED_TASK_FLAGS_SHIFT));
	say_word(&page[1]->pending, gen | 99ull << PVSCHED_TASK_PRIO_SHIFT | PVSCHED_POLICY_FIFO |
					    0x7full << PVSCHED_TASK_FLAGS_SHIFT);
	say_word(&page[1]->context, x << 32 | 0xffffffe0);
}

/* From a reset to a page that is enabled, where the rate of REGISTER lets it, and again. */
static void be_reset(unsigned int cpu, uint64_t *seed)
{
	struct cli_error e = { 0 };

	if (is_others(cpu, seed) ||
	    device_negotiate(&device, PVSCHED_PROTO_BASE_VERSION, ~0ull, &e))
		return;
	write_header(0, 0);
	if (enroll(0, gfn[0]) != PVSCHED_R_OK)
		return;
	put64(PVSCHED_REG_VCPU_NONCE, *(volatile uint64_t *)&page[0]->nonce);
	enabled += command(0, PVSCHED_CMD_ENABLE) == PVSCHED_R_OK;
	be_critical(0, seed);
}

/* Frames of this guest, of nobody, and numbers that are none. Only what has a header is written to. */
static void be_everywhere(unsigned int cpu, uint64_t *seed)
{
	uint64_t x = next_random(seed);

	if (is_others(cpu, seed))
		return;
	command(0, PVSCHED_CMD_UNREGISTER);
	write_header(0, 0);
	enroll(0, x % 4 == 0   ? x >> 2
		  : x % 4 == 1 ? (x >> 2) % 0x10000
		  : x % 4 == 2 ? (x >> 2) % 0x100000
			       : gfn[0]);
}

/* One frame for two vCPUs, of which the second has none. */
static void be_twice(unsigned int cpu, uint64_t *seed)
{
	if (is_others(cpu, seed))
		return;
	if (get(PVSCHED_REG_VCPU_STATE) == PVSCHED_PAGE_OFF || !rounds[0]) {
		command(1, PVSCHED_CMD_UNREGISTER);
		write_header(0, 0);
		if (enroll(0, gfn[0]) != PVSCHED_R_OK)
			return;
	}
	write_header(0, 1);
	enroll(1, gfn[0]);
	put(PVSCHED_REG_VCPU_SELECT, 0);
}

static const struct kind {
	const char *name;
	void (*be)(unsigned int cpu, uint64_t *seed); /* on each of the CPUs, again and again */
	bool shares; /* it begins with pages as they should be, */
	uint32_t takes_back; /* and then with fewer */
} kinds[] = {
	{ "all", be_all, false, 0 }, /* a mixture */
	{ "pages", be_random, true, 0 },      { "reserved", be_reserved, true, 1 },
	{ "header", be_rewritten, true, 0 },  { "tickets", be_silent, true, 0 },
	{ "critical", be_critical, true, 0 }, { "bells", be_loud, true, 0 },
	{ "events", be_early, true, 0 },      { "registers", be_nosy, false, 0 },
	{ "resets", be_reset, false, 0 },     { "gfns", be_everywhere, true, CPUS },
	{ "twice", be_twice, true, CPUS },
};

static void *harm(void *arg)
{
	uint64_t index = (uintptr_t)arg, seed = 0x9e3779b97f4a7c15ull + index;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(index, &set);
	sched_setaffinity(0, sizeof(set), &set);
	for (; time(NULL) < end && !told_to_end; rounds[index]++)
		kind->be(index, &seed);
	return NULL;
}

static int find_pages(void)
{
	char *memory = mmap(NULL, PAGES * sizeof(**page), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_LOCKED, -1, 0);
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry;

	if (memory == MAP_FAILED || fd < 0)
		return -1;
	for (unsigned int i = 0; i < PAGES; i++) {
		page[i] = (void *)(memory + i * sizeof(**page));
		memset(page[i], 0, sizeof(**page));
		if (pread(fd, &entry, 8, (uintptr_t)page[i] / sizeof(**page) * 8) != 8)
			return -1;
		gfn[i] = entry & ((1ull << 55) - 1);
		if (!gfn[i])
			return -1;
	}
	close(fd);
	return 0;
}

/* What the device says of itself and of the pages; then it is as before. */
static int tell(uint32_t epoch)
{
	unsigned long long all = rounds[0] + rounds[1], rung = rings[0] + rings[1];
	struct cli_error e = { 0 };
	uint32_t now, still = 0;

	if (device_enable(&device, &e))
		return 1;
	now = get(PVSCHED_REG_EPOCH);
	for (uint32_t i = 0; i < CPUS; i++) {
		put(PVSCHED_REG_VCPU_SELECT, i);
		still += get(PVSCHED_REG_VCPU_STATE) == PVSCHED_PAGE_ENABLED;
	}
	printf("hostile %s: %llu rounds, %llu pages enabled, %u still, %u resets, %llu rings, "
	       "tickets %llu %llu;",
	       kind->name, all, (unsigned long long)enabled, still, now - epoch, rung,
	       (unsigned long long)page[0]->ticket, (unsigned long long)page[1]->ticket);
	for (unsigned int i = 0; i < PVSCHED_R_MAX; i++)
		if (results[i])
			printf(" %s %llu", pvsched_result_str(i), (unsigned long long)results[i]);
	printf(" done\n");
	device_reset(&device);
	return 0;
}

static void end_now(int sig)
{
	(void)sig;
	told_to_end = 1;
}

int main(int argc, char **argv)
{
	struct cli_error e = { 0 };
	pthread_t thread[CPUS];
	uint32_t epoch;

	for (size_t i = 0; argc == 3 && i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strcmp(argv[1], kinds[i].name))
			kind = &kinds[i];
	if (!kind || device_open(&device, &e) || find_pages()) {
		printf("hostile: no such kind, no device, or no pages\n");
		return 1;
	}
	if (kind->shares)
		be_good();
	for (uint32_t i = 0; i < kind->takes_back; i++)
		device_unshare(&device, i);
	signal(SIGTERM, end_now);
	epoch = get(PVSCHED_REG_EPOCH);
	printf("hostile %s begins\n", kind->name);
	fflush(stdout);
	end = time(NULL) + atoi(argv[2]);
	for (uintptr_t i = 0; i < CPUS; i++)
		pthread_create(&thread[i], NULL, harm, (void *)i);
	for (unsigned int i = 0; i < CPUS; i++)
		pthread_join(thread[i], NULL);
	return tell(epoch);
}
