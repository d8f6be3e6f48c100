/* SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause */
/*
 * Client and broker: one SOCK_SEQPACKET connection per VM, one fixed-size message each way.
 * A client sends a request and waits for the reply with the same seq. Same-host only, so native
 * endianness; both ends check `version` in HELLO. Adding a field grows the union's padding.
 */
#ifndef PVSCHED_BROKER_WIRE_H
#define PVSCHED_BROKER_WIRE_H

#include <stdint.h>

#define PVSCHED_WIRE_VERSION 1

enum pvsched_msg_type {
	/* client -> broker; fds are passed by SCM_RIGHTS in the order named */
	PVSCHED_MSG_HELLO = 1, /* hello */
	PVSCHED_MSG_ADD_VCPU = 2, /* add; fds: pidfd, doorbell eventfd. Reply fd: page map */
	PVSCHED_MSG_REMOVE_VCPU = 3,
	PVSCHED_MSG_ENABLE = 4, /* enable: from the reply on the page is read */
	PVSCHED_MSG_DISABLE = 5, /* at the reply the thread is restored, the page not touched */
	PVSCHED_MSG_STATS = 6, /* reply: stats */
};

struct pvsched_msg {
	uint32_t type;
	uint32_t seq;
	int32_t error; /* reply: 0 or -errno */
	uint32_t index; /* vCPU */
	union {
		struct {
			uint32_t version; /* PVSCHED_WIRE_VERSION */
			uint32_t vcpus;
			char name[64]; /* NUL-terminated */
			uint64_t host_features; /* reply: PVSCHED_F_* on offer */
		} hello;
		struct {
			int32_t tid; /* in the client's process; the pidfd is of the thread
				      * (PIDFD_THREAD) or, on kernels without it, of the process */
			uint32_t apic_id;
		} add;
		struct {
			uint64_t features; /* negotiated */
			uint64_t epoch;
		} enable;
		struct {
			uint64_t boosts, boosted_ns, run_ns, steal_ns;
			uint64_t denied_throttle, denied_gap, expired, bad_words, doorbells;
			uint32_t grant;
			uint32_t pad;
		} stats;
		uint8_t pad[112];
	};
};

_Static_assert(sizeof(struct pvsched_msg) == 128, "wire size");

#endif
