/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Capabilities of the calling thread: they are the thread's, not the process's, so each thread
 * gives its own away. Threads and children that it makes later begin with what it kept. No state,
 * no allocation: usable between fork and exit.
 */
#ifndef PVSCHED_PRIVILEGE_CAPS_H
#define PVSCHED_PRIVILEGE_CAPS_H

#include <linux/capability.h>
#include <stdint.h>

#define PVSCHED_CAP(cap) (1ull << (cap))

/* Another's thread gets another scheduling, and its timer slack back: agents, guardian. */
#define PVSCHED_CAPS_ACTUATE PVSCHED_CAP(CAP_SYS_NICE)
/* And maps are made for new vCPUs: what a broker needs that loads no programs any more. */
#define PVSCHED_CAPS_SERVE (PVSCHED_CAPS_ACTUATE | PVSCHED_CAP(CAP_BPF))
/* And programs are loaded when a policy is swapped. CAP_SYSLOG: libbpf takes the address of KVM's
 * timer function from /proc/kallsyms. */
#define PVSCHED_CAPS_SWAP (PVSCHED_CAPS_SERVE | PVSCHED_CAP(CAP_PERFMON) | PVSCHED_CAP(CAP_SYSLOG))
/* And the memory of a VM of any user is opened: the file of /proc is its owner's alone, whom root is not
 * without CAP_DAC_OVERRIDE; and it is another's memory. */
#define PVSCHED_CAPS_MEMORY (PVSCHED_CAP(CAP_SYS_PTRACE) | PVSCHED_CAP(CAP_DAC_OVERRIDE))

/*
 * Keeps of what this thread has only `effective`, in force, and `dormant`, which takes force by
 * pvsched_caps_raise(). All others are gone for good: out of the bounding set too, and
 * no_new_privs is set, so no program that is executed gives one back. Returns 0 or -errno; what
 * the thread never had is no error.
 */
int pvsched_caps_keep(uint64_t effective, uint64_t dormant);

/* Puts dormant capabilities in force, and out of it again. Returns 0 or -errno. */
int pvsched_caps_raise(uint64_t caps);
int pvsched_caps_lower(uint64_t caps);
/* Those of them that this thread cannot put in force. */
uint64_t pvsched_caps_lacking(uint64_t caps);

#endif
