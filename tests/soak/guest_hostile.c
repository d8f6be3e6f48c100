// SPDX-License-Identifier: GPL-2.0-only
/*
 * Root of a Linux guest that breaks every rule of the protocol from user space, from two CPUs: any
 * access to the device, pages anywhere, random words all over them, doorbells. guest_hostile SECONDS;
 * a static program for a guest in the lab. At its end the device is reset, so that the memory which was
 * shared is the guest's again before it is freed.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "guest/linux/device.h"

#define CPUS	2
#define PAGES	4
#define TAME_NS 400000000 /* of each second */

static struct device device;
static struct pvsched_page *page[PAGES];
static uint64_t gfn[PAGES];
static uint64_t rounds[CPUS], enabled;
static time_t end;

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

static uint32_t command(uint32_t vcpu, uint32_t what)
{
	put(PVSCHED_REG_VCPU_SELECT, vcpu);
	put(PVSCHED_REG_VCPU_COMMAND, what);
	return device.bar[PVSCHED_REG_VCPU_RESULT / 4];
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
	case 6: /* Bus Master and memory off, and any other bit */
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
static void *harm(void *arg)
{
	uint64_t index = (uintptr_t)arg, seed = 0x9e3779b97f4a7c15ull + index;
	bool shared = false;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(index, &set);
	sched_setaffinity(0, sizeof(set), &set);
	while (time(NULL) < end) {
		bool tame = is_tame();

		if (!tame)
			be_wild(&seed);
		else if (!index && !shared)
			be_good();
		else
			be_greedy();
		shared = tame;
		for (unsigned int i = 0; i < 100; i++)
			device_ring(&device, i % CPUS);
		rounds[index]++;
	}
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

int main(int argc, char **argv)
{
	struct cli_error e = { 0 };
	pthread_t thread[CPUS];
	uint64_t all = 0;

	if (argc != 2 || device_open(&device, &e) || find_pages()) {
		printf("hostile: no device, or no pages\n");
		return 1;
	}
	end = time(NULL) + atoi(argv[1]);
	for (uintptr_t i = 0; i < CPUS; i++)
		pthread_create(&thread[i], NULL, harm, (void *)i);
	for (unsigned int i = 0; i < CPUS; i++) {
		pthread_join(thread[i], NULL);
		all += rounds[i];
	}
	if (device_enable(&device, &e))
		return 1;
	device_reset(&device);
	printf("hostile: %llu rounds, %llu pages enabled\n", (unsigned long long)all,
	       (unsigned long long)enabled);
	return 0;
}
