/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The broker: one per host. It owns the BPF programs and their links, the registry of vCPU
 * threads, the agents that carry decisions out, and the guardian that restores every thread if
 * the broker dies. `pvsched serve` is a broker and nothing else; `pvsched run` and
 * `pvsched bench` start one inside their own process when none runs. VMMs join it as clients
 * through libpvsched, also the one in the same process.
 *
 * Returns 0 or -errno. What failed is also said in one line through opts.print. All functions
 * may be called from any thread; stop must be the last.
 */
#ifndef PVSCHED_BROKER_BROKER_H
#define PVSCHED_BROKER_BROKER_H

#include <pvsched/pvsched.h>

#include "../core/hist.h"
#include "conf.h"

struct pvsched_broker;

struct pvsched_broker_opts {
	const char *socket; /* NULL = $PVSCHED_SOCKET, else PVSCHED_SOCKET */
	const char *policy; /* a built-in's name or a file; NULL = "latency" */
	const struct pvsched_conf *conf; /* sections of VMs and users; NULL = none. Copied */
	const char *found_policy; /* of VMs whose VMM is no client; NULL: not looked for */
	const char *
		actuator; /* a name of pvsched_actuators(); NULL or "auto" = the best automatic one */
	pvsched_print_fn print; /* NULL = silent; called from several threads */
	void *print_ctx;
	/* budgets to begin with, see budget.h; 0 = the default. Changed live: pvsched budget */
	uint64_t cap_ns; /* contiguous cap; 1 ms */
	uint64_t cs_ns; /* critical sections and interrupts at once; 10 ms */
	uint64_t gap_ns; /* after a cap that was used up, at least; as long as it was */
	unsigned int ceiling; /* highest SCHED_FIFO priority of a boost; 1 */
	unsigned int rate; /* boosts per second of a vCPU; 5000 */
	uint64_t lead_ns; /* boost this long before next_event; 0 = as measured */
	unsigned int budget_percent; /* per vCPU, VM and CPU; 0 = 40: with 10 ms of burst at
				      * most 50 % of any 100 ms */
	bool fixed_policy; /* no change of policy while it runs: what only that needs is given up */
	/* The calling thread gives up what a broker does not need, as the broker's own threads do in
	 * any case: for a process that is a broker and has no other thread yet. */
	bool confine;
	bool placement; /* offer to tell guests which of their vCPUs are near each other */
	bool stats; /* BPF run-time statistics: +20..40 ns per event, host-wide */
};

/*
 * Starts. It returns when programs are attached and the socket listens. -EEXIST another broker
 * runs on this host, -EPERM a capability is missing, -ENOENT no such policy or actuator, -ENOTSUP the
 * kernel lacks something (said), -EBUSY.
 */
int pvsched_broker__start(const struct pvsched_broker_opts *opts, struct pvsched_broker **ret);
/* Restores every thread, detaches every program, ends guardian and threads. NULL is allowed. The
 * calling thread needs PVSCHED_CAPS_SERVE (privilege/caps.h). */
void pvsched_broker__stop(struct pvsched_broker *b);

/*
 * The same options anew, while it runs: numbers, policies, who is served. VMs that are no longer
 * served are let go, others keep their debts. socket and stats stay as they were. Returns when it is
 * done; on failure, which is said, nothing changed. opts NULL changes nothing: it returns when the
 * thread that serves has heard of it. -EPIPE: that has ended, or does meanwhile.
 */
int pvsched_broker__configure(struct pvsched_broker *b, const struct pvsched_broker_opts *opts);

/* Readable once the broker has ended by itself (an agent or the guardian could not be kept). */
int pvsched_broker__poll_fd(struct pvsched_broker *b);

/* The name of the actuator in force: it changes when one ends and agents take over. */
const char *pvsched_broker__actuator(struct pvsched_broker *b);

struct pvsched_program_row {
	char name[32];
	char attached_to[48]; /* "sched_switch"; "called, ..." = run by us */
	uint64_t runs; /* 0 without opts.stats */
	uint64_t run_ns; /* total */
};
/* Fills up to max rows; returns how many there are. */
int pvsched_broker__programs(struct pvsched_broker *b, struct pvsched_program_row *rows, int max);

struct pvsched_vcpu_report {
	uint64_t boosts, boosted_ns, run_ns, steal_ns, sched_ins;
	uint64_t denied_throttle, denied_gap, expired, refused, failed, bad_words, doorbells;
	uint64_t external, denied_rate;
	uint64_t granted[PVSCHED_REASON_EXPIRED]; /* boosts, by what they began for */
	struct pvsched_hist apply; /* ns from the event to the changed scheduling, boosts only */
	struct pvsched_hist
		reach; /* ns from the event to the boosted vCPU's running, if it had to wait */
	uint64_t reached,
		reach_added; /* of those, on one CPU: how many; context switches beyond one each */
	struct pvsched_hist boost; /* ns a boost lasted, by the wall clock */
};
/* Of the registered thread tid; counts since it was registered. -ENOENT. */
int pvsched_broker__vcpu_report(struct pvsched_broker *b, pid_t tid,
				struct pvsched_vcpu_report *ret_report);

struct pvsched_broker_counters {
	uint64_t events[12]; /* by bit number of PVSCHED_EV_*, registered vCPUs only */
	uint64_t denied_throttle, denied_gap, denied_rate, bad_words, hints, hints_lost, races,
		second_line;
	uint64_t tsc_unknown, guardian_restores, clients_refused, revoked;
};
int pvsched_broker__counters(struct pvsched_broker *b, struct pvsched_broker_counters *ret);

#endif
