/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR BSD-2-Clause */
/*
 * The wire between guest and host: the shared page (one per vCPU) and the register device.
 * Compiles alone as C99, C++ and -target bpf. Append only: nothing here changes meaning or
 * place within one ABI version. spec/protocol.md holds the rules; MUST numbers name them.
 */
#ifndef PVSCHED_ABI_H
#define PVSCHED_ABI_H

#include <linux/types.h>

#define PVSCHED_MAGIC	    0x53565000u /* bytes 00 'P' 'V' 'S': never a valid pointer or text */
#define PVSCHED_ABI_VERSION 1
#define PVSCHED_PAGE_SIZE   4096
#define PVSCHED_LINE	    64 /* bytes; a line is written by one side only */
#define PVSCHED_VCPUS_MAX   256 /* doorbells that fit the second page of BAR0 */

/* Protocols on offer. One is defined: the page described below. */
#define PVSCHED_PROTO_BASE	   0x45534142u /* "BASE" */
#define PVSCHED_PROTO_BASE_VERSION 1

/* Features, 64 bits, offered by the host and accepted by the guest before FEATURES_OK. */
#define PVSCHED_F_TICKET     (1ull << 0) /* host writes ticket, guest answers in ack */
#define PVSCHED_F_NEXT_EVENT (1ull << 1) /* host reads next_event */
#define PVSCHED_F_PENDING    (1ull << 2) /* host reads pending */
#define PVSCHED_F_PLACEMENT  (1ull << 3) /* host writes placement; off unless the operator opts in */

/*
 * A task as the guest publishes it (words `current` and `pending`), and a thread as the host
 * reports it (`grant`): one layout, so that both sides speak of scheduling in the same bits.
 *   0..7   policy, the SCHED_* numbers of Linux
 *   8..15  nice, two's complement, -20..19
 *   16..23 real-time priority, 0..99
 *   24..31 flags
 *   32..63 generation (current), sequence (pending), generation answered (grant)
 */
#define PVSCHED_TASK_POLICY_SHIFT 0
#define PVSCHED_TASK_NICE_SHIFT	  8
#define PVSCHED_TASK_PRIO_SHIFT	  16
#define PVSCHED_TASK_FLAGS_SHIFT  24
#define PVSCHED_TASK_GEN_SHIFT	  32

#define PVSCHED_POLICY_NORMAL	0
#define PVSCHED_POLICY_FIFO	1
#define PVSCHED_POLICY_RR	2
#define PVSCHED_POLICY_BATCH	3
#define PVSCHED_POLICY_IDLE	5
#define PVSCHED_POLICY_DEADLINE 6
#define PVSCHED_POLICY_EXT	7

/* flags of current and pending */
#define PVSCHED_TASK_LATENCY 0x01 /* declared latency-sensitive by the guest's administrator */
#define PVSCHED_TASK_VALID   0x80 /* pending only: the word names a task */

/* flags of grant: why the thread runs as it does (enum pvsched_reason) in the low 6 bits */
#define PVSCHED_GRANT_REASON  0x3f
#define PVSCHED_GRANT_BOOSTED 0x80 /* better than the thread's baseline: ring when urgency ends */

enum pvsched_reason {
	PVSCHED_REASON_NONE = 0,
	PVSCHED_REASON_CRITICAL = 1, /* context said critical section, irq, softirq or NMI */
	PVSCHED_REASON_TASK = 2, /* current is urgent */
	PVSCHED_REASON_PENDING = 3, /* a woken task waits and is urgent */
	PVSCHED_REASON_INTR = 4, /* an interrupt is pending: carries a ticket */
	PVSCHED_REASON_NEXT_EVENT = 5, /* the announced timer is about to fire */
	PVSCHED_REASON_MIRROR = 6, /* the guest's class and nice, mirrored */
	PVSCHED_REASON_POLICY = 7, /* a policy from outside, with no better name */
	PVSCHED_REASON_EXPIRED = 8, /* ended by its expiry */
	PVSCHED_REASON_THROTTLED = 9, /* a budget is used up */
	PVSCHED_REASON_GAP = 10, /* the unboosted gap after a full stretch */
	PVSCHED_REASON_EXTERNAL = 11, /* somebody else owns the thread's scheduling */
	PVSCHED_REASON_PAYBACK = 12, /* not boosted: pays boosted time back at a worse nice */
	PVSCHED_REASON_HOST_RT = 13, /* ended: real-time work of the host needs the CPU */
};

/* context: bits 0..7 flags, 32..63 generation; the rest is zero and ignored */
#define PVSCHED_CTX_NMI	     0x01
#define PVSCHED_CTX_HARDIRQ  0x02
#define PVSCHED_CTX_SOFTIRQ  0x04
#define PVSCHED_CTX_CRITICAL 0x08
#define PVSCHED_CTX_IDLE     0x10
#define PVSCHED_CTX_URGENT                                                                         \
	(PVSCHED_CTX_NMI | PVSCHED_CTX_HARDIRQ | PVSCHED_CTX_SOFTIRQ | PVSCHED_CTX_CRITICAL)
#define PVSCHED_CTX_GEN_SHIFT 32

/* status: the page's life as the host sees it */
#define PVSCHED_PAGE_OFF      0 /* not attached, or detached: the host reads nothing */
#define PVSCHED_PAGE_ATTACHED 1 /* nonce written, waits for its echo */
#define PVSCHED_PAGE_ENABLED  2 /* the host reads the guest's lines and acts */
#define PVSCHED_PAGE_DEAD     3 /* being detached; written once, last */
#define PVSCHED_PAGE_PAUSED   4 /* still attached, but for now the host reads nothing */

/* state: bits 0..7 what the vCPU thread did last, 32..63 host CPU-free counter of SCHED_INs */
#define PVSCHED_STATE_UNKNOWN	0
#define PVSCHED_STATE_RUNNING	1
#define PVSCHED_STATE_PREEMPTED 2
#define PVSCHED_STATE_BLOCKED	3
#define PVSCHED_STATE_INS_SHIFT 32

/* placement: coarse ids, equal means shared; 0 means not told. */
#define PVSCHED_PLACE_CORE_SHIFT 0 /* 16 bits */
#define PVSCHED_PLACE_LLC_SHIFT	 16 /* 16 bits */
#define PVSCHED_PLACE_NODE_SHIFT 32 /* 16 bits */

/*
 * The page. Writers by line; a 64-bit word is read and written whole, little-endian.
 * Guest, before REGISTER: line 0, constant afterwards (the host copies it once).
 */
struct pvsched_page {
	/* line 0 */
	__u32 magic;
	__u16 abi_version;
	__u16 reserved0;
	__u32 protocol;
	__u32 protocol_version;
	__u64 features;
	__u32 vcpu_id;
	__u32 reserved1;
	__u64 reserved2[4];

	/* line 1: the guest, on this vCPU only */
	__u64 current_task; /* PVSCHED_TASK_*; spec name: current */
	__u64 context; /* PVSCHED_CTX_* */
	__u64 next_event; /* guest TSC of the next timer that matters; 0 = none */
	__u64 ack; /* last ticket whose work the guest's own words now speak for */
	__u64 capacity; /* 0 = not told, else 1..1024: compute the guest asks for; a hint */
	__u64 lease; /* over a stream: + 1 each PVSCHED_LEASE_MS / 4 while pages are shared (STREAM-7) */
	__u64 reserved3[2];

	/* line 2: the guest, from any vCPU, by compare-and-swap */
	__u64 pending; /* PVSCHED_TASK_* */
	__u64 reserved4[7];

	/* lines 3-4: the host; it never reads them back */
	__u64 status; /* PVSCHED_PAGE_* */
	__u64 nonce; /* to be echoed in the device */
	__u64 grant; /* PVSCHED_TASK_* with grant flags; written after the change took effect */
	__u64 ticket; /* number of the newest interrupt boost; 0 = none yet */
	__u64 state; /* PVSCHED_STATE_* */
	__u64 steal_ns; /* time spent runnable but not running, since ENABLE */
	__u64 budget_left_ns; /* boosted time this vCPU may still take now */
	__u64 placement; /* PVSCHED_PLACE_* */
	__u64 boosts; /* boosts applied since ENABLE */
	__u64 throttles; /* requests refused since ENABLE: budget, gap */
	__u64 reserved5[6];

	/* lines 5-63: the protocol's own extension; zero in PVSCHED_PROTO_BASE */
	__u64 extension[472];
};

/* The register device: BAR0 of the PCI function, or frames over a stream. Accesses are 4 bytes
 * and aligned; 64-bit registers are two halves, low first. */
#define PVSCHED_REG_MAGIC	   0x00 /* RO */
#define PVSCHED_REG_VERSION	   0x04 /* RO: PVSCHED_ABI_VERSION */
#define PVSCHED_REG_STATUS	   0x08 /* RW: PVSCHED_S_*; writing 0 resets */
#define PVSCHED_REG_ERROR	   0x0c /* RO: PVSCHED_R_* of the last refusal since reset */
#define PVSCHED_REG_HOST_FEATURES  0x10 /* RO, 64 bits */
#define PVSCHED_REG_GUEST_FEATURES 0x18 /* RW until FEATURES_OK, 64 bits */
#define PVSCHED_REG_PROTO_COUNT	   0x20 /* RO */
#define PVSCHED_REG_PROTO_SELECT   0x24 /* RW: index below PROTO_COUNT */
#define PVSCHED_REG_PROTO_ID	   0x28 /* RO: of the selected one; 0 = no such index */
#define PVSCHED_REG_PROTO_VERSION  0x2c /* RO */
#define PVSCHED_REG_CHOICE_ID	   0x30 /* RW until FEATURES_OK */
#define PVSCHED_REG_CHOICE_VERSION 0x34 /* RW until FEATURES_OK */
#define PVSCHED_REG_VCPU_COUNT	   0x38 /* RO */
#define PVSCHED_REG_VCPU_SELECT	   0x3c /* RW */
#define PVSCHED_REG_VCPU_GFN	   0x40 /* RW, 64 bits, of the selected vCPU's page */
#define PVSCHED_REG_VCPU_COMMAND   0x48 /* WO: PVSCHED_CMD_* for the selected vCPU */
#define PVSCHED_REG_VCPU_RESULT	   0x4c /* RO: PVSCHED_R_* of its last command */
#define PVSCHED_REG_VCPU_NONCE	   0x50 /* WO, 64 bits: the nonce read from the page */
#define PVSCHED_REG_VCPU_STATE	   0x58 /* RO: PVSCHED_PAGE_* */
#define PVSCHED_REG_EPOCH	   0x5c /* RO: counts resets */
#define PVSCHED_REG_END		   0x60 /* above, up to the doorbells: reads 0, writes ignored */
#define PVSCHED_REG_DOORBELL	   0x1000 /* WO: + 4 * vCPU; the value is ignored */
#define PVSCHED_BAR_SIZE	   0x2000

/* STATUS, in the order in which a driver sets them, one per write. The host sets NEEDS_RESET; the
 * guest sets FAILED to give up; only a reset leaves either. */
#define PVSCHED_S_ACKNOWLEDGE 0x01
#define PVSCHED_S_DRIVER      0x02
#define PVSCHED_S_FEATURES_OK 0x08
#define PVSCHED_S_DRIVER_OK   0x04
#define PVSCHED_S_NEEDS_RESET 0x40
#define PVSCHED_S_FAILED      0x80

#define PVSCHED_CMD_REGISTER   1 /* attach the page at GFN; the host writes its nonce */
#define PVSCHED_CMD_ENABLE     2 /* the nonce echoed: from here on the host acts */
#define PVSCHED_CMD_UNREGISTER 3 /* detach; when it returns the page is the guest's alone */

enum pvsched_result {
	PVSCHED_R_OK = 0,
	PVSCHED_R_BAD_ACCESS = 1, /* size, alignment, or a read-only register */
	PVSCHED_R_BAD_STATUS = 2, /* the life cycle does not allow it now */
	PVSCHED_R_BAD_FEATURES = 3, /* a feature the host did not offer */
	PVSCHED_R_BAD_PROTOCOL = 4, /* (id, version) not on offer, or header contradicts choice */
	PVSCHED_R_BAD_VCPU = 5, /* index out of range, or header contradicts it */
	PVSCHED_R_BAD_GFN = 6, /* not RAM of this VM */
	PVSCHED_R_BAD_HEADER = 7, /* magic, ABI version or reserved bits */
	PVSCHED_R_IN_USE = 8, /* the vCPU has a page, or the page has a vCPU */
	PVSCHED_R_NOT_REGISTERED = 9,
	PVSCHED_R_BAD_NONCE = 10,
	PVSCHED_R_BAD_COMMAND = 11,
	PVSCHED_R_READ_ONLY = 12, /* the slot is read-only */
	PVSCHED_R_HUGETLB = 13, /* 4 KiB cannot be mapped over this backing */
	PVSCHED_R_PRIVATE = 14, /* guest_memfd or encrypted memory */
	PVSCHED_R_NO_DMA = 15, /* Bus Master Enable is clear */
	PVSCHED_R_RATE = 16, /* too many REGISTERs: try later */
	PVSCHED_R_HOST = 17, /* the host cannot: no broker, or out of resources */
	PVSCHED_R_MAX
};

/* The same accesses over a byte stream: frames, little-endian. The guest sends, the host answers READ
 * and SYNC with a frame of the same op and offset. */
#define PVSCHED_LEASE_MS    1000
#define PVSCHED_STREAM_PORT "org.pvsched.0" /* name of the virtio-serial port */
#define PVSCHED_FRAME_SYNC  0x53565001u /* value is ~offset: all before it is void */
#define PVSCHED_FRAME_READ  0x53565002u
#define PVSCHED_FRAME_WRITE 0x53565003u /* has no answer */

struct pvsched_frame {
	__u32 op, offset, value;
};

/* The PCI function. Vendor and device id are Red Hat's range for experiments. */
#define PVSCHED_PCI_VENDOR 0x1b36
#define PVSCHED_PCI_DEVICE 0x10f5
#define PVSCHED_PCI_CLASS  0x088000 /* base system peripheral, other */

#ifdef __cplusplus
#define PVSCHED_STATIC_ASSERT(e, m) static_assert(e, m)
#else
#define PVSCHED_STATIC_ASSERT(e, m) __extension__ _Static_assert(e, m)
#endif
#define PVSCHED_AT(f, o)                                                                           \
	PVSCHED_STATIC_ASSERT(__builtin_offsetof(struct pvsched_page, f) == (o), #f " moved")
PVSCHED_STATIC_ASSERT(sizeof(struct pvsched_page) == PVSCHED_PAGE_SIZE, "page size");
PVSCHED_AT(magic, 0);
PVSCHED_AT(abi_version, 4);
PVSCHED_AT(protocol, 8);
PVSCHED_AT(protocol_version, 12);
PVSCHED_AT(features, 16);
PVSCHED_AT(vcpu_id, 24);
PVSCHED_AT(current_task, 64);
PVSCHED_AT(context, 72);
PVSCHED_AT(next_event, 80);
PVSCHED_AT(ack, 88);
PVSCHED_AT(capacity, 96);
PVSCHED_AT(lease, 104);
PVSCHED_AT(pending, 128);
PVSCHED_AT(status, 192);
PVSCHED_AT(nonce, 200);
PVSCHED_AT(grant, 208);
PVSCHED_AT(ticket, 216);
PVSCHED_AT(state, 224);
PVSCHED_AT(steal_ns, 232);
PVSCHED_AT(budget_left_ns, 240);
PVSCHED_AT(placement, 248);
PVSCHED_AT(boosts, 256);
PVSCHED_AT(throttles, 264);
PVSCHED_AT(extension, 320);
#undef PVSCHED_AT

#endif
