// SPDX-License-Identifier: GPL-2.0-only
/* The service manager's socket, see notify.h. */
#include "notify.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

void notify(const char *state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path ? strlen(path) : 0;
	struct timespec now;
	char text[96];
	int fd;

	if (!len || len >= sizeof(addr.sun_path))
		return;
	memcpy(addr.sun_path, path, len);
	if (*path == '@') /* an abstract address */
		addr.sun_path[0] = 0;
	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(text, sizeof(text), "%s\nMONOTONIC_USEC=%llu", state,
		 now.tv_sec * 1000000ull + now.tv_nsec / 1000);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&addr,
	       offsetof(struct sockaddr_un, sun_path) + len);
	close(fd);
}

int notify_watchdog_ms(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	unsigned long long us = usec ? strtoull(usec, NULL, 10) : 0;

	if (!us || (pid && strtol(pid, NULL, 10) != getpid()))
		return -1;
	us /= 2000;
	return us < 1 ? 1 : us > INT_MAX ? INT_MAX : (int)us;
}

int notify_watchdog_left(unsigned long long told_ns, unsigned long long now_ns)
{
	int period = notify_watchdog_ms();
	unsigned long long gone = (now_ns - told_ns) / 1000000;

	if (period < 0)
		return -1;
	return gone < (unsigned int)period ? period - (int)gone : 0;
}
