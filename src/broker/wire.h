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
	/* client -> broker; fds are passed by SCM_RIGHTS in the order named, others: -EBADF */
	PVSCHED_MSG_HELLO = 1, /* hello */
	PVSCHED_MSG_ADD_VCPU = 2, /* add; fds: pidfd, doorbell eventfd. Reply fd: page map */
	PVSCHED_MSG_REMOVE_VCPU = 3,
	PVSCHED_MSG_ENABLE = 4, /* enable: from the reply on the page is read */
	PVSCHED_MSG_DISABLE = 5, /* at the reply the thread is restored, the page not touched */
	PVSCHED_MSG_STATS = 6, /* reply: stats */
	/* operator -> broker, without HELLO; root or the broker's own user */
	PVSCHED_MSG_LIST = 7, /* index: VM, 0..; reply: list; -ENOENT no such VM, -ERANGE the end */
	PVSCHED_MSG_POLICY = 8, /* index: VM or PVSCHED_ALL_VMS; policy; fd of a file: optional */
	PVSCHED_MSG_BUDGET = 9, /* index: VM, or PVSCHED_ALL_VMS: the host; budget, shown and set */
};

#define PVSCHED_ALL_VMS	  0xffffffffu /* and those to come */
#define PVSCHED_ALL_VCPUS 0xffffffffu /* of a VM: the VM itself */

enum pvsched_budget_value_id {
	PVSCHED_BUDGET_BOOST, /* percent of a CPU */
	PVSCHED_BUDGET_CS, /* ns at once for critical sections and interrupts */
	PVSCHED_BUDGET_CAP, /* ns */
	PVSCHED_BUDGET_GAP, /* ns */
	PVSCHED_BUDGET_CEILING, /* SCHED_FIFO priority */
	PVSCHED_BUDGET_RATE, /* boosts per second of a vCPU */
	PVSCHED_BUDGET_N
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
		struct {
			char name[64]; /* of the VM */
			char policy[24];
			int32_t pid;
			uint32_t uid;
			uint32_t vcpus; /* registered */
			uint32_t enabled; /* of them with an enabled page */
			uint64_t boosts, boosted_ns;
			char vmm[16]; /* its process's name, if it was found */
			uint32_t found; /* the VMM is no client */
		} list;
		struct {
			char name[64]; /* a built-in's, or the file's */
			char error[176]; /* reply: what was wrong, in short */
		} policy;
		struct {
			uint32_t vcpu; /* or PVSCHED_ALL_VCPUS */
			uint32_t set; /* bit i: value[i] is to hold here; 0: only show */
			uint32_t inherit; /* bit i: nothing of its own any more */
			uint32_t own; /* reply: bits that are set here and not inherited */
			uint64_t value[PVSCHED_BUDGET_N]; /* reply: what holds */
			/* reply; ns that may be taken now, of the host: on the poorest CPU */
			uint64_t left_ns, cs_left_ns;
			int64_t owed_ns;
			uint64_t boosts, boosted_ns, refused;
			uint32_t vcpus; /* reply: numbers there are, registered or not */
			uint32_t registered; /* reply; of a vCPU 0 or 1 */
			char error[96]; /* reply: what was wrong */
		} budget;
		uint8_t pad[240];
	};
};

_Static_assert(sizeof(struct pvsched_msg) == 256, "wire size");

#endif
