// SPDX-License-Identifier: GPL-2.0-only
/* The pinned map of debts, and whose is whose. See debts.h. */
#include "debts.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../actuator/monotonic.h"

#define BPFFS	    "/sys/fs/bpf"
#define BPFFS_MAGIC 0xcafe4a11

static int mount_bpffs(void)
{
	struct statfs fs;

	if (!statfs(BPFFS, &fs) && (unsigned long)fs.f_type == BPFFS_MAGIC)
		return 0;
	/* as libbpf's own tools do where nobody did it at boot */
	return mount("bpf", BPFFS, "bpf", 0, "mode=0700") ? -errno : 0;
}

/* Nobody but us can have put anything there. */
static int own_dir(void)
{
	struct stat st;

	if (mkdir(PVSCHED_DEBTS_DIR, 0700) && errno != EEXIST)
		return -errno;
	if (lstat(PVSCHED_DEBTS_DIR, &st))
		return -errno;
	return S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 022) ? 0 : -EPERM;
}

static bool is_ours(int fd)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);

	return !bpf_obj_get_info_by_fd(fd, &info, &len) && info.type == BPF_MAP_TYPE_ARRAY &&
	       info.key_size == sizeof(uint32_t) &&
	       info.value_size == sizeof(struct pvsched_debt) &&
	       info.max_entries == PVSCHED_DEBTS && info.map_flags == BPF_F_MMAPABLE;
}

int pvsched_debts_open(char *why, size_t size)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int err = mount_bpffs(), fd;

	if (!err)
		err = own_dir();
	if (err)
		goto out;
	fd = bpf_obj_get(PVSCHED_DEBTS_PIN);
	if (fd >= 0 && is_ours(fd))
		return fd;
	if (fd >= 0) {
		close(fd);
		unlink(PVSCHED_DEBTS_PIN);
	}
	/* libbpf names a map as the one that it takes over is named */
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "debts", sizeof(uint32_t),
			    sizeof(struct pvsched_debt), PVSCHED_DEBTS, &opts);
	if (fd < 0) {
		err = -errno;
		goto out;
	}
	if (!bpf_obj_pin(fd, PVSCHED_DEBTS_PIN)) /* 0600, whatever the umask allows more */
		return fd;
	err = -errno;
	close(fd);
out:
	snprintf(why, size, "debts end with this broker: " PVSCHED_DEBTS_PIN ": %s",
		 strerror(-err));
	return -1;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* When nothing that it holds matters any more. */
static uint64_t ends(const struct pvsched_debt *d)
{
	uint64_t t =
		later(later(d->paid_at, d->cs_paid_at), later(d->rate_paid_at, d->wall_paid_at));

	t = later(t, later(d->wall_rate_paid_at, d->stretch.hold_ns));
	return later(t, d->stretch.off_ns + d->stretch.sum_ns);
}

void pvsched_debts_end(int fd, const struct pvsched_debt *debts)
{
	uint64_t now = now_ns();

	if (fd < 0)
		return;
	for (unsigned int i = 0; debts && i < PVSCHED_DEBTS; i++)
		if (ends(&debts[i]) > now)
			return;
	unlink(PVSCHED_DEBTS_PIN);
	rmdir(PVSCHED_DEBTS_DIR);
}

int pvsched_debts_choose(struct pvsched_debt *from, const bool *used, unsigned int n, uint32_t id,
			 uint64_t start, uint64_t now)
{
	int own = -1, best = -1;
	uint64_t t;

	for (unsigned int i = 0; i < n; i++) {
		if (used[i])
			continue;
		t = later(ends(&from[i]), now);
		if (from[i].id == id && from[i].start == start) {
			if (own < 0 || t > ends(&from[own]))
				own = i;
		} else if (best < 0 || t < later(ends(&from[best]), now)) {
			best = i;
		}
	}
	if (own >= 0)
		return own;
	if (best < 0)
		return -ENOSPC;
	memset(&from[best], 0, sizeof(from[best]));
	from[best].id = id;
	from[best].start = start;
	return best;
}
