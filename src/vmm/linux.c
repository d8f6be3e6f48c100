/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Puts a Linux kernel, its initrd, its command line and what firmware would leave into guest
 * memory, at creation and again at every reboot; vCPU 0 then starts in the kernel's 64-bit entry
 * and the others wait for it to call them. The files stay open: a reboot loads the same ones.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "acpi.h"
#include "bzimage.h"
#include "internal.h"

#define DEFAULT_APPEND "console=ttyS0"
#define PAGE_2M	       (2ull << 20)

static int say_file(struct vmm *vm, const char *what, const char *path, int error, const char *next)
{
	vmm_say(vm, PVSCHED_LOG_ERROR, "%s: %s: %s%s", what, path, strerror(error), next);
	return -error;
}

static int open_file(struct vmm *vm, const char *what, const char *path, struct vmm_file *ret_file)
{
	struct stat st;

	ret_file->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (ret_file->fd < 0)
		return say_file(vm, what, path, errno, "");
	if (fstat(ret_file->fd, &st))
		return say_file(vm, what, path, errno, "");
	if (!S_ISREG(st.st_mode)) {
		vmm_say(vm, PVSCHED_LOG_ERROR, "%s: %s: not a file", what, path);
		return -EINVAL;
	}
	ret_file->size = st.st_size;
	return 0;
}

/* size bytes from `at` on, all of them. */
static int read_file(struct vmm *vm, const char *what, const char *path, int fd, uint64_t at,
		     void *to, uint64_t size)
{
	uint8_t *next = to;
	ssize_t got;

	for (; size; size -= got, next += got, at += got) {
		got = pread(fd, next, size, at);
		if (got < 0 && errno == EINTR)
			got = 0;
		else if (got < 0)
			return say_file(vm, what, path, errno, "");
		else if (!got)
			return say_file(vm, what, path, EIO, ": it became shorter meanwhile");
	}
	return 0;
}

static int check_kernel(struct vmm *vm, struct bzimage *ret_image)
{
	const struct vmm_kernel_opts *o = &vm->opts.kernel;
	uint64_t size = vm->kernel.size < BZIMAGE_HEAD ? vm->kernel.size : BZIMAGE_HEAD;
	const char *append = o->append ? o->append : DEFAULT_APPEND, *why;
	uint8_t head[BZIMAGE_HEAD];
	int ret;

	ret = read_file(vm, "kernel", o->file, vm->kernel.fd, 0, head, size);
	if (ret)
		return ret;
	why = bzimage_check(head, size, vm->kernel.size, ret_image);
	if (why) {
		vmm_say(vm, PVSCHED_LOG_ERROR, "kernel: %s: %s: give a bzImage, as /boot/vmlinuz-*",
			o->file, why);
		return -ENOEXEC;
	}
	if (strlen(append) >= LINUX_CMDLINE_MAX ||
	    strlen(append) > ret_image->header.cmdline_size) {
		vmm_say(vm, PVSCHED_LOG_ERROR,
			"command line: %zu bytes: this kernel takes at most %u", strlen(append),
			ret_image->header.cmdline_size);
		return -E2BIG;
	}
	return 0;
}

/* The kernel asked for 4 GiB of identity mapping at most: six pages do. */
static void write_tables(uint64_t *tables)
{
	enum { PRESENT = 1, WRITABLE = 2, HUGE = 0x80, ENTRIES = 512 };
	uint64_t i;

	memset(tables, 0, 6 * 4096);
	tables[0] = (LINUX_TABLES_GPA + 4096) | PRESENT | WRITABLE;
	for (i = 0; i < 4; i++)
		tables[ENTRIES + i] = (LINUX_TABLES_GPA + 4096 * (2 + i)) | PRESENT | WRITABLE;
	for (i = 0; i < 4 * ENTRIES; i++)
		tables[2 * ENTRIES + i] = i * PAGE_2M | PRESENT | WRITABLE | HUGE;
}

int vmm_linux_open(struct vmm *vm)
{
	const struct vmm_kernel_opts *o = &vm->opts.kernel;
	int ret;

	ret = open_file(vm, "kernel", o->file, &vm->kernel);
	if (!ret && o->initrd)
		ret = open_file(vm, "initrd", o->initrd, &vm->initrd);
	return ret;
}

void vmm_linux_close(struct vmm *vm)
{
	if (vm->kernel.fd >= 0)
		close(vm->kernel.fd);
	if (vm->initrd.fd >= 0)
		close(vm->initrd.fd);
}

int vmm_linux_load(struct vmm *vm)
{
	static const uint64_t gdt[] = { 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff };
	const struct vmm_kernel_opts *o = &vm->opts.kernel;
	const char *append = o->append ? o->append : DEFAULT_APPEND;
	uint8_t *ram = vm->ram.hva;
	uint64_t needed, initrd = 0;
	struct bzimage image;
	int ret;

	ret = check_kernel(vm, &image);
	if (ret)
		return ret;
	needed = bzimage_place(&image, vm->ram.size, vm->initrd.size, &initrd);
	if (needed) {
		vmm_say(vm, PVSCHED_LOG_ERROR,
			"guest memory: %zu MiB: too little: kernel%s alone %s %llu MiB%s",
			vm->ram.size >> 20, o->initrd ? " and initrd" : "",
			o->initrd ? "need" : "needs", (unsigned long long)(needed + 0xfffff) >> 20,
			needed > LINUX_HOLE_GPA ? ": more than fits below 3 GiB"
						: ": give it more");
		return -ENOMEM;
	}
	/* bzimage_place has shown that both end inside RAM below the hole */
	ret = read_file(vm, "kernel", o->file, vm->kernel.fd, image.payload_at,
			ram + image.load_gpa, image.payload_size);
	if (!ret && initrd)
		ret = read_file(vm, "initrd", o->initrd, vm->initrd.fd, 0, ram + initrd,
				vm->initrd.size);
	if (ret)
		return ret;
	memcpy(ram + LINUX_GDT_GPA, gdt, sizeof(gdt));
	write_tables((uint64_t *)(ram + LINUX_TABLES_GPA));
	strcpy((char *)ram + LINUX_CMDLINE_GPA, append);
	bzimage_params(&image, vm->ram.size, initrd, vm->initrd.size,
		       (struct boot_params *)(ram + LINUX_PARAMS_GPA));
	acpi_write(ram + LINUX_ACPI_GPA, LINUX_ACPI_GPA, vm->opts.vcpus);
	vm->start = (struct vmm_start_state){
		.rip = image.entry_gpa,
		.rsi = LINUX_PARAMS_GPA,
		.cr3 = LINUX_TABLES_GPA,
		.gdt = LINUX_GDT_GPA,
		.gdt_size = sizeof(gdt),
		.code = LINUX_CODE_SELECTOR,
		.data = LINUX_DATA_SELECTOR,
	};
	return 0;
}
