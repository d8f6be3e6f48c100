// SPDX-License-Identifier: GPL-2.0-only
/* Frames to and from the host, see stream.h. x86 is little-endian, as frames are. */
#include "stream.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <pvsched/abi.h>

#define PORTS	     "/sys/class/virtio-ports"
#define STALE_FRAMES 4096 /* answers to an earlier daemon that are skipped, at most */

bool stream_find(char *ret_path, size_t size)
{
	DIR *dir = opendir(PORTS);
	struct dirent *entry;
	bool found = false;
	char path[300], name[64];
	FILE *f;

	while (dir && !found && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), PORTS "/%s/name", entry->d_name);
		f = fopen(path, "re");
		name[0] = 0;
		if (f && fgets(name, sizeof(name), f))
			name[strcspn(name, "\n")] = 0;
		if (f)
			fclose(f);
		found = !strcmp(name, PVSCHED_STREAM_PORT);
		if (found)
			snprintf(ret_path, size, "/dev/%s", entry->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

/* Until end the whole of it goes one way: want is POLLIN or POLLOUT. */
static int move(int fd, void *data, size_t size, short want, int64_t end)
{
	struct pollfd p = { .fd = fd, .events = want };
	char *at = data;
	int64_t left;
	ssize_t n;

	while (size) {
		n = want == POLLIN ? read(fd, at, size) : write(fd, at, size);
		if (n > 0) {
			at += n;
			size -= n;
			continue;
		}
		if (!n)
			return -EPIPE;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		left = end - now_ms();
		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, left) > 0 && !(p.revents & want))
			return -EPIPE;
	}
	return 0;
}

static int send_frame(int fd, uint32_t op, uint32_t offset, uint32_t value, int64_t end)
{
	struct pvsched_frame f = { op, offset, value };

	return move(fd, &f, sizeof(f), POLLOUT, end);
}

int stream_sync(int fd)
{
	int64_t end = now_ms() + STREAM_WAIT_MS;
	struct pvsched_frame f;
	uint32_t mark, seen = 0;
	uint8_t *in = (uint8_t *)&f;
	int err;

	if (getrandom(&mark, sizeof(mark), 0) != sizeof(mark))
		return -errno;
	/* ends a frame of which an earlier daemon sent the beginning */
	err = send_frame(fd, ~0u, ~0u, ~0u, end);
	if (!err)
		err = send_frame(fd, PVSCHED_FRAME_SYNC, mark, ~mark, end);
	if (!err)
		err = move(fd, in, sizeof(f), POLLIN, end);
	/* byte by byte: an earlier daemon may have left the half of one */
	while (!err && !(f.op == PVSCHED_FRAME_SYNC && f.offset == mark && f.value == ~mark)) {
		if (++seen > STALE_FRAMES * sizeof(f))
			return -EPROTO;
		memmove(in, in + 1, sizeof(f) - 1);
		err = move(fd, in + sizeof(f) - 1, 1, POLLIN, end);
	}
	return err;
}

int stream_read(int fd, uint32_t offset, uint32_t *ret_value)
{
	int64_t end = now_ms() + STREAM_WAIT_MS;
	struct pvsched_frame f;
	int err = send_frame(fd, PVSCHED_FRAME_READ, offset, 0, end);

	if (!err)
		err = move(fd, &f, sizeof(f), POLLIN, end);
	if (!err && (f.op != PVSCHED_FRAME_READ || f.offset != offset))
		err = -EPROTO;
	if (!err)
		*ret_value = f.value;
	return err;
}

int stream_write(int fd, uint32_t offset, uint32_t value)
{
	return send_frame(fd, PVSCHED_FRAME_WRITE, offset, value, now_ms() + STREAM_WAIT_MS);
}

bool stream_is_connected(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, 0) >= 0 && !(p.revents & (POLLHUP | POLLERR | POLLNVAL));
}
