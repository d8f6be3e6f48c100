/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What an operator may know, as JSON: who is served (list) and the numbers (stat). Reads the registry
 * and the programs' maps; the caller holds the broker's mutex. ~5 us per vCPU for a list, ~15 us with
 * numbers, of which nothing is any event's.
 */
#ifndef PVSCHED_BROKER_REPORT_H
#define PVSCHED_BROKER_REPORT_H

#include "json/json.h"
#include "server.h"

/* Those that this user may see: his own, or with uid 0 all. An array "vms" of the object that is
 * open; docs/control.md has the members. */
void pvsched_report_list(struct pvsched_server *s, uid_t uid, struct json *j);
void pvsched_report_stat(struct pvsched_server *s, uid_t uid, struct json *j);

#endif
