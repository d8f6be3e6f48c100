// SPDX-License-Identifier: GPL-2.0-only
/*
 * A whole VM of libpvsched as its VMM and its guest drive it: configuration space, BAR0, memory
 * slots, vCPUs, resets, with real mappings. In the broker's place (lib/client.c) stands a function
 * that answers, fails or is gone as the input says; time is the input's, too. After each step every
 * page is where the device says it is, and whoever should share it does.
 */
#include <helpers/fuzz.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lib/vm.h>

#define VCPUS	  3
#define MAPS	  3 /* that brokers have for a vCPU, by turns */
#define PAGES	  8 /* of RAM: guest frames 16.. */
#define GFN	  16ull
#define ALIAS_GFN 64ull /* the same memory once more */
#define OTHER_GFN 128ull /* not for pages: read-only, private, hugetlb by turns */

static struct {
	struct pvsched_vm *vm;
	uint8_t *ram;
	int map[MAPS][VCPUS]; /* what the broker passes: kept over inputs */
	struct pvsched_page *seen[MAPS][VCPUS]; /* as BPF sees it */
	unsigned int given[VCPUS]; /* which of them it passed last */
	uint64_t features;
	bool told[VCPUS], enabled[VCPUS]; /* what the broker was told */
	int error; /* of the next call */
	bool dead;
	uint64_t now;
} w;

/* A broker that is gone has forgotten everything. */
static void hang_up(struct pvsched_client *c)
{
	c->gone = true;
	memset(w.told, 0, sizeof(w.told));
	memset(w.enabled, 0, sizeof(w.enabled));
}

void pvsched_client_hang_up(struct pvsched_client *c)
{
	hang_up(c);
}

int pvsched_client_connect(struct pvsched_client *c, const char *path)
{
	if (w.dead)
		return -ENOENT;
	*c = (struct pvsched_client){ .fd = open("/dev/null", O_RDWR | O_CLOEXEC) };
	FUZZ_CHECK(c->fd >= 0 && !strcmp(path, "broker"));
	return 0;
}

/* One that the VM has no page in: a new broker has new maps. */
static int give_map(unsigned int vcpu)
{
	const struct pvsched_overlay *o = &w.vm->vcpu[vcpu].overlay;
	struct stat used = { 0 }, st;

	if (o->map_fd >= 0)
		FUZZ_CHECK(!fstat(o->map_fd, &used));
	for (w.given[vcpu] = 0;; w.given[vcpu]++) {
		FUZZ_CHECK(w.given[vcpu] < MAPS && !fstat(w.map[w.given[vcpu]][vcpu], &st));
		if (st.st_ino != used.st_ino)
			return fcntl(w.map[w.given[vcpu]][vcpu], F_DUPFD_CLOEXEC, 0);
	}
}

int pvsched_client_call(struct pvsched_client *c, struct pvsched_msg *msg, const int *fds,
			size_t n_fds, int *ret_fd)
{
	int error = w.error;

	w.error = 0;
	if (c->gone)
		return -EPIPE;
	if (w.dead) {
		hang_up(c);
		return -EPIPE;
	}
	if (msg->type == PVSCHED_MSG_HELLO) {
		msg->hello.host_features = w.features;
		return error;
	}
	FUZZ_CHECK(msg->index < VCPUS);
	switch (msg->type) {
	case PVSCHED_MSG_ADD_VCPU:
		FUZZ_CHECK(n_fds == 2 && fds[0] >= 0 && fds[1] >= 0 && ret_fd);
		FUZZ_CHECK(!w.told[msg->index]);
		if (error)
			return error;
		*ret_fd = give_map(msg->index);
		w.told[msg->index] = true;
		return 0;
	case PVSCHED_MSG_REMOVE_VCPU:
		FUZZ_CHECK(w.told[msg->index]);
		w.told[msg->index] = w.enabled[msg->index] = false;
		return 0;
	case PVSCHED_MSG_ENABLE:
		FUZZ_CHECK(w.told[msg->index] && !w.enabled[msg->index]);
		w.enabled[msg->index] = !error;
		return error;
	case PVSCHED_MSG_DISABLE:
		FUZZ_CHECK(w.enabled[msg->index]);
		FUZZ_CHECK(w.seen[w.given[msg->index]][msg->index]->status == PVSCHED_PAGE_DEAD);
		w.enabled[msg->index] = false;
		return 0;
	case PVSCHED_MSG_STATS:
		FUZZ_CHECK(w.told[msg->index]);
		return error;
	}
	FUZZ_CHECK(!"a request of the protocol");
}

int pvsched_client_drain(struct pvsched_client *c)
{
	if (w.dead)
		hang_up(c);
	return c->gone ? -EPIPE : 0;
}

void pvsched_client_close(struct pvsched_client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	(void)id;
	*ts = (struct timespec){ w.now / 1000000000, w.now % 1000000000 };
	return 0;
}

static struct pvsched_page *page_of(unsigned int frame)
{
	return (struct pvsched_page *)(w.ram + frame % PAGES * PVSCHED_PAGE_SIZE);
}

/* A store of the guest's arrives in a map if and only if that map's vCPU has its page there. */
static void check(void)
{
	static uint64_t mark;

	for (unsigned int frame = 0; frame < PAGES; frame++) {
		unsigned int sharers = 0;

		__atomic_store_n(&page_of(frame)->extension[7], ++mark, __ATOMIC_SEQ_CST);
		for (unsigned int i = 0; i < MAPS * VCPUS; i++)
			sharers += w.seen[i / VCPUS][i % VCPUS]->extension[7] == mark;
		FUZZ_CHECK(sharers <= 1);
		for (unsigned int i = 0; i < VCPUS; i++) {
			const struct pvsched_vcpu *v = &w.vm->vcpu[i];
			bool here = v->overlay.hva == page_of(frame);

			FUZZ_CHECK(here ==
				   (v->overlay.page && v->overlay.page->extension[7] == mark));
			FUZZ_CHECK(!here || w.vm->client.gone ||
				   w.seen[w.given[i]][i]->extension[7] == mark);
		}
	}
	for (unsigned int i = 0; i < VCPUS; i++) {
		const struct pvsched_vcpu *v = &w.vm->vcpu[i];
		uint32_t page = w.vm->device.vcpu[i].page;

		FUZZ_CHECK((page != PVSCHED_PAGE_OFF) == (v->overlay.hva != NULL));
		FUZZ_CHECK(!v->enabled || page == PVSCHED_PAGE_ENABLED);
		if (w.vm->client.gone)
			continue;
		FUZZ_CHECK(v->enabled == (page == PVSCHED_PAGE_ENABLED));
		FUZZ_CHECK(v->enabled == w.enabled[i] && v->added == w.told[i]);
	}
	FUZZ_CHECK(w.vm->client.gone == w.vm->gone_told);
	FUZZ_CHECK(w.vm->pci.config[0] == (uint8_t)PVSCHED_PCI_VENDOR);
}

static void write32(uint64_t offset, uint32_t value)
{
	pvsched_vm__bar_write(w.vm, offset, &value, sizeof(value));
	fuzz_steps++;
}

static void negotiate(uint32_t features)
{
	pvsched_vm__set_bus_master(w.vm, true);
	write32(PVSCHED_REG_GUEST_FEATURES, features);
	write32(PVSCHED_REG_CHOICE_ID, PVSCHED_PROTO_BASE);
	write32(PVSCHED_REG_CHOICE_VERSION, PVSCHED_PROTO_BASE_VERSION);
	write32(PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE);
	write32(PVSCHED_REG_STATUS, PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER);
	write32(PVSCHED_REG_STATUS,
		PVSCHED_S_ACKNOWLEDGE | PVSCHED_S_DRIVER | PVSCHED_S_FEATURES_OK);
}

static void attach(unsigned int vcpu, uint64_t gfn)
{
	struct pvsched_page *page = page_of(gfn);

	memset(page, 0, PVSCHED_LINE);
	page->magic = PVSCHED_MAGIC;
	page->abi_version = PVSCHED_ABI_VERSION;
	page->protocol = PVSCHED_PROTO_BASE;
	page->protocol_version = PVSCHED_PROTO_BASE_VERSION;
	page->features = w.vm->device.guest_features;
	page->vcpu_id = vcpu;
	write32(PVSCHED_REG_VCPU_SELECT, vcpu);
	write32(PVSCHED_REG_VCPU_GFN, gfn);
	write32(PVSCHED_REG_VCPU_COMMAND, PVSCHED_CMD_REGISTER);
}

static void enable(unsigned int vcpu, unsigned int frame)
{
	uint64_t nonce = page_of(frame)->nonce;

	write32(PVSCHED_REG_VCPU_SELECT, vcpu);
	write32(PVSCHED_REG_VCPU_NONCE, nonce);
	write32(PVSCHED_REG_VCPU_NONCE + 4, nonce >> 32);
	write32(PVSCHED_REG_VCPU_COMMAND, PVSCHED_CMD_ENABLE);
}

/* An exact buffer, so that ASan sees its ends. */
static void access_bar(struct fuzz *f, bool write)
{
	uint64_t offset = fuzz_number(f);
	size_t size = fuzz_u8(f) % 40;
	uint8_t *data = malloc(size ? size : 1);

	FUZZ_CHECK(data);
	memset(data, fuzz_u8(f), size);
	if (write)
		pvsched_vm__bar_write(w.vm, offset, data, size);
	else
		pvsched_vm__bar_read(w.vm, offset, data, size);
	free(data);
}

static void access_config(struct fuzz *f, bool write)
{
	unsigned int offset = fuzz_u16(f);
	size_t size = 1 << fuzz_u8(f) % 5;
	uint64_t bar = 1, *data = calloc(2, sizeof(*data));

	FUZZ_CHECK(data);
	*data = fuzz_u32(f);
	if (write) {
		pvsched_vm__config_write(w.vm, offset, data, size, &bar);
		FUZZ_CHECK(bar % PVSCHED_BAR_SIZE == 0 && bar < 1ull << 32);
	} else {
		pvsched_vm__config_read(w.vm, offset, data, size);
	}
	free(data);
}

static void slot(uint8_t op)
{
	const unsigned int flags[] = { 0, 0, PVSCHED_MEM_READONLY, PVSCHED_MEM_PRIVATE };
	const uint64_t gfns[] = { GFN, ALIAS_GFN, OTHER_GFN, OTHER_GFN };
	uint64_t gpa = gfns[op % 4] * PVSCHED_PAGE_SIZE;

	if (op & 4)
		pvsched_vm__add_memory(w.vm, gpa, PAGES * PVSCHED_PAGE_SIZE, w.ram, -1, 0,
				       flags[op % 4]);
	else
		pvsched_vm__del_memory(w.vm, gpa);
}

static void rejoin(bool runs)
{
	if (runs)
		w.dead = false;
	if (!runs && w.now % 2)
		w.features = 0;
	pvsched_vm__rejoin(w.vm);
}

static void step(struct fuzz *f)
{
	struct pvsched_vcpu_stats stats = { .sz = sizeof(stats) };
	struct pvsched_device_stats device = { .sz = sizeof(device) };
	uint8_t op = fuzz_u8(f), low = op >> 4;

	w.now += 1000000;
	switch (op & 15) {
	case 0:
	case 1:
		access_bar(f, op & 1);
		break;
	case 2:
	case 3:
		access_config(f, op & 1);
		break;
	case 4:
		write32(fuzz_u8(f) % (PVSCHED_REG_END / 4) * 4, fuzz_number(f));
		break;
	case 5:
		write32(PVSCHED_REG_DOORBELL + 4 * low, 0);
		break;
	case 6:
		negotiate(low & 1);
		break;
	case 7:
		attach(low % 4, GFN + fuzz_u8(f) % PAGES);
		break;
	case 8:
		attach(low % 4, (low & 8 ? OTHER_GFN : ALIAS_GFN) + fuzz_u8(f) % (PAGES + 1));
		break;
	case 9:
		enable(low % 4, fuzz_u8(f));
		break;
	case 10:
		write32(PVSCHED_REG_VCPU_SELECT, low % 4);
		write32(PVSCHED_REG_VCPU_COMMAND, PVSCHED_CMD_UNREGISTER);
		break;
	case 11:
		if (low & 8)
			pvsched_vm__reset(w.vm);
		else if (low & 4)
			write32(PVSCHED_REG_STATUS, 0);
		else
			pvsched_vm__set_bus_master(w.vm, low & 3);
		break;
	case 12:
		if (low & 4)
			pvsched_vm__add_vcpu(w.vm, low % 4, gettid(), low, STDIN_FILENO);
		else
			pvsched_vm__remove_vcpu(w.vm, low % 4);
		break;
	case 13:
		slot(low);
		break;
	case 14: /* the guest stores, anywhere in its memory */
		w.ram[fuzz_u16(f) % (PAGES * PVSCHED_PAGE_SIZE)] = fuzz_u8(f);
		break;
	case 15:
		if (low < 4)
			w.error = -ENOMEM - low;
		else if (low == 4)
			w.dead = true;
		else if (low == 5)
			pvsched_vm__dispatch(w.vm);
		else if (low == 6)
			w.now += fuzz_number(f) % (1ull << 62);
		else if (low < 10) /* a broker runs (again): or not */
			rejoin(low & 1);
		else if (low < 14)
			pvsched_vm__vcpu_stats(w.vm, low - 10, &stats);
		else
			pvsched_vm__device_stats(w.vm, &device);
		break;
	}
	fuzz_steps++;
}

static int open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 64; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void make(void)
{
	w.ram = mmap(NULL, PAGES * PVSCHED_PAGE_SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	FUZZ_CHECK(w.ram != MAP_FAILED);
	for (unsigned int i = 0; i < MAPS * VCPUS; i++) {
		int fd = memfd_create("page", MFD_CLOEXEC);
		void *page =
			mmap(NULL, PVSCHED_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		FUZZ_CHECK(fd >= 0 && !ftruncate(fd, PVSCHED_PAGE_SIZE) && page != MAP_FAILED);
		w.map[i / VCPUS][i % VCPUS] = fd;
		w.seen[i / VCPUS][i % VCPUS] = page;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pvsched_vm_opts opts = {
		.sz = sizeof(opts), .name = "fuzz", .socket = "broker", .vcpus = VCPUS
	};
	struct fuzz f = { data, data + size };
	uint8_t begin = fuzz_u8(&f);
	int fds;

	if (!w.ram)
		make();
	fds = open_fds();
	w.now = 1000000000000;
	w.features = ~0ull;
	opts.rejoin = begin & 8;
	w.vm = pvsched_vm__open(&opts);
	FUZZ_CHECK(w.vm);
	FUZZ_CHECK(!pvsched_vm__add_memory(w.vm, GFN * PVSCHED_PAGE_SIZE, PAGES * PVSCHED_PAGE_SIZE,
					   w.ram, -1, 0, 0));
	for (unsigned int i = 0; i < VCPUS; i++) {
		if (!(begin & 1 << i))
			FUZZ_CHECK(!pvsched_vm__add_vcpu(w.vm, i, gettid(), i, STDIN_FILENO));
	}
	check();
	while (fuzz_left(&f)) {
		step(&f);
		check();
	}
	w.error = 0;
	pvsched_vm__close(w.vm);
	for (unsigned int i = 0; i < VCPUS; i++)
		FUZZ_CHECK(!w.told[i] && !w.enabled[i]);
	w.dead = false;
	FUZZ_CHECK(open_fds() == fds);
	return 0;
}
