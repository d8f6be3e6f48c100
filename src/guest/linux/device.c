// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <pvsched/pvsched.h>

#include "device.h"
#include "stream.h"

#define SYSFS	    "/sys/bus/pci/devices"
#define PCI_COMMAND 4
#define PCI_MEMORY  0x2
#define PCI_MASTER  0x4

#define RATE_TRIES    250 /* x 20 ms: the host admits 50 REGISTERs a second, for 256 vCPUs */
#define RATE_PAUSE_NS 20000000

/* What fails over a stream reads 0, and is asked for by d->broken. */
static uint32_t get(struct device *d, uint32_t reg)
{
	uint32_t value = 0;

	if (d->bar)
		return d->bar[reg / 4];
	d->broken = d->broken || stream_read(d->stream, reg, &value);
	return value;
}

static void put(struct device *d, uint32_t reg, uint32_t value)
{
	if (d->bar)
		d->bar[reg / 4] = value;
	else
		d->broken = d->broken || stream_write(d->stream, reg, value);
}

static void put64(struct device *d, uint32_t reg, uint64_t value)
{
	put(d, reg, (uint32_t)value);
	put(d, reg + 4, value >> 32);
}

static long read_number(const char *slot, const char *file)
{
	char path[96], line[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), SYSFS "/%s/%s", slot, file);
	f = fopen(path, "re");
	if (!f)
		return -1;
	if (!fgets(line, sizeof(line), f))
		line[0] = '\0';
	fclose(f);
	return line[0] ? strtol(line, NULL, 0) : -1;
}

static bool find(struct device *d)
{
	DIR *dir = opendir(SYSFS);
	struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || strlen(entry->d_name) >= sizeof(d->slot))
			continue;
		found = read_number(entry->d_name, "vendor") == PVSCHED_PCI_VENDOR &&
			read_number(entry->d_name, "device") == PVSCHED_PCI_DEVICE;
		if (found)
			strcpy(d->slot, entry->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

static int open_file(const struct device *d, const char *file, struct cli_error *e)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), SYSFS "/%s/%s", d->slot, file);
	fd = open(path, O_RDWR | O_SYNC | O_CLOEXEC);
	if (fd < 0)
		cli_fail(e, CLI_FAILED, "open the device", path,
			 errno == EPERM ? "is the kernel locked down?" : "run as root", "%s",
			 strerror(errno));
	return fd;
}

/* Firmware or the kernel has placed BAR0; nobody else drives the function. */
int device_enable(struct device *d, struct cli_error *e)
{
	char path[96];
	uint16_t command;
	int fd;

	if (d->stream >= 0)
		return 0;
	snprintf(path, sizeof(path), SYSFS "/%s/enable", d->slot);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "1", 1) != 1) {
		if (fd >= 0)
			close(fd);
		return cli_fail(e, CLI_FAILED, "enable the device", path, "run as root", "%s",
				strerror(errno));
	}
	close(fd);
	if (pread(d->config, &command, sizeof(command), PCI_COMMAND) == sizeof(command)) {
		command |= PCI_MEMORY | PCI_MASTER;
		if (pwrite(d->config, &command, sizeof(command), PCI_COMMAND) == sizeof(command))
			return 0;
	}
	return cli_fail(e, CLI_FAILED, "enable the device", d->slot, NULL,
			"its command register: %s", strerror(errno));
}

static int open_stream(struct device *d, struct cli_error *e)
{
	if (!stream_find(d->slot, sizeof(d->slot)))
		return cli_fail(
			e, CLI_FAILED, "find the device", NULL,
			"the host must offer one: pvsched run, a VMM with libpvsched, or "
			"this port in QEMU (pvsched-guest(8))",
			"no PCI function %04x:%04x, and no virtio-serial port " PVSCHED_STREAM_PORT,
			PVSCHED_PCI_VENDOR, PVSCHED_PCI_DEVICE);
	d->stream = open(d->slot, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (d->stream < 0)
		return cli_fail(e, CLI_FAILED, "open the port", d->slot,
				errno == EBUSY
					? "end the pvsched-guest run that has it, or leave it"
					: "run as root",
				"%s", strerror(errno));
	return 0;
}

/*
 * One daemon drives the function: a lock on its BAR, which ends with whoever has that mapped. Who may read a file
 * may lock it, and the configuration space anybody may read.
 */
static int lock(struct device *d, int bar_fd, struct cli_error *e)
{
	if (!flock(bar_fd, LOCK_EX | LOCK_NB))
		return 0;
	return cli_fail(
		e, CLI_FAILED, "open the device", d->slot,
		errno == EWOULDBLOCK
			? "end that one first (systemctl stop pvsched-guest), or leave it"
			: NULL,
		"%s", errno == EWOULDBLOCK ? "another pvsched-guest run has it" : strerror(errno));
}

int device_open(struct device *d, struct cli_error *e)
{
	void *bar;
	int fd = -1;

	*d = (struct device){ .config = -1, .stream = -1 };
	if (!find(d))
		return open_stream(d, e);
	d->config = open_file(d, "config", e);
	if (d->config >= 0)
		fd = open_file(d, "resource0", e);
	if (fd < 0 || lock(d, fd, e) || device_enable(d, e))
		goto fail;
	bar = mmap(NULL, PVSCHED_BAR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (bar == MAP_FAILED) {
		cli_fail(e, CLI_FAILED, "map the device", d->slot, NULL, "%s", strerror(errno));
		goto fail;
	}
	close(fd); /* the mapping keeps it, and the lock */
	d->bar = bar;
	return 0;
fail:
	if (fd >= 0)
		close(fd);
	device_close(d);
	return e->exit;
}

bool device_is_open(const struct device *d)
{
	return d->bar || d->stream >= 0;
}

bool device_is_connected(const struct device *d)
{
	return d->stream < 0 || (!d->broken && stream_is_connected(d->stream));
}

void device_close(struct device *d)
{
	if (d->bar)
		munmap((void *)d->bar, PVSCHED_BAR_SIZE);
	if (d->config >= 0)
		close(d->config);
	if (d->stream >= 0)
		close(d->stream);
	*d = (struct device){ .config = -1, .stream = -1 };
}

#define OFFERS_MAX 16 /* that are looked at: one is defined */

/* Chooses BASE of that version, or says what there is instead: "BASE 1, ..." */
static bool choose_base(struct device *d, uint32_t version, char *offers, size_t size)
{
	uint32_t count = get(d, PVSCHED_REG_PROTO_COUNT), id, has;
	size_t used = 0;

	snprintf(offers, size, "nothing");
	for (uint32_t i = 0; i < count && i < OFFERS_MAX; i++) {
		put(d, PVSCHED_REG_PROTO_SELECT, i);
		id = get(d, PVSCHED_REG_PROTO_ID);
		has = get(d, PVSCHED_REG_PROTO_VERSION);
		if (id == PVSCHED_PROTO_BASE && has == version) {
			put(d, PVSCHED_REG_CHOICE_ID, id);
			put(d, PVSCHED_REG_CHOICE_VERSION, has);
			d->version = has;
			return true;
		}
		if (used < size) /* an id is four letters */
			used += snprintf(offers + used, size - used, "%s%.4s %" PRIu32,
					 i ? ", " : "", (const char *)&id, has);
	}
	return false;
}

static int give_up(struct device *d, struct cli_error *e, const char *on, const char *next,
		   const char *why)
{
	put(d, PVSCHED_REG_STATUS, get(d, PVSCHED_REG_STATUS) | PVSCHED_S_FAILED);
	return cli_fail(e, CLI_FAILED, "handshake", on, next, "%s", why);
}

int device_negotiate(struct device *d, uint32_t version, uint64_t features, struct cli_error *e)
{
	char offers[128], why[256];

	device_reset(d);
	if (d->broken)
		return cli_fail(e, CLI_FAILED, "handshake", d->slot,
				"start 'pvsched serve' on the host",
				"nobody answers at the port's other end");
	if (get(d, PVSCHED_REG_MAGIC) != PVSCHED_MAGIC)
		return cli_fail(e, CLI_FAILED, "handshake", d->slot, NULL,
				"the device does not know itself: magic %08x",
				get(d, PVSCHED_REG_MAGIC));
	if (get(d, PVSCHED_REG_VERSION) != PVSCHED_ABI_VERSION)
		return cli_fail(e, CLI_FAILED, "handshake", d->slot,
				"install the pvsched-guest of the host's version",
				"the host speaks ABI version %u, this program %u",
				get(d, PVSCHED_REG_VERSION), PVSCHED_ABI_VERSION);
	put(d, PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE);
	put(d, PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER);
	if (!choose_base(d, version, offers, sizeof(offers))) {
		snprintf(
			why, sizeof(why),
			"no protocol in common: the host offers %s, this program speaks BASE %" PRIu32,
			offers, version);
		return give_up(d, e, d->slot, "install the pvsched-guest of the host's version",
			       why);
	}
	d->features = get(d, PVSCHED_REG_HOST_FEATURES) |
		      (uint64_t)get(d, PVSCHED_REG_HOST_FEATURES + 4) << 32;
	d->features &= features;
	put64(d, PVSCHED_REG_GUEST_FEATURES, d->features);
	put(d, PVSCHED_REG_STATUS,
	    PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER | PVSCHED_S_FEATURES_OK);
	if (!(get(d, PVSCHED_REG_STATUS) & PVSCHED_S_FEATURES_OK) || d->broken)
		return give_up(d, e, d->slot, NULL, pvsched_result_str(get(d, PVSCHED_REG_ERROR)));
	d->vcpus = get(d, PVSCHED_REG_VCPU_COUNT);
	return 0;
}

static uint32_t command(struct device *d, uint32_t vcpu, uint32_t what)
{
	uint32_t result;

	put(d, PVSCHED_REG_VCPU_SELECT, vcpu);
	put(d, PVSCHED_REG_VCPU_COMMAND, what);
	result = get(d, PVSCHED_REG_VCPU_RESULT);
	return d->broken ? PVSCHED_R_HOST : result;
}

static uint32_t enroll(struct device *d, uint32_t vcpu, uint64_t gfn)
{
	const struct timespec pause = { .tv_nsec = RATE_PAUSE_NS };
	uint32_t result;

	for (unsigned int i = 0;; i++) {
		put(d, PVSCHED_REG_VCPU_SELECT, vcpu);
		put64(d, PVSCHED_REG_VCPU_GFN, gfn);
		result = command(d, vcpu, PVSCHED_CMD_REGISTER);
		if (result != PVSCHED_R_RATE || i == RATE_TRIES)
			return result;
		nanosleep(&pause, NULL);
	}
}

int device_share(struct device *d, uint32_t vcpu, uint64_t gfn, struct pvsched_page *page,
		 struct cli_error *e)
{
	uint32_t result = PVSCHED_R_BAD_VCPU;
	char on[32];

	memset(page, 0, sizeof(*page));
	page->magic = PVSCHED_MAGIC;
	page->abi_version = PVSCHED_ABI_VERSION;
	page->protocol = PVSCHED_PROTO_BASE;
	page->protocol_version = d->version;
	page->features = d->features;
	page->vcpu_id = vcpu;
	if (vcpu < d->vcpus)
		result = enroll(d, vcpu, gfn);
	if (result == PVSCHED_R_OK) {
		put64(d, PVSCHED_REG_VCPU_NONCE, *(volatile uint64_t *)&page->nonce);
		result = command(d, vcpu, PVSCHED_CMD_ENABLE);
	}
	if (result == PVSCHED_R_OK)
		return 0;
	snprintf(on, sizeof(on), "vCPU %" PRIu32, vcpu);
	return cli_fail(e, CLI_FAILED, "share a page", on,
			result == PVSCHED_R_HOST ? "start 'pvsched serve' on the host" : NULL, "%s",
			pvsched_result_str(result));
}

uint32_t device_unshare(struct device *d, uint32_t vcpu)
{
	return command(d, vcpu, PVSCHED_CMD_UNREGISTER);
}

/* Not one that was reset, nor that of another VMM, to which this memory was restored: nobody writes OFF into
 * a page that is no page there (spec END-5, END-6). All ones, of a function that does not answer, is FAILED. */
static bool is_driven(struct device *d)
{
	const uint32_t ok = PVSCHED_S_DRIVER_OK;

	return (get(d, PVSCHED_REG_STATUS) & (ok | PVSCHED_S_NEEDS_RESET | PVSCHED_S_FAILED)) == ok;
}

bool device_has_page(struct device *d, uint32_t vcpu, const struct pvsched_page *page)
{
	uint64_t status = *(const volatile uint64_t *)&page->status;

	/* PAUSED: a host that waits for its next broker, and goes on by itself (spec END-8) */
	if (status != PVSCHED_PAGE_ENABLED && status != PVSCHED_PAGE_PAUSED)
		return false;
	if (d->stream < 0)
		return is_driven(d);
	put(d, PVSCHED_REG_VCPU_SELECT, vcpu);
	return get(d, PVSCHED_REG_VCPU_STATE) == PVSCHED_PAGE_ENABLED;
}

int device_ready(struct device *d, struct cli_error *e)
{
	put(d, PVSCHED_REG_STATUS, get(d, PVSCHED_REG_STATUS) | PVSCHED_S_DRIVER_OK);
	if (get(d, PVSCHED_REG_STATUS) & PVSCHED_S_DRIVER_OK && !d->broken)
		return 0;
	return give_up(d, e, d->slot, NULL, pvsched_result_str(get(d, PVSCHED_REG_ERROR)));
}

bool device_reset(struct device *d)
{
	if (d->stream >= 0)
		d->broken = stream_sync(d->stream);
	put(d, PVSCHED_REG_STATUS, 0);
	/* over a stream: answered when it is done, else the lease ends; of a function that does not decode
	 * or was moved, all ones or something else */
	return (get(d, PVSCHED_REG_STATUS) == 0 && get(d, PVSCHED_REG_MAGIC) == PVSCHED_MAGIC) ||
	       d->stream >= 0;
}

void device_ring(struct device *d, uint32_t vcpu)
{
	put(d, PVSCHED_REG_DOORBELL + 4 * vcpu, 1);
}
