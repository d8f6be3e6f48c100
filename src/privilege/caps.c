// SPDX-License-Identifier: GPL-2.0-only
/* Plain capget, capset and prctl, see caps.h. */
#include "caps.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

struct sets {
	uint64_t effective, permitted, inheritable;
};

static int get(struct sets *ret)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &head, d))
		return -errno;
	ret->effective = d[0].effective | (uint64_t)d[1].effective << 32;
	ret->permitted = d[0].permitted | (uint64_t)d[1].permitted << 32;
	ret->inheritable = d[0].inheritable | (uint64_t)d[1].inheritable << 32;
	return 0;
}

static int set(const struct sets *s)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct d[2] = {
		{ s->effective, s->permitted, s->inheritable },
		{ s->effective >> 32, s->permitted >> 32, s->inheritable >> 32 },
	};

	return syscall(SYS_capset, &head, d) ? -errno : 0;
}

int pvsched_caps_keep(uint64_t effective, uint64_t dormant)
{
	struct sets s;
	int err = get(&s);

	if (err)
		return err;
	/* First, while CAP_SETPCAP is there. Without it the set stays; no_new_privs does the rest. */
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) && errno != EPERM)
			return -errno;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	s.permitted &= effective | dormant;
	s.effective &= effective;
	s.inheritable = 0; /* and with it what was ambient */
	return set(&s);
}

static int change(uint64_t on, uint64_t off)
{
	struct sets s;
	int err = get(&s);

	if (err)
		return err;
	s.effective = (s.effective | (on & s.permitted)) & ~off;
	return set(&s);
}

uint64_t pvsched_caps_lacking(uint64_t caps)
{
	struct sets s;

	return get(&s) ? caps : caps & ~s.permitted;
}

int pvsched_caps_raise(uint64_t caps)
{
	return change(caps, 0);
}

int pvsched_caps_lower(uint64_t caps)
{
	return change(0, caps);
}
