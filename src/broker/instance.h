/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The broker itself, for the files that are its life: broker.c (start, main thread, stop), actuation.c (who
 * acts, and who restores when those cannot), settings.c (what the options say, also live), inspect.c (reports).
 * `mutex` guards the registry's slots against the report functions.
 */
#ifndef PVSCHED_BROKER_INSTANCE_H
#define PVSCHED_BROKER_INSTANCE_H

#include <limits.h>
#include <pthread.h>
#include <sched.h>

#include "broker.h"
#include "control.h"
#include "found.h"
#include "guardian.h"
#include "ports.h"
#include "server.h"

/* New options on their way: the main thread's, but while nobody waits for it. */
struct pvsched_reload {
	const struct pvsched_broker_opts *asked; /* by another thread; NULL: does this one live? */
	const struct pvsched_broker_opts *opts; /* that are being taken; NULL = none */
	bool loading; /* the policy that is being loaded is for them */
	int held[PVSCHED_RULES_MAX + 2], n; /* in use once more, in their order */
	int err;
	bool over; /* the main thread has ended: nobody takes any */
};

struct pvsched_broker {
	pthread_mutex_t mutex;
	pthread_t thread;
	bool running;
	char socket[PATH_MAX];
	pvsched_print_fn print;
	void *print_ctx;
	unsigned int ceiling; /* highest of any vCPU; agents run above, the guardian above them */
	int lock_fd, stats_fd, ep, stop_fd, ended_fd, debts_fd;
	int configure_fd, configured_fd; /* to the main thread and back */
	struct pvsched_reload reload;
	int ring_fd[PVSCHED_CPUS + 1];
	struct pvsched_policies policies;
	struct pvsched_programs *programs; /* the first policy's: owner of the maps */
	struct pvsched_registry reg;
	struct pvsched_guardian guardian;
	struct pvsched_actuator_opts act_opts;
	cpu_set_t cpus; /* where agents may run */
	struct pvsched_server server;
	struct pvsched_found_vms found;
	struct pvsched_ports ports;
	struct pvsched_control *control;
	uint64_t respawned;
	uint64_t caps, dormant; /* what its main thread keeps, see keep_caps() */
	bool late; /* KVM was not loaded when the programs were */
	bool late_said;
};

/* What woke the main thread; a client's is its place. */
#define TAG_STOP     1000000u
#define TAG_LISTEN   1000001u
#define TAG_GUARDIAN 1000002u
#define TAG_LOADED   1000003u
#define TAG_FOREIGN  1000004u
#define TAG_NEWS     1000005u
#define TAG_CONF     1000006u
#define TAG_ACTUATOR 1000007u
#define TAG_PORTS    1000008u
#define TAG_LAPSED   1000009u
#define TAG_PORTERS  1000010u
#define TAG_FOUND    2000000u /* + place */
#define TAG_PORT     3000000u /* + index */

/* An error, as one line; kept for who waits to hear why. ctx: the broker. */
void pvsched_broker_say_line(void *ctx, const char *line);
__attribute__((format(printf, 2, 3))) void pvsched_broker_say(struct pvsched_broker *b,
							      const char *fmt, ...);
int pvsched_broker_watch(struct pvsched_broker *b, int fd, uint32_t tag);
/* A host on which no VM can be found can still have clients. */
int pvsched_broker_find_vms(struct pvsched_broker *b, const char *policy);
/* Finding VMs takes programs, and these would be the only ones. Returns -ENOTSUP. */
int pvsched_broker_no_finding(struct pvsched_broker *b, const struct pvsched_actuator *a);

int pvsched_actuation_rings(struct pvsched_broker *b, const cpu_set_t *cpus);
int pvsched_actuation_guard(struct pvsched_broker *b);
int pvsched_actuation_guard_again(struct pvsched_broker *b);
int pvsched_actuation_begin(struct pvsched_broker *b, const struct pvsched_actuator *a);
int pvsched_actuation_watch(struct pvsched_broker *b);
int pvsched_actuation_poll(struct pvsched_broker *b);
void pvsched_actuation_end(struct pvsched_broker *b);
/* The server's callbacks: ctx is the broker. */
int pvsched_actuation_ceiling(void *ctx, unsigned int ceiling);
int pvsched_actuation_standard(void *ctx, struct pvsched_programs *p);

/* At a start, before anything is attached. */
void pvsched_settings_begin(struct pvsched_broker *b, const struct pvsched_broker_opts *o);
/* -EBUSY: a policy is being loaded, call again when it is. */
int pvsched_settings_hold(struct pvsched_broker *b, const struct pvsched_broker_opts *o);
void pvsched_settings_take(struct pvsched_broker *b, const struct pvsched_broker_opts *o);
void pvsched_settings_again(struct pvsched_broker *b);
void pvsched_settings_asked(struct pvsched_broker *b);
void pvsched_settings_loaded(struct pvsched_broker *b);
/* The main thread ends: whoever waits for it, or will, is told so. */
void pvsched_settings_end(struct pvsched_broker *b);

#endif
